"""Orders: the results that a command line of `stylize.py` asks for, checked before any work."""

import argparse
import errno
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from wct_jax.cli.streams import STANDARD, check_streams, hold, is_stream
from wct_jax.painting.options import Options
from wct_jax.pictures.formats import PICTURE_SUFFIXES
from wct_jax.pictures.output import OUTPUT_SUFFIXES, check_output
from wct_jax.pictures.scan import is_many, scan
from wct_jax.studio.jobs import Job, by_name, check_folder, draw, each_once, grid, named, plain_name
from wct_jax.studio.request import Look, Request, Texture

_NONE = Path("none")


class Order(NamedTuple):
    """The work to do.

    Attributes:
        jobs: One job for each result.
        look: The styles, if all results share them.
        options: Options of the painting.
        request: Request of the first job; the others differ in photo and look.
        many: Whether the other results are made when one fails.
        notes: Sentences that a person should know about the files.
        streams: The content of the streams among the files.
    """

    jobs: list[Job]
    look: Look | None
    options: Options
    request: Request | None
    many: bool
    notes: list[str]
    streams: dict[Path, BinaryIO]

    def request_of(self, job: Job) -> Request:
        """The request of a job."""
        assert self.request
        photo = self._opened(job.content) or self.request.photo
        maps = {name: self._opened(getattr(self.request, name)) for name in ("alpha_map", "strength", "structure")}
        return replace(self.request, photo=photo, look=self.opened(job.look), **maps)

    def opened(self, look: Look) -> Look:
        """A look whose streams can be read more than once."""
        names = ("files", "style_masks", "masks")
        return replace(look, **{name: tuple(map(self._opened, getattr(look, name))) for name in names})

    def _opened(self, path: Any) -> Any:
        return self.streams.get(path, path)


def order_of(arguments: argparse.Namespace) -> Order:
    """Check the arguments and find out which results they stand for.

    Raises:
        ValueError: The arguments contradict each other, or name files that are missing or cannot be written.
    """
    _check(arguments)
    check_streams(arguments)
    options = options_of(arguments)
    masks, style_masks = tuple(arguments.mask or ()), tuple(_or_none(path) for path in arguments.style_mask or ())
    styles = [_or_none(path) if masks else path for path in arguments.style or []]
    styles += [arguments.lut] if arguments.lut else []
    several = [path for path in styles if path and is_many(path)]
    notes: list[str] = []
    contents: list[Path | None] = [None] if arguments.synthesize else []
    contents += each_once(file for path in arguments.content or [] for file in _files(path, PICTURE_SUFFIXES, notes))
    look: Look | None = None
    if several:
        looks = _each_alone(several[0], notes)
    else:
        look = _look(arguments, styles)
        looks = [look]
    if look and len(look.files) > 1 and not (look.masks or look.weights):
        notes.append(f"mixing {len(styles)} styles; to take each alone, name their folder or put a pattern in quotes")
    many = bool(several) or len(contents) > 1 or any(map(is_many, arguments.content or [])) or _is_folder(arguments)
    if not contents:
        _check_target(arguments, arguments.save_style, [".safetensors"])
        _check_readable(styles)
        return Order([], look, options, None, False, notes, _held([*styles, *style_masks]))
    if arguments.pair:
        pairs = by_name([path for path in contents if path], looks)
    elif arguments.random:
        pairs = draw(contents, looks, arguments.random, arguments.seed or 0)
    else:
        pairs = grid(contents, looks)
    strength, structure = picture_of(arguments, "strength"), picture_of(arguments, "structure")
    content, first = pairs[0]
    photo = content or Texture(*(*arguments.synthesize, arguments.seed or 0))
    request = Request(photo, first, options, arguments.alpha_map, strength, structure)
    _check_target(arguments, arguments.save_style, [".safetensors"])
    _check_target(arguments, arguments.sheet)
    _check_target(arguments, arguments.save_lut, [".cube"])
    if arguments.save_lut and many:
        raise ValueError("--save-lut keeps the change of one photo, got several results: expected one photo and style")
    maps = [*masks, *style_masks, arguments.alpha_map, strength, structure]
    _check_readable(maps)
    if many:
        sources = [path for path in (*(arguments.content or []), *several) if os.path.isdir(path)]
        jobs = _jobs_in_a_folder(arguments, pairs, sources)
    else:
        jobs = _one_job(arguments, *pairs[0])
    _check_apart(arguments, jobs, maps)
    return Order(jobs, look, options, request, many, notes, _held([*contents, *styles, *maps]))


def looks_of(arguments: argparse.Namespace, notes: list[str]) -> list[Look]:
    """The looks of a command that paints all photos in each: one, or one for each file of a folder of styles.

    Args:
        arguments: The arguments.
        notes: Sentences on files that are passed over are added here.

    Raises:
        ValueError: There is none, or the arguments contradict each other.
    """
    _check_styles(arguments)
    folders = [path for path in arguments.style or [] if is_many(path)]
    return _each_alone(folders[0], notes) if folders else [look_of(arguments)]


def _each_alone(path: Path, notes: list[str]) -> list[Look]:
    return [Look((file,)) for file in _files(path, (*PICTURE_SUFFIXES, ".safetensors"), notes)]


def look_of(arguments: argparse.Namespace, films: Sequence[Path] = ()) -> Look:
    """The styles of a command that takes no folders of them.

    Args:
        arguments: The arguments.
        films: Films in place of masks.

    Raises:
        ValueError: There is none, or one is missing or a folder.
    """
    styles = arguments.style or []
    for path in styles:
        if is_many(path):
            raise ValueError(f"--style takes files, which it mixes, got a folder or pattern, {path}")
    if not styles and not arguments.whiten_only:
        raise ValueError("expected --style PICTURE, or --whiten-only, got neither")
    if films and arguments.mask:
        raise ValueError("--mask and --mask-video both say where styles go: expected one of them")
    look = _look(arguments, [_or_none(path) if arguments.mask or films else path for path in styles], films)
    _check_readable([*look.files, *look.style_masks, *(arguments.mask or ())])
    return look


def _look(arguments: argparse.Namespace, styles: Sequence[Path | None], films: Sequence[Path] = ()) -> Look:
    weights = tuple(arguments.style_weights) if arguments.style_weights else None
    masks = tuple(arguments.mask or films)
    return Look(tuple(styles), weights, tuple(map(_or_none, arguments.style_mask or ())), masks)


def _held(paths: Iterable[Path | None]) -> dict[Path, BinaryIO]:
    return {path: hold(path) for path in paths if path and is_stream(path)}


def options_of(arguments: argparse.Namespace) -> Options:
    """The painting options among the arguments."""
    names = {field.name for field in fields(Options)} & set(vars(arguments))
    values = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    for name in ("strength", "structure"):
        if picture_of(arguments, name):
            del values[name]
    return Options(**values)


def picture_of(arguments: argparse.Namespace, name: str) -> Path | None:
    """The picture that an option has in place of numbers.

    Raises:
        ValueError: It has numbers beside it, or several pictures.
    """
    value = getattr(arguments, name)
    values = value if isinstance(value, list | tuple) else [value]
    pictures = [each for each in values if isinstance(each, Path)]
    if pictures and len(values) > 1:
        raise ValueError(f"--{name} takes numbers or one grey picture, got {pictures[0]} among {len(values)}")
    return pictures[0] if pictures else None


def _is_folder(arguments: argparse.Namespace) -> bool:
    """Whether even a single result goes into a folder: the output is one, or several photos were named."""
    output = arguments.output
    if output is None or output == STANDARD:
        return False
    return os.path.isdir(output) or (len(arguments.content or []) > 1 and output.suffix.lower() not in OUTPUT_SUFFIXES)


def _files(path: Path, suffixes: Sequence[str], notes: list[str]) -> list[Path]:
    """The files that a name stands for; those passed over are added to the notes."""
    if not is_many(path):
        return [path]
    found = scan(path, suffixes)
    notes += found.skipped
    return found.files


def _check(arguments: argparse.Namespace) -> None:
    """Refuse arguments that contradict each other, whatever the files are."""
    a, styles, masks = arguments, arguments.style or [], arguments.mask or []
    folders = [path for path in styles if is_many(path)]
    alone = "a folder or pattern of styles, of which each is taken alone"
    rules = [
        (not (a.content or a.synthesize or a.save_style), "expected --content, --synthesize or --save-style, got none"),
        (a.lut and (styles or a.whiten_only or a.synthesize), "--lut takes photos alone: expected no style with it"),
        (a.lut and (a.photo or a.save_style), "--lut repeats a change: expected no --photo or --save-style with it"),
        (a.lut and isinstance(a.strength, Path), "--lut takes a number as --strength, got a picture"),
        (a.save_lut and not (a.photo and a.content), "--save-lut keeps a change of colours: expected --photo"),
        (not styles and not a.whiten_only and not a.lut, "expected --style PICTURE, or --whiten-only, got neither"),
        (folders and a.save_style, f"--save-style needs files, which it mixes, got {alone}"),
        (masks and a.save_style, "--save-style keeps one style and --mask has several: expected one"),
        (a.synthesize and a.pair, "--pair needs photos, and --synthesize has none"),
        (a.whiten_only and a.save_style, "--save-style needs a style, got --whiten-only"),
        ((a.pair or a.random) and not folders, "--pair and --random need a folder or pattern of styles"),
        (a.sheet and not (a.content or a.synthesize), "--sheet needs --content or --synthesize"),
        (a.seed is not None and not (a.random or a.synthesize), "--seed needs --random or --synthesize"),
        (not (a.content or a.synthesize) and a.output, "--output needs --content or --synthesize"),
    ]
    for broken, sentence in rules:
        if broken:
            raise ValueError(sentence)
    _check_styles(a)


def _check_styles(arguments: argparse.Namespace) -> None:
    """Refuse styles that contradict the options about them."""
    a, styles = arguments, arguments.style or []
    folders = [path for path in styles if is_many(path)]
    alone = "a folder or pattern of styles, of which each is taken alone"
    rules = [
        (folders and len(styles) > 1, f"--style takes files or one folder or pattern, got {len(styles)} names"),
        (folders and a.mask, f"--mask needs a file for each style, got {alone}"),
        (folders and a.style_mask, f"--style-mask needs a file for each style, got {alone}"),
        (folders and a.style_weights, f"--style-weights needs a file for each style, got {alone}"),
        ((a.patch or a.stride) and not a.swap_layers, "--patch and --stride need --swap-layers"),
    ]
    for broken, sentence in rules:
        if broken:
            raise ValueError(sentence)


def _or_none(path: Path) -> Path | None:
    return None if path == _NONE else path


def _check_target(arguments: argparse.Namespace, path: Path | None, suffixes: Sequence[str] = OUTPUT_SUFFIXES) -> None:
    may_exist = arguments.overwrite or arguments.skip_existing
    if path in (None, STANDARD):
        return
    if not may_exist and (os.path.islink(path) or os.path.isfile(path)):
        raise ValueError(f"cannot write {path}: it exists, expected --overwrite to replace it or another name")
    check_output(path, may_exist, suffixes)


def _check_apart(arguments: argparse.Namespace, jobs: Sequence[Job], masks: Sequence[Path | None]) -> None:
    """Refuse to write two files to one place, or over a file that is read."""
    a = arguments
    written = {
        "--output": [job.output for job in jobs],
        "--sheet": [a.sheet],
        "--save-style": [a.save_style],
        "--save-lut": [a.save_lut],
    }
    places: dict[str, str] = {}
    for role, paths in (
        ("a photo", [job.content for job in jobs]),
        ("a style", {file for job in jobs for file in job.look.files}),
        ("a mask", masks),
        ("the model", [a.model]),
    ):
        places |= {os.path.realpath(path): role for path in paths if path and path != STANDARD}
    for option, outputs in written.items():
        for path in outputs:
            if path is None or path == STANDARD:
                continue
            place = os.path.realpath(path)
            if place in places:
                raise ValueError(f"{option} {path} is {places[place]} as well: expected a file of its own")
            places[place] = f"what {option} writes"


def _check_readable(paths: Iterable[Path | None]) -> None:
    # Before the long work, and before JAX is loaded.
    for path in paths:
        if path in (None, STANDARD):
            continue
        try:
            mode = os.stat(path).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not (stat.S_ISREG(mode) or is_stream(path)):
                raise ValueError(f"cannot read {path}: expected a regular file, got a pipe, a device or a socket")
            if not os.access(path, os.R_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror}") from None


def _one_job(arguments: argparse.Namespace, content: Path | None, look: Look) -> list[Job]:
    folder = content.parent if content else Path()
    job = Job(content, look, folder / f"{plain_name(content, look)}.png")
    if arguments.output:
        job = job._replace(output=arguments.output)
        _check_target(arguments, job.output)
    # Before the default output, whose folder is missing where a photo's path is mistyped.
    _check_readable((content, *look.files))
    _check_target(arguments, job.output)
    return [job]


def _jobs_in_a_folder(
    arguments: argparse.Namespace, pairs: Sequence[tuple[Path | None, Look]], sources: Sequence[Path]
) -> list[Job]:
    if not arguments.output:
        results = "a photo of a folder or pattern needs" if len(pairs) == 1 else f"{len(pairs)} results need"
        raise ValueError(f"{results} a folder for the results: expected --output DIR")
    if arguments.output == STANDARD:
        raise ValueError(f"--output - takes one result, got {len(pairs)}: expected --output DIR")
    check_folder(arguments.output, sources)
    jobs = named(pairs, arguments.output)
    there = [job.output for job in jobs if os.path.lexists(job.output)]
    if there and not (arguments.overwrite or arguments.skip_existing):
        raise ValueError(
            f"{len(there)} of {len(jobs)} results exist, such as {there[0]}: expected --overwrite or --skip-existing"
        )
    return jobs
