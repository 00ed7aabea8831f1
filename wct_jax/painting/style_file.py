"""The style file: the moments of a style, a few MB, to use in place of its picture."""

import json
import os
import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from wct_jax.checks.arguments import as_path, check_kind
from wct_jax.checks.printable import printable
from wct_jax.networks.digest import checksum_of
from wct_jax.networks.document import parse_object
from wct_jax.networks.model_file import METADATA_KEY as MODEL_KEY
from wct_jax.networks.model_file import STYLE_METADATA_KEY as METADATA_KEY
from wct_jax.networks.tensor_file import MISSING, open_tensors, unreadable, write_tensors
from wct_jax.networks.vgg import LAYERS
from wct_jax.painting.style import COLORS, Style
from wct_jax.transform.statistics import Moments

FORMAT = 1
SUFFIX = ".safetensors"
_PARTS = ("count", "mean", "scatter")
# Whitening and coloring in float32 stay finite up to this and beyond.
_LARGEST = 1e15
# Relative error that sums in float32 may have, each in another order.
_ROUNDING = 1e-3


def save_style(path: str | os.PathLike[str], style: Style) -> None:
    """Write a style file, whole or not at all.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_style(f"{folder}/white.safetensors", white_style(load_model("compact"), ["relu1_1"]))
    ...     list(load_style(f"{folder}/white.safetensors").moments)
    ['relu1_1']

    Args:
        path: Path of the file; an existing one is replaced.
        style: One style, with moments without leading dimensions. Its features are left out.

    Raises:
        ValueError: The style is a batch or has impossible moments, or the file cannot be written.
    """
    path, style = as_path("path", path), check_kind("style", style, Style, "extract_style")
    arrays = {
        f"{layer}/{part}": np.asarray(getattr(moments, part), np.float32, order="C")
        for layer, moments in style.moments.items()
        for part in _PARTS
    }
    if any(arrays[f"{layer}/count"].ndim for layer in style.moments):
        raise ValueError("a style file holds one style: got moments with leading dimensions")
    for layer in style.moments:
        fault = _fault(*(arrays[f"{layer}/{part}"] for part in _PARTS))
        if fault:
            raise ValueError(f"cannot write {path}: the style has moments of {layer} {fault}")
    document = json.dumps({"format": FORMAT, "digest": style.digest, "checksum": checksum_of(arrays)})
    write_tensors(path, arrays, {METADATA_KEY: document})


def load_style(path: str | os.PathLike[str]) -> Style:
    """Read a style file, such as `save_style` writes, and verify it.

    Raises:
        ValueError: There is no such file, or it is not a style file, cut short or damaged.
    """
    path = as_path("path", path)
    reason = unreadable(path)
    if reason:
        raise ValueError(
            f"there is no style file {path}" if reason == MISSING else f"cannot read the style file {path}: {reason}"
        )
    arrays: dict[str, np.ndarray] = {}
    try:
        with open_tensors(path) as file:
            metadata = file.metadata
            if METADATA_KEY in metadata:
                arrays = dict(file)
    except ValueError as error:
        raise ValueError(f"{path} is not a style file, or is cut short: {error}") from error
    if METADATA_KEY not in metadata:
        what = "a model file" if MODEL_KEY in metadata else "no style file"
        raise ValueError(f"{path} is {what}: expected one that --save-style or save_style made")
    document = _document(path, metadata[METADATA_KEY])
    checksum = checksum_of(arrays)
    if checksum != document["checksum"]:
        raise ValueError(f"{path} is damaged: its checksum is {checksum[:12]}, expected {document['checksum'][:12]}")
    layers = [layer for layer in (*reversed(LAYERS), COLORS) if f"{layer}/mean" in arrays]
    if set(arrays) != {f"{layer}/{part}" for layer in layers for part in _PARTS} or not layers:
        raise ValueError(f"{path} does not hold count, mean and scatter for layers of {', '.join(LAYERS)}")
    for layer in layers:
        fault = _fault(*(arrays[f"{layer}/{part}"] for part in _PARTS))
        if fault:
            raise ValueError(f"{path} has moments of {layer} {fault}")
    each = {n: Moments(*(jnp.asarray(arrays[f"{n}/{part}"], jnp.float32) for part in _PARTS)) for n in layers}
    return Style(each, document["digest"])


def is_style_file(path: str | os.PathLike[str]) -> bool:
    """Whether a path has the suffix of a style file, whatever the file holds."""
    return Path(path).suffix.lower() == SUFFIX


def _document(path: str | os.PathLike[str], text: str) -> dict[str, Any]:
    document = parse_object(text) or {}
    version = document.get("format", FORMAT)
    if isinstance(version, int | float | str) and version != FORMAT:
        raise ValueError(
            f"{path} has format {printable(version, 20)}, and this version of wct_jax reads format {FORMAT}"
        )
    # Hexadecimal, so that messages can quote them.
    texts = [document.get(key) for key in ("digest", "checksum")]
    if version != FORMAT or not all(
        isinstance(text, str) and re.fullmatch(r"\w{0,128}", text, re.ASCII) for text in texts
    ):
        raise ValueError(f"{path} is not a style file: its metadata does not say format, digest and checksum")
    return document


def _fault(count: np.ndarray, mean: np.ndarray, scatter: np.ndarray) -> str | None:
    """The fault of impossible moments, worded to follow "moments of relu3_1 "; None if they are possible."""
    if count.shape or mean.ndim != 1 or scatter.shape != 2 * mean.shape or not mean.size:
        return f"of shapes {count.shape}, {mean.shape}, {scatter.shape}"
    for name, array in (("count", count), ("mean", mean), ("scatter", scatter)):
        if array.dtype != np.float32:
            return f"whose {name} is {array.dtype}, expected float32"
    if not all(np.isfinite(array).all() for array in (count, mean, scatter)):
        return "that are not finite"
    if count <= 0:
        return f"over a count of {count}, expected a positive one"
    if max(abs(mean).max(), abs(scatter).max() / max(count, 1)) > _LARGEST:
        return f"beyond {_LARGEST:g}, which no feature reaches"
    # Variances bound covariances: |s_ij| <= sqrt(s_ii s_jj). In double precision, which no product overflows.
    scatter = scatter.astype(np.float64)
    spread = np.sqrt(np.maximum(scatter.diagonal(), 0))
    slack = _ROUNDING * (np.outer(spread, spread) + spread.max() ** 2 * _ROUNDING)
    if (scatter.diagonal() < 0).any():
        return "whose scatter has a negative variance"
    if (abs(scatter) - np.outer(spread, spread) > slack).any():
        return "whose scatter has covariances larger than its variances allow"
    if (abs(scatter - scatter.T) > slack).any():
        return "whose scatter is not symmetric"
    return None
