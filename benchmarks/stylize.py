"""How fast a photo is repainted: side by side with PyTorch, and as pictures grow. On the CPU.

    python benchmarks/stylize.py [--sizes ...] [--rounds N] [--json FILE]

This library and `peer.py` stylize a photo with a picture of the same size at five levels, with the same weights: those
of the packaged model, and random ones of VGG-19's widths (whose features have hardly any rank, so that float32 and
float64 diverge: only the packaged model's results are compared). They take turns in each of five rounds, so that other
load on the machine slows all of them. PyTorch takes a new style each time, as its users' code does; we take once a new
style and once a kept one. Each runs in a process of its own; the peak memory is that process's after one picture. Each
stage is waited for, so together they take longer than the whole.

Then our times alone from 256 x 256 to 2048 x 2048, and the exponent of their growth with the number of pixels.
"""

import argparse
import contextlib
import importlib.util
import json
import multiprocessing
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from memory import megabytes
from table import machine, print_table

from wct_jax.networks.vgg import VGG19_WIDTHS

# The libraries themselves are imported late: a process whose memory is measured must not have both.

WIDTHS = {"VGG-19": VGG19_WIDTHS, "compact": (16, 32, 64, 128, 128)}
GROWING = (256, 512, 1024, 2048)
STAGES = ("encode", "statistics", "eigh", "apply", "decode")


class Stopwatch:
    """Seconds by name: `with watch("decode"):`."""

    def __init__(self):
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextlib.contextmanager
    def __call__(self, name):
        """Add the time of the block."""
        began = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - began


class Ours:
    """This library."""

    def __init__(self, encoder, decoders, widths, size):
        import jax
        import jax.numpy as jnp

        from wct_jax.networks.model import Model

        jax.config.update("jax_platforms", "cpu")
        self._model = jax.tree.map(jnp.asarray, Model(encoder, decoders, widths))
        self._content, self._style = (jnp.asarray(picture) for picture in pictures(size))

    def fresh(self):
        """Repaint with a new style."""
        from wct_jax.painting.style import extract_style

        self._kept = extract_style(self._model, self._style)
        return self.kept()

    def kept(self):
        """Repaint with the style from before."""
        from wct_jax.painting.cascade import stylize

        return np.asarray(stylize(self._model, self._content, self._kept))

    def stages(self):
        """Seconds of each stage of a new style, waited for one after the other."""
        import jax

        from wct_jax.kernels.programs import compiler_options
        from wct_jax.painting.style import feature_moments
        from wct_jax.transform.whitening import transfer, whiten_color

        watch, layers = Stopwatch(), self._model.layers
        options = compiler_options(quick=True)
        spectra, transform = (
            jax.jit(function, compiler_options=options)
            for function in (whiten_color, lambda x, style, own: transfer(x, style, statistics=own))
        )

        def measured(name, function, *args):
            with watch(name):
                return jax.block_until_ready(function(*args))

        features = measured("encode", self._model.encode, self._style, layers)
        styles = {
            layer: measured("statistics", feature_moments, features[layer], None, None, layer) for layer in layers
        }
        x = self._content
        for layer in layers:
            x = measured("encode", self._model.encode, x, (layer,))[layer]
            own = measured("statistics", feature_moments, x, None, None, layer)
            jax.block_until_ready((spectra(own, styles[layer]), transform(x, styles[layer], own)))  # Compiles.
            before = watch.seconds["eigh"]
            measured("eigh", spectra, own, styles[layer])
            x = measured("apply", transform, x, styles[layer], own)
            # Applying includes the eigendecomposition.
            watch.seconds["apply"] -= watch.seconds["eigh"] - before
            x = measured("decode", self._model.decode, layer, x)
        return watch.seconds


class Theirs:
    """PyTorch."""

    def __init__(self, encoder, decoders, widths, size):
        import peer
        import torch

        self._encoder = peer.tensors(encoder)
        self._decoders = {layer: peer.tensors(decoder) for layer, decoder in decoders.items()}
        self._pictures = [torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous() for picture in pictures(size)]

    def fresh(self, **watching):
        """Repaint with a new style."""
        import peer
        import torch

        with torch.inference_mode():
            result = peer.stylize(self._encoder, self._decoders, *self._pictures, **watching)
        return result[0].permute(1, 2, 0).numpy()

    def stages(self):
        """Seconds of each stage of a new style."""
        watch = Stopwatch()
        self.fresh(stage=watch)
        return watch.seconds


def pictures(size):
    """Photo and picture, `[size, size, 3]`."""
    from PIL import Image

    examples = Path(__file__).parents[1] / "examples"
    with Image.open(examples / "content.jpg") as photo, Image.open(examples / "waves.jpg") as picture:
        return [np.asarray(image.resize((size, size)), np.float32) / 255 for image in (photo, picture)]


class Worker:
    """`Ours` or `Theirs` in a process of its own."""

    def __init__(self, *how):
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), begin, how)

    def __call__(self, name):
        """Call a method, and return its result and the seconds that it took."""
        return self._pool.submit(turn, name).result()

    def peak(self):
        """The peak memory of the process in MB."""
        return self._pool.submit(megabytes, "VmHWM").result()

    def end(self):
        """End the process."""
        self._pool.shutdown()


def begin(which, *how):
    global subject
    subject = which(*how)


def turn(name):
    began = time.perf_counter()
    result = getattr(subject, name)()
    return result, time.perf_counter() - began


def weights_of(name):
    """Encoder, decoders and widths, in NumPy's arrays: of the packaged model, or random ones."""
    import jax
    from networks import random_model

    from wct_jax.networks.model_file import load_model

    model = load_model("compact") if name == "compact" else random_model(WIDTHS[name])
    return *jax.tree.map(np.asarray, (model.encoder, model.decoders)), WIDTHS[name]


def compare(size, rounds):
    """One row of figures for each set of widths."""
    workers = {(which, name): Worker(which, *weights_of(name), size) for name in WIDTHS for which in (Ours, Theirs)}
    first = {key: worker("fresh")[0] for key, worker in workers.items()}  # Compiles, and warms the caches.
    peaks = {key: worker.peak() for key, worker in workers.items()}
    for key, worker in workers.items():
        worker("stages" if key[0] is Ours else "fresh")
    turns = [(*key, kind) for key in workers for kind in ("fresh", "kept") if key[0] is Ours or kind == "fresh"]
    seconds = [{(*key, kind): workers[tuple(key)](kind)[1] for *key, kind in turns} for _ in range(rounds)]
    stages = {key: [worker("stages")[0] for _ in range(3)] for key, worker in workers.items()}
    for worker in workers.values():
        worker.end()

    def median(of, over=None):
        return statistics.median(times[of] / (times[over] if over else 1) for times in seconds)

    rows = []
    for name in WIDTHS:
        ours, theirs, fresh = (Ours, name), (Theirs, name), (Ours, name, "fresh")
        error = np.mean((first[ours] - first[theirs]) ** 2, dtype=np.float64)
        alike = -10 * np.log10(error) if name == "compact" else ""
        row = {"widths": name, "size": size, "new style, s": median(fresh), "kept style, s": median((*ours, "kept"))}
        row |= {"PyTorch, s": median((*theirs, "fresh")), "times as fast": median((*theirs, "fresh"), fresh)}
        row["with a kept style"] = median((*theirs, "fresh"), (*ours, "kept"))
        row["than VGG-19 in PyTorch"] = median((Theirs, "VGG-19", "fresh"), fresh)
        row |= {"peak MB": peaks[ours], "PyTorch, MB": peaks[theirs], "alike, dB": alike}
        for key, whose in ((ours, ""), (theirs, "PyTorch, ")):
            row |= {f"{whose}{stage}, s": statistics.median(each[stage] for each in stages[key]) for stage in STAGES}
        rows.append(row)
    return rows


def grow(name, rounds):
    """A row of our seconds at each size."""
    workers = {size: Worker(Ours, *weights_of(name), size) for size in GROWING}
    for worker in workers.values():
        worker("fresh")
    seconds = [{size: worker("fresh")[1] for size, worker in workers.items()} for _ in range(rounds)]
    for worker in workers.values():
        worker.end()
    median = {size: statistics.median(times[size] for times in seconds) for size in GROWING}
    exponent = np.polyfit(np.log([size**2 for size in GROWING]), np.log(list(median.values())), 1)[0]
    per_pixel = statistics.median(times[2048] / times[512] / 16 for times in seconds)
    row = {"widths": name} | {f"{size}, s": value for size, value in median.items()}
    return row | {"exponent": exponent, "a pixel of 2048 / of 512": per_pixel}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", type=int, default=(256, 512, 1024), metavar="N", help="to compare at")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.sizes and not importlib.util.find_spec("torch"):
        sys.exit("the comparison needs PyTorch: pip install torch, or leave it out by --sizes without a number")
    results = {"machine": machine()}
    print(results["machine"], flush=True)
    results["compare"] = [row for size in arguments.sizes for row in compare(size, arguments.rounds)]
    staged = tuple(f"{stage}, s" for stage in STAGES)
    print_table([{key: value for key, value in row.items() if not key.endswith(staged)} for row in results["compare"]])
    keys = ("widths", "size")
    print_table([{key: row[key] for key in row if key in keys or key.endswith(staged)} for row in results["compare"]])
    results["growth"] = [grow(name, arguments.rounds) for name in WIDTHS]
    print_table(results["growth"])
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
