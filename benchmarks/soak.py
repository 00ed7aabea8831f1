"""Memory and memory mappings of a process that repaints photos of many sizes: they must not grow.

    python benchmarks/soak.py [--by command library] [--photos 500] [--sides 64 512] [--every 20] [--seed 0]

Makes photos of random sides in a temporary folder, which one process of the command, and one of the library, repaint in
one style with the packaged model. Prints both numbers every 20 photos, and at the end by how much the memory has grown
after the first 20. Exits with status 1 if a process ends before it has painted all photos. Linux only.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from memory import megabytes
from PIL import Image
from table import machine, print_table

_ROOT = Path(__file__).resolve().parents[1]


def make_photos(folder, count, sides, seed):
    """Save crops of the project's own pictures, which look like photos."""
    rng = np.random.default_rng(seed)
    sources = [Image.open(path).convert("RGB") for path in sorted((_ROOT / "examples").glob("*.jpg"))]
    for number in range(count):
        width, height = (int(side) for side in rng.integers(sides[0], sides[1] + 1, 2))
        source = sources[number % len(sources)]
        left, top = (int(rng.integers(0, max(1, a - b))) for a, b in zip(source.size, (width, height), strict=True))
        source.crop((left, top, left + width, top + height)).save(folder / f"{number:04}.png")


def paint(folder):
    """Repaint a folder by the library, printing a line for each photo."""
    import wct_jax

    model = wct_jax.load_model("compact")
    style = wct_jax.extract_style(model, wct_jax.read_image(_ROOT / "examples" / "waves.jpg", 256))
    for path in sorted(folder.glob("*.png")):
        wct_jax.stylize(model, wct_jax.read_image(path), style).block_until_ready()
        print(path.name, flush=True)


def watch(name, command, photos, every):
    """Run a process that prints a line for each photo, and report its memory and mappings meanwhile."""
    environment = os.environ | {"PYTHONPATH": str(_ROOT), "JAX_PLATFORMS": "cpu"}
    start, rows = time.perf_counter(), []
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, env=environment)
    done = 0
    for line in process.stdout:
        done += line.endswith((".png\n", " s\n")) and " results" not in line
        if (rows and done == rows[-1]["photos"]) or done % every or not done:
            continue
        mappings = Path(f"/proc/{process.pid}/maps").read_text().count("\n")
        row = {"by": name, "photos": done, "seconds": time.perf_counter() - start, "mappings": mappings}
        rows.append(row | {"resident MB": megabytes("VmRSS", process.pid)})
        print(rows[-1], file=sys.stderr, flush=True)
    status = process.wait()
    print_table(rows)
    grown = max(row["resident MB"] for row in rows) - rows[0]["resident MB"] if rows else 0
    print(f"{name}: {done} of {photos} photos, exit status {status}, grown by {grown:.0f} MB at most after the first")
    return status == 0 and done == photos


def main():
    """Make photos and watch."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--by", nargs="+", default=["command", "library"], choices=["command", "library"])
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--sides", type=int, nargs=2, default=[64, 512])
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--paint", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.paint:
        paint(arguments.paint)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        make_photos(folder / "photos", arguments.photos, arguments.sides, arguments.seed)
        command = [sys.executable, _ROOT / "stylize.py", "--content", folder / "photos", "--style-size", "256"]
        command += ["--style", _ROOT / "examples" / "waves.jpg", "--output", folder / "results"]
        library = [sys.executable, Path(__file__), "--paint", folder / "photos"]
        ways = {"command": command, "library": library}
        well = [watch(by, ways[by], arguments.photos, arguments.every) for by in arguments.by]
    print(machine())
    sys.exit(not all(well))


if __name__ == "__main__":
    main()
