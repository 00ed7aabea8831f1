"""The command `wct-distill`: a parser, the data, then one library call."""

import argparse
import dataclasses
import functools
import json
from collections.abc import Sequence
from pathlib import Path

from wct_jax.cli.command import Parser, file_path, number, positive, run, tell
from wct_jax.cli.training import VAL_SIDE, add_options, exit_when_interrupted, make_recipe, open_photos, prepare


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and distill a model.

    Args:
        argv: Arguments; None for those of the process.
    """
    parser = Parser(
        "Make a small model: an encoder from whose features those of larger ones can be predicted and photos rebuilt, "
        "and its decoders.",
        "Ctrl-C and SIGTERM save first. The same command goes on with a training that was broken off.",
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
        "--widths",
        type=positive,
        nargs="+",
        default=[16, 32, 64, 128, 128],
        metavar="N",
        help="channels of the encoder's blocks, as many as it is to have (default: 16 32 64 128 128)",
    )
    parser.add_argument(
        "--out",
        type=file_path,
        default=Path("runs/distill"),
        metavar="DIR",
        help="the folder of the run (default: %(default)s)",
    )
    add_options(parser, steps=15_000, crop=128, learning_rate=1e-2)
    parser.add_argument(
        "--feature-weight",
        type=number,
        default=1.0,
        metavar="W",
        help="what the teachers' features count in the loss, where pixels count 1 (default: 1)",
    )
    arguments = parser.parse_args(argv)
    run(parser, functools.partial(make, arguments), ": try a smaller --batch-size or --crop")


def make(arguments: argparse.Namespace) -> None:
    """Distill a model.

    Args:
        arguments: What `main` parsed.

    Raises:
        ValueError: Anything a user can get wrong.
    """
    prepare(arguments)

    from wct_jax.model import LAYERS, choose_taps, encoder_shapes
    from wct_jax.run import holds_run
    from wct_jax.weights import load_model, save_model

    encoder_shapes(arguments.widths)
    teachers = choose_taps([load_model(teacher) for teacher in arguments.teachers], LAYERS[: len(arguments.widths)])
    if arguments.resume and not holds_run(arguments.out):
        raise ValueError(f"there is no run to resume in {arguments.out}")
    photos = open_photos(arguments)

    import jax

    from wct_jax.data import centre_crops
    from wct_jax.distill import DistillWeights
    from wct_jax.recipe import distill, evaluate

    recipe = make_recipe(arguments, photos)
    with exit_when_interrupted("the distillation", arguments.out):
        model, record = distill(
            teachers,
            arguments.widths,
            photos.batches(recipe),
            arguments.out,
            recipe,
            DistillWeights(arguments.feature_weight),
            photos=photos.shown(recipe),
            save_every=arguments.save_every,
        )
    if jax.process_index():
        return
    target = arguments.out / "model.safetensors"
    if photos.val:
        scores = {}
        for layer in model.layers:
            scores[layer] = evaluate(model, layer, (pixels for _, pixels in centre_crops(photos.val, VAL_SIDE)))
        document = model.metadata
        document["distillation"]["val"] = scores
        model = dataclasses.replace(model, document=json.dumps(document))
        for layer, score in scores.items():
            tell("{layer}: {psnr} dB PSNR and {ssim} SSIM on {photos} photos".format(layer=layer, **score))
    save_model(target, model)
    losses = ", ".join(f"{term} loss {value:.4g}" for term, value in record["losses"].items())
    tell(f"{record['steps']} steps, {losses}; the model is {target}")
