"""Summaries: what the figures of all pairs say of a method."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from wct_jax.measures.bootstrap import bootstrap_mean


class Figure(NamedTuple):
    """A figure of the report.

    Attributes:
        title: Its title, with the unit.
        better: "low", "high", or "" where neither is.
        digits: Digits after the point.
        about: A sentence that says how to read it.
        kind: The kind of record that has it.
    """

    title: str
    better: str
    digits: int
    about: str
    kind: str = "pair"


FIGURES = {
    "style_distance": Figure(
        "style distance",
        "low",
        3,
        "How far the covariances of the judge's features at relu1_1, relu2_1 and relu3_1 are from the style's, as a "
        "share of these. 0 is the style's own statistics.",
    ),
    "ssim": Figure(
        "content SSIM",
        "high",
        3,
        "Structural similarity of the grey result and the grey photo. More of it is a photo left as it was: read it "
        "together with the style distance.",
    ),
    "cfsd": Figure(
        "CFSD",
        "low",
        4,
        "Whether the places that are alike in the photo are alike in the result: the divergence of the "
        "self-similarities of the judge's conv3_1 before its ReLU, the mean over all places.",
    ),
    "color_distance": Figure(
        "colour distance",
        "low",
        3,
        "Sliced Wasserstein distance between the colours of the result and the style's, in 0..1.",
    ),
    "calm": Figure(
        "flat-region calm",
        "high",
        3,
        "1 if flat parts of the photo have no grid of pixels that the style does not have; strokes do not count. Only "
        "of photos with flat parts.",
    ),
    "rebuilt_psnr": Figure(
        "PSNR of reconstruction, dB", "high", 2, "Of each photo painted in its own style, against itself.", "rebuilt"
    ),
    "rebuilt_ssim": Figure(
        "SSIM of reconstruction", "high", 3, "Of each photo painted in its own style, against itself.", "rebuilt"
    ),
    "seconds": Figure(
        "seconds", "low", 2, "For one result, with the extraction of its style, without compilation and files."
    ),
    "memory": Figure("memory, MB", "low", 0, "The most that the process had at once, models included."),
}


def summarise(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The summary of each method at each setting, in the order of the records.

    Args:
        records: Records of a run.

    Returns:
        `method`, `setting`, and for each figure the number `n` of pairs that have it, `mean`, `median`, and the ends
        `low` and `high` of the mean's 95 % bootstrap interval; None if no pair has it.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault((record["method"], record["setting"]), []).append(record)
    return [
        {"method": method, "setting": setting} | {name: _figure(name, group) for name in FIGURES}
        for (method, setting), group in groups.items()
    ]


def _figure(name: str, records: Iterable[dict[str, Any]]) -> dict[str, float] | None:
    some = [record for record in records if record["kind"] == FIGURES[name].kind and record.get(name) is not None]
    if name in ("seconds", "memory"):  # Without what compiled, if others are left.
        some = [record for record in some if not record["first"]] or some
    values = np.array([record[name] for record in some], np.float64) / (1e6 if name == "memory" else 1)
    if not values.size:
        return None
    low, high = bootstrap_mean(values)
    mean, median = float(values.mean()), float(np.median(values))
    return {"n": len(values), "mean": mean, "median": median, "low": low, "high": high}
