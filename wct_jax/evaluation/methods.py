"""Methods: the ways of painting, and the folders of results, that an evaluation compares."""

import dataclasses
import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from wct_jax.painting.options import Options
from wct_jax.pictures.formats import PICTURE_SUFFIXES
from wct_jax.pictures.scan import scan
from wct_jax.studio.jobs import plain_name
from wct_jax.studio.request import Look


class Method(NamedTuple):
    """One way of painting with one setting.

    Attributes:
        name: Its name in the report, shared by all settings of one curve.
        setting: The setting, such as "alpha 0.5"; empty for the one that the tables show.
        options: How a session paints; None for results that are there.
        model: The model that paints, as `load_model` takes it.
        results: Results that are there, by `PHOTO__STYLE`.
    """

    name: str
    setting: str = ""
    options: Options | None = None
    model: str = ""
    results: dict[str, Path] = {}  # noqa: RUF012 - never written to

    @property
    def title(self) -> str:
        """The name with the setting."""
        return f"{self.name}, {self.setting}" if self.setting else self.name

    def result_of(self, content: Path, style: Path) -> Path | None:
        """The file of a result that is there."""
        return self.results.get(plain_name(content, Look((style,))))


def parse_method(text: str) -> Options:
    """Read a method and its options, such as `cascade`, `cascade,transform=ot` or `one-pass,structure=0.3`.

    Several values are joined by +, as in `cascade,swap_layers=relu3_1+relu2_1`.

    Raises:
        ValueError: It is written in another way, or names no method or option, or a value that `Options` refuses.
    """
    method, *pairs = text.split(",")
    values: dict[str, object] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name or name in values:
            raise ValueError(f"`method` takes a name and options, as in cascade,transform=ot, got {text[:80]!r}")
        values[name] = _value(name, value)
    if refused := {"method", "content_size", "style_size", "photo"} & set(values):
        raise ValueError(f"`method` takes no {min(refused)} among its options, got {text[:80]!r}")
    return Options.from_json(json.dumps({"method": method} | values))


_OF_SEVERAL = ("layers", "swap_layers", "protect")


def _value(name: str, text: str) -> object:
    parts = [_plain(part) for part in text.split("+")]
    return parts if len(parts) > 1 or name in _OF_SEVERAL else parts[0]


def _plain(text: str) -> object:
    if re.fullmatch(r"[0-9.]+(e-?[0-9]+)?|true|false|null", text):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def painted(
    specs: Sequence[str], models: Sequence[str], alphas: Sequence[float], structures: Sequence[float]
) -> list[Method]:
    """The methods of sessions: each of `specs` by each of `models`, at the settings of its curve and at its own.

    Args:
        specs: Methods as `parse_method` reads them.
        models: Models as `load_model` takes them.
        alphas: Alphas of a cascade's curve.
        structures: Structures of one pass's curve.
    """
    methods = []
    for model, spec in itertools.product(models, specs):
        own = parse_method(spec)
        name = spec.replace(",", ", ").replace("=", " ")
        name = f"{Path(model).stem} {name}" if len(models) > 1 else name
        curve: dict[str, Iterable[float]] = {"cascade": alphas, "one-pass": structures}
        field = "structure" if own.method == "one-pass" else "alpha"
        for value in curve.get(own.method or "", ()):
            if value != getattr(own, field):
                changed = dataclasses.replace(own, **{field: value})  # type: ignore[arg-type]
                methods.append(Method(name, f"{field} {value:g}", changed, model))
        methods.append(Method(name, "", own, model))
    return methods


def found(folder: Path) -> Method:
    """The method whose results are in a folder, called `PHOTO__STYLE.png` or as `stylize.py` calls them.

    Raises:
        ValueError: There is no picture in the folder.
    """
    results: dict[str, Path] = {}
    files = scan(folder, PICTURE_SUFFIXES).files
    for path in files:
        results.setdefault(path.stem, path)
    # Names of many results end in a mark, see `wct_jax.studio.jobs.named`; a style's own name may look like one.
    for path in files:
        results.setdefault(re.sub(r"__[a-z2-7]{12}$", "", path.stem), path)
    return Method(os.path.basename(os.path.realpath(folder)), results=results)


def digest_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
