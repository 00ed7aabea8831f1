"""The time that the command takes beside painting, with nothing compiled before and with everything; a new size's, too.

    python benchmarks/startup.py [--rounds N]

The photo has 512 x 512 pixels, and the model is the packaged one. Painting is timed in a process that has done the same
before. A new size is the first photo of 512 x 480 pixels, 512 x 448, and so on in a running session that keeps the
style and no code on disk, compared with the same photo painted again.
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
from wct_jax.painting.style import extract_style
from wct_jax.painting.stylization import stylize
from wct_jax.pictures.images import read_picture
from wct_jax.studio.session import Session

EXAMPLES = Path(__file__).parents[1] / "examples"
MOST_ROUNDS = 13  # The narrowest new size is then 96 pixels wide.


def measure(times):
    """For each round, seconds of painting and of the command, and by how many more a new size is painted first."""
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

        session = Session(model)

        def new_size(width):
            narrow = content[:, :width]
            first, again = (seconds(session.paint, narrow, picture) for _ in range(2))
            return first - again

        paint()
        session.paint(content, picture)
        return [
            {
                "painting": seconds(paint),
                "nothing kept": seconds(run, f"empty{n}"),
                "all kept": seconds(run, "kept"),
                "more, a new size": new_size(480 - 32 * n),
            }
            for n in range(times)
        ]


def seconds(function, *args):
    began = time.perf_counter()
    function(*args)
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, choices=range(1, MOST_ROUNDS + 1), default=5, metavar="N")
    rounds = measure(parser.parse_args().rounds)
    for times in rounds:
        times |= {f"more, {name}": times[name] - times["painting"] for name in ("nothing kept", "all kept")}
    row = {f"{name}, s": statistics.median(times[name] for times in rounds) for name in rounds[0]}
    print(machine())
    print_table([row])


if __name__ == "__main__":
    main()
