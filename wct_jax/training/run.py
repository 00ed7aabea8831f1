"""The folder of a training run: its identity, its saves, its metrics."""

import contextlib
import glob
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import filelock
import jax
import orbax.checkpoint as ocp

from wct_jax.system.atomic import atomic_write, discard_leftovers
from wct_jax.training.devices import agree
from wct_jax.training.report import MetricsLog

_KEPT = 3
_T = TypeVar("_T")


class Run:
    """A training run that can be interrupted and resumed at any point.

    The folder holds `run.json`, `checkpoints/` and `metrics.jsonl`. Orbax renames the folder of a save into place once
    it is whole, so a process that dies leaves the earlier saves intact. The processes of a run all open its folder, on
    a file system that they share, and the first one writes.

    Attributes:
        folder: Path of the run's folder.
        step: Step of the last save, 0 before the first one.
        changed: Names of the settings that differ from last time, with the old and the new value; empty in all
            processes except the first.
        metrics_file: Path of the file with the metrics of every step.
        metrics: Log of the steps so far, open to go on after `step`.
    """

    def __init__(
        self, folder: str | os.PathLike[str], identity: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> None:
        """Begin a run, or open it to resume it.

        Args:
            folder: Folder of the run, or an empty or missing one.
            identity: JSON values that must stay the same throughout the run.
            settings: JSON values that may change when the run is resumed.

        Raises:
            ValueError: The folder holds another run or something else, is in use, or cannot be written.
        """
        self.folder = Path(folder)
        checkpoints = self.folder.absolute() / "checkpoints"
        if glob.escape(str(checkpoints)) != str(checkpoints):  # Orbax finds its files with a pattern.
            raise ValueError(f"cannot train in {self.folder.absolute()}: expected a path without any of * ? [")
        self.changed: dict[str, tuple[Any, Any]] = {}
        self._lock = filelock.FileLock(self.folder / ".lock")
        self._in_first(lambda: self._claim(dict(identity), dict(settings)))
        options = ocp.CheckpointManagerOptions(max_to_keep=_KEPT, cleanup_tmp_directories=True)
        self._manager = ocp.CheckpointManager(checkpoints, options=options)
        self.step: int = self._manager.latest_step() or 0
        self.metrics_file = path = self.folder / "metrics.jsonl"
        written = self._in_first(lambda: MetricsLog(path, self.step))
        self.metrics = written or MetricsLog(path, self.step, writes=False)

    def _in_first(self, action: Callable[[], _T]) -> _T | None:
        """Do something in the first process while the others wait; if it fails there, it fails in all of them."""
        failure, result = None, None
        if jax.process_index() == 0:
            try:
                result = action()
            except ValueError as error:
                failure = error
                self._lock.release()
        if agree(failure is not None):
            raise failure or ValueError(f"the first process cannot train in {self.folder}, and says why")
        return result

    def _claim(self, identity: dict[str, Any], settings: dict[str, Any]) -> None:
        before = _read(self.folder)
        if before is not None:
            _compare(self.folder, before["identity"], identity)
        old = settings if before is None else before["settings"]
        self.changed = {name: (old.get(name), new) for name, new in settings.items() if old.get(name) != new}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except filelock.Timeout:
            raise ValueError(f"{self.folder} is in use: another process is training there") from None
        except OSError as error:
            raise ValueError(f"cannot write {self.folder}: {error.strerror or error}") from None
        discard_leftovers(self.folder)
        with atomic_write(self.folder / "run.json") as scratch:
            scratch.write_text(json.dumps({"identity": identity, "settings": settings}, indent=1) + "\n")

    def restore(self, state: Any) -> tuple[Any, Any]:
        """Read the last save.

        Args:
            state: State with the shapes of the saved one, placed on the devices as the result is to be.

        Returns:
            The saved state, and the JSON value that was saved with it.

        Raises:
            ValueError: The save is damaged.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
        arguments = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), data=ocp.args.JsonRestore())
        try:
            saved = self._manager.restore(self.step, args=arguments)
        except (OSError, ValueError, KeyError, TypeError) as error:
            where = self.folder / "checkpoints" / str(self.step)
            raise ValueError(f"the save {where} is damaged: delete it to go on with the one before") from error
        return saved.state, saved.data

    def save(self, step: int, state: Any, data: Any) -> None:
        """Save in the background.

        Args:
            step: Number of steps that `state` has taken.
            state: Pytree of arrays.
            data: Any JSON value.

        Raises:
            ValueError: This save or the one before cannot be written.
        """
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(state), data=ocp.args.JsonSave(data))
        with self._writing():
            self.metrics.sync()  # A save must not outlast the metrics of its steps.
            self._manager.save(step, args=arguments)
        self.step = step

    def wait(self) -> None:
        """Wait until the last save is whole; ValueError if it cannot be written."""
        with self._writing():
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            # TensorStore quotes the system's error somewhere in its own.
            code = re.search(r"os_error_code='(\d+)'", str(error))
            number = int(code[1]) if code else getattr(error, "errno", None)
            reason = os.strerror(number) if number else " ".join(str(error).split())
            raise ValueError(f"cannot save in {self.folder}: {reason}") from error

    def close(self) -> None:
        """Wait for the last save and release the folder; ValueError if the save cannot be written."""
        try:
            with self._writing():
                self._manager.close()
        finally:
            self.metrics.close()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def holds_run(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a run, rather than nothing; ValueError if it holds something else or cannot be read."""
    return _read(Path(folder)) is not None


def last_step(folder: str | os.PathLike[str]) -> int:
    """The step of the last save in the folder of a run, 0 if there is none."""
    try:
        names = os.listdir(Path(folder, "checkpoints"))
    except OSError:
        return 0
    return max((int(name) for name in names if name.isdecimal()), default=0)


def settings_of(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings that a run was last begun or resumed with; ValueError if the folder holds no run."""
    document = _read(Path(folder))
    if document is None:
        raise ValueError(f"{folder} holds no run")
    return dict(document["settings"])


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        document = json.loads((folder / "run.json").read_text())
        if isinstance(document["identity"], dict) and isinstance(document["settings"], dict):
            return dict(document)
    except FileNotFoundError:
        # A process that failed to begin a run here leaves its lock, or half a run.json under a hidden name.
        try:
            names = os.listdir(folder) if os.path.isdir(folder) else []
        except OSError as error:
            raise ValueError(f"cannot read {folder}: {error.strerror}") from None
        if not all(name.startswith(".") for name in names):
            raise ValueError(f"{folder} is not empty and holds no run: expected another folder for it") from None
        return None
    except OSError as error:
        raise ValueError(f"cannot read {folder / 'run.json'}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(f"{folder / 'run.json'} is damaged: expected the identity and settings of a run")


def _compare(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    differ = [f"{name} {before.get(name)}, not {value}" for name, value in now.items() if before.get(name) != value]
    if differ:
        raise ValueError(f"{folder} holds another run, of {'; '.join(differ)}: expected another folder for this one")
