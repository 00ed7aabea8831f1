"""The command `wct-jax bulk`: the photos of a folder or bucket, repainted on all machines of a cluster."""

import argparse
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from wct_jax.cli.command import Parser, memory, positive, run, say, tell
from wct_jax.cli.looks import add_looks, add_model, add_photographs, add_styles
from wct_jax.cli.terms import in_flags

if TYPE_CHECKING:
    from wct_jax.bulk.kit import Kit
    from wct_jax.bulk.repainting import Report

_EPILOG = """\
A place is a folder, which all machines of a cluster must share, or s3://BUCKET/PREFIX, gs://... or abfs://.... A run
that was broken off goes on where it was when the same command is given again. Exit status 1 says that some photos have
no result, and the manifest beside the results why."""
_USAGE = "SOURCE --style PICTURE ... --output TARGET [options]"
_EXAMPLES = (
    ("a folder of photos, by all cores of this machine", "photos --style painting.jpg --output results"),
    ("how many there are, and how many are still to be made", "photos --style art --output results --dry-run"),
    ("a bucket, by the cluster here", "s3://in --style art.jpg --output s3://out --address auto"),
)
_SHOWN = 20


def make_parser(prog: str | None = None) -> Parser:
    """The command's parser, for a command of this name or that of the process."""
    description = "Repaint the photos of a folder or bucket on all machines of a Ray cluster."
    parser = Parser(description, _EPILOG, prog, usage=_USAGE, examples=_EXAMPLES)
    _add_places(parser)
    add_styles(parser)
    add_looks(parser)
    add_photographs(parser)
    _add_cluster(parser)
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line and repaint a collection.

    Args:
        argv: Arguments; None for the arguments of the process.
        prog: Name of the command; None for the name of the process.
    """
    parser = make_parser(prog)
    arguments = parser.parse_args(argv)
    run(parser, functools.partial(_repaint, arguments, parser))


def _add_places(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is repainted, and where the results go").add_argument
    add("source", metavar="SOURCE", help="a place with photos, and films with the extra video, in any subfolders")
    add("-o", "--output", required=True, metavar="TARGET", help="a place for results, in the same subfolders")
    add(
        "--image-column",
        metavar="NAME",
        help="also repaint the encoded pictures in this column of the Parquet files there",
    )
    add("--format", choices=("png", "jpg", "webp", "tif"), default="png", help="of the results (default: %(default)s)")
    add("--no-settings", action="store_true", help="leave out of a PNG what options, styles and model it was made with")
    add("--dry-run", action="store_true", help="only say how many results there are, and how many are to be made")
    add("--content-size", type=positive, metavar="N", help="resize photos to a short side of N pixels (default: as is)")
    add(
        "--max-megapixels",
        type=positive,
        metavar="N",
        help="read pictures of up to N million pixels (default: 178, beyond which a file is taken for a trap)",
    )


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    add = add_model(parser).add_argument
    add(
        "--address",
        help="of the Ray cluster: auto for the one that runs here, local to start one of this machine alone (default: "
        "$RAY_ADDRESS, or local)",
    )
    add(
        "--workers",
        type=positive,
        metavar="N",
        help="processes that paint (default: one for each GPU, or without GPUs as many as there are cores for)",
    )
    add(
        "--cores-per-worker",
        type=positive,
        metavar="N",
        help="cores that each computes with (default: 1, or with a GPU up to 4)",
    )
    add(
        "--memory",
        type=memory,
        metavar="SIZE",
        help="how much memory a worker takes, about, as in 4GB: what needs more is repainted in tiles (default: half "
        "of its share of the machine, by its cores)",
    )


def _repaint(arguments: argparse.Namespace, parser: Parser) -> None:
    def note(text: str) -> None:
        say(f"{parser.prog}: {in_flags(ValueError(text))}")

    kit = _kit(arguments, note)
    from wct_jax.bulk.repainting import stylize_bulk
    from wct_jax.cli.progress import progress_bar

    named = {name: getattr(arguments, name) for name in ("image_column", "workers", "cores_per_worker", "address")}
    with progress_bar(0 if arguments.dry_run else 1) as report:

        def progress(_: str, made: int, total: int) -> None:
            report(f"{made}/{total}", made, total)

        named |= {"dry_run": arguments.dry_run, "progress": progress, "note": note}
        done = stylize_bulk(arguments.source, arguments.output, kit, **named)
    if arguments.dry_run:
        missing = done.results - done.skipped
        tell(f"{arguments.output}: {_counts(done)}, {done.skipped} there before, {missing} to make")
        return
    _tell(done, arguments.output, note)
    if done.failed:
        there = f"the manifest in {arguments.output} has the reasons"
        parser.exit(1, f"{parser.prog}: {len(done.failed)} of {done.results} results could not be made: {there}\n")


def _kit(arguments: argparse.Namespace, note: Callable[[str], None]) -> "Kit":
    from wct_jax.bulk.kit import Kit
    from wct_jax.cli.order import looks_of, options_of, picture_of
    from wct_jax.studio.limits import Limits

    notes: list[str] = []
    looks = looks_of(arguments, notes)
    options = options_of(arguments)
    maps = {"alpha_map": arguments.alpha_map}
    maps |= {name: picture_of(arguments, name) for name in ("strength", "structure")}
    max_pixels = None if arguments.max_megapixels is None else arguments.max_megapixels * 10**6
    for text in notes:
        note(text)
    return Kit.packed(
        arguments.model,
        looks,
        options,
        maps={name: path for name, path in maps.items() if path},
        limits=Limits(arguments.memory, None, max_pixels),
        suffix=f".{arguments.format}",
        settings=not arguments.no_settings,
    )


def _counts(done: "Report") -> str:
    looks = done.results // done.photos
    each = f" in {looks} styles, {done.results} results" if looks > 1 else ""
    return f"{done.photos} {'photo' if done.photos == 1 else 'photos'}{each}"


def _tell(done: "Report", output: str, note: Callable[[str], None]) -> None:
    reasons = list(dict.fromkeys(sentence for _, sentence in done.failed))
    for sentence in reasons[:_SHOWN]:
        note(sentence)
    if len(reasons) > _SHOWN:
        note(f"and {len(reasons) - _SHOWN} more")
    rate = ""
    if done.done:
        seconds = max(done.seconds, 1e-9)
        team = f"{done.workers} {'worker' if done.workers == 1 else 'workers'}"
        rates = f"{done.done / seconds:.2f} photos/s, {done.megapixels / seconds:.2f} megapixels/s"
        rate = f"; {done.seconds:.1f} s, {rates}, {team}"
    tell(
        f"{output}: {_counts(done)}: {done.done} done, {done.skipped} skipped since they were there, "
        f"{len(done.failed)} failed{rate}"
    )
