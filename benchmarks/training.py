"""The speed of training a decoder beside PyTorch, and the time it waits for data. On the CPU.

    python benchmarks/training.py speed [--layers ...] [--widths ...] [--peers ...] [--peer-python PYTHON]
    python benchmarks/training.py waiting PHOTOS [--layers ...] [--widths ...]

`speed` compares the step of wct_jax/training/decoder.py with the same step in PyTorch (`training_peer.py`): eager with
channels first, as its users write it, eager with channels last, and compiled. From the same random weights and batch,
losses and gradients must agree; then they take turns, so that other load on the machine slows all of them. Load slows
PyTorch more, because its threads wait for the slowest one: on a busy machine compare on one core
(`taskset -c 0 python ...`). `--peer-python` is the interpreter of an environment with PyTorch, by default this one.

`waiting` trains with the loop and the batches of `train.py`, and prints the share of time spent waiting for data.
"""

import argparse
import functools
import statistics
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from networks import random_model
from table import machine, print_table
from worker import Worker, installed

from wct_jax.kernels.compilation import compiler_options
from wct_jax.networks.vgg import LAYERS, VGG19_WIDTHS
from wct_jax.training.data import Folder, batches
from wct_jax.training.decoder import LossWeights, make_optimizer, train_step
from wct_jax.training.loop import State, train
from wct_jax.training.report import read_metrics
from wct_jax.training.run import Run

PEERS = ("eager", "channels_last", "compiled")
RATE = 1e-4
# Rounding moves the inputs of a few ReLUs across zero, and each switches a gradient on or off: PyTorch's own two memory
# formats differ by up to 1.4e-4 at relu5_1. A wrong step differs by far more.
TOLERANCE = 1e-3


def our_step(layer, optimizer):
    settings = dict(layer=layer, optimizer=optimizer, weights=LossWeights(), dtype=jnp.dtype("float32"))
    return jax.jit(functools.partial(train_step, **settings), donate_argnums=0, compiler_options=compiler_options())


def our_state(model, layer, optimizer):
    # Copied, because the step donates its state and the model is needed again.
    decoder = jax.tree.map(jnp.copy, model.decoders[layer])
    return State(jnp.zeros((), jnp.int32), decoder, optimizer.init(decoder), jax.random.key_data(jax.random.key(0)))


class Ours:
    """The step of `train.py`."""

    def __init__(self, model, layer):
        optimizer = optax.adam(RATE)  # As PyTorch's; that of train.py costs a little more.
        self._step, self._state, self._model = our_step(layer, optimizer), our_state(model, layer, optimizer), model

    def __call__(self, batch):
        """Take a step and return the loss."""
        self._state, metrics = self._step(self._state, batch, self._model)
        return float(metrics["loss"])


def our_gradients(model, layer, batch):
    """The loss and the decoder's gradients."""
    # An optimizer that changes nothing and keeps the gradients as its state.
    memory = optax.GradientTransformation(
        lambda parameters: jax.tree.map(jnp.zeros_like, parameters),
        lambda gradients, state, parameters: (jax.tree.map(jnp.zeros_like, gradients), gradients),
    )
    state, metrics = our_step(layer, memory)(our_state(model, layer, memory), batch, model)
    return float(metrics["loss"]), jax.tree.map(np.asarray, state.optimizer)


def difference(ours, theirs):
    """The largest relative difference between two losses, or between the gradients of a parameter."""
    (loss, gradients), (their_loss, their_gradients) = ours, theirs
    worst = abs(their_loss / loss - 1)
    for name, leaves in gradients.items():
        for leaf, own in leaves.items():
            error = np.linalg.norm(their_gradients[name][leaf] - own) / np.linalg.norm(own)
            worst = max(worst, float(error))
    return worst


def rate(step, batch, seconds):
    """Images per second, over the steps that begin within some seconds."""
    began, images, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < seconds:
        step(batch)
        images += len(batch)
        elapsed = time.perf_counter() - began
    return images / elapsed


def speed(arguments):
    peers, _ = installed(arguments.peers, arguments.peer_python)
    print(f"{machine()}; {arguments.batch_size} crops of {arguments.crop} x {arguments.crop}, {arguments.widths}")
    shape = (arguments.batch_size, arguments.crop, arguments.crop, 3)
    batch = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    rows = []
    for layer in arguments.layers:
        model = random_model(arguments.widths, (layer,))
        encoder, decoder = jax.tree.map(np.asarray, (model.encoder, model.decoders[layer]))
        job = dict(layer=layer, encoder=encoder, decoder=decoder, batch=batch, rate=RATE, seconds=arguments.seconds)
        workers = {peer: Worker("training_peer.py", job | {"kind": peer}, arguments.peer_python) for peer in peers}
        expected, apart = our_gradients(model, layer, batch), {}
        for peer, worker in workers.items():  # Compiles, and warms the caches.
            apart[peer] = difference(expected, worker("first").result)
            if apart[peer] > TOLERANCE:
                sys.exit(f"{layer}: our step and {peer} differ by {apart[peer]:.1e}, expected at most {TOLERANCE:.0e}")
        ours = Ours(model, layer)
        ours(batch)
        rounds = [
            {"wct_jax": rate(ours, batch, arguments.seconds)}
            | {peer: worker("turn").result for peer, worker in workers.items()}
            for _ in range(arguments.rounds)
        ]
        for worker in workers.values():
            worker.end()
        row = {"layer": layer, "ours, images/s": statistics.median(each["wct_jax"] for each in rounds)}
        for peer in peers:
            ratios = sorted(each["wct_jax"] / each[peer] for each in rounds)
            row[f"times {peer}"] = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        rows.append(row | {"apart": f"{max(apart.values(), default=0):.0e}"})
    print_table(rows)


def waiting(arguments):
    folder = Folder(arguments.photos)
    for layer in arguments.layers:
        model, optimizer = random_model(arguments.widths, (layer,)), make_optimizer(RATE, arguments.steps)
        step = our_step(layer, optimizer)
        data = batches(folder, batch_size=arguments.batch_size, crop=arguments.crop, seed=0, threads=2)
        with tempfile.TemporaryDirectory() as scratch, Run(scratch, {}, {}) as run:
            begun, steps = our_state(model, layer, optimizer), arguments.steps
            train(functools.partial(step, model=model), begun, data, run, steps=steps, save_every=steps)
            metrics = read_metrics(run.metrics_file)
        # Without the first steps, which compile and then take the batches made meanwhile.
        seconds, waited = (metrics[name][arguments.steps // 4 :] for name in ("seconds", "waiting"))
        share = waited.sum() / seconds.sum()
        print(f"{layer}: {share:.1%} of {1000 * seconds.mean():.0f} ms a step are spent waiting for data", flush=True)


def main():
    jax.config.update("jax_platforms", "cpu")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--layers", nargs="+", choices=LAYERS, default=LAYERS, metavar="LAYER")
    common.add_argument("--widths", nargs=5, type=int, default=VGG19_WIDTHS, metavar="N", help="of the five blocks")
    common.add_argument("--batch-size", type=int, default=4, metavar="N")
    common.add_argument("--crop", type=int, default=128, metavar="PIXELS")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("speed", parents=[common])
    command.add_argument("--rounds", type=int, default=7, metavar="N", help="turns that each of them takes")
    command.add_argument("--seconds", type=float, default=1.0, metavar="S", help="of a turn, at least")
    command.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, metavar="PEER", help=", ".join(PEERS))
    command.add_argument("--peer-python", default=sys.executable, metavar="PYTHON", help="the interpreter of the peers")
    command.set_defaults(run=speed)
    command = commands.add_parser("waiting", parents=[common])
    command.add_argument("photos")
    command.add_argument("--steps", type=int, default=100, metavar="N")
    command.set_defaults(run=waiting)
    arguments = parser.parse_args()
    arguments.widths = tuple(arguments.widths)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
