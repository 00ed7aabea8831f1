"""The JSON document in a model file's metadata, which describes the model and its origin."""

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from wct_jax.checks.printable import printable
from wct_jax.networks.vgg import LAYERS, depth_of

# Of a model with one encoder, and with several.
FORMAT, FORMAT_OF_SEVERAL = 1, 2
# Far beyond any network's width, and small enough that sizes of arrays do not overflow.
_WIDEST = 1 << 16
# The record of a distillation holds those of its teachers. Python's own limit is tens of times this.
_DEEPEST = 50


def parse_document(path: str | os.PathLike[str], text: str) -> dict[str, Any]:
    """Parse a document, and check the type of every value that is read from it anywhere.

    Args:
        path: Path of the model file, for messages.
        text: JSON.

    Raises:
        ValueError: It is no document, or its format is unknown.
    """
    metadata = parse_object(text) or {}
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
        and all(map(_is_width, widths))
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
    """The widths of the encoders of layers that have their own.

    Args:
        path: Path of the model file, for messages.
        metadata: Document that `parse_document` returned.

    Raises:
        ValueError: The document does not describe such encoders.
    """
    own = metadata.get("encoders") if metadata["format"] == FORMAT_OF_SEVERAL else {}
    shallow = LAYERS[: len(metadata["widths"]) - 1]
    fits = isinstance(own, dict) and all(
        layer in shallow and isinstance(widths, list) and len(widths) == depth_of(layer) and all(map(_is_width, widths))
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
    """Update facts of a document; `parse_document` accepts the result.

    Args:
        path: Path of the model file, for messages.
        text: JSON.
        facts: Keys to set, and their values.

    Raises:
        ValueError: The text is no JSON object, or a value has a wrong type.
    """
    said = parse_object(text)
    if said is None or _is_deep(said):
        raise ValueError(f"cannot write {path}: the model's document must be a JSON object, not nested {_DEEPEST} deep")
    document = json.dumps({**said, **facts}, indent=1)
    parse_document(path, document)
    return document


def parse_object(text: str) -> dict[str, Any] | None:
    """The JSON object in a text; None if it is none, or nested without end."""
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(text)
        return value if isinstance(value, dict) else None
    return None


def _is_width(value: object) -> bool:
    return type(value) is int and 0 < value <= _WIDEST


def _is_record(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key, ""), str) for key in ("kind", "file"))


# Optional records, which reports and later training runs read.
_RECORDS: dict[str, Callable[[Any], bool]] = {
    "source": lambda value: isinstance(value, str) or _is_record(value),
    "decoders": lambda value: isinstance(value, dict) and all(map(_is_record, value.values())),
    "painter": _is_record,
    "distillations": lambda value: isinstance(value, list) and all(isinstance(record, dict) for record in value),
    **dict.fromkeys(("preprocessing", "normalisation", "licence"), lambda value: isinstance(value, str)),
}


def _is_deep(value: object) -> bool:
    layer = [value]
    for _ in range(_DEEPEST):
        inner = (x.values() if isinstance(x, dict) else x for x in layer if isinstance(x, dict | list))
        layer = list(itertools.chain.from_iterable(inner))
    return bool(layer)
