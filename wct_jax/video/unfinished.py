"""A film that is not finished: its settings, survey and painted segments in a folder, from which a run goes on."""

import json
import os
import shutil
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax
import numpy as np

from wct_jax.painting.frames import Statistics
from wct_jax.system.atomic import atomic_write, discard_leftovers
from wct_jax.transform.statistics import Moments
from wct_jax.video.survey import Shot, Survey


class Unfinished:
    """The folder of an unfinished film, beside its target."""

    def __init__(self, target: str | os.PathLike[str], settings: Mapping[str, Any], resume: bool = False) -> None:
        """Begin, or go on with what a run with the same settings left.

        Args:
            target: The path of the finished film.
            settings: Everything that the frames depend on, as JSON takes it.
            resume: Whether to refuse to begin.

        Raises:
            ValueError: The folder cannot be made; or with `resume`, a run left nothing, or its settings differ.
        """
        path = Path(os.path.realpath(target))
        self.folder = path.with_name(f".{path.name}.unfinished")
        text = json.dumps(settings, sort_keys=True)
        known = self.folder / "settings.json"
        before = known.read_text("utf-8") if known.is_file() else None
        self.notes: tuple[str, ...] = ()
        """Sentences to show to a person."""
        if before != text:
            was, now = json.loads(before or "{}"), json.loads(text)
            others = ", ".join(sorted(name for name in now if was.get(name) != now[name]))
            found = f"the unfinished one has another {others}" if before else "there is no unfinished one"
            if resume:
                raise ValueError(f"cannot resume {target}: {found}")
            if before:
                self.notes = (f"{target} was begun anew: {found}.",)
            self.discard()
            try:
                self.folder.mkdir()
            except OSError as error:
                raise ValueError(f"cannot write {target}: {error.strerror}") from None
            with atomic_write(known) as scratch:
                scratch.write_text(text, "utf-8")
        discard_leftovers(self.folder)

    def segment(self, number: int) -> Path:
        """The path of a segment; it exists if it is finished."""
        return self.folder / f"{number:06d}.mkv"

    def read_survey(self) -> Survey | None:
        """The survey of the film, if it was finished."""
        path = self.folder / "survey.npz"
        if not path.is_file():
            return None
        with np.load(path) as arrays:
            times = [Fraction(*map(int, time)) for time in arrays["times"]]
            known = [statistics_from(arrays, f"{number}/") for number in range(len(arrays["first"]))]
            return Survey(times, list(map(Shot, map(int, arrays["first"]), known)))

    def write_survey(self, survey: Survey) -> None:
        """Keep the survey."""
        arrays = {
            "times": np.asarray([time.as_integer_ratio() for time in survey.times], np.int64).reshape(-1, 2),
            "first": np.asarray([shot.first for shot in survey.shots], np.int64),
        }
        for number, shot in enumerate(survey.shots):
            arrays |= arrays_of(shot.known, f"{number}/")
        self._write("survey.npz", arrays)

    def read_state(self, number: int) -> dict[str, np.ndarray]:
        """The arrays that a run carried on after a segment."""
        with np.load(self.folder / f"{number:06d}.npz") as arrays:
            return dict(arrays)

    def write_state(self, number: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the arrays that a run carries on after a segment, before the segment itself is there."""
        self._write(f"{number:06d}.npz", arrays)
        if number > 1:
            (self.folder / f"{number - 2:06d}.npz").unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, name: str, arrays: Mapping[str, Any]) -> None:
        with atomic_write(self.folder / name) as scratch, open(scratch, "wb") as file:
            np.savez(file, **arrays)


def arrays_of(statistics: Statistics, prefix: str = "") -> dict[str, np.ndarray]:
    """Statistics as named arrays."""
    arrays = {}
    for level, regions in enumerate(statistics):
        for region, moments in enumerate(regions):
            for name in ("count", "mean", "scatter"):
                arrays[f"{prefix}{level}/{region}/{name}"] = np.asarray(jax.device_get(getattr(moments, name)))
    return arrays


def statistics_from(arrays: Mapping[str, np.ndarray], prefix: str = "") -> list[list[Moments]]:
    """The statistics that `arrays_of` named."""
    statistics: list[list[Moments]] = []
    for level in range(len(arrays)):
        if f"{prefix}{level}/0/count" not in arrays:
            break
        regions = []
        for region in range(len(arrays)):
            names = [f"{prefix}{level}/{region}/{name}" for name in ("count", "mean", "scatter")]
            if names[0] not in arrays:
                break
            regions.append(Moments(*(jax.device_put(arrays[name]) for name in names)))
        statistics.append(regions)
    return statistics
