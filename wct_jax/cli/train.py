"""The command `train.py`: a parser, the data, then one library call for each layer."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wct_jax.cli.command import file_path, tell
from wct_jax.cli.photos import open_photos
from wct_jax.cli.training import SCORE, TrainingParser, explained, prepare, summary
from wct_jax.networks.vgg import LAYERS

if TYPE_CHECKING:
    from wct_jax.networks.model import Model
    from wct_jax.networks.taps import Taps
    from wct_jax.training.task import Setup


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line and train decoders; None stands for the arguments and the name of the process."""
    description = (
        "Train the decoder of a layer, which rebuilds photos from the encoder's feature, and add it to the model."
    )
    parser = TrainingParser(description, prog)
    parser.add_argument(
        "--layer", required=True, choices=(*LAYERS, "all"), help="the layer to invert, or all that the model has"
    )
    parser.add_argument(
        "--model", type=file_path, default="vgg19", help="a model file, or the name vgg19 (default: %(default)s)"
    )
    out_help = "the folder of the run (default: runs/LAYER; with --layer all, DIR/LAYER for each)"
    parser.add_argument("--out", type=file_path, metavar="DIR", help=out_help)
    parser.add_recipe(steps=15_000, crop=256, learning_rate=5e-3)
    for term, default, what in (
        ("pixel", 1.0, "mean squared error of the pixels, in 0..1"),
        ("feature", 1.0, "mean squared error of the feature"),
        ("tv", 0.0, "total variation"),
        ("perceptual", 0.0, "relative error of the judges' features"),
        ("style", 0.0, "error of the judges' covariances, and of the feature, on photos that took another's style,"),
    ):
        parser.add_weight(term, default, f"the {what} counts in the loss")
    parser.add_judges("--perceptual-weight and --style-weight compare", " (default: that of --model)")
    layers_help = "where the judges compare (default: all the layers that they have)"
    parser.add_argument("--judge-layers", nargs="+", choices=LAYERS, metavar="LAYER", help=layers_help)
    parser.add_argument("--finetune", action="store_true", help="begin with the decoder that the model has")
    overwrite_help = "replace the decoder if the model has one for the layer"
    parser.add_argument("--overwrite", action="store_true", help=overwrite_help)
    parser.run(train, argv)


def train(arguments: argparse.Namespace) -> None:
    """Train a decoder, or one for each layer in turn, and add it to the model."""
    if not arguments.pixel_weight and not arguments.feature_weight:
        raise ValueError("--pixel-weight and --feature-weight are both 0: expected one of them to count")
    judged = arguments.perceptual_weight or arguments.style_weight
    if (arguments.judges or arguments.judge_layers) and not judged:
        given = "--judges" if arguments.judges else "--judge-layers"
        raise ValueError(f"{given} without --perceptual-weight or --style-weight: expected one of them to count")
    prepare(arguments)

    # Late, and the slow ones last, since a mistyped name should not have to wait for them.
    from wct_jax.networks.model_file import check_model_target, load_model, model_path
    from wct_jax.networks.taps import choose_taps

    model = load_model(arguments.model)
    check_model_target(model_path(arguments.model))
    folders = _folders(arguments, model)
    models = [load_model(judge) for judge in arguments.judges or ()] or [model]
    judges = choose_taps(models, arguments.judge_layers) if judged else ()
    photos = open_photos(arguments)
    for layer, folder in folders.items():
        _train_layer(arguments, model, layer, photos.setup(arguments, folder), judges)


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
    import numpy as np

    from wct_jax.networks.model_file import load_model

    try:
        own = load_model(folder / "model.safetensors").decoders[layer]
    except (ValueError, KeyError):  # None was made yet.
        return False
    there = model.decoders[layer]
    return all(np.array_equal(there[name][leaf], own[name][leaf]) for name in there for leaf in there[name])
