"""Data parallelism: several devices, and several processes, take the steps that one takes.

As a program this is one of two processes: it trains and fails in several ways, and writes down what it saw.
"""

import dataclasses
import functools
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

from wct_jax.networks.model_file import load_model, save_model
from wct_jax.training import task
from wct_jax.training.data import Folder, batches
from wct_jax.training.decoder import LossWeights, make_optimizer, train_step
from wct_jax.training.devices import agree, check_batch_size, replicate, split
from wct_jax.training.loop import Interrupted, State
from wct_jax.training.recipe import train_decoder
from wct_jax.training.report import read_metrics
from wct_jax.training.run import Run
from wct_jax.training.task import Recipe, Setup

LAYER = "relu1_1"
RECIPE = Recipe(steps=5, batch_size=4, crop=12, learning_rate=1e-2, precision="float32", seed=3, data="noise")

pytestmark = pytest.mark.usefixtures("quick")


def test_a_batch_is_split_and_a_tree_copied():
    assert jax.device_count() == 4
    batch = np.arange(8 * 3, dtype=np.uint8).reshape(8, 3)
    shards = split(batch)
    assert shards.dtype == np.uint8
    np.testing.assert_array_equal(shards, batch)
    assert {shard.device for shard in shards.addressable_shards} == set(jax.devices())
    for shard in shards.addressable_shards:
        np.testing.assert_array_equal(shard.data, batch[shard.index])
        assert shard.data.shape == (2, 3)

    tree = {"a": jnp.arange(3), "b": (jnp.ones(()),)}
    copies = replicate(tree)
    for own, expected in zip(jax.tree.leaves(copies), jax.tree.leaves(tree), strict=True):
        assert own.is_fully_replicated
        assert len(own.addressable_shards) == 4
        np.testing.assert_array_equal(own, expected)


@pytest.mark.parametrize("size", [1, 2, 6, 9])
def test_a_batch_that_cannot_be_split(size):
    message = f"^a batch of {size} cannot be split over 4 devices: expected a multiple of that$"
    with pytest.raises(ValueError, match=message):
        check_batch_size(size)
    with pytest.raises(ValueError, match=message):
        split(np.zeros((size, 2)))
    check_batch_size(4 * size)


def test_one_process_agrees_with_itself():
    assert [agree(urgency) for urgency in (0, 15, True)] == [0, 15, 1]


@pytest.mark.parametrize(
    ("layer", "optimizer"),
    [pytest.param("relu2_1", optax.sgd(0.05), marks=pytest.mark.slow), ("relu1_1", make_optimizer(1e-2, 5))],
)
def test_four_devices_take_the_steps_of_one(model, rng, lenient, layer, optimizer):
    """By plain gradient descent too, whose parameters differ as the gradients do."""
    optimizer = lenient(optimizer)
    step = jax.jit(
        functools.partial(
            train_step, layer=layer, optimizer=optimizer, weights=LossWeights(1, 1, 0.5), dtype=jnp.dtype("float32")
        )
    )
    decoder = model.decoders[layer]
    first = State(jnp.zeros((), jnp.int32), decoder, optimizer.init(decoder), jax.random.key_data(jax.random.key(0)))
    batches = rng.integers(0, 256, (5, 8, 11, 10, 3), dtype=np.uint8)

    one, four, encoder = first, replicate(first), replicate(model)
    for batch in batches:
        one, expected = step(one, jnp.asarray(batch), model)
        four, metrics = step(four, split(batch), encoder)
        for name, value in metrics.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-5, err_msg=name)
            assert len(value.sharding.device_set) == 4
    assert len(expected["loss"].sharding.device_set) == 1
    for own, single, start in zip(
        jax.tree.leaves(four.parameters), jax.tree.leaves(one.parameters), jax.tree.leaves(decoder), strict=True
    ):
        assert own.is_fully_replicated
        assert float(jnp.abs(single - start).max()) > 1e-3
        np.testing.assert_allclose(own, single, rtol=1e-5, atol=1e-5)


@pytest.fixture
def root(tmp_path, model, rng):
    """A model and some photos."""
    save_model(tmp_path / "model.safetensors", model)
    (tmp_path / "photos").mkdir()
    for number in range(7):
        pixels = rng.integers(0, 256, (20, 16 + number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path


def start(root):
    """Two processes of two devices each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    return [
        subprocess.Popen(
            [sys.executable, __file__, address, str(index), root],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in (0, 1)
    ]


@pytest.mark.slow
def test_two_processes_are_one(root, lenient, monkeypatch):
    """They share a run and its batches, and what stops one stops both: neither hangs."""
    with Run(root / "lost", *identity_of(root)) as run:
        run.metrics.append({"step": 1, "loss": 1.0})
        run.save(1, {"x": replicate(jnp.zeros(4))}, None)
    (root / "lost" / "metrics.jsonl").unlink()
    with Run(root / "busy", *identity_of(root)):
        processes = start(root)
        try:
            # Meanwhile, the same in one process.
            monkeypatch.setattr(task, "make_optimizer", lambda *arguments: lenient(make_optimizer(*arguments)))
            whole = Recorder(root)
            trained, record = train(root, "whole", whole)
            outputs = [process.communicate(timeout=120)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    found = [json.loads((root / f"{index}.json").read_text()) for index in (0, 1)]
    arrays = [np.load(root / f"{index}.npz") for index in (0, 1)]

    # Each has its own part of the crops of one process.
    for index in (0, 1):
        assert arrays[index]["crops"].shape == (5, 2, 12, 12, 3)
        for own, batch in zip(arrays[index]["crops"], whole.seen, strict=True):
            np.testing.assert_array_equal(own, batch[index::2])

    # Their steps are its steps, though they were interrupted, by a signal to the second of them.
    assert [each["interrupted"] for each in found] == ["interrupted after step 3"] * 2
    one, two = (read_metrics(root / folder / "metrics.jsonl") for folder in ("whole", "run"))
    for name in ("step", "loss", "pixel", "feature"):
        np.testing.assert_allclose(two[name], one[name], rtol=1e-5, err_msg=name)
    kernel = trained.decoders[LAYER]["conv1_1"]["kernel"]
    for index in (0, 1):
        np.testing.assert_allclose(arrays[index]["kernel"], kernel, rtol=1e-5, atol=1e-5)
    saved = load_model(root / "run" / "model.safetensors")
    np.testing.assert_array_equal(saved.decoders[LAYER]["conv1_1"]["kernel"], arrays[0]["kernel"])
    for name, value in saved.metadata["decoders"][LAYER]["losses"].items():
        np.testing.assert_allclose(value, record["losses"][name], rtol=1e-5)
    assert "goes on after step 3" in outputs[0]
    assert "goes on" not in outputs[1]

    # What stops one of them stops the other.
    assert [each["data"] for each in found] == [
        f"another process of the run failed, and says why; step 2 is saved in {root / 'failing'}",
        f"cannot read a.jpg: it is torn; step 2 is saved in {root / 'failing'}",
    ]
    assert read_metrics(root / "failing" / "metrics.jsonl")["step"].tolist() == [1, 2]
    for name, sentence in (
        ("busy", f"{root / 'busy'} is in use: another process is training there"),
        ("lost", f"{root / 'lost' / 'metrics.jsonl'} lacks step 1: expected all steps up to 1"),
        ("other", f"{root / 'run'} holds another run, of pixel 1.0, not 2: expected another folder for this one"),
    ):
        folder = root / ("run" if name == "other" else name)
        assert found[0][name] == sentence
        assert found[1][name] == f"the first process cannot train in {folder}, and says why"
    assert {each["size"] for each in found} == {
        "a batch of 6 cannot be split over 4 devices: expected a multiple of that"
    }
    assert not (root / "new").exists()


def identity_of(root):
    """The identity of the two processes' runs, and their settings."""
    identity = {"layer": LAYER, "encoder": load_model(root / "model.safetensors").digest}
    return identity | dataclasses.asdict(LossWeights()) | {"finetune": False}, {}


class Recorder:
    """This process's batches; it keeps them, and calls `action` when the batch of number `at` is asked for."""

    def __init__(self, root, at=None, action=None):
        share = dict(process_index=jax.process_index(), process_count=jax.process_count())
        crops = dict(batch_size=RECIPE.batch_size, crop=RECIPE.crop, seed=RECIPE.seed)
        self._batches = batches(Folder(root / "photos"), **crops, **share)
        self._at, self._action, self.seen = at, action, []
        self.get_state, self.set_state = self._batches.get_state, self._batches.set_state

    def __iter__(self):
        return self

    def __next__(self):
        if len(self.seen) + 1 == self._at:
            self._action()
        self.seen.append(next(self._batches))
        return self.seen[-1]


def train(root, folder, stream, weights=LossWeights(), save_every=2, **changes):  # noqa: B008 (frozen)
    """Train in a folder of the root."""
    model = load_model(root / "model.safetensors")
    photos = [np.full((12, 12, 3), 0.5, np.float32)]
    own = dataclasses.replace(RECIPE, **changes)
    return train_decoder(model, LAYER, weights, Setup(stream, root / folder, own, photos, save_every=save_every))


def complaint(error, action):
    """The message of the error that an action raises."""
    try:
        action()
    except error as caught:
        return str(caught)
    return "nothing"


def main(address, index, root):
    index, root = int(index), Path(root)
    jax.distributed.initialize(address, 2, index)
    if index:
        # Only the first process is to write.
        for name in ("save_model", "draw_curves", "draw_grid"):
            setattr(task, name, None)
    found = {}

    # A signal to one of them; then both go on.
    first = Recorder(root, 4, (lambda: os.kill(os.getpid(), signal.SIGTERM)) if index else lambda: None)
    found["interrupted"] = complaint(Interrupted, lambda: train(root, "run", first))
    second = Recorder(root)
    trained, _ = train(root, "run", second)
    kernel = np.asarray(trained.decoders[LAYER]["conv1_1"]["kernel"])
    np.savez(root / f"{index}.npz", crops=np.stack(first.seen[:3] + second.seen), kernel=kernel)

    # Data that only one of them cannot read.
    def fail():
        raise ValueError("cannot read a.jpg: it is torn")

    failing = Recorder(root, 3, fail if index else lambda: None)
    found["data"] = complaint(ValueError, lambda: train(root, "failing", failing))
    # Folders that only the first one looks at.
    found["busy"] = complaint(ValueError, lambda: train(root, "busy", Recorder(root)))
    found["lost"] = complaint(ValueError, lambda: train(root, "lost", Recorder(root)))
    found["other"] = complaint(ValueError, lambda: train(root, "run", second, weights=LossWeights(pixel=2)))
    found["size"] = complaint(ValueError, lambda: train(root, "new", second, batch_size=6))
    (root / f"{index}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
