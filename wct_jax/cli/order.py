"""What a command line of `stylize.py` asks for: whether it makes sense, and what results it stands for."""

import argparse
import errno
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from wct_jax.batch import Job, Look, by_name, check_folder, draw, gather, grid, is_many, named
from wct_jax.images import PICTURE_SUFFIXES, check_output

_NONE = Path("none")


class Order(NamedTuple):
    """What is to be done.

    Attributes:
        jobs: A result each.
        look: The styles, if they are the same for all.
        many: Whether one failure is to leave the others alone.
    """

    jobs: list[Job]
    look: Look | None
    many: bool


def order_of(arguments: argparse.Namespace) -> Order:
    """Check what was asked for and find out what it comes to; what was left open is filled in.

    Args:
        arguments: Of the command line.

    Raises:
        ValueError: It contradicts itself, or names files that are not there or results that cannot be written.
    """
    _check(arguments)
    _fill_in(arguments)
    styles = [None if arguments.mask and path == _NONE else path for path in arguments.style or []]
    several = [path for path in styles if path and is_many(path)]
    contents: list[Path | None] = [None] if arguments.synthesize else []
    for path in arguments.content or []:
        contents += gather(path) if is_many(path) else [path]
    look = None if several else Look(tuple(styles))
    looks = [look] if look else [Look((path,)) for path in gather(several[0], (*PICTURE_SUFFIXES, ".safetensors"))]
    many = bool(several) or len(contents) > 1 or any(map(is_many, arguments.content or []))
    if not contents:
        _check_style_target(arguments)
        _check_readable(path for path in styles if path)
        return Order([], look, False)
    if arguments.pair:
        pairs = by_name([path for path in contents if path], looks)
    elif arguments.random:
        pairs = draw(contents, looks, arguments.random, arguments.seed)
    else:
        pairs = grid(contents, looks)
    _check_style_target(arguments)
    if arguments.sheet:
        check_output(arguments.sheet, arguments.overwrite or arguments.skip_existing)
    masks = [*(arguments.mask or []), *(arguments.style_mask or []), arguments.alpha_map]
    masks += [arguments.strength] if isinstance(arguments.strength, Path) else []
    _check_readable(path for path in masks if path)
    if many:
        sources = [path for path in (*(arguments.content or []), *several) if os.path.isdir(path)]
        jobs = _jobs_in_a_folder(arguments, pairs, sources)
    else:
        jobs = _one_job(arguments, *pairs[0])
    return Order(jobs, look, many)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what contradicts itself, whatever the files are."""
    a, styles, masks = arguments, arguments.style or [], arguments.mask or []
    folders = [path for path in styles if is_many(path)]
    alone = "a folder or pattern of styles, of which each is taken alone"
    rules = [
        (not (a.content or a.synthesize or a.save_style), "expected --content, --synthesize or --save-style, got none"),
        (not styles and not a.whiten_only, "expected --style PICTURE, or --whiten-only, got neither"),
        (styles and a.whiten_only, "--whiten-only takes no --style: expected one of them"),
        (folders and len(styles) > 1, f"--style takes files or one folder or pattern, got {len(styles)} names"),
        (folders and masks, f"--mask needs a file for each style, got {alone}"),
        (folders and a.style_mask, f"--style-mask needs a file for each style, got {alone}"),
        (folders and a.style_weights, f"--style-weights needs a file for each style, got {alone}"),
        (folders and a.save_style, f"--save-style needs files, which it mixes, got {alone}"),
        (
            masks and a.style_weights,
            "--style-weights mixes styles and --mask puts each in its place: expected one",
        ),
        (masks and a.save_style, "--save-style keeps one style and --mask has several: expected one"),
        (
            masks and len(styles) - len(masks) not in (0, 1),
            f"there must be a style for each mask ('none' to leave it as it is), and perhaps one for what is left, "
            f"got {len(masks)} masks and {len(styles)} styles",
        ),
        (
            a.style_weights and len(a.style_weights) != len(styles),
            f"there must be a weight for each style, got {len(a.style_weights or [])} for {len(styles)} styles",
        ),
        (
            a.style_weights and not any(a.style_weights),
            "--style-weights must not all be 0",
        ),
        (
            a.style_mask and len(a.style_mask) != len(styles),
            f"there must be a --style-mask for each style ('none' for all of it), got {len(a.style_mask or [])} for "
            f"{len(styles)} styles",
        ),
        (masks and all(path == _NONE for path in styles), "expected a style for one of the masks at least, got none"),
        (a.synthesize and a.preserve_color, "a texture has no photo whose colours --preserve-color could keep"),
        (a.synthesize and a.strength != 1, "--strength keeps some of the photo, and --synthesize has none"),
        (a.synthesize and a.content_size, "--content-size resizes photos, and --synthesize has none"),
        (a.synthesize and a.pair, "--pair needs photos, and --synthesize has none"),
        (a.whiten_only and a.transform != "zca", "--whiten-only is a transform of its own, got --transform, too"),
        (a.whiten_only and a.swap_layers, "--swap-layers needs the patches of a style, got --whiten-only"),
        (a.whiten_only and a.save_style, "--save-style needs a style, got --whiten-only"),
        (a.whiten_only and masks, "--mask needs styles, got --whiten-only"),
        ((a.patch or a.stride) and not a.swap_layers, "--patch and --stride need --swap-layers"),
        (
            a.swap_layers and len(styles) > 1 and not masks,
            "--swap-layers needs the patches of one picture: styles that are mixed have none",
        ),
        ((a.stride or 1) > (a.patch or 3), f"--stride must be at most --patch, {a.patch or 3}, got {a.stride}"),
        ((a.pair or a.random) and not folders, "--pair and --random need a folder or pattern of styles"),
        (a.sheet and not (a.content or a.synthesize), "--sheet needs --content or --synthesize"),
        (a.seed is not None and not (a.random or a.synthesize), "--seed needs --random or --synthesize"),
        (not (a.content or a.synthesize) and a.output, "--output needs --content or --synthesize"),
    ]
    for broken, sentence in rules:
        if broken:
            raise ValueError(sentence)


def _fill_in(arguments: argparse.Namespace) -> None:
    arguments.seed = arguments.seed or 0
    arguments.passes = arguments.passes or (3 if arguments.synthesize else 1)
    arguments.margin = arguments.margin or 0
    arguments.patch, arguments.stride = arguments.patch or 3, arguments.stride or 1
    if arguments.style_mask:
        arguments.style_mask = [None if path == _NONE else path for path in arguments.style_mask]


def _check_style_target(arguments: argparse.Namespace) -> None:
    path = arguments.save_style
    if path is None:
        return
    check_output(path, arguments.overwrite or arguments.skip_existing, [".safetensors"])


def _check_readable(paths: Iterable[Path]) -> None:
    # Before the long work, and before JAX is loaded.
    for path in paths:
        try:
            if stat.S_ISDIR(os.stat(path).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not os.access(path, os.R_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror}") from None


def _one_job(arguments: argparse.Namespace, content: Path | None, look: Look) -> list[Job]:
    job = named([(content, look)], content.parent if content else Path())[0]
    if arguments.output:
        job = job._replace(output=arguments.output)
        check_output(job.output, arguments.overwrite or arguments.skip_existing)
    # Only now the default, lest a mistyped photo is taken for an output that cannot be.
    _check_readable(path for path in (content, *look.files) if path)
    check_output(job.output, arguments.overwrite or arguments.skip_existing)
    return [job]


def _jobs_in_a_folder(
    arguments: argparse.Namespace, pairs: Sequence[tuple[Path | None, Look]], sources: Sequence[Path]
) -> list[Job]:
    if not arguments.output:
        raise ValueError(f"{len(pairs)} results need a folder: expected --output DIR")
    check_folder(arguments.output, sources)
    jobs = named(pairs, arguments.output)
    there = [job.output for job in jobs if os.path.lexists(job.output)]
    if there and not (arguments.overwrite or arguments.skip_existing):
        raise ValueError(
            f"{len(there)} of {len(jobs)} results exist, such as {there[0]}: expected --overwrite or --skip-existing"
        )
    return jobs
