"""How fast a photo is repainted: beside PyTorch, ONNX Runtime and OpenVINO, and as pictures grow. On the CPU.

    python benchmarks/stylize.py [--peers ...] [--sizes ...] [--widths ...] [--rounds N] [--growth ...]
                                 [--methods ...] [--peer-python PYTHON] [--json FILE]

This library and its peers (`peer.py`) stylize a photo with a picture of the same size at five levels, with the same
weights: those of the packaged model, and random ones of VGG-19's widths (whose features have hardly any rank, so that
float32 and float64 diverge: only the packaged model's results are compared). Each runs in a process of its own, and
they take turns in each round, so that other load on the machine slows all of them. A kept style is one whose statistics
were taken before. The peak memory is that of the whole process after its first picture, compilation and export
included.

Peers can live in another environment than this library: `--peer-python` is its interpreter. Those that it lacks are
skipped.

Then our times alone at the sizes of `--growth`, by the cascade and in one pass (if the model has a painter), and the
exponent of their growth with the number of pixels.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import jax
import numpy as np
from networks import random_model
from PIL import Image
from stopwatch import STAGES
from table import machine, print_table
from worker import PEERS, Worker, installed

from wct_jax.networks.model_file import load_model
from wct_jax.networks.vgg import VGG19_WIDTHS
from wct_jax.painting.options import METHODS

EXAMPLES = Path(__file__).parents[1] / "examples"


def model_of(widths):
    """The packaged model, or a random one of VGG-19's widths."""
    return load_model("compact") if widths == "compact" else random_model(VGG19_WIDTHS)


def job(widths, size):
    """Encoder, decoders, photo and picture `[size, size, 3]`, in NumPy's arrays."""
    model = model_of(widths)
    encoder, decoders = jax.tree.map(np.asarray, (model.encoder, dict(model.decoders)))
    pictures = {}
    for name, file in (("content", "content.jpg"), ("style", "waves.jpg")):
        with Image.open(EXAMPLES / file) as picture:
            pictures[name] = np.asarray(picture.resize((size, size)), np.float32) / 255
    return {"encoder": encoder, "decoders": decoders, **pictures}


def compare(widths, size, peers, python, rounds):
    """A row of figures and a row of stages for each painter."""
    common = job(widths, size)
    workers = {"wct_jax": Worker("ours.py", common)}
    workers |= {peer: Worker("peer.py", common | {"kind": peer}, python) for peer in peers}
    first = {name: worker("fresh") for name, worker in workers.items()}  # Compiles.
    for worker in workers.values():
        worker("kept")
    seconds = [
        {kind: {name: worker(kind).seconds for name, worker in workers.items()} for kind in ("fresh", "kept")}
        for _ in range(rounds)
    ]
    stages = {name: [worker("stages").result for _ in range(3)] for name, worker in workers.items()}
    for worker in workers.values():
        worker.end()

    figures, staged = [], []
    for name in workers:
        row = {"widths": widths, "size": size, "": name}
        staged.append(
            row | {f"{stage}, s": statistics.median(each[stage] for each in stages[name]) for stage in STAGES}
        )
        for kind, label in (("fresh", "new style"), ("kept", "kept style")):
            row[f"{label}, s"] = statistics.median(times[kind][name] for times in seconds)
            ratios = [times[kind][name] / times[kind]["wct_jax"] for times in seconds]
            row[f"{label}, times ours"] = statistics.median(ratios)
        row["peak MB"] = round(first[name].peak)
        error = np.mean((first[name].result - first["wct_jax"].result) ** 2, dtype=np.float64)
        row["alike, dB"] = float(-10 * np.log10(error)) if error and widths == "compact" else ""
        figures.append(row)
    return figures, staged


def grow(widths, method, sizes, rounds):
    """A row of our seconds at each size."""
    how = {"method": method, "painter": jax.tree.map(np.asarray, dict(model_of(widths).painter))}
    workers = {size: Worker("ours.py", job(widths, size) | how) for size in sizes}
    for worker in workers.values():
        worker("fresh")
    seconds = [{size: worker("fresh").seconds for size, worker in workers.items()} for _ in range(rounds)]
    for worker in workers.values():
        worker.end()
    median = {size: statistics.median(times[size] for times in seconds) for size in sizes}
    row = {"widths": widths, "method": method} | {f"{size}, s": value for size, value in median.items()}
    if len(sizes) > 1:
        row["exponent"] = float(np.polyfit(2 * np.log(sizes), np.log(list(median.values())), 1)[0])
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), metavar="PEER", help=", ".join(PEERS))
    parser.add_argument("--sizes", nargs="*", type=int, default=(256, 512, 1024), metavar="N", help="to compare at")
    parser.add_argument("--widths", nargs="*", choices=("VGG-19", "compact"), default=("VGG-19", "compact"))
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--growth", nargs="*", type=int, default=(256, 512, 1024, 2048), metavar="N")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=METHODS, help="of --growth")
    parser.add_argument("--peer-python", default=sys.executable, metavar="PYTHON", help="the interpreter of the peers")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    results = {"machine": machine(), "peers": [], "compare": [], "stages": [], "growth": []}
    print(results["machine"], flush=True)
    peers, results["peers"] = installed(arguments.peers, arguments.peer_python)
    for widths in arguments.widths:
        for size in arguments.sizes:
            figures, staged = compare(widths, size, peers, arguments.peer_python, arguments.rounds)
            print_table(figures)
            results["compare"] += figures
            results["stages"] += staged
    print_table(results["stages"])
    if arguments.growth:
        results["growth"] = [
            grow(widths, method, arguments.growth, arguments.rounds)
            for widths in arguments.widths
            for method in arguments.methods
            if method == "cascade" or model_of(widths).painter
        ]
    print_table(results["growth"])
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
