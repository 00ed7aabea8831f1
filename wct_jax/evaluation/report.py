"""The report: a folder with a page that opens from the disk, its pictures, and the figures as JSON and CSV."""

import csv
import dataclasses
import hashlib
import importlib.resources
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wct_jax.evaluation.run import Outcome
from wct_jax.evaluation.summary import FIGURES, summarise
from wct_jax.system.atomic import atomic_write

_PAGES = {False: ("index.html", "report.css", "report.js"), True: ("vote.html", "vote.js")}


@dataclass(frozen=True)
class About:
    """What a report says of itself.

    Attributes:
        judge: Name of the judge.
        size: Short side of photos and styles in pixels; None for their own.
        notes: Sentences that a reader must know.
        vote: Whether it has the page where people choose.
    """

    judge: str
    size: int | None
    notes: Sequence[str]
    vote: bool


def write_report(folder: Path, outcome: Outcome, about: About) -> None:
    """Write the page, `data.js` that it reads, `report.json` and `figures.csv`.

    Args:
        folder: The folder, with the pictures.
        outcome: What came of the run.
        about: What the report says of itself.

    Raises:
        ValueError: A file cannot be written.
    """
    records = outcome.records
    summaries = summarise(records)
    marks = sorted({record["key"] for record in records if record["kind"] == "pair"})
    report = {
        # Votes are of this set of pictures.
        "id": hashlib.sha256(" ".join(marks).encode()).hexdigest()[:12],
        "about": dataclasses.asdict(about) | {"notes": list(about.notes)},
        "figures": {name: figure._asdict() for name, figure in FIGURES.items()},
        "summaries": summaries,
    }
    _write(folder / "report.json", json.dumps(report | {"results": records}, indent=1))
    _write(folder / "figures.csv", _table(records))
    page = report | {"pictures": outcome.pictures, "pairs": _pairs(records)}
    # A page opened from the disk may load a script and no JSON.
    _write(folder / "data.js", f"window.REPORT = {json.dumps(page, separators=(',', ':'))}\n")
    pages = importlib.resources.files("wct_jax.evaluation") / "page"
    for name in (*_PAGES[False], *(_PAGES[True] if about.vote else ())):
        _write(folder / name, (pages / name).read_text(encoding="utf-8"))


def _pairs(records: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """For each photo and style the results, `[method, setting, picture, figures ...]`, in as few letters as may be."""
    pairs: dict[tuple[str, str], list[Any]] = {}
    names = [name for name, figure in FIGURES.items() if figure.kind == "pair"]
    for record in records:
        if record["kind"] == "pair":
            figures = [None if record.get(name) is None else float(f"{record[name]:.4g}") for name in names]
            row = [record["method"], record["setting"], record["picture"], *figures]
            pairs.setdefault((record["content"], record["style"]), []).append(row)
    return [[content, style, rows] for (content, style), rows in pairs.items()]


def _table(records: Sequence[dict[str, Any]]) -> str:
    columns = ["method", "setting", "kind", "content", "style", *FIGURES, "first", "picture"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as scratch:
        scratch.write_text(text, encoding="utf-8")
