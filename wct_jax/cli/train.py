"""The command `train.py`: a parser, the data, then one library call for each layer or for the painter."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wct_jax.cli.command import file_path, number, tell
from wct_jax.cli.photos import Photos, open_photos
from wct_jax.cli.training import SCORE, TrainingParser, add_judges, explained, prepare, summary
from wct_jax.networks.vgg import LAYERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from wct_jax.networks.model import Model, Parameters
    from wct_jax.networks.taps import Taps
    from wct_jax.training.task import Setup


# The terms of the loss: the weight by default of each kind of network that has the term.
_WEIGHTS: dict[str, tuple[dict[str, float], str]] = {
    "pixel": ({"decoder": 1.0, "painter": 2.0}, "mean squared error of the pixels, in 0..1,"),
    "feature": (
        {"decoder": 1.0, "painter": 0.1},
        "mean squared error of the feature, or the relative error of a painter's inputs,",
    ),
    "tv": ({"decoder": 0.0}, "total variation"),
    "perceptual": ({"decoder": 0.0}, "relative error of the judges' features"),
    "style": (
        {"decoder": 0.0, "painter": 1.0},
        "error of the judges' covariances on photos that took another's style",
    ),
    "structure": ({"painter": 0.1}, "change of a photo's structure"),
    "weave": ({"painter": 0.2}, "weave in painted flat parts"),
    "gamut": ({"painter": 5.0}, "distance of the result from 0..1"),
}


_USAGE = "--layer LAYER [--model MODEL] [--data DIR] [options]\n       %(prog)s --painter --styles DIR [options]"
_EXAMPLES = (
    ("a decoder of VGG-19, on a folder of photos", "--layer relu4_1 --model vgg19.safetensors --data photos"),
    ("all decoders, one after the other, on COCO", "--layer all --model vgg19.safetensors"),
    (
        "the painter of one pass",
        "--painter --styles art --model vgg19.safetensors --data photos",
    ),
)


def make_parser(prog: str | None = None) -> TrainingParser:
    """The command's parser, for a command of this name or that of the process."""
    description = (
        "Train the decoder of a layer, which rebuilds photos from the encoder's feature, or the painter of one "
        "pass, and add it to the model."
    )
    parser = TrainingParser(description, prog, _USAGE, _EXAMPLES)
    add = parser.add_argument_group("what is trained, and where it goes").add_argument
    layer_help = (
        "the layer to invert, of relu1_1 ... relu5_1, or all that the model has; the deepest layer of a painter "
        "(default there: relu4_1)"
    )
    add("--layer", choices=(*LAYERS, "all"), metavar="LAYER", help=layer_help)
    add(
        "--painter",
        dest="kind",
        action="store_const",
        const="painter",
        default="decoder",
        help="train the painter of one pass, no decoder",
    )
    model_help = "a model file, or the name vgg19 (default: %(default)s)"
    add("--model", type=file_path, default="vgg19", metavar="MODEL", help=model_help)
    add("--finetune", action="store_true", help="begin with the network that the model has")
    add("--overwrite", action="store_true", help="replace the network that the model has")
    out_help = "the folder of the run (default: runs/LAYER; with --layer all, DIR/LAYER for each)"
    add("--out", type=file_path, metavar="DIR", help=out_help)
    styles_help = "a folder of pictures whose styles a painter learns to take"
    parser.add_photos().add_argument("--styles", type=file_path, metavar="DIR", help=styles_help)
    parser.add_recipe(steps=15_000, crop=256, learning_rate=5e-3)
    group = parser.add_argument_group("the loss")
    for term, (weights, what) in _WEIGHTS.items():
        defaults = ", ".join(f"{weight:g} of a {kind}" for kind, weight in weights.items())
        help_text = f"how much the {what} counts in the loss (default: {defaults})"
        group.add_argument(f"--{term}-weight", type=number, metavar="W", help=help_text)
    add_judges(group, "--perceptual-weight, --style-weight and --structure-weight compare", " (default: --model's)")
    layers_help = "where the judges compare (default: all the layers that they have)"
    group.add_argument("--judge-layers", nargs="+", choices=LAYERS, metavar="LAYER", help=layers_help)
    parser.add_run()
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line and train decoders; None stands for the arguments and the name of the process."""
    make_parser(prog).run(train, argv)


def train(arguments: argparse.Namespace) -> None:
    """Train a painter, a decoder, or one for each layer in turn, and add it to the model."""
    _check(arguments)
    judging = [term for term in ("perceptual", "structure", "style") if arguments.kind in _WEIGHTS[term][0]]
    judged = any(getattr(arguments, f"{term}_weight") for term in judging)
    if not (arguments.pixel_weight or arguments.feature_weight):
        raise ValueError("--pixel-weight and --feature-weight are both 0: expected one of them to count")
    if (arguments.judges or arguments.judge_layers) and not judged:
        given = "--judges" if arguments.judges else "--judge-layers"
        raise ValueError(
            f"{given} without {' or '.join(f'--{term}-weight' for term in judging)}: expected one of them to count"
        )
    prepare(arguments)

    # Late, and the slow ones last, since a mistyped name should not have to wait for them.
    from wct_jax.networks.model_file import check_model_target, load_model, model_path
    from wct_jax.networks.taps import choose_taps

    model = load_model(arguments.model)
    check_model_target(model_path(arguments.model))
    decoders = arguments.kind == "decoder"
    folders = _folders(arguments, model) if decoders else {}
    if not decoders:
        _check_painter(arguments, model)
    models = [load_model(judge) for judge in arguments.judges or ()] or [model]
    judges = choose_taps(models, arguments.judge_layers) if judged else ()
    photos = open_photos(arguments)
    if not decoders:
        _train_painter(arguments, model, photos, judges)
        return
    for layer, folder in folders.items():
        _train_layer(arguments, model, layer, photos.setup(arguments, folder), judges)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse options of the other kind of network, and give the loss the weights of this one."""
    a, decoder = arguments, arguments.kind == "decoder"
    rules = [
        (a.layer == "all" and not decoder, "--painter is one network: expected --layer relu4_1, say, got all"),
        (not decoder and not a.styles, "--painter needs pictures to take styles from: expected --styles DIR"),
        (decoder and not a.layer, "expected --layer LAYER or --painter, got neither"),
        (decoder and a.styles, "--styles needs --painter"),
    ]
    for broken, sentence in rules:
        if broken:
            raise ValueError(sentence)
    a.layer = a.layer or "relu4_1"
    for term, (weights, _) in _WEIGHTS.items():
        name = f"{term}_weight"
        if getattr(a, name) is None:
            setattr(a, name, weights.get(a.kind, 0.0))
        elif a.kind not in weights:
            raise ValueError(f"--{term}-weight is for a {' or a '.join(weights)}, got a {a.kind}")


def _check_painter(arguments: argparse.Namespace, model: "Model") -> None:
    """Check that the run of a painter can be begun or resumed."""
    from wct_jax.training.run import holds_run

    folder = arguments.out or Path("runs", "painter")
    if arguments.layer not in LAYERS[: len(model.widths)]:
        have = ", ".join(LAYERS[: len(model.widths)])
        raise ValueError(f"the encoder of {arguments.model} has no {arguments.layer}: expected one of {have}")
    if model.encoders:
        raise ValueError(f"{arguments.model} has several encoders, and a painter takes all features from one")
    begun = holds_run(folder)
    if arguments.resume and not begun:
        raise ValueError(f"there is no run to resume in {folder}")
    if arguments.finetune and model.painter_layers[:1] != (arguments.layer,):
        raise ValueError(f"{arguments.model} has no painter from {arguments.layer}: expected one to begin with")
    known = begun and _holds(folder, lambda own: own.painter, model.painter)
    if model.painter and not known and not arguments.overwrite:
        raise ValueError(
            f"{arguments.model} has a painter: --overwrite replaces it by a new one, and with --finetune by one that "
            "begins with it"
        )


def _train_painter(arguments: argparse.Namespace, model: "Model", photos: Photos, judges: "tuple[Taps, ...]") -> None:
    import jax

    from wct_jax.networks.model_file import add_painter, model_path, save_model
    from wct_jax.training.painter import PainterWeights
    from wct_jax.training.recipe import train_painter

    a, folder = arguments, arguments.out or Path("runs", "painter")
    weights = PainterWeights(**{x: getattr(a, f"{x}_weight") for x in _WEIGHTS if "painter" in _WEIGHTS[x][0]})
    setup = photos.setup(arguments, folder)
    with explained("the painter", folder, arguments, "another --out with --overwrite"):
        trained, record = train_painter(model, a.layer, weights, setup, judges=judges, finetune=a.finetune)
    if jax.process_index():
        return
    save_model(folder / "model.safetensors", trained)
    add_painter(model_path(a.model), trained, record)
    score = f"; {SCORE.format(**record['val'])}" if "val" in record else ""
    tell(f"painter: {summary(record)}{score}; it is in {model_path(a.model)}")


def _train_layer(
    arguments: argparse.Namespace, model: "Model", layer: str, setup: "Setup", judges: "tuple[Taps, ...]"
) -> None:
    import jax

    from wct_jax.networks.model_file import add_decoder, model_path, save_model
    from wct_jax.training.decoder import LossWeights
    from wct_jax.training.recipe import train_decoder

    folder = Path(setup.folder)
    weights = LossWeights(
        arguments.pixel_weight,
        arguments.feature_weight,
        arguments.tv_weight,
        arguments.perceptual_weight,
        arguments.style_weight,
    )
    with explained(layer, folder, arguments, "another --out with --overwrite"):
        trained, record = train_decoder(model, layer, weights, setup, judges=judges, finetune=arguments.finetune)
    if jax.process_index():
        return
    save_model(folder / "model.safetensors", trained)
    add_decoder(model_path(arguments.model), trained, layer, record)
    score = f"; {SCORE.format(**record['val'])}" if "val" in record else ""
    tell(f"{layer}: {summary(record)}{score}; the decoder is in {model_path(arguments.model)}")


def _folders(arguments: argparse.Namespace, model: "Model") -> dict[str, Path]:
    """Check that the run of every layer can be begun or gone on with, and give the folders of the runs."""
    from wct_jax.training.run import holds_run

    have = LAYERS[: len(model.widths)]
    if arguments.layer == "all":
        folders = {layer: (arguments.out or Path("runs")) / layer for layer in have}
    elif arguments.layer in have:
        folders = {arguments.layer: arguments.out or Path("runs", arguments.layer)}
    else:
        raise ValueError(
            f"the encoder of {arguments.model} has no {arguments.layer}: expected one of {', '.join(have)}"
        )
    begun = [layer for layer, folder in folders.items() if holds_run(folder)]
    if arguments.resume and not begun:
        raise ValueError(f"there is no run to resume in {' or '.join(map(str, folders.values()))}")
    if arguments.finetune and (lacking := [layer for layer in folders if layer not in model.decoders]):
        raise ValueError(f"{arguments.model} has no decoder for {', '.join(lacking)}: expected one to begin with")
    taken = [
        layer
        for layer, folder in folders.items()
        if layer in model.decoders and not (layer in begun and _is_of_run(model, layer, folder))
    ]
    if taken and not arguments.overwrite:
        raise ValueError(
            f"{arguments.model} has a decoder for {', '.join(taken)}: --overwrite replaces it by a new one, "
            "and with --finetune by one that begins with it"
        )
    return folders


def _is_of_run(model: "Model", layer: str, folder: Path) -> bool:
    """Whether the run made the model's decoder, so that going on with the run loses nothing."""
    return _holds(folder, lambda own: own.decoders[layer], model.decoders[layer])


def _holds(folder: Path, part: "Callable[[Model], Parameters]", there: "Parameters") -> bool:
    """Whether a part of the run's model equals that of another model."""
    import numpy as np

    from wct_jax.networks.model_file import load_model

    try:
        own = part(load_model(folder / "model.safetensors"))
        return all(np.array_equal(there[name][leaf], own[name][leaf]) for name in there for leaf in there[name])
    except (ValueError, KeyError):  # None was made yet.
        return False
