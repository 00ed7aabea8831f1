"""The run of an evaluation: every pair by every method, painted, judged and recorded."""

import functools
import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from wct_jax.evaluation.judge import Judge, Seen, rebuilt
from wct_jax.evaluation.methods import Method, digest_of
from wct_jax.evaluation.records import Records
from wct_jax.networks.model import Model
from wct_jax.pictures.images import read_image
from wct_jax.pictures.output import write_image
from wct_jax.studio.limits import Limits
from wct_jax.studio.request import Look, Request
from wct_jax.studio.session import Session
from wct_jax.system.atomic import discard_leftovers
from wct_jax.system.peak import peak, restart_peak

Report = Callable[[str, int, int], None]


class Task(NamedTuple):
    """What is compared.

    Attributes:
        methods: The methods.
        pairs: Photos, each with a style.
        names: The names of all photos and styles in the report.
        size: Length in pixels of the short side of photos and styles; None for their own.
    """

    methods: Sequence[Method]
    pairs: Sequence[tuple[Path, Path]]
    names: dict[Path, str]
    size: int | None


class Outcome(NamedTuple):
    """What came of a task.

    Attributes:
        records: The figures of each result, with a photo in its own style as its own record, `kind` "rebuilt".
        pictures: The pictures of photos and styles in the report, by name.
        failures: Why results could not be made or judged.
        kept: How many of the records an earlier run had made.
    """

    records: list[dict[str, Any]]
    pictures: dict[str, str]
    failures: list[str]
    kept: int


def run(task: Task, judge: Judge, folder: Path, note: Callable[[str], None], report: Report) -> Outcome:
    """Paint, judge and record what no earlier run in this folder has.

    Args:
        task: What is compared.
        judge: The judge.
        folder: Folder of the report.
        note: Called with sentences that a person should know of the files.
        report: Called with what is done, the number of steps done, and the number of steps in all.

    Raises:
        ValueError: A model cannot be loaded or cannot paint, or the folder cannot be written to.
    """
    # Before the folder is made, since a model may be missing or unable.
    sessions = _sessions(task, note)
    records = Records(folder)
    try:
        (folder / "pictures").mkdir(exist_ok=True)
        discard_leftovers(folder)
        return _Run(task, judge, folder, records, sessions).all(report)
    finally:
        records.close()


def _sessions(task: Task, note: Callable[[str], None]) -> dict[str, Session]:
    """A session for each model, which can paint by all of its methods."""
    sessions: dict[str, Session] = {}
    for method in task.methods:
        if method.options:
            if method.model not in sessions:
                # Styles are extracted again for each result: its seconds are those of a new style.
                sessions[method.model] = Session(method.model, Limits(styles=0), keep_compiled=True, note=note)
            content, style = task.pairs[0]
            sessions[method.model].resolve(Request(content, Look((style,)), method.options))
    return sessions


class _Run:
    def __init__(self, task: Task, judge: Judge, folder: Path, records: Records, sessions: dict[str, Session]) -> None:
        self._task, self._judge, self._folder, self._records, self._sessions = task, judge, folder, records, sessions
        self._digest = functools.cache(digest_of)
        self._warm: set[object] = set()
        self._read = functools.lru_cache(2)(functools.partial(read_image, short_side=task.size))
        self._seen = functools.lru_cache(16)(self._see)

    def all(self, report: Report) -> Outcome:
        found: list[dict[str, Any]] = []
        failures: list[str] = []
        kept = 0
        jobs = [(*pair, "pair") for pair in self._task.pairs]
        own = [(content, content, "rebuilt") for content in dict.fromkeys(content for content, _ in self._task.pairs)]
        total = sum(len(jobs) + (not method.setting) * len(own) for method in self._task.methods)
        painters = {name: _fingerprint(session.model) for name, session in self._sessions.items()}
        done = 0
        for method in self._task.methods:
            painter = f"{method.options.digest} {painters[method.model]}" if method.options else ""
            for content, style, kind in jobs + ([] if method.setting else own):
                report(method.title, done, total)
                done += 1
                try:
                    result = None if method.options else method.result_of(content, style)
                    if result is None and not method.options:
                        if kind == "pair":
                            failures.append(f"{method.name} has no result of {content} in the style of {style}")
                        continue
                    key = self._key(kind, painter if result is None else self._digest(result), content, style)
                    record = self._records.get(key)
                    if record and (self._folder / record["picture"]).is_file():
                        kept += 1
                    else:
                        record = self._make(key, kind, method, content, style, result)
                        self._records.add(record)
                except ValueError as error:
                    failures.append(str(error))
                    continue
                names = self._task.names
                shown = {"method": method.name, "setting": method.setting, "kind": kind}
                found.append(shown | {"content": names[content], "style": names[style]} | record)
        report("the report", done, total)
        pictures = {name: self._shown(path) for path, name in self._task.names.items()} if found else {}
        return Outcome(found, pictures, failures, kept)

    def _key(self, kind: str, painter: str, content: Path, style: Path) -> str:
        parts = [kind, painter, self._digest(content), self._digest(style), self._task.size, self._judge.digest]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]

    def _make(
        self,
        key: str,
        kind: str,
        method: Method,
        content: Path,
        style: Path,
        result: Path | None,
    ) -> dict[str, Any]:
        picture = f"pictures/{key}.png"
        spent: dict[str, Any] = {"seconds": None, "memory": None, "first": False}
        if result is not None:
            pixels = read_image(result)
        else:
            assert method.options
            photo, look = self._read(content), self._read(style)
            shapes = (method.title, photo.shape, look.shape)
            restart_peak()
            start = time.perf_counter()
            pixels = self._sessions[method.model].paint(photo, look, method.options).pixels
            # The first of a size is compiled.
            spent = {"seconds": time.perf_counter() - start, "memory": peak(), "first": shapes not in self._warm}
            self._warm.add(shapes)
            # Judged as a file has it.
            pixels = (np.rint(pixels.clip(0, 1) * 255) / 255).astype(np.float32)
        write_image(self._folder / picture, pixels)
        if kind == "rebuilt":
            if pixels.shape != self._read(content).shape:
                raise ValueError(f"expected a result as large as {content}, got another size")
            figures = rebuilt(pixels, self._read(content))
        else:
            figures = self._judge.compare(self._judge.see(pixels), self._seen(content), self._seen(style))
        return {"key": key, "picture": picture} | spent | {name: _finite(x) for name, x in figures.items()}

    def _see(self, path: Path) -> Seen:
        return self._judge.see(self._read(path))

    def _shown(self, path: Path) -> str:
        """The photo or style as it was painted, in the report's folder."""
        name = f"pictures/{self._digest(path)[:16]}-{self._task.size or 'full'}.jpg"
        if not (self._folder / name).is_file():
            write_image(self._folder / name, self._read(path))
        return name


def _finite(value: float) -> float | None:
    # JSON has no infinity, which is the PSNR of equal pictures, nor NaN, the calm of a photo without flat parts.
    return value if math.isfinite(value) else None


def _fingerprint(model: Model) -> str:
    """A hash of all that paints: the digest of a model is that of its encoders alone."""
    hashed = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(model):
        hashed.update(f"{jax.tree_util.keystr(path)} {leaf.shape}".encode())
        hashed.update(np.asarray(leaf).tobytes())
    return hashed.hexdigest()
