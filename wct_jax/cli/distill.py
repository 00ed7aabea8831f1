"""The command `wct-distill`: a parser, the data, then one library call."""

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path

from wct_jax.cli.command import Parser, file_path, positive, run, tell
from wct_jax.cli.training import (
    add_judges,
    add_options,
    add_weight,
    exit_when_interrupted,
    open_photos,
    prepare,
    say_if_finished,
)
from wct_jax.networks.vgg import LAYERS, encoder_shapes

_MOST_CHANNELS = 4096


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line and distill a model.

    Args:
        argv: Arguments; None for those of the process.
        prog: The name of the command; None for that of the process.
    """
    parser = Parser(
        "Make a small model: an encoder from whose features those of larger ones can be predicted and photos rebuilt, "
        "and its decoders.",
        "Ctrl-C and SIGTERM save first. The same command goes on with a training that was broken off.",
        prog=prog,
    )
    parser.add_argument(
        "--teachers",
        type=file_path,
        nargs="+",
        required=True,
        metavar="MODEL",
        help="model files; each layer is learned from the first whose encoder has it",
    )
    parser.add_argument(
        "--model",
        type=file_path,
        metavar="MODEL",
        help="a model file whose first blocks to keep; the file stays as it is",
    )
    parser.add_argument(
        "--from",
        dest="first",
        choices=LAYERS,
        default=LAYERS[0],
        help="with --model, the first layer to learn: the blocks before it are kept (default: %(default)s)",
    )
    parser.add_argument(
        "--finetune", action="store_true", help="begin with the blocks and decoders that --model has for these layers"
    )
    parser.add_argument(
        "--widths",
        type=positive,
        nargs="+",
        metavar="N",
        help="channels of the encoder's blocks, as many as it is to have (default: those of --model, or "
        "16 32 64 128 128)",
    )
    parser.add_argument(
        "--out",
        type=file_path,
        default=Path("runs/distill"),
        metavar="DIR",
        help="the folder of the run (default: %(default)s)",
    )
    add_options(parser, steps=15_000, crop=128, learning_rate=1e-2)
    add_weight(parser, "feature", 1.0, "the teachers' features count in the loss, where pixels count 1")
    add_weight(parser, "perceptual", 0.0, "the relative error of the judges' features of the decoders' pictures counts")
    add_judges(parser, "--perceptual-weight compares")
    arguments = parser.parse_args(argv)
    run(parser, functools.partial(make, arguments), ": try a smaller --batch-size or --crop")


def make(arguments: argparse.Namespace) -> None:
    """Distill a model.

    Args:
        arguments: What `main` parsed.

    Raises:
        ValueError: Anything a user can get wrong.
    """
    if bool(arguments.judges) != bool(arguments.perceptual_weight):
        raise ValueError("--judges and --perceptual-weight go together: expected both or neither")
    if max(arguments.widths or [0]) > _MOST_CHANNELS:
        raise ValueError(f"argument --widths: expected at most {_MOST_CHANNELS} channels, got {max(arguments.widths)}")
    if arguments.model and arguments.widths:
        raise ValueError("--widths are those of --model: expected one of the two")
    if arguments.first != LAYERS[0] and not arguments.model:
        raise ValueError(f"--from {arguments.first} without --model: expected the model whose first blocks to keep")
    if arguments.finetune and not arguments.model:
        raise ValueError("--finetune without --model: expected the model to begin with")
    prepare(arguments)

    from wct_jax.networks.model_file import load_model, save_model
    from wct_jax.networks.taps import choose_taps
    from wct_jax.training.run import holds_run, last_step

    model = load_model(arguments.model) if arguments.model else None
    if model and model.encoders:
        raise ValueError(
            f"{arguments.model} has encoders of its own for {', '.join(model.encoders)}: expected a model of one"
        )
    widths = model.widths if model else arguments.widths or (16, 32, 64, 128, 128)
    encoder_shapes(widths)
    layers = LAYERS[LAYERS.index(arguments.first) : len(widths)]
    if not layers:
        raise ValueError(f"{arguments.model} ends at {LAYERS[len(widths) - 1]}: expected --from to be no deeper")
    if model and arguments.finetune and (missing := [layer for layer in layers if layer not in model.layers]):
        raise ValueError(f"{arguments.model} has no decoder for {', '.join(missing)}: expected one to begin with")
    teachers = choose_taps([load_model(teacher) for teacher in arguments.teachers], layers)
    judges = choose_taps([load_model(judge) for judge in arguments.judges]) if arguments.judges else ()
    if not holds_run(arguments.out) and arguments.resume:
        raise ValueError(f"there is no run to resume in {arguments.out}")
    photos = open_photos(arguments)

    import jax

    from wct_jax.training.recipe import distill
    from wct_jax.training.student import DistillWeights

    before, setup = last_step(arguments.out), photos.setup(arguments, arguments.out)
    weights = DistillWeights(arguments.feature_weight, arguments.perceptual_weight)
    with exit_when_interrupted("the distillation", arguments.out):
        finetune = arguments.finetune
        model, record = distill(teachers, widths, weights, setup, judges=judges, model=model, finetune=finetune)
    if jax.process_index():
        return
    say_if_finished(before, arguments, "another --out")
    target = arguments.out / "model.safetensors"
    for layer, score in record.get("val", {}).items():
        tell("{layer}: {psnr} dB PSNR and {ssim} SSIM on {photos} photos".format(layer=layer, **score))
    save_model(target, model)
    losses = ", ".join(f"{term} loss {value:.4g}" for term, value in record["losses"].items())
    tell(f"{record['steps']} steps, {losses}; the model is {target}")
