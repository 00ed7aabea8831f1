"""The training loop, with a step that is a few sums: what it saves, how it goes on, what stops it."""

import functools
import itertools
import os
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax.devices import replicate, split
from wct_jax.loop import Interrupted, State, train
from wct_jax.report import read_metrics
from wct_jax.run import Run

SIZE = 4096


@pytest.fixture(autouse=True)
def heeding():
    """Whatever started the tests may have interrupts ignored, as for jobs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@functools.partial(jax.jit, donate_argnums=0)
def step(state, batch):
    """The first column of a batch is the loss, the second one moves the parameters."""
    noise = jax.random.normal(jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step), (SIZE,))
    moment = 0.9 * state.optimizer["moment"] + batch[:, 1].mean() * noise
    weights = state.parameters["weights"] + moment
    metrics = {"loss": batch[:, 0].mean(), "size": jnp.abs(weights).mean()}
    return State(state.step + 1, {"weights": weights}, {"moment": moment}, state.key), metrics


def first_state():
    key = jax.random.key_data(jax.random.key(5))
    return State(jnp.zeros((), jnp.int32), {"weights": jnp.zeros(SIZE)}, {"moment": jnp.zeros(SIZE)}, key)


def batch_of(number, loss=None):
    batch = np.random.default_rng(number).uniform(0.5, 1, (4, 2)).astype(np.float32)
    if loss is not None:
        batch[:, 0] = loss
    return batch


class Positioned:
    """Batches that know where they are, as Grain's iterators do."""

    def __init__(self, at=lambda number: None):
        self.number, self.at = 0, at

    def __iter__(self):
        return self

    def __next__(self):
        self.number += 1
        self.at(self.number)
        return batch_of(self.number)

    def get_state(self):
        return {"next_index": self.number}

    def set_state(self, state):
        self.number = state["next_index"]


def plain(at=lambda number: None):
    """Batches that begin anew each time."""
    for number in itertools.count(1):
        at(number)
        yield batch_of(number)


def losses(values):
    """Batches with the losses given."""
    for number, value in enumerate(values, 1):
        yield batch_of(number, value)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def go(folder, batches, steps=10, save_every=4, step=step, **options):
    with Run(folder, {}, {}) as run:
        return train(step, first_state(), batches, run, steps=steps, save_every=save_every, **options)


def refusal(error, folder, batches, **options):
    with pytest.raises(error, match=r".") as caught:
        go(folder, batches, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def saved(folder):
    """The last save: its step and state."""
    with Run(folder, {}, {}) as run:
        return run.step, run.restore(replicate(first_state()))[0] if run.step else None


@functools.cache
def unbroken(steps):
    """The state and the metrics of steps taken one after the other, by no loop of ours."""
    state, found = replicate(first_state()), []
    for number in range(1, steps + 1):
        state, metrics = step(state, split(batch_of(number)))
        found.append({name: float(value) for name, value in metrics.items()})
    return jax.tree.map(np.array, state), found


def assert_unbroken(folder, state, steps):
    """Bit by bit, and each step once."""
    expected, metrics = unbroken(steps)
    jax.tree.map(np.testing.assert_array_equal, state, expected)
    logged = read_metrics(folder / "metrics.jsonl")
    assert logged["step"].tolist() == list(range(1, steps + 1))
    for name in ("loss", "size"):
        assert logged[name].tolist() == [values[name] for values in metrics]


# Taking steps.


@pytest.mark.parametrize("batches", [Positioned, plain])
def test_steps_are_taken_logged_and_saved(folder, batches):
    state = go(folder, batches())
    assert_unbroken(folder, state, 10)
    number, restored = saved(folder)
    assert number == 10
    assert_unbroken(folder, restored, 10)
    logged = read_metrics(folder / "metrics.jsonl")
    assert set(logged) == {"step", "loss", "size", "seconds", "waiting"}
    assert (logged["seconds"] > 0).all()
    assert (logged["waiting"] >= 0).all()


def test_a_report_follows_each_save(folder):
    reports = []

    def report(number, state):
        reports.append(number)
        assert int(state.step) == number
        jax.tree.map(np.testing.assert_array_equal, state, unbroken(number)[0])
        # The lines of its steps are there to be drawn.
        assert read_metrics(folder / "metrics.jsonl")["step"].tolist() == list(range(1, number + 1))

    go(folder, plain(), report=report)
    assert reports == [4, 8, 10]


def test_the_progress_sees_each_step_once(folder):
    class Progress:
        seen = []  # noqa: RUF012 (one only)

        def update(self, number, values):
            self.seen.append((number, values))

    go(folder, plain(), progress=Progress())
    assert Progress.seen == list(enumerate(unbroken(10)[1], 1))


def test_a_finished_run_takes_no_step(folder):
    go(folder, plain())
    state = go(folder, losses([]), steps=10)
    assert_unbroken(folder, state, 10)
    assert_unbroken(folder, go(folder, losses([]), steps=7), 10)


def test_a_run_goes_on_to_more_steps(folder):
    go(folder, Positioned(), steps=3)
    assert_unbroken(folder, go(folder, Positioned(), steps=9), 9)


# Signals.


@pytest.mark.parametrize("batches", [Positioned, plain])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [1, 2, 5, 9])
def test_an_interrupted_run_goes_on_to_the_bit(folder, batches, number, at):
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted) as caught:
        # While the batch is made, so that it is not used any more.
        go(folder, batches(lambda batch: os.kill(os.getpid(), number) if batch == at else None))
    assert (caught.value.signal, caught.value.step) == (number, at - 1)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    assert saved(folder)[0] == at - 1
    assert_unbroken(folder, go(folder, batches()), 10)


def test_a_signal_during_a_step(folder):
    def interrupted(state, batch):
        if int(state.step) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(state, batch)

    with pytest.raises(Interrupted) as caught:
        go(folder, Positioned(), step=interrupted)
    assert caught.value.step == 6
    assert_unbroken(folder, saved(folder)[1], 6)
    assert_unbroken(folder, go(folder, Positioned()), 10)


def test_a_signal_after_the_last_step_is_not_lost(folder):
    """Another layer may be about to follow."""
    with pytest.raises(Interrupted) as caught:
        go(folder, plain(), report=lambda number, state: number == 10 and os.kill(os.getpid(), signal.SIGINT))
    assert caught.value.step == 10
    assert_unbroken(folder, go(folder, losses([])), 10)


def test_the_second_signal_does_not_wait(folder):
    def twice(number):
        if number == 6:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        go(folder, plain(twice))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert saved(folder)[0] == 4


def test_a_signal_that_is_ignored_stays_ignored(folder):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        state = go(folder, plain(lambda number: os.kill(os.getpid(), signal.SIGINT)), steps=3)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert_unbroken(folder, state, 3)


def test_other_threads_than_the_main_one_can_train(folder):
    states = []
    thread = threading.Thread(target=lambda: states.append(go(folder, plain())))
    thread.start()
    thread.join(60)
    assert_unbroken(folder, states[0], 10)


# What stops it.


@pytest.mark.parametrize("batches", [Positioned, plain])
def test_a_run_that_crashes_goes_on_from_its_last_save(folder, batches):
    def crash(state, batch):
        if int(state.step) == 6:
            raise RuntimeError("the machine burns")
        return step(state, batch)

    assert refusal(RuntimeError, folder, batches(), step=crash) == "the machine burns"
    number, state = saved(folder)
    assert number == 4
    jax.tree.map(np.testing.assert_array_equal, state, unbroken(4)[0])
    assert_unbroken(folder, go(folder, batches()), 10)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [6, 8, 10])
def test_a_loss_that_is_not_finite_stops_it(folder, value, at):
    """In between, at a save, at the last step; the last good save stays, of the values it had."""
    values = np.ones(10)
    values[at - 1] = value
    kept = 4 if at == 6 else 4 * ((at - 1) // 4)
    assert refusal(ValueError, folder, losses(values)) == (
        f"training stopped at step {at}: the loss is {value}; "
        f"try a lower learning rate or a larger batch (the save of step {kept} in {folder} is kept)"
    )
    logged = read_metrics(folder / "metrics.jsonl")
    assert logged["loss"].tolist() == [1] * (at - 1)
    number, state = saved(folder)
    assert number == kept
    jax.tree.map(np.testing.assert_array_equal, state, unbroken(kept)[0])


def test_nothing_is_kept_where_nothing_was_saved(folder):
    message = refusal(ValueError, folder, losses([1, np.nan, 1, 1]))
    assert message.endswith("or a larger batch (nothing was saved yet)")
    assert saved(folder) == (0, None)


@pytest.mark.parametrize("at", [7, 8, 10])
def test_parameters_that_are_not_finite_are_never_saved(folder, at):
    def batches():
        for number in itertools.count(1):
            batch = batch_of(number)
            if number == at:
                batch[0, 1] = np.inf
            yield batch

    stopped = 8 if at < 10 else 10
    assert refusal(ValueError, folder, batches()) == (
        f"training stopped at step {stopped}: parameters that are not finite; try a lower learning rate "
        f"or a larger batch (the save of step {4 if at < 10 else 8} in {folder} is kept)"
    )
    number, state = saved(folder)
    assert number == (4 if at < 10 else 8)
    jax.tree.map(np.testing.assert_array_equal, state, unbroken(number)[0])


def test_a_loss_that_diverges_stops_it(folder):
    saves = []
    values = np.where(np.arange(1, 301) <= 150, 1.0, 500.0)
    message = refusal(
        ValueError, folder, losses(values), steps=300, save_every=10, report=lambda number, state: saves.append(number)
    )
    # 80 of a hundred losses are 1 and 20 are 500.
    assert message == (
        "training stopped at step 170: the loss diverges, 100.8 over the last 100 steps after 1; "
        f"try a lower learning rate or a larger batch (the save of step 150 in {folder} is kept)"
    )
    assert saves == list(range(10, 151, 10))
    assert saved(folder)[0] == 150


def test_there_is_no_save_while_the_loss_is_high(folder):
    saves = []
    number = np.arange(1, 201)
    values = np.where((number > 148) & (number < 153), 150.0, np.where((number > 168) & (number < 173), 50.0, 1.0))
    go(folder, losses(values), steps=200, save_every=10, report=lambda number, state: saves.append(number))
    assert saves == [number for number in range(10, 201, 10) if number != 150]


def test_a_run_that_goes_on_remembers_its_losses(folder):
    go(folder, losses(np.ones(120)), steps=120, save_every=60)
    values = np.where(np.arange(1, 301) <= 120, 1.0, 20_000.0)
    message = refusal(ValueError, folder, losses(values), steps=300, save_every=60)
    assert message.startswith("training stopped at step 121: the loss diverges, 201 over the last 100 steps after 1;")
    assert saved(folder)[0] == 120


def test_a_noisy_loss_is_no_divergence(folder, rng):
    state = go(folder, losses(np.exp(rng.normal(0, 1, 150))), steps=150, save_every=1000)
    assert int(state.step) == 150


# Data.


@pytest.mark.parametrize("count", [5, 8])
def test_what_was_done_when_the_data_ends_is_saved(folder, count):
    assert refusal(ValueError, folder, itertools.islice(plain(), count)) == (
        f"the data ended before step {count + 1}: expected 10 batches; step {count} is saved in {folder}"
    )
    assert_unbroken(folder, saved(folder)[1], count)
    assert_unbroken(folder, go(folder, plain()), 10)


def test_data_that_is_shorter_than_it_was(folder):
    go(folder, plain(), steps=6)
    assert refusal(ValueError, folder, itertools.islice(plain(), 3)) == (
        f"the data ended before step 7: expected 10 batches; step 6 is saved in {folder}"
    )
    assert saved(folder)[0] == 6


def test_no_data_at_all(folder):
    assert refusal(ValueError, folder, losses([])) == "the data ended before step 1: expected 10 batches"
    assert saved(folder)[0] == 0


@pytest.mark.parametrize("batches", [Positioned, plain])
@pytest.mark.parametrize("error", [ValueError, OSError])
def test_what_was_done_when_the_data_fails_is_saved(folder, batches, error):
    def fail(number):
        if number == 7:
            raise error("cannot read a.jpg: it is torn")

    message = refusal(error, folder, batches(fail))
    # Only a ValueError is a sentence for the user.
    expected = "cannot read a.jpg: it is torn"
    assert message == (f"{expected}; step 6 is saved in {folder}" if error is ValueError else expected)
    assert_unbroken(folder, saved(folder)[1], 6)
    assert_unbroken(folder, go(folder, batches()), 10)


def test_batches_that_the_devices_cannot_share(folder):
    message = refusal(ValueError, folder, iter([np.ones((6, 2), np.float32)]))
    assert message == "a batch of 6 cannot be split over 4 devices: expected a multiple of that"
