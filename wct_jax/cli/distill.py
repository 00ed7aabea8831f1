"""The command `wct-distill`: a parser, the data, then one library call."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from wct_jax.cli.command import file_path, number, positive, tell
from wct_jax.cli.photos import open_photos
from wct_jax.cli.training import SCORE, TrainingParser, add_judges, explained, prepare, summary
from wct_jax.networks.vgg import LAYERS, encoder_shapes

_WIDTHS = (16, 32, 64, 128, 128)
_MOST_CHANNELS = 4096


_USAGE = "--teachers MODEL ... [--data DIR] [--out DIR] [options]"
_EXAMPLES = (
    ("a small model that learns from VGG-19", "--teachers vgg19 --data photos --val others"),
    ("of three blocks only, and narrower", "--teachers vgg19 --data photos --widths 8 16 32"),
    ("its last two blocks anew", "--teachers vgg19 --model a.safetensors --from relu4_1"),
)


def make_parser(prog: str | None = None) -> TrainingParser:
    """The command's parser, for a command of this name or that of the process."""
    description = (
        "Make a small model: an encoder from whose features those of larger ones can be predicted and photos rebuilt, "
        "and its decoders."
    )
    parser = TrainingParser(description, prog, _USAGE, _EXAMPLES)
    add = parser.add_argument_group("what is learned, and where it goes").add_argument
    teachers_help = "model files; each layer is learned from the first whose encoder has it"
    add("--teachers", type=file_path, nargs="+", required=True, metavar="MODEL", help=teachers_help)
    model_help = "a model file whose first blocks to keep; the file stays as it is"
    add("--model", type=file_path, metavar="MODEL", help=model_help)
    from_help = "with --model, the first layer to learn: the blocks before it are kept (default: %(default)s)"
    add("--from", dest="first", choices=LAYERS, default=LAYERS[0], metavar="LAYER", help=from_help)
    finetune_help = "begin with the blocks and decoders that --model has for these layers"
    add("--finetune", action="store_true", help=finetune_help)
    widths = " ".join(map(str, _WIDTHS))
    widths_help = f"channels of the encoder's blocks, as many as it is to have (default: those of --model, or {widths})"
    add("--widths", type=positive, nargs="+", metavar="N", help=widths_help)
    out_help = "the folder of the run (default: %(default)s)"
    add("--out", type=file_path, default=Path("runs/distill"), metavar="DIR", help=out_help)
    parser.add_photos()
    parser.add_recipe(steps=15_000, crop=128, learning_rate=1e-2)
    group = parser.add_argument_group("the loss")
    for term, default, what in (
        ("feature", 1.0, "the teachers' features count in the loss, where pixels count 1"),
        ("perceptual", 0.0, "the relative error of the judges' features of the decoders' pictures counts"),
    ):
        help_text = f"what {what} (default: {default:g})"
        group.add_argument(f"--{term}-weight", type=number, default=default, metavar="W", help=help_text)
    add_judges(group, "--perceptual-weight compares")
    parser.add_run()
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line and distill a model; None stands for the arguments and the name of the process."""
    make_parser(prog).run(make, argv)


def make(arguments: argparse.Namespace) -> None:
    """Distill a model and write it into the folder of the run."""
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
    from wct_jax.training.run import holds_run

    model = load_model(arguments.model) if arguments.model else None
    if model and model.encoders:
        raise ValueError(
            f"{arguments.model} has encoders of its own for {', '.join(model.encoders)}: expected a model of one"
        )
    widths = model.widths if model else arguments.widths or _WIDTHS
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

    setup = photos.setup(arguments, arguments.out)
    weights = DistillWeights(arguments.feature_weight, arguments.perceptual_weight)
    options = {"judges": judges, "model": model, "finetune": arguments.finetune}
    with explained("the distillation", arguments.out, arguments, "another --out"):
        student, record = distill(teachers, widths, weights, setup, **options)
    if jax.process_index():
        return
    target = arguments.out / "model.safetensors"
    for layer, score in record.get("val", {}).items():
        tell(f"{layer}: {SCORE.format(**score)}")
    save_model(target, student)
    tell(f"{summary(record)}; the model is {target}")
