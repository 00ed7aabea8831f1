"""How well photographs take the colours and the light of others, how fast, and with how much memory.

    python benchmarks/photos.py pairs MODEL --judge VGG --pairs DIR [--size 512] [--results DIR]
    python benchmarks/photos.py size MODEL WIDTHxHEIGHT
    python benchmarks/photos.py self MODEL --photos DIR

`pairs` takes DIR/content/NAME in the style of DIR/style/NAME and prints, for the photo itself, for plain colour
transfer (`wct` of the colours) and for `transfer_photo`: the style distance of `quality.py`; the structural similarity
of the edges, Sobel magnitudes of luma, each divided by its mean; and the part that is not locally affine in the photo,
the RMS of the result minus its guided filter by the photo (radius 8, eps 1e-4). `size` prints time and peak memory of
one photo, style kept. `self` regrades the right half of each photo by a random curve per channel and prints the PSNR
with which it is restored in the style of the left half.
"""

import argparse
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from memory import megabytes
from quality import distances, see, seen
from scipy import ndimage

from wct_jax import extract_photo_style, load_model, read_image, transfer_photo, wct, write_image
from wct_jax.measures.metrics import edge_similarity, psnr
from wct_jax.training.data import Folder


def residual(result, photo, radius=8, eps=1e-4):
    """The RMS of a result minus its guided filter by the photo, in colour: He, Sun and Tang, TPAMI 2013."""

    def box(x):
        side = (2 * radius + 1, 2 * radius + 1, 1)
        counted = [ndimage.uniform_filter(each, side, mode="constant") for each in (x, np.ones((*x.shape[:2], 1)))]
        return counted[0] / counted[1]

    def products(x, y):
        return (x[..., :, None] * y[..., None, :]).reshape(*x.shape[:2], 9)

    x, y = photo.astype(float), result.astype(float)
    mean_x, mean_y = box(x), box(y)
    own = (box(products(x, x)) - products(mean_x, mean_x)).reshape(*x.shape[:2], 3, 3)
    cross = (box(products(x, y)) - products(mean_x, mean_y)).reshape(*x.shape[:2], 3, 3)
    slope = np.linalg.solve(own + eps * np.eye(3), cross)
    bias = mean_y - np.einsum("yxi,yxij->yxj", mean_x, slope)
    slope = box(slope.reshape(*x.shape[:2], 9)).reshape(slope.shape)
    return float(np.sqrt(np.square(y - np.einsum("yxi,yxij->yxj", x, slope) - box(bias)).mean()))


def report_pairs(model, judge, folder, size, results):
    rows = {"photo": [], "plain colour transfer": [], "transfer_photo": []}
    for path in Folder(folder / "content").paths:
        photo, style = (np.asarray(seen(read_image(folder / kind / path.name, size))) for kind in ("content", "style"))
        target = see(judge, seen(jnp.asarray(style)))
        made = photo, np.asarray(wct(photo, style)), transfer_photo(model, photo, extract_photo_style(model, style))
        for name, image in zip(rows, made, strict=True):
            image = np.asarray(seen(image))
            apart = float(np.mean(distances(see(judge, jnp.asarray(image)), target)))
            rows[name].append((apart, float(edge_similarity(image, photo)), residual(image, photo)))
        print(path.name, *(f"{value:.4f}" for value in rows["transfer_photo"][-1]), flush=True)
        if results:
            write_image(results / f"{path.stem}.png", made[-1])
    for name, values in rows.items():
        apart, edges, rest = np.mean(values, 0)
        print(f"{name}: style distance {apart:.4f}, edge SSIM {edges:.4f}, residual {rest:.4f}")


def report_size(model, width, height):
    rng = np.random.default_rng(0)
    style = extract_photo_style(model, rng.random((512, 768, 3), np.float32))
    small = rng.random((16, 16, 3), np.float32)
    photo = small.repeat(-(-height // 16), 0).repeat(-(-width // 16), 1)[:height, :width].copy()
    spent = []
    for _ in range(5 if width * height < 20e6 else 1):
        start = time.perf_counter()
        transfer_photo(model, photo, style)
        spent.append(time.perf_counter() - start)
    print(f"{width} x {height}: {min(spent):.2f} s, the first time {spent[0]:.2f} s, peak {megabytes('VmHWM'):.0f} MB")


def report_self(model, folder):
    rows = []
    for number, path in enumerate(Folder(folder).paths):
        photo, rng = read_image(path, 512), np.random.default_rng(number)
        left, right = np.array_split(photo, 2, axis=1)
        # A monotone curve per channel through five random levels.
        knots = np.sort(rng.random((3, 3)) * 0.6 + 0.2, -1)
        knots = 0.5 * knots + 0.5 * np.asarray([0.25, 0.5, 0.75])
        ends = np.pad(knots, [(0, 0), (1, 1)], constant_values=((0, 0), (0, 1)))
        levels = [np.interp(right[..., c], np.linspace(0, 1, 5), ends[c]) for c in range(3)]
        graded = np.stack(levels, -1).astype(np.float32)
        restored = transfer_photo(model, graded, extract_photo_style(model, left))
        rows.append((float(psnr(graded, right)), float(psnr(restored, right))))
    print(f"{len(rows)} photos: regraded {np.mean(rows, 0)[0]:.2f} dB, restored {np.mean(rows, 0)[1]:.2f} dB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pairs", "size", "self"))
    parser.add_argument("model")
    parser.add_argument("pixels", nargs="?", default="3840x2160", metavar="WIDTHxHEIGHT")
    parser.add_argument("--judge")
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--results", type=Path, help="a folder for the pictures")
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    if arguments.what == "pairs":
        report_pairs(model, load_model(arguments.judge), arguments.pairs, arguments.size, arguments.results)
    elif arguments.what == "size":
        report_size(model, *map(int, arguments.pixels.split("x")))
    else:
        report_self(model, arguments.photos)


if __name__ == "__main__":
    main()
