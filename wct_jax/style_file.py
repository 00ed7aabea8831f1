"""The style file: a style's moments, some MB, in place of its picture."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors
from safetensors.numpy import save

from wct_jax.arguments import as_path, check_kind
from wct_jax.atomic import atomic_write
from wct_jax.model import LAYERS
from wct_jax.style import Style
from wct_jax.transform import Moments
from wct_jax.weights import METADATA_KEY as MODEL_KEY
from wct_jax.weights import checksum_of

METADATA_KEY = "wct_jax_style"
FORMAT = 1
SUFFIX = ".safetensors"
_PARTS = ("count", "mean", "scatter")


def save_style(path: str | os.PathLike[str], style: Style) -> None:
    """Write a style file, whole or not at all.

    Args:
        path: Where to; an existing file is replaced.
        style: Of one picture, or mixed: moments without leading dimensions. Its features are left out.

    Raises:
        ValueError: A batch of styles, or the file cannot be written.
    """
    path, style = as_path("path", path), check_kind("style", style, Style, "extract_style")
    arrays = {
        f"{layer}/{part}": np.asarray(getattr(moments, part), np.float32, order="C")
        for layer, moments in style.moments.items()
        for part in _PARTS
    }
    if any(arrays[f"{layer}/count"].ndim for layer in style.moments):
        raise ValueError("a style file holds one style: got moments with leading dimensions")
    document = json.dumps({"format": FORMAT, "digest": style.digest, "checksum": checksum_of(arrays)})
    with atomic_write(path) as scratch:
        # Not by save_file, which hides the system's complaint when a disk is full.
        scratch.write_bytes(save(arrays, {METADATA_KEY: document}))


def load_style(path: str | os.PathLike[str]) -> Style:
    """Read a style file and verify it.

    Args:
        path: The file.

    Returns:
        The style that was saved.

    Raises:
        ValueError: No such file, not a style file, cut short or damaged.
    """
    path = as_path("path", path)
    if not os.path.isfile(path):
        raise ValueError(f"there is no style file {path}{': it is a directory' if os.path.isdir(path) else ''}")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (safetensors.SafetensorError, OSError, TypeError) as error:
        raise ValueError(f"{path} is not a style file, or is cut short: {error}") from error
    if METADATA_KEY not in metadata:
        what = "a model file" if MODEL_KEY in metadata else "no style file"
        raise ValueError(f"{path} is {what}: expected one that --save-style or save_style made")
    document = _document(path, metadata[METADATA_KEY])
    checksum = checksum_of(arrays)
    if checksum != document["checksum"]:
        raise ValueError(f"{path} is damaged: its checksum is {checksum[:12]}, expected {document['checksum'][:12]}")
    layers = [layer for layer in reversed(LAYERS) if f"{layer}/mean" in arrays]
    if set(arrays) != {f"{layer}/{part}" for layer in layers for part in _PARTS} or not layers:
        raise ValueError(f"{path} does not hold count, mean and scatter for layers of {', '.join(LAYERS)}")
    for layer in layers:
        count, mean, scatter = (arrays[f"{layer}/{part}"] for part in _PARTS)
        if count.shape or mean.ndim != 1 or scatter.shape != 2 * mean.shape:
            raise ValueError(f"{path} has moments of {layer} of shapes {count.shape}, {mean.shape}, {scatter.shape}")
        if not all(np.isfinite(arrays[f"{layer}/{part}"]).all() for part in _PARTS):
            raise ValueError(f"{path} has moments of {layer} that are not finite")
    each = {n: Moments(*(jnp.asarray(arrays[f"{n}/{part}"], jnp.float32) for part in _PARTS)) for n in layers}
    return Style(each, document["digest"])


def is_style_file(path: str | os.PathLike[str]) -> bool:
    """Whether a path looks like that of a style file: by its suffix, whatever the file holds."""
    return Path(path).suffix.lower() == SUFFIX


def _document(path: str | os.PathLike[str], text: str) -> dict[str, Any]:
    document: dict[str, Any] = {}
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        document = dict(json.loads(text))
    if document.get("format", FORMAT) != FORMAT:
        raise ValueError(f"{path} has format {document['format']}, and this version of wct_jax reads format {FORMAT}")
    if not all(isinstance(document.get(key), str) for key in ("digest", "checksum")):
        raise ValueError(f"{path} is not a style file: its metadata does not say format, digest and checksum")
    return document
