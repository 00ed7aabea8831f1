"""Training under SIGKILL: one run killed over and over must equal the same run left alone.

    python benchmarks/kills.py PHOTOS [--kills 20] [--steps 200] [--save-every 2] [--seed 0]

Trains the decoder of relu2_1 of a small random network on the photos by `train.py`, on one CPU device, in a temporary
folder. A third of the kills come at any time after the start of the process, a third after a few steps, and a third
while a save is being written; then the same command resumes. After each kill the model files must open, and at the end
the losses of all steps and the decoder must equal those of the run left alone, bit by bit. Prints what each kill met
and what differs, and exits with status 1 if anything does.
"""

import argparse
import dataclasses
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from networks import random_model

from wct_jax.networks.model_file import load_model, save_model
from wct_jax.training.report import read_metrics

_ROOT = Path(__file__).resolve().parents[1]
_LAYER = "relu2_1"


class Training:
    """A run by the command line, with a model file of its own, in a new folder."""

    def __init__(self, folder, photos, *flags):
        self.run, self.model = folder / "run", folder / "model.safetensors"
        folder.mkdir()
        save_model(self.model, dataclasses.replace(random_model((4, 6), (_LAYER,)), decoders={}))
        arguments = ["--layer", _LAYER, "--model", self.model, "--data", photos, "--out", self.run]
        arguments += ["--batch-size", "2", "--crop", "16", *flags]
        self.command = [sys.executable, str(_ROOT / "train.py"), *map(str, arguments)]

    def start(self):
        """Start the command and return its process."""
        environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
        environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(_ROOT)}
        pipe = subprocess.PIPE
        return subprocess.Popen(self.command, env=environment, stdout=pipe, stderr=pipe, text=True)

    def start_and_step(self):
        """Start the command and return its process once it has logged a step; its output until then is lost."""
        process = self.start()
        while not (line := process.stderr.readline()).startswith(f"{_LAYER}  step "):
            if not line:
                raise RuntimeError(f"{self.command} takes no step")
        return process

    def finish(self):
        """Run the command to its end and return its standard error."""
        process = self.start()
        _, err = process.communicate()
        if process.returncode:
            raise RuntimeError(f"status {process.returncode}: {err}")
        return err

    def logged(self):
        """The number of steps in the metrics."""
        file = self.run / "metrics.jsonl"
        return file.read_bytes().count(b"\n") if file.exists() else 0

    def saved(self):
        """The step of the last save."""
        return max((int(path.name) for path in (self.run / "checkpoints").glob("*") if path.name.isdigit()), default=0)

    def unfinished_saves(self):
        """The folders of unfinished saves."""
        return set((self.run / "checkpoints").glob("*.orbax-checkpoint-tmp"))


@dataclasses.dataclass
class Kill:
    """The state at a kill: steps logged and saved, and whether a save or a file was being written."""

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
    """Start the command and kill it, over and over, and check each time that the model files open.

    Args:
        training: Run that has not begun.
        kills: Number of kills.
        seed: Seed of their moments.
        startup: Seconds that the process takes to its first step, about.
        stride: Steps after which it is killed at the latest, as far as we notice them in time.

    Yields:
        A `Kill` for each.
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
    """Name the losses and the decoder's weights that are not equal to the bit in two finished runs."""
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
