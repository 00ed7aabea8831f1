"""A kit: all that a worker needs beside the photos, in one value that is sent once and shared by reference."""

import base64
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from wct_jax.checks.arguments import described
from wct_jax.networks.model_file import model_path
from wct_jax.painting.options import Options
from wct_jax.studio.jobs import plain_name
from wct_jax.studio.limits import Limits
from wct_jax.studio.request import Look, Request
from wct_jax.studio.sources import Source

_MAPS = ("alpha_map", "strength", "structure")


@dataclass(frozen=True, eq=False)
class Kit:
    """How photos are painted, with the content of all files that this takes.

    Attributes:
        model: The name or path of the model.
        looks: The looks, each with its files as paths; every photo is painted in each.
        options: Options of the painting.
        maps: Paths of the maps that a `Request` takes beside the options.
        limits: The most that a worker may take.
        suffix: Suffix of the results, which says their format.
        settings: Whether a PNG says how it was made.
        files: The content of the files by path; that of a packaged model is left out.
    """

    model: str
    looks: tuple[Look, ...]
    options: Options = Options()
    maps: dict[str, Path] = field(default_factory=dict)
    limits: Limits = Limits()
    suffix: str = ".png"
    settings: bool = True
    files: dict[Path, bytes] = field(default_factory=dict)

    @classmethod
    def packed(cls, model: str | os.PathLike[str], looks: Sequence[Look], options: Options, **named: Any) -> "Kit":
        """Read the files of looks, maps and model.

        Raises:
            ValueError: One cannot be read, or is no file.
        """
        kit = cls(os.fspath(model), tuple(map(_of_paths, looks)), options, **named)
        paths = [*kit.maps.values(), *(path for look in kit.looks for path in _paths(look))]
        if kit.model != "compact":
            paths.append(model_path(kit.model))
        files = {}
        for path in dict.fromkeys(paths):
            try:
                files[path] = path.read_bytes()
            except OSError as error:
                raise ValueError(f"cannot read {path}: {error.strerror}") from None
        return dataclasses.replace(kit, files=files)

    def unpack(self, folder: Path) -> "Kit":
        """Write the files into a folder, each under its own name, and return a kit with their paths there."""
        places = self._places(folder)
        for path, content in self.files.items():
            places[path].parent.mkdir(parents=True, exist_ok=True)
            places[path].write_bytes(content)
        moved = {name: places[path] for name, path in self.maps.items()}
        looks = tuple(_moved(look, places.__getitem__) for look in self.looks)
        model = self.model if self.model == "compact" else os.fspath(places[model_path(self.model)])
        return dataclasses.replace(self, model=model, looks=looks, maps=moved, files={})

    def said(self, sentence: object, folder: Path) -> str:
        """A sentence on files that were unpacked into a folder, with their own paths."""
        text = str(sentence)
        for path, place in self._places(folder).items():
            text = text.replace(str(place), str(path))
        return text

    def _places(self, folder: Path) -> dict[Path, Path]:
        return {path: folder / str(number) / path.name for number, path in enumerate(self.files)}

    def requests(self, photo: Source | None = None) -> list[Request]:
        """A request for each look; checked, also without a photo.

        Raises:
            ValueError: Looks, options and maps contradict each other.
        """
        nothing = np.zeros((1, 1, 3), np.float32)
        maps: dict[str, Any] = dict(self.maps)
        return [Request(nothing if photo is None else photo, look, self.options, **maps) for look in self.looks]

    def keys(self) -> list[str]:
        """For each look a hash of all that the results depend on beside the photo: options, model, styles, maps."""
        digests = {path: hashlib.sha256(content).hexdigest() for path, content in self.files.items()}
        model = "compact" if self.model == "compact" else digests[model_path(self.model)]
        if model == "compact":
            model = hashlib.sha256(model_path(model).read_bytes()).hexdigest()
        common = {"options": self.options.digest, "model": model, "suffix": self.suffix, "settings": self.settings}
        common |= {"maps": {name: digests[path] for name, path in sorted(self.maps.items())}}
        common |= {"tile": self.limits.tile}
        return [_hash(common | {"look": _described(look, digests)}) for look in self.looks]

    def target(self, source: str, number: int, key: str) -> str:
        """The name of a photo's result in a look, without its suffix: its folder and `PHOTO__STYLE__MARK`.

        The mark is a hash of the photo's whole name and the look's key. So no two results share a name, and a result of
        other options has another.
        """
        # An object store takes any name for a file, a folder does not.
        parents = [part if part not in ("", ".", "..") else "_" for part in source.split("/")[:-1]]
        mark = base64.b32encode(hashlib.sha256(f"{key}\0{source}".encode(errors="surrogateescape")).digest()[:10])
        name = plain_name(Path(PurePosixPath(source).name), self.looks[number])
        return "/".join([*parents, f"{name}__{mark.decode('ascii').lower()[:12]}"])


def _of_paths(look: Look) -> Look:
    return _moved(look, _path)


def _path(source: Any) -> Path:
    if not isinstance(source, str | os.PathLike):
        raise ValueError(f"the styles and masks of a collection must be paths of files, got {described(source)}")
    return Path(source)


def _paths(look: Look) -> list[Path]:
    return [path for path in (*look.files, *look.style_masks, *look.masks) if path is not None]


def _moved(look: Look, place: Callable[[Any], Path]) -> Look:
    named: dict[str, Any] = {
        name: tuple(None if path is None else place(path) for path in getattr(look, name))
        for name in ("files", "style_masks", "masks")
    }
    return dataclasses.replace(look, **named)


def _described(look: Look, digests: dict[Path, str]) -> dict[str, Any]:
    named: dict[str, Any] = {
        name: [path and digests[path] for path in getattr(look, name)] for name in ("files", "style_masks", "masks")
    }
    return named | {"weights": look.weights}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
