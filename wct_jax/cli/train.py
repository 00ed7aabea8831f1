"""The command `train.py`: a parser, the data, then one library call for each layer."""

import argparse
import functools
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wct_jax.cli.command import Parser, file_path, number, positive, run, seed, tell

if TYPE_CHECKING:
    from wct_jax.data import Folder, Source
    from wct_jax.model import Model

_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and train decoders.

    Args:
        argv: Arguments; None for those of the process.
    """
    parser = Parser(
        "Train the decoder of a layer, which rebuilds photos from the encoder's feature, and add it to the model.",
        "Ctrl-C and SIGTERM save first. The same command goes on with a training that was broken off.",
    )
    parser.add_argument(
        "--layer", required=True, choices=(*_LAYERS, "all"), help="the layer to invert, or all that the model has"
    )
    parser.add_argument(
        "--model", type=file_path, default="vgg19", help="a model file, or the name vgg19 (default: %(default)s)"
    )
    parser.add_argument(
        "--data",
        type=file_path,
        default="coco",
        metavar="DIR",
        help="a folder of photos, or the name coco: the 40,670 test images of COCO 2017, which the first run "
        "downloads and prepares (default: %(default)s)",
    )
    parser.add_argument("--steps", type=positive, default=15_000, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--batch-size", type=positive, default=8, metavar="N", help="crops in a step, over all devices (default: 8)"
    )
    parser.add_argument(
        "--crop", type=positive, default=256, metavar="N", help="side of the crops in pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--learning-rate",
        type=number,
        default=5e-3,
        metavar="R",
        help="the highest rate, reached after a warm-up and left along a cosine (default: %(default)s)",
    )
    for term, default, what in (
        ("pixel", 1.0, "mean squared error of the pixels, in 0..1"),
        ("feature", 1.0, "mean squared error of the feature"),
        ("tv", 0.0, "total variation"),
    ):
        parser.add_argument(
            f"--{term}-weight",
            type=number,
            default=default,
            metavar="W",
            help=f"what the {what} counts in the loss (default: {default:g})",
        )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the convolutions (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="of the first decoder and the crops (default: 0)"
    )
    parser.add_argument(
        "--val",
        type=file_path,
        metavar="DIR",
        help="a folder of photos on which PSNR and SSIM are taken at the end, over their middle 256 x 256 pixels",
    )
    parser.add_argument(
        "--out",
        type=file_path,
        metavar="DIR",
        help="the folder of the run (default: runs/LAYER; with --layer all, DIR/LAYER for each)",
    )
    parser.add_argument(
        "--save-every", type=positive, default=500, metavar="N", help="steps between saves (default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with a run, and refuse to begin one")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the decoder if the model has one for the layer"
    )
    parser.add_argument(
        "--distributed",
        nargs="*",
        metavar="HOST:PORT N I",
        help="be one process of several: alone on SLURM, Open MPI and Cloud TPU, elsewhere with the address of the "
        "first one, their number, and which one this is, from 0",
    )
    arguments = parser.parse_args(argv)
    run(parser, functools.partial(train, arguments), ": try a smaller --batch-size or --crop")


def train(arguments: argparse.Namespace) -> None:
    """Train a decoder, or one for each layer in turn, and add it to the model.

    Args:
        arguments: What `main` parsed.

    Raises:
        ValueError: Anything a user can get wrong.
    """
    if not arguments.learning_rate:
        raise ValueError("argument --learning-rate: expected a number above 0, got 0")
    if not arguments.pixel_weight and not arguments.feature_weight:
        raise ValueError("--pixel-weight and --feature-weight are both 0: expected one of them to count")

    needed = ("filelock", "grain", "matplotlib", "optax", "orbax", "tensorflow_datasets")
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise ValueError(
            f"training needs {', '.join(missing)} as well: "
            "pip install 'wct_jax[train]', or in a checkout pip install '.[train]'"
        )
    # Late, and the slow ones last, since a mistyped name should not have to wait for them.
    from wct_jax.weights import load_model, model_path

    _join(arguments.distributed)
    model = load_model(arguments.model)
    target = model_path(arguments.model)
    if not os.access(Path(os.path.realpath(target)).parent, os.W_OK):
        raise ValueError(f"cannot add a decoder to {target}: its folder is not writable")
    folders = _folders(arguments, model)

    import absl.logging
    import jax

    from wct_jax.data import Folder
    from wct_jax.devices import check_batch_size
    from wct_jax.loop import Interrupted

    absl.logging.set_verbosity(absl.logging.FATAL)  # Orbax logs what we say in a sentence, with tracebacks.
    check_batch_size(arguments.batch_size)
    first = jax.process_index() == 0
    val = Folder(arguments.val) if arguments.val else None
    source, name = _open(arguments.data, first)
    if first:
        for photos in (source, val):
            _list_unreadable(photos)
    for layer, folder in folders.items():
        try:
            _train_layer(arguments, model, layer, folder, source, name, val)
        except Interrupted as stop:
            if first:
                if stop.step:
                    where = f"after step {stop.step}, which is saved in {folder}: the same command goes on from there"
                else:
                    where = "before the first step: the same command begins anew"
                print(f"{layer} was interrupted {where}", file=sys.stderr)
            raise SystemExit(128 + stop.signal) from None


def _train_layer(
    arguments: argparse.Namespace,
    model: "Model",
    layer: str,
    folder: Path,
    source: "Source",
    name: str,
    val: "Folder | None",
) -> None:
    import itertools

    import jax
    import numpy as np

    from wct_jax.data import batches, centre_crops
    from wct_jax.recipe import Recipe, evaluate, train_decoder
    from wct_jax.training import LossWeights
    from wct_jax.weights import add_decoder, model_path, save_model, with_decoder

    recipe = Recipe(
        arguments.steps,
        arguments.batch_size,
        arguments.crop,
        arguments.learning_rate,
        LossWeights(arguments.pixel_weight, arguments.feature_weight, arguments.tv_weight),
        arguments.precision,
        arguments.seed,
        name,
    )
    stream = functools.partial(batches, source, crop=recipe.crop, seed=recipe.seed)
    own = stream(batch_size=recipe.batch_size, process_index=jax.process_index(), process_count=jax.process_count())
    if val:
        photos = [pixels for _, pixels in itertools.islice(centre_crops(val, _VAL_SIDE), _SHOWN)]
    else:
        photos = list(next(stream(batch_size=_SHOWN)).astype(np.float32) / 255)
    trained, record = train_decoder(model, layer, own, folder, recipe, photos=photos, save_every=arguments.save_every)
    if val:
        record["val"] = evaluate(trained, layer, (pixels for _, pixels in centre_crops(val, _VAL_SIDE)))
    if jax.process_index():
        return
    trained = with_decoder(trained, layer, trained.decoders[layer], record)
    save_model(folder / "model.safetensors", trained)
    add_decoder(model_path(arguments.model), trained, layer, record)
    losses = ", ".join(f"{term} loss {value:.4g}" for term, value in record["losses"].items())
    score = "; {psnr} dB PSNR and {ssim} SSIM on {photos} photos".format(**record["val"]) if val else ""
    tell(f"{layer}: {record['steps']} steps, {losses}{score}; the decoder is in {model_path(arguments.model)}")


_VAL_SIDE, _SHOWN = 256, 8


def _folders(arguments: argparse.Namespace, model: "Model") -> dict[str, Path]:
    """The folder of the run for each layer, after making sure that it can be begun or gone on with."""
    from wct_jax.run import holds_run

    have = _LAYERS[: len(model.widths)]
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
    taken = [layer for layer in folders if layer in model.decoders and layer not in begun]
    if taken and not arguments.overwrite:
        raise ValueError(f"{arguments.model} has a decoder for {', '.join(taken)}: --overwrite replaces it")
    return folders


def _open(data: Path, first: bool) -> tuple["Source", str]:
    """The photos, and what to call them in the record."""
    if str(data) == "coco":
        from wct_jax.coco import open_coco

        coco = open_coco(lambda text: print(text, file=sys.stderr, flush=True) if first else None)
        return coco, "COCO 2017 test"
    from wct_jax.data import Folder

    folder = Folder(data)
    return folder, f"{len(folder)} photos of {data.resolve().name}"


def _list_unreadable(folder: "Source | Folder | None") -> None:
    sentences = getattr(folder, "unreadable", [])
    if sentences:
        print(f"unreadable files, left out: {len(sentences)}", *sentences, sep="\n  ", file=sys.stderr)


def _join(distributed: Sequence[str] | None) -> None:
    """Become one process of several."""
    if distributed is None:
        return
    import jax

    # By default the others wait minutes for a process that has died, or has failed by itself.
    initialize = functools.partial(
        jax.distributed.initialize, heartbeat_timeout_seconds=60, shutdown_timeout_seconds=60
    )
    if not distributed:
        try:
            initialize()
        except (ValueError, RuntimeError) as error:
            raise ValueError(
                f"--distributed finds no cluster here: expected HOST:PORT N I after it ({error})"
            ) from None
        return
    found = re.fullmatch(r"(\S+:[0-9]+) ([0-9]+) ([0-9]+)", " ".join(distributed))
    if not found or int(found[3]) >= int(found[2]):
        raise ValueError(
            f"argument --distributed: expected HOST:PORT N I with I below N, got {' '.join(distributed)!r}"
        )
    print(f"waiting for {found[2]} processes at {found[1]}", file=sys.stderr, flush=True)
    try:
        initialize(found[1], int(found[2]), int(found[3]))
    except RuntimeError as error:
        raise ValueError(f"--distributed cannot begin at {found[1]} ({error})") from None
