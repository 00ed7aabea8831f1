"""The report of a training run: metrics line by line, curves, reconstructions beneath their photos."""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from io import FileIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from scipy.ndimage import median_filter

from wct_jax.system.atomic import atomic_write

PathLike = str | os.PathLike[str]
Images = Sequence[np.ndarray] | np.ndarray


class MetricsLog:
    """`metrics.jsonl`, a JSON object for each step on a line of its own, and its contents in memory.

    A process killed at any moment leaves whole lines and perhaps a torn last one, since each line is written once, by
    one system call. Opening the file only truncates it, which the file system does as a whole or not at all, so a
    process killed while opening it has lost nothing either.

    Args:
        path: Path of the file, which need not exist for `step` 0.
        step: Step to go on after. Later lines are dropped: steps that a resumed run takes again, and a torn line.
        writes: False in a process that keeps the metrics only in memory, since another one writes the file.

    Raises:
        ValueError: The file lacks a step up to `step`, is not the metrics of a run, or cannot be opened.
    """

    def __init__(self, path: PathLike, step: int = 0, *, writes: bool = True) -> None:
        self._path = path
        data = _read(path) if os.path.exists(path) else b""
        lines = data.split(b"\n")[:-1][:step]
        # After a power cut the dropped lines can be anything, but a file of something else must not be emptied.
        if data[: len(_HEAD)] != _HEAD[: len(data)]:
            raise ValueError(f"{path} is not the metrics of a run: expected it to begin with {_HEAD.decode()}")
        self._records = _parse(path, lines)
        if len(lines) < step:
            raise ValueError(f"{path} lacks step {len(lines) + 1}: expected all steps up to {step}")
        self._file: FileIO | None = None
        if not writes:
            return
        try:
            self._file = FileIO(path, "a")
            self._file.truncate(sum(len(line) + 1 for line in lines))
        except OSError as error:
            raise ValueError(f"cannot write {path}: {error.strerror}") from None

    def append(self, record: Mapping[str, float]) -> None:
        """Write the line of the next step.

        Args:
            record: Metrics by name, "step" among them. One that is not finite is written as null and read as NaN.

        Raises:
            ValueError: The step is not the next one, or the line cannot be written.
        """
        step = len(self._records) + 1
        if record.get("step") != step:
            raise ValueError(f"{self._path} has {step - 1} steps: expected step {step}, got {record.get('step')}")
        values = {"step": step} | {name: _finite(value) for name, value in record.items() if name != "step"}
        line = json.dumps(values).encode() + b"\n"
        try:
            while line and self._file:  # One write, unless the disk is full: the second one raises the error then.
                line = line[self._file.write(line) :]
        except OSError as error:
            raise ValueError(f"cannot write {self._path}: {error.strerror}") from None
        self._records.append(values)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Arrays `[steps]` of the metrics of all steps by name, as from `read_metrics`."""
        return _columns(self._records)

    def sync(self) -> None:
        """Wait until the lines are on the disk."""
        if self._file:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


_HEAD = b'{"step": 1'


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def read_metrics(path: PathLike) -> dict[str, np.ndarray]:
    """Read the file of a `MetricsLog` without a torn last line; ValueError if it cannot be read or is something else.

    Returns:
        Arrays `[steps]` by name: "step" is 1, 2, 3, ..., the others are float64, NaN for a step without the metric.
    """
    return _columns(_parse(path, _read(path).split(b"\n")[:-1]))


def _columns(records: Sequence[Mapping[str, float | None]]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: np.array([record.get(name) for record in records], np.float64) for name in names}
    return columns | {"step": np.arange(1, len(records) + 1)}


def _read(path: PathLike) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None


def _parse(path: PathLike, lines: Iterable[bytes]) -> list[dict[str, float | None]]:
    records = []
    for step, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or record.get("step") != step:
            raise ValueError(f"{path} is not the metrics of a run: expected step {step} in line {step}")
        records.append(record)
    return records


def draw_curves(path: PathLike, metrics: Mapping[str, np.ndarray], losses: Mapping[str, str]) -> None:
    """Draw losses over steps as a PNG 1200 pixels wide: a panel for each, every step faint, their median strong.

    Args:
        path: Path of the picture; an existing file is replaced as a whole.
        metrics: Arrays `[steps]` by name, as from `read_metrics`, of one step or more.
        losses: Names of the losses to draw, each with the title of its panel.

    Raises:
        ValueError: The file cannot be written.
    """
    from matplotlib.figure import Figure  # Only training needs it.

    figure = Figure(figsize=(12, 3.6 * len(losses)), dpi=100, layout="constrained")
    panels = figure.subplots(len(losses), sharex=True, squeeze=False)[:, 0]
    for panel, (name, title) in zip(panels, losses.items(), strict=True):
        known = np.isfinite(metrics[name])
        steps, values = metrics["step"][known], metrics[name][known]
        window = max(len(steps) // 100, min(len(steps) // 10, 9)) | 1
        if window > 1:
            panel.plot(steps, values, color="tab:blue", alpha=0.3, linewidth=0.8, label="each step")
        # Repeating the last value instead would bend the curve towards it.
        median = median_filter(values, window, mode="reflect")
        label = f"median of {window} steps" if window > 1 else "each step"
        mark = "o" if len(steps) == 1 else None  # A line through one point is invisible.
        panel.plot(steps, median, marker=mark, color="tab:blue", linewidth=1.8, label=label)
        if (values > 0).any():  # Zeros alone have no place on a logarithmic axis.
            panel.set_yscale("log")
        panel.set_title(title, loc="left")
        panel.grid(which="both", alpha=0.25)
        panel.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, borderaxespad=0)
    panels[-1].set(xlabel="step", xlim=(0, 1.01 * metrics["step"][-1]))
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    with atomic_write(path) as scratch:
        figure.savefig(scratch, format="png")


_MOST_PAIRS, _PAIRS_IN_A_ROW, _TILE = 8, 4, 256


def draw_grid(path: PathLike, photos: Images, reconstructions: Images) -> None:
    """Draw the first eight photos as a PNG, each with its reconstruction beneath.

    Args:
        path: Path of the picture; an existing file is replaced as a whole.
        photos: Photos `[H, W, 3]` of any sizes, uint8, or floating point in 0..1; values outside are clipped.
        reconstructions: Reconstruction of each photo, in the same format.

    Raises:
        ValueError: There is no photo, or not one reconstruction for each, or the file cannot be written.
    """
    if not len(photos) or len(photos) != len(reconstructions):
        raise ValueError(f"expected photos and as many reconstructions, got {len(photos)} and {len(reconstructions)}")
    pairs = [
        _join([_tile(photo), _tile(reconstruction)], gap=2, down=True)
        for photo, reconstruction in zip(photos[:_MOST_PAIRS], reconstructions[:_MOST_PAIRS], strict=True)
    ]
    starts = range(0, len(pairs), _PAIRS_IN_A_ROW)
    rows = [_join(pairs[start : start + _PAIRS_IN_A_ROW], gap=10, down=False) for start in starts]
    grid = ImageOps.expand(_join(rows, gap=10, down=True), 10, "white")
    with atomic_write(path) as scratch:
        grid.save(scratch, "PNG")


def _tile(image: np.ndarray) -> Image.Image:
    array = np.asarray(image)
    if array.dtype != np.uint8:
        array = np.rint(np.nan_to_num(array.astype(np.float32)).clip(0, 1) * 255).astype(np.uint8)
    return ImageOps.contain(Image.fromarray(array), (_TILE, _TILE), Image.Resampling.LANCZOS)


def _join(images: Sequence[Image.Image], gap: int, down: bool) -> Image.Image:
    widths, heights = zip(*(image.size for image in images), strict=True)
    space = gap * (len(images) - 1)
    size = (max(widths), sum(heights) + space) if down else (sum(widths) + space, max(heights))
    canvas = Image.new("RGB", size, "white")
    offset = 0
    for image in images:
        canvas.paste(image, (0, offset) if down else (offset, 0))
        offset += (image.height if down else image.width) + gap
    return canvas
