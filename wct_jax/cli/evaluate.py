"""The command `wct-jax evaluate`: methods side by side, in figures and pictures, and people's votes."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wct_jax.cli.command import Parser, file_path, fraction, run, say, start_jax, tell, whole
from wct_jax.cli.looks import several
from wct_jax.cli.progress import progress_bar
from wct_jax.pictures.formats import PICTURE_SUFFIXES
from wct_jax.pictures.scan import scan
from wct_jax.studio.jobs import by_name, check_folder, each_once, grid
from wct_jax.studio.request import Look

if TYPE_CHECKING:
    from wct_jax.evaluation.methods import Method
    from wct_jax.evaluation.votes import Votes

_EPILOG = """\
An interrupted evaluation goes on when it is started again with the same output, also with further methods.
docs/comparison.md says what the figures mean."""

_USAGE = "--content DIR --style DIR --output DIR [options]\n       %(prog)s --votes FILE ..."
_EXAMPLES = (
    ("both methods of the packaged model", "--content photos --style paintings --output report"),
    ("the results of another program beside ours", "--content photos --style art -o report --results theirs"),
    ("the strength of the cascade as a curve", "--content photos --style art -o report --alpha 0.2 0.6 1"),
    ("the ranking that people's votes give", "--votes votes-*.json"),
)


def make_parser(prog: str | None = None) -> Parser:
    """The command's parser, for a command of this name or that of the process."""
    parser = Parser("Compare methods of style transfer.", _EPILOG, prog, usage=_USAGE, examples=_EXAMPLES)
    _add_pictures(parser)
    _add_methods(parser)
    add = parser.add_argument_group("how results are judged").add_argument
    add(
        "--judge",
        type=file_path,
        metavar="FILE",
        help="a model file of VGG-19, by whose features results are judged (default: the packaged encoder, whose "
        "figures compare only settings of one model; the report says so)",
    )
    add("--vote", action="store_true", help="add a page where people choose the better of two results")
    add("--votes", **several(file_path, "FILE"), help="instead: rank the methods by the files of votes that page saved")
    return parser


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is painted, and where the report goes").add_argument
    add("--content", type=file_path, metavar="DIR", help="photos: a folder, a pattern in quotes, or one file")
    add("--style", type=file_path, metavar="DIR", help="styles, likewise; every photo is painted in every style")
    add("--pair", action="store_true", help="each photo in the style of its name, not in all")
    add(
        "--size",
        type=whole(32, 10_000),
        default=256,
        metavar="N",
        help="resize photos and styles to a short side of N pixels (default: %(default)s)",
    )
    add("-o", "--output", type=file_path, metavar="DIR", help="the folder of the report, new or that of an earlier run")


def _add_methods(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("methods that are compared").add_argument
    add(
        "--method",
        **several(str, "NAME[,OPTION=VALUE...]"),
        help="methods to paint with, with the options of stylize.py: cascade, one-pass,structure=0.3, "
        "cascade,transform=ot, cascade,swap_layers=relu3_1 (default: those the model has, unless there are --results)",
    )
    add("--model", nargs="+", default=["compact"], help="model files or names to paint with (default: compact)")
    add("--results", **several(file_path, "DIR"), help="folders of results, named PHOTO__STYLE.png, as further methods")
    add("--alpha", **several(fraction, "A"), default=[], help="draw a curve of the cascade over these alphas")
    add("--structure", **several(fraction, "K"), default=[], help="draw a curve of one pass over these structures")


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line and compare methods, or count votes.

    Args:
        argv: Arguments; None for the arguments of the process.
        prog: Name of the command; None for the name of the process.
    """
    parser = make_parser(prog)
    arguments = parser.parse_args(argv)

    def body() -> None:
        (_count if arguments.votes else _compare)(arguments, parser.prog)

    run(parser, body, " for pictures of this size: make them smaller, as with --size 256")


def _count(arguments: argparse.Namespace, program: str) -> None:
    if arguments.content or arguments.style or arguments.output:
        raise ValueError("`votes` counts what is there: expected no `content`, `style` or `output` with it")
    from wct_jax.evaluation.votes import read_votes

    tell(*_ranking(read_votes(arguments.votes)))


def _ranking(votes: "Votes") -> list[str]:
    width = max(map(len, (*votes.methods, "method")))
    lines = [f"{len(votes.votes)} votes of {votes.people} {'person' if votes.people == 1 else 'people'}"]
    lines.append(f"{'method':<{width}}   score  95 % interval    chosen")
    lines += [
        f"{name:<{width}}  {s.score:+6.2f}  {s.low:+6.2f} to {s.high:+6.2f}  {s.wins:g} of {s.votes}"
        for name, s in votes.strengths.items()
    ]
    return [*lines, "A method whose score is 0.69 higher is chosen twice as often (Bradley and Terry)."]


def _compare(arguments: argparse.Namespace, program: str) -> None:
    a = arguments
    for name in ("content", "style", "output"):
        if getattr(a, name) is None:
            raise ValueError(f"expected `content`, `style` and `output`, or `votes`, got no `{name}`")
    notes: list[str] = []
    contents, styles = (_files(path, notes) for path in (a.content, a.style))
    looks = [Look((style,)) for style in styles]
    found = by_name(contents, looks) if a.pair else grid(contents, looks)
    pairs = [(content, look.files[0]) for content, look in found if content]
    check_folder(a.output, [path for path in (a.content, a.style, *(a.results or ())) if os.path.isdir(path)])
    methods = _methods(a)
    for text in notes:
        say(f"{program}: {text}")
    start_jax()

    from wct_jax.evaluation.judge import Judge
    from wct_jax.evaluation.report import About, write_report
    from wct_jax.evaluation.run import Task
    from wct_jax.evaluation.run import run as evaluate

    judge = Judge(a.judge)
    methods += _paintable(a) if not methods else []
    names = _names(dict.fromkeys([*(content for content, _ in pairs), *(style for _, style in pairs)]))
    with progress_bar(1) as report:
        outcome = evaluate(
            Task(methods, pairs, names, a.size), judge, a.output, lambda text: say(f"{program}: {text}"), report
        )
    for failure in outcome.failures[:20]:
        say(f"{program}: {failure}")
    if not outcome.records:
        raise ValueError("there is no result to compare, for what is said above")
    about = [*filter(None, [judge.note]), *_on_failures(outcome.failures)]
    write_report(a.output, outcome, About(judge.name, a.size, about, a.vote))
    before = f" ({outcome.kept} of them there before)" if outcome.kept else ""
    page = a.output / ("vote.html" if a.vote else "index.html")
    tell(f"{a.output}: {len(outcome.records)} results{before}; open {page} in a browser")
    if outcome.failures:
        raise ValueError(f"{len(outcome.failures)} results are missing, for what is said above")


def _methods(arguments: argparse.Namespace) -> "list[Method]":
    from wct_jax.evaluation.methods import found, painted

    a = arguments
    methods = painted(a.method, a.model, a.alpha, a.structure) if a.method else []
    methods += [found(folder) for folder in a.results or ()]
    titles = [method.title for method in methods]
    if twice := [title for title in titles if titles.count(title) > 1]:
        raise ValueError(f"two methods are called {twice[0]}: expected each once, and folders of different names")
    return methods


def _paintable(arguments: argparse.Namespace) -> "list[Method]":
    """Both methods of each model, if it has them."""
    from wct_jax.evaluation.methods import painted
    from wct_jax.networks.model_file import load_model

    methods = []
    for name in arguments.model:
        model = load_model(name)
        specs = ["cascade"] * bool(model.layers) + ["one-pass"] * bool(model.painter_layers)
        some = painted(specs, [name], arguments.alpha, arguments.structure)
        stem = f"{Path(name).stem} " if len(arguments.model) > 1 else ""
        methods += [method._replace(name=f"{stem}{method.name}") for method in some]
    return methods


def _files(path: Path, notes: list[str]) -> list[Path]:
    if not os.path.isfile(path):
        found = scan(path, PICTURE_SUFFIXES)
        notes += found.skipped
        return each_once(found.files)
    return [path]


def _names(paths: "dict[Path, None]") -> dict[Path, str]:
    """A name for each picture: its file's, with as many of its folders as tell it from the others."""
    names = {path: path.stem for path in paths}
    for depth in range(1, 1 + max(len(path.parts) for path in paths)):
        counts: dict[str, int] = {}
        for name in names.values():
            counts[name] = counts.get(name, 0) + 1
        alike = [path for path, name in names.items() if counts[name] > 1]
        for path in alike:
            names[path] = "/".join(path.parts[-depth:])
    return names


def _on_failures(failures: Sequence[str]) -> list[str]:
    if not failures:
        return []
    return [f"{len(failures)} results are missing, such as: {failures[0]}"]
