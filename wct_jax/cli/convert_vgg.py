"""The command `convert_vgg.py`: published weights to a model file."""

import argparse
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wct_jax.checks.printable import printable
from wct_jax.cli.command import Parser, file_path, run, say, start_jax, tell
from wct_jax.networks.vgg import deepest_first

if TYPE_CHECKING:
    from wct_jax.networks.model import Model, Parameters

_FORMATS = """
SOURCE is recognised by its content: Keras .h5 or .npz, torchvision vgg19 .pth or .safetensors, the normalised VGG-19
of style transfer as .pth, .safetensors or Torch7 .t7, the compressed encoders as .pth, MatConvNet .mat, or a model
file to add decoders or encoders to. PyTorch is not needed, and nothing that a file holds is run.
"""

_USAGE = "SOURCE ... [--decoder FILE ...] [-o MODEL] [options]\n       %(prog)s --download"
_EXAMPLES = (
    ("the weights that Keras publishes, as the model called vgg19", "--download"),
    ("an encoder and its decoders, as of Li et al.", "encoder.t7 --decoder decoder*.t7 --output vgg19"),
    ("weights from torchvision, without decoders", "vgg19-dcbb9e9d.pth --output encoder.safetensors"),
)


def make_parser(prog: str | None = None) -> Parser:
    """The command's parser, for a command of this name or that of the process."""
    description = "Make a model file of published VGG-19 weights and decoders."
    parser = Parser(description, _FORMATS, prog, usage=_USAGE, examples=_EXAMPLES)
    add = parser.add_argument_group("what is converted, and where the model goes").add_argument
    source_help = "the encoder's weights; of several encoders each is for the layer that it ends at"
    add("source", nargs="*", type=file_path, metavar="SOURCE", help=source_help)
    add("--decoder", nargs="+", action="extend", default=[], type=file_path, metavar="FILE", help="its decoders")
    download_help = "fetch the ImageNet VGG-19 that Keras publishes (80 MB) instead of reading a SOURCE"
    add("--download", action="store_true", help=download_help)
    add(
        "-o",
        "--output",
        type=file_path,
        metavar="MODEL",
        help="the model file to write, or the name vgg19 (default: SOURCE's name with .safetensors, here; "
        "vgg19 with --download)",
    )
    add("--overwrite", action="store_true", help="replace the output if it exists")
    add = parser.add_argument_group("how the weights are read").add_argument
    add(
        "--preprocessing",
        metavar="NAME",
        help="what SOURCE's weights expect, where that cannot be told: caffe (BGR 0..255 less the means), caffe-rgb, "
        "torchvision, or none (RGB 0..1)",
    )
    photos_help = "photos over which weights that are not normalised are scaled (default: a small set of our own)"
    add("--photos", type=file_path, metavar="DIR", help=photos_help)
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line and convert; None stands for the arguments and the name of the process."""
    parser = make_parser(prog)
    arguments = parser.parse_args(argv)
    if arguments.download and arguments.preprocessing:
        parser.error("--preprocessing is for a SOURCE: what --download fetches is known")
    if arguments.download == bool(arguments.source):
        parser.error("expected either a SOURCE or --download, got " + ("both" if arguments.download else "neither"))
    if len(arguments.source) > 1 and not arguments.output:
        parser.error(f"{len(arguments.source)} SOURCEs make one model: expected --output MODEL, which names it")
    run(parser, functools.partial(convert_files, arguments))


def convert_files(arguments: argparse.Namespace) -> None:
    """Read or fetch the weights, convert them, write the model and report."""
    from wct_jax.networks.model_file import check_model_target, model_path
    from wct_jax.system.atomic import check_target

    default = "vgg19" if arguments.download else f"{arguments.source[0].stem}.safetensors"
    output = model_path(arguments.output or default)
    if output.suffix != ".safetensors":
        raise ValueError(f"the output {output} must end in .safetensors, or be the name vgg19")
    _refuse_existing(output, arguments.overwrite)
    if str(arguments.output or default) == "vgg19":  # The cache folder is ours to make, others are not.
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot write {output}: {error.strerror}") from error
    check_target(output)
    check_model_target(output)

    start_jax()

    from wct_jax.convert.conversion import convert
    from wct_jax.networks.model_file import save_model

    options = {"photos": arguments.photos, "preprocessing": arguments.preprocessing, "tell": say}
    if arguments.download:
        source = output.with_name("vgg19_keras_notop.h5")
        _fetch(source)
        licence = "CC BY 4.0, Visual Geometry Group, University of Oxford"
        model = convert(source, arguments.decoder, licence=licence, **options)
    else:
        model = convert(arguments.source, arguments.decoder, **options)
    report = _report(model)
    _refuse_existing(output, arguments.overwrite)  # Again, since another process may have written it meanwhile.
    save_model(output, model)
    if arguments.download:
        source.unlink(missing_ok=True)
    tell(*report, f"wrote {output}")


def _refuse_existing(output: Path, overwrite: bool) -> None:
    if os.path.lexists(output) and not overwrite:
        raise ValueError(f"{output} exists: give another --output, or --overwrite to replace it")


def _fetch(target: Path) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    from wct_jax.convert import download

    if target.exists():  # A run whose conversion failed has fetched and verified it.
        return
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("download", total=None)

        def report(have: int, total: int | None) -> None:
            progress.update(task, completed=have, total=total)

        download.download(download.KERAS_VGG19, target, report)


def _report(model: "Model") -> list[str]:
    metadata = model.metadata
    lines = [f"source: {_origin(metadata.get('source', {}))}"]
    lines += _table("encoder", model.encoder)
    for layer in deepest_first(model.encoders):
        origin = _origin(metadata.get("sources", {}).get(layer, {}).get("source", {}))
        lines += _table(f"encoder of {layer}: {origin}", model.encoders[layer])
    for layer in model.layers:
        origin = _origin(metadata.get("decoders", {}).get(layer, {}))
        lines += _table(f"decoder of {layer}: {origin}", model.decoders[layer])
    if model.painter:
        lines += _table(f"painter: {_origin(metadata.get('painter', {}))}", model.painter)
    if model.auxiliary:
        lines += _table("auxiliary maps", model.auxiliary)
    # A model file from elsewhere may say none of these, or anything.
    return [
        *lines,
        f"preprocessing folded into conv1_1: {printable(metadata.get('preprocessing', 'unknown'))}",
        f"scaled: {printable(metadata.get('normalisation', 'unknown'))}",
        f"licence: {printable(metadata.get('licence', 'unknown'))}",
        f"digest of the encoder{'s' if model.encoders else ''}: {model.digest}",
    ]


def _origin(record: Mapping[str, str] | str) -> str:
    if isinstance(record, str):
        return printable(record)
    if "kind" not in record:
        return "unknown"
    return printable(record["kind"]) + (f" ({printable(record['file'])})" if "file" in record else "")


def _table(title: str, parameters: "Parameters") -> list[str]:
    rows = [f"  {name:<8} {' x '.join(map(str, leaves['kernel'].shape))}" for name, leaves in parameters.items()]
    return [title, *rows]
