"""The folder of a run: whose it is, what it keeps, and what a process that died leaves."""

import gc
import json
import os
import shutil
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax.training.devices import replicate
from wct_jax.training.report import read_metrics
from wct_jax.training.run import Run, holds_run

if os.name == "posix":
    import resource

IDENTITY = {"layer": "relu2_1", "encoder": "0123", "pixel": 1.0}
SETTINGS = {"steps": 10, "learning_rate": 1e-3}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "relu2_1"


def open_run(folder, settings=SETTINGS, **identity):
    return Run(folder, IDENTITY | identity, settings)


def save(run, step, state, data=None):
    """Save after a step, with the metrics of all steps up to it."""
    for number in range(len(read_metrics(run.metrics_file)["step"]) + 1, step + 1):
        run.metrics.append({"step": number, "loss": 1 / number})
    run.save(step, state, data)


def state_of(step):
    """Arrays of every kind that a state has, full of the step."""
    return replicate(
        {
            "step": jnp.int32(step),
            "kernel": jnp.full((3, 3, 2, 4), step / 3, jnp.float32),
            "nested": ({"bias": jnp.full(4, step / 7, jnp.float32)}, jnp.zeros((), jnp.float32)),
            "key": jax.random.key_data(jax.random.key(step)),
        }
    )


def refusal(folder, settings=SETTINGS, **identity):
    with pytest.raises(ValueError, match=r".") as caught:
        open_run(folder, settings, **identity)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def files_in(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def saves(folder):
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir())


def test_a_run_begins_in_a_missing_or_empty_folder(folder, tmp_path):
    assert not holds_run(folder)
    for place in (folder, tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with open_run(place) as run:
            assert (run.folder, run.step, run.changed) == (place, 0, {})
            assert holds_run(place)
        assert json.loads((place / "run.json").read_text()) == {"identity": IDENTITY, "settings": SETTINGS}
    with open_run(folder) as run:
        assert (run.step, run.changed) == (0, {})


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"layer": "relu1_1"}, "layer relu2_1, not relu1_1"),
        ({"encoder": "4567"}, "encoder 0123, not 4567"),
        ({"pixel": 2.0}, "pixel 1.0, not 2.0"),
        ({"layer": "relu1_1", "pixel": 0}, "layer relu2_1, not relu1_1; pixel 1.0, not 0"),
        ({"feature": 1}, "feature None, not 1"),
    ],
)
def test_another_run_is_refused(folder, other, what):
    with open_run(folder) as run:
        save(run, 1, state_of(1))
    before = files_in(folder)
    assert refusal(folder, **other) == f"{folder} holds another run, of {what}: expected another folder for this one"
    assert files_in(folder) == before


def test_settings_may_change_and_are_listed(folder):
    open_run(folder).close()
    for changed in ({"steps": (10, 20), "crop": (None, 64)}, {}):
        with open_run(folder, {"steps": 20, "learning_rate": 1e-3, "crop": 64}) as run:
            assert run.changed == changed


def test_what_a_killed_write_left_is_removed(folder):
    open_run(folder).close()
    (folder / ".0123456789ab.safetensors").touch()
    with open_run(folder):
        assert not (folder / ".0123456789ab.safetensors").exists()


def test_a_folder_of_something_else_is_refused(folder):
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("x")
    assert refusal(folder) == f"{folder} is not empty and holds no run: expected another folder for it"
    assert os.listdir(folder) == ["thesis.tex"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    assert refusal(tmp_path / "file").startswith(f"cannot read {tmp_path / 'file' / 'run.json'}: ")
    assert refusal(tmp_path / "file" / "run").startswith(f"cannot read {tmp_path / 'file' / 'run' / 'run.json'}: ")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"3", b'{"identity": {}}', b'{"identity": 1, "settings": 2}', b"\xff"]
)
def test_a_damaged_document_is_refused(folder, content):
    open_run(folder).close()
    (folder / "run.json").write_bytes(content)
    assert refusal(folder) == f"{folder / 'run.json'} is damaged: expected the identity and settings of a run"
    assert (folder / "run.json").read_bytes() == content


@pytest.mark.parametrize("name", ["run [2]", "run*", "what?"])
def test_a_path_that_is_a_pattern_is_refused(tmp_path, name):
    assert refusal(tmp_path / name) == f"cannot train in {tmp_path / name}: expected a path without any of * ? ["
    assert os.listdir(tmp_path) == []


def test_lost_metrics_are_refused(folder):
    with open_run(folder) as run:
        save(run, 2, state_of(2))
    lines = (folder / "metrics.jsonl").read_bytes()
    (folder / "metrics.jsonl").unlink()
    assert refusal(folder) == f"{folder / 'metrics.jsonl'} lacks step 1: expected all steps up to 2"
    # It lets go of the folder.
    (folder / "metrics.jsonl").write_bytes(lines)
    with open_run(folder) as run:
        assert run.step == 2


@pytest.mark.core
@pytest.mark.parametrize("data", [None, {"next_index": 7}, [1, "two", None]])
def test_a_save_is_restored_bit_by_bit(folder, data):
    state = state_of(3)
    with open_run(folder) as run:
        save(run, 3, state, data)
        assert run.step == 3
    with open_run(folder) as run:
        assert run.step == 3
        restored, position = run.restore(state_of(0))
    assert position == data
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for own, expected in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert own.dtype == expected.dtype
        assert own.sharding == expected.sharding
        assert np.asarray(own).tobytes() == np.asarray(expected).tobytes()


def test_values_that_are_hard_to_write_are_restored(folder):
    values = jnp.array([-0.0, jnp.inf, -jnp.inf, jnp.nan, 1e-45, 3.4e38], jnp.float32)
    with open_run(folder) as run:
        save(run, 1, {"x": replicate(values), "half": replicate(values.astype(jnp.bfloat16))})
    with open_run(folder) as run:
        restored, _ = run.restore({"x": replicate(jnp.zeros(6)), "half": replicate(jnp.zeros(6, jnp.bfloat16))})
    assert np.asarray(restored["x"]).tobytes() == np.asarray(values).tobytes()
    assert np.asarray(restored["half"]).tobytes() == np.asarray(values.astype(jnp.bfloat16)).tobytes()


@pytest.mark.core
def test_the_last_three_saves_are_kept(folder):
    with open_run(folder) as run:
        for step in range(1, 6):
            save(run, step, state_of(step))
            run.wait()
        assert saves(folder) == [3, 4, 5]
    with open_run(folder) as run:
        save(run, 9, state_of(9))
    assert saves(folder) == [4, 5, 9]
    with open_run(folder) as run:
        assert int(run.restore(state_of(0))[0]["step"]) == 9


def test_the_metrics_go_on_after_the_save(folder):
    with open_run(folder) as run:
        save(run, 2, state_of(2))
        run.metrics.append({"step": 3, "loss": 0.5})
    with open_run(folder) as run:
        run.metrics.append({"step": 3, "loss": 0.25})
    assert read_metrics(run.metrics_file)["loss"].tolist() == [1, 0.5, 0.25]


def test_a_save_is_of_the_values_it_had_then(folder):
    """Though the memory is handed to the next steps before it is written."""
    step = jax.jit(lambda state: {"x": state["x"] + 1}, donate_argnums=0)
    # Random numbers, which take a while to compress.
    state = replicate({"x": jax.random.normal(jax.random.key(0), (1 << 21,))})
    expected = np.array(state["x"])
    with open_run(folder) as run:
        save(run, 1, state)
        given = state
        for _ in range(20):
            state = step(state)
        assert given["x"].is_deleted()
    assert not np.array_equal(state["x"], expected)
    with open_run(folder) as run:
        np.testing.assert_array_equal(run.restore(state)[0]["x"], expected)


@pytest.mark.parametrize("damage", ["lost", "short"])
def test_a_damaged_save_is_refused(folder, damage):
    with open_run(folder) as run:
        save(run, 1, state_of(1))
        save(run, 2, state_of(2))
    whole = folder / "checkpoints" / "2"
    for path in [path for path in (whole / "state").rglob("*") if path.is_file()]:
        if damage == "lost":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:5])
    with open_run(folder) as run, pytest.raises(ValueError, match=r".") as caught:
        run.restore(state_of(0))
    assert str(caught.value) == f"the save {whole} is damaged: delete it to go on with the one before"
    shutil.rmtree(whole)
    with open_run(folder) as run:
        assert int(run.restore(state_of(0))[0]["step"]) == 1


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
@pytest.mark.parametrize("end", ["wait", "close", "save"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Of what Orbax leaves unfinished.
def test_a_full_disk_keeps_the_saves_there_were(folder, end, rng):
    noise = replicate({"x": jnp.asarray(rng.random(100_000), jnp.float32)})
    run = open_run(folder)
    save(run, 1, noise)
    run.wait()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        save(run, 2, noise)
        # It is written in the background, and so complains later.
        ends = {"save": lambda: save(run, 3, noise), "wait": run.wait, "close": run.close}
        with pytest.raises(ValueError, match=f"^cannot save in {folder}: File too large$"):
            ends[end]()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        if end != "close":
            run.close()
    with open_run(folder) as run:
        assert run.step == 1
        np.testing.assert_array_equal(run.restore(noise)[0]["x"], noise["x"])
    gc.collect()  # Now, or it warns in another test.


# Several processes, and those that died.

HOLD = """
import os, sys
import jax.numpy as jnp
from wct_jax.training.devices import replicate
from wct_jax.training.run import Run
run = Run(sys.argv[1], {identity}, {settings})
run.metrics.append({{"step": 1, "loss": 1.0}})
run.save(1, {{"x": replicate(jnp.arange(4.0))}}, None)
run.wait()
print(flush=True)
sys.stdin.readline()
"""


def test_a_folder_in_use_is_refused_until_its_process_dies(folder):
    script = HOLD.format(identity=IDENTITY, settings=SETTINGS)
    command, environment = [sys.executable, "-c", script, folder], os.environ | {"JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    try:
        assert process.stdout.readline() == b"\n"
        document = (folder / "run.json").read_bytes()
        assert refusal(folder, {"steps": 99}) == f"{folder} is in use: another process is training there"
        assert (folder / "run.json").read_bytes() == document
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    with open_run(folder) as run:
        assert run.step == 1
        np.testing.assert_array_equal(run.restore({"x": replicate(jnp.zeros(4))})[0]["x"], np.arange(4))


def test_a_run_lets_go_of_its_folder(folder):
    with open_run(folder):
        assert refusal(folder) == f"{folder} is in use: another process is training there"
    open_run(folder).close()
    with pytest.raises(ZeroDivisionError), open_run(folder) as run:
        save(run, 1 // 0, state_of(1))
    with open_run(folder) as run:
        assert run.step == 0


@pytest.mark.core
def test_what_a_killed_save_leaves_is_removed(folder):
    with open_run(folder) as run:
        save(run, 1, state_of(1))
        save(run, 2, state_of(2))
    for step in (3, 5):  # The next one, and one that comes no more.
        half = folder / "checkpoints" / f"{step}.orbax-checkpoint-tmp" / "state"
        half.mkdir(parents=True)
        (half / "manifest").write_bytes(b"half")
    with open_run(folder) as run:
        assert run.step == 2
        save(run, 3, state_of(3))
        run.wait()
        assert int(run.restore(state_of(0))[0]["step"]) == 3
    assert saves(folder) == [1, 2, 3]


def test_what_a_process_killed_at_its_beginning_leaves_is_no_hindrance(folder):
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    (folder / ".0123456789ab.json").write_text('{"identity": {"la')
    with open_run(folder) as run:
        assert run.step == 0
        save(run, 1, state_of(1))
    assert saves(folder) == [1]
