"""Large photos: time and memory in tiles and whole, the command on the largest, and how visible tiles are.

    python benchmarks/tiling.py growth [--widths W ...] [--megapixels N ...] [--memory SIZE] [--method M]
                                       [--structure K]
    python benchmarks/tiling.py command WIDTHS MEGAPIXELS [--memory SIZE]
    python benchmarks/tiling.py alike [--method M] [--structure K]

WIDTHS are "compact", the packaged model, or "VGG-19", random weights of its widths, which have no painter. Photos are
`examples/content.jpg`, enlarged, with noise. Each run has a process of its own, and peak memory is that of the whole
process. `growth` times painting alone, and where that takes less than a minute the second time, when nothing is left to
compile.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from memory import megabytes
from networks import random_model
from PIL import Image
from table import machine, print_table

from wct_jax import extract_style, load_model, read_image, save_model, stylize, stylize_tiled
from wct_jax.cli.command import memory
from wct_jax.measures.metrics import psnr
from wct_jax.networks.vgg import VGG19_WIDTHS
from wct_jax.painting.options import METHODS
from wct_jax.painting.tiles.tile import choose_tile

EXAMPLES = Path(__file__).parents[1] / "examples"
# The most bytes that a process may take to paint whole, with either model.
MOST_WHOLE = 14e9
FIGURES = [f"{how}, {what}" for how in ("whole", "tiled") for what in ("s", "s/MP", "peak MB")]
COLUMNS = ["widths", "megapixels", *FIGURES, "tile"]


def model_of(widths):
    """The model that a name stands for."""
    return load_model("compact") if widths == "compact" else random_model(VGG19_WIDTHS)


def photo(height, width):
    """Colours in 0..1, float32."""
    with Image.open(EXAMPLES / "content.jpg") as image:
        large = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))
    rng = np.random.default_rng(0)
    result = np.empty(large.shape, np.float32)
    for row in range(height):
        result[row] = (large[row] / 255 + rng.normal(0, 0.03, large[row].shape)).clip(0, 1)
    return result


def sides(megapixels):
    """The sides of a photo of 4:3, both odd."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5) | 1
    return height, round(megapixels * 1e6 / height) | 1


def paint(widths, megapixels, limit, options):
    """Paint in tiles, or whole if there is no limit, and return seconds, peak in MB and tile."""
    model, content = model_of(widths), photo(*sides(megapixels))
    style = extract_style(model, read_image(EXAMPLES / "waves.jpg"))
    layers = model.painter_layers if options["method"] == "one-pass" else model.layers
    tile = choose_tile(content.shape[:2], model, layers, limit, options["method"]) if limit else None
    for _ in range(2):
        began = time.perf_counter()
        if tile:
            stylize_tiled(model, content, style, tile=tile, **options)
        else:
            np.asarray(stylize(model, content, style, **options))
        seconds = time.perf_counter() - began
        if seconds > 60:
            break
    return seconds, megabytes("VmHWM"), tile


def alone(function, *arguments):
    """Call a function in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def options_of(arguments):
    """The options of the painting."""
    return {"method": arguments.method, "structure": arguments.structure}


def growth(arguments):
    for widths in arguments.widths:
        rows, channels = [], 16 if widths == "compact" else 64
        for megapixels in arguments.megapixels:
            row = dict.fromkeys(COLUMNS, "") | {"widths": widths, "megapixels": megapixels}
            if megapixels * 1e6 * (8 * channels + 120) < MOST_WHOLE:
                seconds, most, _ = alone(paint, widths, megapixels, None, options_of(arguments))
                row |= {"whole, s": seconds, "whole, s/MP": seconds / megapixels, "whole, peak MB": most}
            if megapixels > 1:
                seconds, most, tile = alone(paint, widths, megapixels, arguments.memory, options_of(arguments))
                if tile:
                    row |= {"tiled, s": seconds, "tiled, s/MP": seconds / megapixels, "tiled, peak MB": most}
                    row["tile"] = tile
            print(row, file=sys.stderr, flush=True)
            rows.append(row)
        print_table(rows)


def command(arguments):
    with tempfile.TemporaryDirectory(dir=".") as folder:
        folder = Path(folder)
        model, content = "compact", folder / "photo.jpg"
        if arguments.of != "compact":
            model = folder / "model.safetensors"
            save_model(model, random_model(VGG19_WIDTHS))
        height, width = sides(arguments.size)
        Image.fromarray(np.rint(photo(height, width) * 255).astype(np.uint8)).save(content, quality=95)
        line = [sys.executable, EXAMPLES.parent / "stylize.py", "--content", content]
        line += ["--style", EXAMPLES / "waves.jpg", "--model", model, "--output", folder / "result.jpg"]
        began = time.perf_counter()
        process = subprocess.Popen([*map(str, line), "--memory", f"{arguments.memory / 1e6:.0f}MB"])
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        row = {"widths": arguments.of, "size": f"{width} x {height}", "s": seconds}
        print_table([row | {"peak MB": usage.ru_maxrss * 1024 / 1e6, "status": os.waitstatus_to_exitcode(status)}])


def alike(arguments):
    model = load_model("compact")
    style = extract_style(model, read_image(EXAMPLES / "waves.jpg"))
    rows = []
    for height, width in ((701, 1033), (977, 803), (1201, 899), (1499, 1111), (853, 1477)):
        content = photo(height, width)
        whole = np.asarray(stylize(model, content, style, **options_of(arguments)))
        for tile in (256, 400, 640):
            tiled = stylize_tiled(model, content, style, tile=tile, **options_of(arguments))
            most = float(np.abs(tiled - whole).max() * 255)
            row = {"size": f"{width} x {height}", "tile": tile, "PSNR, dB": float(psnr(tiled, whole))}
            rows.append(row | {"most": most})
    print_table(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(required=True)
    grow = what.add_parser("growth")
    grow.add_argument("--widths", nargs="+", default=["compact", "VGG-19"], choices=["compact", "VGG-19"])
    grow.add_argument("--megapixels", nargs="+", type=int, default=[1, 4, 16, 50, 100], metavar="N")
    grow.set_defaults(run=growth)
    one = what.add_parser("command")
    one.add_argument("of", choices=["compact", "VGG-19"])
    one.add_argument("size", type=int)
    one.set_defaults(run=command)
    for each in (grow, one):
        each.add_argument("--memory", type=memory, default=memory("3.5GB"), metavar="SIZE")
    same = what.add_parser("alike")
    same.set_defaults(run=alike)
    for each in (grow, same):
        each.add_argument("--method", choices=METHODS, default="cascade")
        each.add_argument("--structure", type=float, default=0, metavar="K", help="of one pass")
    arguments = parser.parse_args()
    print(machine())
    arguments.run(arguments)


if __name__ == "__main__":
    main()
