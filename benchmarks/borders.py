"""The change of a result from pixel to pixel, by the distance from its border.

python benchmarks/borders.py MODEL --content PHOTO ... --style PICTURE ...

Photos are cut from the middle of larger ones, so that the results, with and without margins, can be compared with one
that was painted with the photo's real surroundings.
"""

import argparse
import time

import numpy as np
from table import print_table

from wct_jax import extract_style, load_model, read_image, stylize

SIDE, AROUND = 256, 64
DISTANCES = (0, 1, 2, 4, 6, 8, 12, 16, 24, 48)


def changes(image):
    """Mean |dx| across and along the border, in 8-bit levels, at each distance from it."""
    sides = [np.rot90(np.asarray(image).clip(0, 1), turns) for turns in range(4)]
    across, along = (np.mean([np.abs(np.diff(s, axis=axis)).mean((1, 2))[:127] for s in sides], 0) for axis in (0, 1))
    return 255 * across[list(DISTANCES)], 255 * along[list(DISTANCES)]


def results(model, large, style):
    """Yield the name of each way and its result."""
    top, left = ((side - SIDE) // 2 for side in large.shape[:2])
    photo = large[top : top + SIDE, left : left + SIDE]
    yield "photo", photo
    yield "result", stylize(model, photo, style, method="cascade")
    for margin in (4, 8, 16, 32):
        yield f"margin {margin}", stylize(model, photo, style, method="cascade", margin=margin)
    real = large[top - AROUND : top + SIDE + AROUND, left - AROUND : left + SIDE + AROUND]
    weights = np.pad(np.ones((SIDE, SIDE), np.float32), AROUND)
    painted = stylize(model, real, style, method="cascade", content_weights=weights)
    yield "what is there", np.asarray(painted)[AROUND:-AROUND, AROUND:-AROUND]
    yield "alpha 0", stylize(model, photo, style, 0.0, method="cascade")
    for layer in model.layers:
        yield layer, stylize(model, photo, style, method="cascade", layers=[layer])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--content", nargs="+", required=True)
    parser.add_argument("--style", nargs="+", required=True)
    arguments = parser.parse_args()
    model, found = load_model(arguments.model), {}
    styles = [extract_style(model, read_image(path, SIDE)) for path in arguments.style]
    for path in arguments.content:
        for style in styles:
            for name, image in results(model, read_image(path, SIDE + 2 * AROUND), style):
                found.setdefault(name, []).append(changes(image))
    for title, which in (("across", 0), ("along", 1)):
        means = {name: np.mean([each[which] for each in rows], 0) for name, rows in found.items()}
        cells = {name: (f"{mean:.1f}" for mean in row) for name, row in means.items()}
        print_table([{title: name, **dict(zip(map(str, DISTANCES), row, strict=True))} for name, row in cells.items()])
    for side in (512, 1000):
        photo, seconds = np.random.default_rng(0).random((side, side, 3), np.float32), {0: [], 16: []}
        for _ in range(6):
            for margin, times in seconds.items():
                start = time.perf_counter()
                stylize(model, photo, styles[0], method="cascade", margin=margin).block_until_ready()
                times.append(time.perf_counter() - start)
        print(
            f"{side} x {side}: a margin of 16 takes {np.median(np.divide(*reversed(seconds.values()))[1:]):.2f} times"
        )


if __name__ == "__main__":
    main()
