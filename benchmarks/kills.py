"""Whether a training survives SIGKILL: one run killed over and over, against the same run left alone.

    python benchmarks/kills.py PHOTOS [--kills 20] [--steps 200] [--save-every 2] [--seed 0]

Trains the decoder of relu2_1 of a small random network on the photos by `train.py`, on one CPU device, in a temporary
folder. Every third kill comes anywhere from the start of the process on, every third one after a few steps, every
third one while a save is being written; then the same command goes on. After each kill the model files have to open,
and at the end the losses of every step and the decoder have to be those of the run left alone, bit by bit. Prints what
each kill met and what differs, and exits with status 1 if anything does.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wct_jax.networks.model import Model
from wct_jax.networks.model_file import load_model, save_model
from wct_jax.networks.vgg import encoder_shapes
from wct_jax.training.report import read_metrics

_ROOT = Path(__file__).resolve().parents[1]
_LAYER = "relu2_1"


class Training:
    """A run by the command line, with a model file of its own.

    Args:
        folder: Where the run and its model file are to be.
        photos: The folder of photos.
        flags: What else the command is given.
    """

    def __init__(self, folder, photos, *flags):
        self.run, self.model = folder / "run", folder / "model.safetensors"
        folder.mkdir()
        rng = np.random.default_rng(0)
        encoder = {
            name: {
                "kernel": rng.normal(0, (2 / 9 / inputs) ** 0.5, (3, 3, inputs, outputs)).astype(np.float32),
                "bias": np.zeros(outputs, np.float32),
            }
            for name, (inputs, outputs) in encoder_shapes((4, 6)).items()
        }
        save_model(self.model, Model(encoder, {}, (4, 6)))
        arguments = ["--layer", _LAYER, "--model", self.model, "--data", photos, "--out", self.run]
        arguments += ["--batch-size", "2", "--crop", "16", *flags]
        self.command = [sys.executable, str(_ROOT / "train.py"), *map(str, arguments)]

    def start(self):
        """The process, not waited for."""
        environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
        environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(_ROOT)}
        pipe = subprocess.PIPE
        return subprocess.Popen(self.command, env=environment, stdout=pipe, stderr=pipe, text=True)

    def start_and_step(self):
        """The process, once it has logged a step of its own; what it has said until then is lost."""
        process = self.start()
        while not (line := process.stderr.readline()).startswith(f"{_LAYER}  step "):
            if not line:
                raise RuntimeError(f"{self.command} takes no step")
        return process

    def finish(self):
        """Run the command to its end: what it says on standard error."""
        process = self.start()
        _, err = process.communicate()
        if process.returncode:
            raise RuntimeError(f"status {process.returncode}: {err}")
        return err

    def logged(self):
        """How many steps the metrics have."""
        file = self.run / "metrics.jsonl"
        return file.read_bytes().count(b"\n") if file.exists() else 0

    def saved(self):
        """The step of the last save."""
        return max((int(path.name) for path in (self.run / "checkpoints").glob("*") if path.name.isdigit()), default=0)

    def unfinished_saves(self):
        """The folders of saves that are not whole."""
        return set((self.run / "checkpoints").glob("*.orbax-checkpoint-tmp"))


@dataclass
class Kill:
    """What a kill met: the steps logged and saved by then, whether in a save, whether in the writing of a file."""

    moment: str
    logged: int
    saved: int
    in_save: bool
    in_file: bool


def _anywhere(training, rng, startup, stride):
    process = training.start()
    end, last = time.monotonic() + rng.uniform(0, startup), training.logged() + stride
    while time.monotonic() < end and training.logged() < last:
        time.sleep(0.001)
    return process


def _after_steps(training, rng, startup, stride):
    process = training.start_and_step()
    target = training.logged() + rng.randint(0, stride)
    while training.logged() < target and process.poll() is None:
        time.sleep(0.001)
    time.sleep(rng.uniform(0, 0.3))
    return process


def _in_save(training, rng, startup, stride):
    process = training.start_and_step()
    target = training.logged() + rng.randint(0, stride)
    while not (training.logged() >= target and training.unfinished_saves()) and process.poll() is None:
        time.sleep(0.0005)
    time.sleep(rng.uniform(0, 0.05))
    return process


_MOMENTS = (_in_save, _after_steps, _anywhere)


def kill_repeatedly(training, kills, seed, startup, stride):
    """Start the command and kill it, over and over.

    Args:
        training: The run, not begun.
        kills: How often.
        seed: Of the moments.
        startup: Seconds that the process takes to its first step, about.
        stride: The most steps to let it take before it is killed, but for those that it is quicker with.

    Yields:
        A `Kill` each, after making sure that the model files open.
    """
    rng = random.Random(seed)
    for number in range(kills):
        moment = _MOMENTS[number % len(_MOMENTS)]
        files = set(training.run.rglob(".*.*"))
        process = moment(training, rng, startup, stride)
        process.kill()
        process.communicate()
        if process.returncode != -9:
            raise RuntimeError(f"the training ended by itself before kill {number + 1}: give it more steps")
        if load_model(training.model).layers:
            raise RuntimeError("an unfinished decoder is in the model file")
        if (training.run / "model.safetensors").exists():
            load_model(training.run / "model.safetensors")
        new = set(training.run.rglob(".*.*")) - files
        name = moment.__name__[1:].replace("_", " ")
        yield Kill(name, training.logged(), training.saved(), bool(training.unfinished_saves()), bool(new))


def differences(one, other):
    """What two finished runs do not have in common, bit by bit: the losses of each step and the decoder."""
    found = []
    expected, got = (read_metrics(training.run / "metrics.jsonl") for training in (one, other))
    for name in ("step", "loss", "pixel", "feature"):
        if expected[name].shape != got[name].shape:
            found.append(f"{len(got[name])} steps instead of {len(expected[name])}")
        elif (unequal := np.flatnonzero(expected[name] != got[name])).size:
            found.append(f"{name} of step {unequal[0] + 1} and {unequal.size - 1} others")
    decoders = [load_model(training.model).decoders[_LAYER] for training in (one, other)]
    for layer, leaves in decoders[0].items():
        found += [f"{layer}/{leaf}" for leaf, array in leaves.items() if (array != decoders[1][layer][leaf]).any()]
    return found


def main():
    """Kill and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", metavar="PHOTOS")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--save-every", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    flags = ["--steps", arguments.steps, "--save-every", arguments.save_every]
    with tempfile.TemporaryDirectory() as folder:
        unbroken = Training(Path(folder, "unbroken"), arguments.photos, *flags)
        killed = Training(Path(folder, "killed"), arguments.photos, *flags)
        began = time.monotonic()
        process = unbroken.start_and_step()
        startup = time.monotonic() - began
        process.communicate()
        kills = []
        stride = arguments.steps // arguments.kills // 2  # Half of the steps are taken while we look or wait.
        for kill in kill_repeatedly(killed, arguments.kills, arguments.seed, startup, stride):
            kills.append(kill)
            print(f"{len(kills):3}", kill, flush=True)
        killed.finish()
        found = differences(unbroken, killed)
        left = [path.name for path in killed.run.rglob(".*.*")]
    print(f"{sum(kill.in_save for kill in kills)} of {len(kills)} kills inside a save")
    print(f"{sum(kill.in_file for kill in kills)} while a file was being written; {len(left)} scratch files are left")
    print(f"at most {max(kill.logged - kill.saved for kill in kills)} steps lost")
    print("differs:", ", ".join(found) or f"nothing, in {arguments.steps} steps and the decoder")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
