"""One of the two processes of test_devices.py: it trains and fails in several ways, and writes down what it saw."""

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

import jax
import numpy as np

from wct_jax.networks.model_file import load_model
from wct_jax.training import task
from wct_jax.training.data import Folder, batches
from wct_jax.training.decoder import LossWeights
from wct_jax.training.loop import Interrupted
from wct_jax.training.recipe import train_decoder
from wct_jax.training.task import Recipe, Setup

LAYER = "relu1_1"
RECIPE = Recipe(steps=5, batch_size=4, crop=12, learning_rate=1e-2, precision="float32", seed=3, data="noise")


class Recorder:
    """This process's batches; it keeps them, and does something as the one of a number is asked for."""

    def __init__(self, root, at=None, action=None):
        share = dict(process_index=jax.process_index(), process_count=jax.process_count())
        self._batches = batches(
            Folder(root / "photos"), batch_size=RECIPE.batch_size, crop=RECIPE.crop, seed=RECIPE.seed, **share
        )
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
    """What an action is refused with."""
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
