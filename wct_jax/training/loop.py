"""The one training loop: any step, any iterator of batches."""

import collections
import dataclasses
import functools
import itertools
import math
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from wct_jax.training.devices import agree, replicate, split
from wct_jax.training.progress import Progress
from wct_jax.training.run import Run


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("step", "parameters", "optimizer", "key"), meta_fields=()
)
@dataclass(frozen=True)
class State:
    """All that a training carries from one step to the next.

    Attributes:
        step: How many steps were taken, an int32 scalar.
        parameters: What is trained.
        optimizer: The optimizer's state.
        key: Data of the key for steps that draw random numbers: fold the step into it.
    """

    step: Array
    parameters: Any
    optimizer: Any
    key: Array


Step = Callable[[State, Array], tuple[State, Mapping[str, Array]]]


class Interrupted(Exception):  # noqa: N818 (it is none)
    """The process was asked to stop, and the state of the last step was saved.

    Attributes:
        signal: That asked for it.
        step: The last one taken.
    """

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
    """Take steps until there were `steps` of them, from the run's last save on.

    The metrics of a step are read after the next one is on its way, so that the device does not wait for them.

    Args:
        step: From a state and a batch to the next state and scalar metrics, among them `loss`; jitted, and it may
            donate the state.
        state: The state to begin with; a save that the run has comes before it.
        batches: Of this process: `[B / processes, ...]`. With `get_state` and `set_state`, as Grain's iterators have
            them, they go on where the save was made; of other iterators as many batches are skipped as there were
            steps, so these have to begin anew each time with the same ones.
        run: Where the state and the metrics go.
        steps: In all.
        save_every: Steps between saves.
        progress: Where to show each step.
        report: Called with the step and the state after each save.

    Returns:
        The last state.

    Raises:
        ValueError: The data ended or failed, the loss is not finite or diverges, or at the end it is several times
            what the parameters of the beginning have on the same batches. What was saved stays.
        Interrupted: On SIGINT and SIGTERM, after a save.
    """
    beginning = _on_host(state.parameters)
    recent: collections.deque[Array] = collections.deque(maxlen=4)
    state, watch, taken, behind = replicate(state), _Watch(), run.step, 0
    if taken:
        state, data = run.restore(state)
        behind = _go_to(batches, data, taken)
        for loss in run.metrics.columns["loss"]:
            watch.see(float(loss))
    saved, pending, clock = taken, None, time.perf_counter()

    def settle() -> None:
        """Log the step that is not logged yet."""
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
                # Until there is a window of losses to go by, and at the end, the parameters themselves are judged.
                settle()
                state = _on_host(state)  # For the time being: devices may not have room for two.
                factor = _WORSE if taken == steps else _Watch.FACTOR
                complaint = _compare(step, beginning, state, recent, factor)
                if complaint and taken in (steps, _EARLY):
                    raise ValueError(_advice(complaint, taken, run))
                due = due and not complaint
                state = replicate(state)
            if due:
                save(_position(batches))
                if report:
                    report(taken, state)
                clock = time.perf_counter()
        if urgency := agree(requests.signal):  # It came during the last step, or what follows it.
            run.wait()
            _end(None, urgency, taken, run)
    return state


# Above all signals.
_FAILED = 1 << 16


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
    """Go to where the save was made, and say how many batches are still to be skipped."""
    if hasattr(batches, "set_state") and position is not None:
        batches.set_state(position)
        return 0
    return taken


# The loss of a training that begins anew falls within a few steps. One that goes on with a good decoder for a single
# step, at the full rate, has been seen to triple it.
_WORSE = 5.0
# So little that it does not matter what it was: a mean squared error of the pixels of 40 dB.
_NEGLIGIBLE = 1e-4


def _compare(step: Step, beginning: Any, state: State, batches: Iterable[Array], factor: float) -> str:
    """What is wrong with a state beside the parameters of the beginning, on the same batches, or nothing.

    Losses that were logged do not tell: each is of another batch, and of the parameters before its step.

    Args:
        step: As of `train`.
        beginning: The first parameters.
        state: Not on a device, since a step takes what it is given.
        batches: The last ones.
        factor: How much worse is wrong.
    """
    before, after = (
        [step(replicate(dataclasses.replace(state, parameters=parameters)), batch)[1] for batch in batches]
        for parameters in (beginning, state.parameters)
    )
    for name in before[0]:
        if name != "loss" and "/" not in name:  # A term, which may grow for the sake of another.
            continue
        was, now = (statistics.fmean(float(metrics[name]) for metrics in losses) for losses in (before, after))
        if not now <= max(factor * was, _NEGLIGIBLE):
            return f"the {name} has come to {now:.4g}, from {was:.4g} on the same batches with the first parameters"
    return ""


def _on_host(tree: Any) -> Any:
    return jax.tree.map(np.array, tree)


@jax.jit
def _finite(tree: Any) -> Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


class _Watch:
    """Sees every loss and says when they diverge: their mean over a window is many times the lowest it was.

    Adam at a high rate has bursts of tens of times the loss from which it recovers.
    """

    WINDOW, FACTOR = 100, 100.0

    def __init__(self) -> None:
        self._recent: collections.deque[float] = collections.deque(maxlen=self.WINDOW)
        self._lowest = math.inf

    def see(self, loss: float) -> str:
        """What is wrong after this loss, or nothing."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        self._recent.append(loss)
        if len(self._recent) < self.WINDOW:
            return ""
        mean = statistics.fmean(self._recent)
        self._lowest = min(self._lowest, mean)
        if mean > self.FACTOR * self._lowest:
            return f"the loss diverges, {mean:.4g} over the last {self.WINDOW} steps after {self._lowest:.4g}"
        return ""

    def calm(self, loss: float) -> bool:
        """Whether a state with this loss is worth keeping: not where a divergence may have begun."""
        return loss <= self.FACTOR * self._lowest


# By this step the watch has its first window: what it compares with from then on.
_EARLY = _Watch.WINDOW


class _Requests:
    """Takes note of SIGINT and SIGTERM while steps are taken; the second one has the usual effect."""

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
        # Only the main thread may, and a signal that is ignored, as in a job in the background, stays ignored.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()
