"""The time that the command takes beside painting, with nothing compiled before and with everything.

    python benchmarks/startup.py [--rounds N]

The photo has 512 x 512 pixels, and the model is the packaged one. Painting is timed in a process that has done the same
before.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from table import machine, print_table

from wct_jax.networks.model_file import load_model
from wct_jax.painting.cascade import stylize
from wct_jax.painting.style import extract_style
from wct_jax.pictures.images import read_picture

EXAMPLES = Path(__file__).parents[1] / "examples"


def measure(times):
    """For each round, the seconds of painting, and of a command with nothing kept and with everything."""
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        for name in ("content", "waves"):
            with Image.open(EXAMPLES / f"{name}.jpg") as picture:
                picture.crop((0, 0, 512, 512)).save(scratch / f"{name}.png")
        photo, style = scratch / "content.png", scratch / "waves.png"
        command = [sys.executable, EXAMPLES.parent / "stylize.py", "--content", photo, "--style", style, "--overwrite"]

        def run(home):
            environment = os.environ | {"WCT_JAX_HOME": str(scratch / home)}
            return subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)

        run("kept")
        model, content, picture = load_model("compact"), read_picture(photo).pixels, read_picture(style).pixels

        def paint():
            return np.asarray(stylize(model, content, extract_style(model, picture)))

        paint()
        return [
            {"painting": seconds(paint), "nothing kept": seconds(run, f"empty{n}"), "all kept": seconds(run, "kept")}
            for n in range(times)
        ]


def seconds(function, *args):
    began = time.perf_counter()
    function(*args)
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    rounds = measure(parser.parse_args().rounds)
    row = {f"{name}, s": statistics.median(times[name] for times in rounds) for name in rounds[0]}
    for name in ("nothing kept", "all kept"):
        row[f"more, {name}"] = statistics.median(times[name] - times["painting"] for times in rounds)
    print(machine())
    print_table([row])


if __name__ == "__main__":
    main()
