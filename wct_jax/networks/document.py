"""The JSON document in the metadata of a model file: what the model is, and where it comes from."""

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from wct_jax.checks.printable import printable
from wct_jax.networks.vgg import LAYERS, depth_of

# With one encoder, and with several.
FORMAT, FORMAT_OF_SEVERAL = 1, 2
# Far beyond any network's, and small enough for sizes of arrays to be plain numbers.
_WIDEST = 1 << 16
# A distillation's record holds those of its teachers. Python's own limit is tens of times that.
_DEEPEST = 50


def parse_document(path: str | os.PathLike[str], text: str) -> dict[str, Any]:
    """Parse a document, and check the type of everything that is read from it anywhere.

    Args:
        path: The model file, for messages.
        text: JSON.

    Raises:
        ValueError: It is no document, or one of an unknown format.
    """
    metadata = _parsed(text) or {}
    version, widths, layers, digest = (metadata.get(key) for key in ("format", "widths", "layers", "digest"))
    if isinstance(version, int | float | str) and version not in (FORMAT, FORMAT_OF_SEVERAL):
        raise ValueError(
            f"{path} has format {printable(version, 20)}, and this version of wct_jax reads formats {FORMAT} and "
            f"{FORMAT_OF_SEVERAL}"
        )
    fits = (
        type(version) is int
        and isinstance(widths, list)
        and 1 <= len(widths) <= len(LAYERS)
        and all(type(width) is int and 0 < width <= _WIDEST for width in widths)
        and isinstance(layers, list)
        and all(layer in LAYERS[: len(widths)] for layer in layers)
        and isinstance(digest, str)
        and isinstance(metadata.get("checksum", ""), str)
    )
    if not fits:
        raise ValueError(f"{path} is not a model file: its metadata does not say format, widths, layers and digest")
    wrong = [key for key, of_type in _RECORDS.items() if key in metadata and not of_type(metadata[key])]
    if wrong:
        raise ValueError(f"{path} has metadata whose {' and '.join(wrong)} cannot be made sense of")
    if _is_deep(metadata):
        raise ValueError(f"{path} has metadata nested deeper than {_DEEPEST}")
    return metadata


def own_encoders(path: str | os.PathLike[str], metadata: Mapping[str, Any]) -> dict[str, list[int]]:
    """The widths of the encoders of layers that have one of their own.

    Args:
        path: The model file, for messages.
        metadata: From `parse_document`.

    Raises:
        ValueError: It does not describe such encoders.
    """
    own = metadata.get("encoders") if metadata["format"] == FORMAT_OF_SEVERAL else {}
    shallow = LAYERS[: len(metadata["widths"]) - 1]
    fits = isinstance(own, dict) and all(
        layer in shallow
        and isinstance(widths, list)
        and len(widths) == depth_of(layer)
        and all(type(width) is int and 0 < width <= _WIDEST for width in widths)
        for layer, widths in own.items()
    )
    sources = metadata.get("sources", {})
    recorded = isinstance(sources, dict) and all(
        isinstance(each, dict) and isinstance(each.get("source", {}), dict) for each in sources.values()
    )
    if not (fits and recorded):
        raise ValueError(f"{path} is not a model file: its metadata does not say what encoders it has")
    return own  # type: ignore[return-value]


def update_document(path: str | os.PathLike[str], text: str, facts: Mapping[str, Any]) -> str:
    """A document with some facts brought up to date, which `parse_document` accepts.

    Args:
        path: The model file, for messages.
        text: JSON.
        facts: What replaces the values of the same keys.

    Raises:
        ValueError: It is no JSON object, or a value has a wrong type.
    """
    said = _parsed(text)
    if said is None or _is_deep(said):
        raise ValueError(f"cannot write {path}: the model's document must be a JSON object, not nested {_DEEPEST} deep")
    document = json.dumps({**said, **facts}, indent=1)
    parse_document(path, document)
    return document


def _parsed(text: str) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(text)
        return value if isinstance(value, dict) else None
    return None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_record(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key, ""), str) for key in ("kind", "file"))


# What a document may say besides, which reports and later trainings read.
_RECORDS: dict[str, Callable[[Any], bool]] = {
    "source": lambda value: _is_text(value) or _is_record(value),
    "decoders": lambda value: isinstance(value, dict) and all(map(_is_record, value.values())),
    "distillations": lambda value: isinstance(value, list) and all(isinstance(record, dict) for record in value),
    **dict.fromkeys(("preprocessing", "normalisation", "licence"), _is_text),
}


def _is_deep(value: object) -> bool:
    layer = [value]
    for _ in range(_DEEPEST):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(layer)
