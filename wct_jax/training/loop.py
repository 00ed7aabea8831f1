"""The one training loop, for any step and any iterator of batches."""

import collections
import dataclasses
import functools
import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from wct_jax.training.devices import agree, replicate, split
from wct_jax.training.divergence import WORSE, Watch, compare
from wct_jax.training.progress import Progress
from wct_jax.training.run import Run


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("step", "parameters", "optimizer", "key"), meta_fields=()
)
@dataclass(frozen=True)
class State:
    """Everything that a training carries from one step to the next.

    Attributes:
        step: Number of steps taken, an int32 scalar.
        parameters: Pytree of the arrays that are trained.
        optimizer: State of the optimizer.
        key: Key data for steps that draw random numbers; they fold the step into it.
    """

    step: Array
    parameters: Any
    optimizer: Any
    key: Array


Step = Callable[[State, Array], tuple[State, Mapping[str, Array]]]


class Interrupted(Exception):  # noqa: N818 (it is none)
    """The process was asked to stop by the signal `signal`, and the state after `step` was saved."""

    def __init__(self, signal: int, step: int) -> None:
        super().__init__(f"interrupted after step {step}")
        self.signal, self.step = signal, step


def train(
    step: Step,
    state: State,
    batches: Iterator[np.ndarray],
    run: Run,
    *,
    steps: int,
    save_every: int,
    progress: Progress | None = None,
    report: Callable[[int, State], None] | None = None,
) -> State:
    """Take steps from the run's last save on, until there were `steps` of them in all.

    The loop reads a step's metrics after it has started the next step, so that the device does not wait.

    Args:
        step: Jitted function from a state and a batch to the next state and scalar metrics, among them `loss`. It may
            donate the state.
        state: First state, for a run without a save.
        batches: Batches of this process, `[B / processes, ...]` each. An iterator with Grain's `get_state` and
            `set_state` goes on where the save was made. Any other has to begin with the same batches each time, and
            those of the steps taken are skipped.
        run: Folder that gets the state and the metrics.
        steps: Number of steps, those before the save included.
        save_every: Number of steps between saves.
        progress: Display that is updated after each step.
        report: Function called with the step and the state after each save.

    Returns:
        The last state.

    Raises:
        ValueError: The data ended or failed, the loss is not finite or diverges, or the last parameters have several
            times the loss of the first ones on the same batches. Earlier saves stay.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    beginning = _on_host(state.parameters)
    recent: collections.deque[Array] = collections.deque(maxlen=4)
    state, watch, taken, behind = replicate(state), Watch(), run.step, 0
    if taken:
        state, data = run.restore(state)
        behind = _go_to(batches, data, taken)
        for loss in run.metrics.columns["loss"]:
            watch.see(float(loss))
    saved, pending, clock = taken, None, time.perf_counter()

    def settle() -> None:
        """Log the last step if it is not logged yet."""
        nonlocal pending, clock
        if pending is None:
            return
        number, metrics, waiting = pending
        values = {name: float(value) for name, value in metrics.items()}
        pending = None
        if complaint := watch.see(values["loss"]):
            raise ValueError(_advice(complaint, number, run))
        now = time.perf_counter()
        run.metrics.append({"step": number, **values, "seconds": now - clock, "waiting": waiting})
        clock = now
        if progress:
            progress.update(number, values)

    def save(position: Any) -> None:
        nonlocal saved
        settle()
        if not _finite(state.parameters):
            raise ValueError(_advice("parameters that are not finite", taken, run))
        run.save(taken, state, position)
        saved = taken

    with _Requests() as requests:
        while taken < steps:
            position = _position(batches)
            error: Exception | None = None
            began = time.perf_counter()
            try:
                batch = split(next(itertools.islice(batches, behind, None)))
                behind = 0
            except StopIteration:
                error = ValueError(f"the data ended before step {taken + 1}: expected {steps} batches")
            except Exception as failure:
                error = failure
            waiting = time.perf_counter() - began
            urgency = agree(_FAILED if error else requests.signal)
            if urgency:
                if taken > saved:
                    save(position)
                run.wait()
                _end(error, urgency, taken, run)
            state, metrics = step(state, batch)
            settle()
            taken += 1
            pending = (taken, metrics, waiting)
            recent.append(batch)
            due = taken == steps or (taken % save_every == 0 and watch.calm(float(metrics["loss"])))
            if taken in (steps, _EARLY) or (due and taken < _EARLY):
                # Until the watch has a window of losses, and at the end, the parameters themselves are judged: each
                # logged loss is of another batch, and of the parameters before its step.
                settle()
                state = _on_host(state)  # Meanwhile, since the step takes what it is given and devices may lack room.
                before, after = (
                    [step(replicate(dataclasses.replace(state, parameters=parameters)), batch)[1] for batch in recent]
                    for parameters in (beginning, state.parameters)
                )
                complaint = compare(before, after, WORSE if taken == steps else Watch.FACTOR)
                if complaint and taken in (steps, _EARLY):
                    raise ValueError(_advice(complaint, taken, run))
                due = due and not complaint
                state = replicate(state)
            if due:
                save(_position(batches))
                if report:
                    report(taken, state)
                clock = time.perf_counter()
        if urgency := agree(requests.signal):  # It came during the last step or the save.
            run.wait()
            _end(None, urgency, taken, run)
    return state


_FAILED = 1 << 16  # More urgent than any signal.
_EARLY = Watch.WINDOW  # By this step the watch has its first window, with which it compares from then on.


def _end(error: Exception | None, urgency: int, taken: int, run: Run) -> NoReturn:
    if urgency < _FAILED:
        raise Interrupted(urgency, taken)
    error = error or ValueError("another process of the run failed, and says why")
    if not isinstance(error, ValueError):
        raise error
    raise ValueError(f"{error}; step {taken} is saved in {run.folder}" if taken else str(error)) from error


def _advice(complaint: str, number: int, run: Run) -> str:
    kept = f"the save of step {run.step} in {run.folder} is kept" if run.step else "nothing was saved yet"
    return f"training stopped at step {number}: {complaint}; try a lower learning rate or a larger batch ({kept})"


def _position(batches: Iterator[np.ndarray]) -> Any:
    return batches.get_state() if hasattr(batches, "get_state") else None


def _go_to(batches: Iterator[np.ndarray], position: Any, taken: int) -> int:
    """Go to where the save was made, and return the number of batches that are still to be skipped."""
    if hasattr(batches, "set_state") and position is not None:
        batches.set_state(position)
        return 0
    return taken


def _on_host(tree: Any) -> Any:
    return jax.tree.map(np.array, tree)


@jax.jit
def _finite(tree: Any) -> Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


class _Requests:
    """Notes the first SIGINT or SIGTERM while steps are taken; the second one has its usual effect."""

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def __enter__(self) -> Self:
        # Only the main thread may set handlers; a signal that is ignored, as in a background job, stays ignored.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
