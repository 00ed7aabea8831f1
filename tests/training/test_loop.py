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

from wct_jax.training.devices import replicate, split
from wct_jax.training.loop import Interrupted, State, train
from wct_jax.training.report import read_metrics
from wct_jax.training.run import Run

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


def assert_saved(folder, step):
    """The last save is that of a step, bit by bit."""
    number, state = saved(folder)
    assert number == step
    jax.tree.map(np.testing.assert_array_equal, state, unbroken(step)[0] if step else None)


def assert_unbroken(folder, state, steps):
    """Bit by bit, and each step once."""
    expected, metrics = unbroken(steps)
    jax.tree.map(np.testing.assert_array_equal, state, expected)
    logged = read_metrics(folder / "metrics.jsonl")
    assert logged["step"].tolist() == list(range(1, steps + 1))
    for name in ("loss", "size"):
        assert logged[name].tolist() == [values[name] for values in metrics]


@pytest.mark.parametrize("batches", [Positioned, plain])
def test_steps_are_taken_logged_and_saved(folder, batches):
    state = go(folder, batches())
    assert_unbroken(folder, state, 10)
    assert_saved(folder, 10)
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
    for steps in (10, 7):
        assert_unbroken(folder, go(folder, losses([]), steps=steps), 10)


def test_a_run_goes_on_to_more_steps(folder):
    go(folder, Positioned(), steps=3)
    assert_unbroken(folder, go(folder, Positioned(), steps=9), 9)


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
    assert_saved(folder, 6)
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
        state = go(folder, plain(lambda _: os.kill(os.getpid(), signal.SIGINT)), steps=3)
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


@pytest.mark.parametrize("batches", [Positioned, plain])
def test_a_run_that_crashes_goes_on_from_its_last_save(folder, batches):
    def crash(state, batch):
        if int(state.step) == 6:
            raise RuntimeError("the machine burns")
        return step(state, batch)

    assert refusal(RuntimeError, folder, batches(), step=crash) == "the machine burns"
    assert_saved(folder, 4)
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
    assert read_metrics(folder / "metrics.jsonl")["loss"].tolist() == [1] * (at - 1)
    assert_saved(folder, kept)


def test_nothing_is_kept_where_nothing_was_saved(folder):
    assert refusal(ValueError, folder, losses([1, np.nan, 1, 1])).endswith("a larger batch (nothing was saved yet)")
    assert saved(folder) == (0, None)


@pytest.mark.parametrize("at", [7, 8, 10])
def test_parameters_that_are_not_finite_are_never_saved(folder, at):
    def batches():
        for number in itertools.count(1):
            batch = batch_of(number)
            if number == at:
                batch[0, 1] = np.inf
            yield batch

    stopped, kept = (8, 4) if at < 10 else (10, 8)
    assert refusal(ValueError, folder, batches()) == (
        f"training stopped at step {stopped}: parameters that are not finite; try a lower learning rate "
        f"or a larger batch (the save of step {kept} in {folder} is kept)"
    )
    assert_saved(folder, kept)


def test_a_loss_that_diverges_stops_it(folder):
    saves = []
    values = np.where(np.arange(1, 301) <= 150, 1.0, 500.0)
    options = dict(steps=300, save_every=10, report=lambda number, state: saves.append(number))
    # 80 of a hundred losses are 1 and 20 are 500.
    assert refusal(ValueError, folder, losses(values), **options) == (
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
    assert int(go(folder, losses(np.exp(rng.normal(0, 1, 150))), steps=150, save_every=1000).step) == 150


@pytest.mark.parametrize("count", [0, 5, 8])
def test_what_was_done_when_the_data_ends_is_saved(folder, count):
    kept = f"; step {count} is saved in {folder}" if count else ""
    message = refusal(ValueError, folder, itertools.islice(plain(), count))
    assert message == f"the data ended before step {count + 1}: expected 10 batches{kept}"
    assert_saved(folder, count)
    assert_unbroken(folder, go(folder, plain()), 10)


def test_data_that_is_shorter_than_it_was(folder):
    go(folder, plain(), steps=6)
    assert refusal(ValueError, folder, itertools.islice(plain(), 3)) == (
        f"the data ended before step 7: expected 10 batches; step 6 is saved in {folder}"
    )
    assert saved(folder)[0] == 6


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
    assert_saved(folder, 6)
    assert_unbroken(folder, go(folder, batches()), 10)


def test_batches_that_the_devices_cannot_share(folder):
    message = refusal(ValueError, folder, iter([np.ones((6, 2), np.float32)]))
    assert message == "a batch of 6 cannot be split over 4 devices: expected a multiple of that"


@functools.partial(jax.jit, donate_argnums=0)
def descent(state, batch):
    """The loss is 1 + w², times the first column of a batch, before the second one is added to w, one of the weights.

    Beside it are a term of the loss and one of its parts.
    """
    scale, move = batch.mean(0)
    w = state.parameters["weights"][0]
    weights = state.parameters["weights"].at[0].add(move)
    metrics = {"loss": scale * (1 + w**2), "term": w**4, "a/part": jnp.exp(state.parameters["weights"][1])}
    return State(state.step + 1, {"weights": weights}, state.optimizer, state.key), metrics


def moves(values, scales=None):
    """Batches that take w to the values, one after the other."""
    for value, before, scale in zip(values, [0, *values], scales or [1] * len(values), strict=False):
        yield np.tile(np.float32([scale, value - before]), (4, 1))


def descend(folder, values, scales=None, **options):
    return go(folder, moves(values, scales), steps=len(values), step=descent, **options)


def ends_worse(folder, values, scales=None, **options):
    with pytest.raises(ValueError, match=r"training stopped at step .* the loss has come to ") as caught:
        descend(folder, values, scales, **options)
    return str(caught.value)


LONG = [*[0.0] * 40, *[200.0] * 50]


@pytest.mark.parametrize("values", [[1e3], [1e3] * 2, [0, 0, 30, 30, 30], LONG, [1e9] * 12, [0, 1e15], [2.5] * 30])
def test_a_training_that_ends_worse_than_it_began_is_no_result(folder, values):
    message = ends_worse(folder, values, save_every=1000)
    assert message.startswith(f"training stopped at step {len(values)}: ")
    assert ", from 1 on the same batches with the first parameters; try a lower learning rate" in message
    assert message.endswith("(nothing was saved yet)")
    assert len(read_metrics(folder / "metrics.jsonl")["step"]) == len(values)
    assert saved(folder)[0] == 0
    # The folder of the run is as good as new.
    assert int(descend(folder, [0.1] * 10).step) == 10


def test_the_last_step_counts_though_no_loss_of_it_is_logged(folder):
    ends_worse(folder, [*[0.1] * 19, 10])
    assert read_metrics(folder / "metrics.jsonl")["loss"].max() < 1.1


def test_parameters_that_are_no_numbers_after_the_last_step(folder):
    assert "the loss has come to nan, from 1 on" in ends_worse(folder, [0, 0, np.nan])


@pytest.mark.parametrize(
    "values",
    [
        *([1.0], [1.7] * 5, [0, 90, 900, 90, 0, 0, 0, 0, 0], [*[0] * 50, *[5] * 60, *[1] * 20]),
        [*[9.0] * 99, *[1.0] * 100],  # A hundred times the first losses until then.
    ],
)
def test_a_training_that_recovers_or_gets_a_little_worse_is_one(folder, values):
    assert int(descend(folder, values, save_every=1000).step) == len(values)
    assert saved(folder)[0] == len(values)


def test_the_first_photos_may_be_easier_than_the_last(folder):
    values, scales = [0.9] * 150, [1e-6] * 3 + [1] * 147
    assert int(descend(folder, values, scales, save_every=20).step) == 150


def test_losses_that_do_not_matter_are_not_compared(folder):
    assert int(descend(folder, [9.0] * 10, [1e-6] * 10).step) == 10


@pytest.mark.parametrize(("save_every", "kept"), [(10, 10), (1000, 0)])
def test_a_long_training_that_diverges_early_stops_early(folder, save_every, kept):
    message = ends_worse(folder, [*[0] * 12, *[50] * 1000], save_every=save_every)
    assert message.startswith("training stopped at step 100: the loss has come to 2501, from 1 on the same batches ")
    # What it was by then is not kept.
    assert saved(folder)[0] == kept


def test_a_part_of_the_loss_that_diverges(folder):
    def only_a_part(state, batch):
        state, metrics = descent(state, batch)
        weights = state.parameters["weights"].at[1].add(1)
        return State(state.step, {"weights": weights}, state.optimizer, state.key), metrics

    with pytest.raises(ValueError, match=r"the a/part has come to 7\.389, from 1 on the same batches"):
        go(folder, moves([0, 0]), steps=2, step=only_a_part)


def test_a_training_that_goes_on_is_compared_with_its_beginning(folder):
    descend(folder, [1.0] * 6, save_every=2)
    message = r"the loss has come to 8101, from 1 on .*\(the save of step 6 in .* is kept\)"
    with pytest.raises(ValueError, match=message):
        go(folder, moves([*[1.0] * 6, *[90.0] * 5]), steps=11, step=descent)
    assert int(go(folder, moves([*[1.0] * 6, 2.0, 1.0, 1.0]), steps=9, step=descent).step) == 9
