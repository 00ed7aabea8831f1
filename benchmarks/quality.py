"""The quality of models in rebuilding photos and in taking on styles, judged by the normalised VGG-19 up to relu3_1.

    python benchmarks/quality.py MODEL ... --judge VGG --photos DIR
    python benchmarks/quality.py MODEL ... --judge VGG --content DIR --style DIR [--size 256] [--results DIR]
                                 [--one-pass STRUCTURE ...]

If there are several models, each layer comes from the first that has a decoder for it: published models may have an
encoder for each layer. The first form prints for each layer, over the middle 256 x 256 pixels of photos, the mean PSNR
and SSIM, and the mean of ‖V(Io) - V(Ii)‖² / ‖V(Ii)‖² for the judge's features V. The second stylizes every content with
every style, all scaled to a short side, and prints how far the covariances of the judge's features are from the
style's, the mean over relu1_1, relu2_1, relu3_1 of ‖cov(result) - cov(style)‖ / ‖cov(style)‖, and how much of the
content is left: the structural similarity of the grey pictures. With --one-pass the first model's painter makes the
pictures, once for each structure.
"""

import argparse
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from wct_jax import extract_style, load_model, read_image, stylize, write_image
from wct_jax.measures.losses import covariance_error
from wct_jax.measures.metrics import psnr, ssim
from wct_jax.painting.cascade import stylize_level
from wct_jax.painting.level import Level
from wct_jax.training.data import Folder, centre_crops
from wct_jax.training.decoder import reconstruct

JUDGED = ("relu1_1", "relu2_1", "relu3_1")


def seen(image):
    """Round a picture as an 8-bit file would."""
    return jnp.rint(jnp.clip(image, 0, 1) * 255) / 255


@jax.jit
def see(judge, image):
    return judge.encode(image, JUDGED)


@functools.partial(jax.jit, static_argnames="layer")
def rebuild(model, layer, photo):
    return reconstruct(model, layer, model.decoders[layer], photo)[0]


@jax.jit
def distances(result, style):
    return jnp.stack([covariance_error(result[layer], style[layer]) for layer in JUDGED])


def report_photos(levels, judge, photos):
    for layer, model in sorted(levels.items()):
        rows = []
        for _, photo in centre_crops(Folder(photos), 256):
            photo = jnp.asarray(photo)
            result = seen(rebuild(model, layer, photo))
            there, here = see(judge, photo), see(judge, result)
            errors = [float(jnp.square(here[n] - there[n]).sum() / jnp.square(there[n]).sum()) for n in JUDGED]
            rows.append((psnr(result, photo), ssim(result, photo), *errors))
        means = np.mean(rows, axis=0)
        errors = "  ".join(f"{name} {value:.4f}" for name, value in zip(JUDGED, means[2:], strict=True))
        print(f"{layer}: PSNR {means[0]:.2f} dB  SSIM {means[1]:.4f}  relative error in {errors}", flush=True)


def by_cascade(levels, content, style):
    for layer, model in sorted(levels.items(), reverse=True):
        content, _ = stylize_level(model, content, (extract_style(model, style, (layer,)),), Level(layer))
    return content


def in_one_pass(model, structure, content, style):
    return stylize(model, content, extract_style(model, style), method="one-pass", structure=structure)


def report_styles(paint, judge, contents, styles, size, results):
    rows = []
    pictures = {path: jnp.asarray(read_image(path, size)) for path in Folder(styles).paths}
    for content_path in Folder(contents).paths:
        content = jnp.asarray(read_image(content_path, size))
        for style_path, style in pictures.items():
            result = seen(paint(content, style))
            apart = distances(see(judge, result), see(judge, style))
            rows.append((*np.asarray(apart), ssim(result, content)))
            if results:
                write_image(Path(results) / f"{content_path.stem}__{style_path.stem}.png", np.asarray(result))
    means = np.mean(rows, axis=0)
    parts = ", ".join(f"{name} {value:.3f}" for name, value in zip(JUDGED, means[:3], strict=True))
    print(
        f"{len(rows)} pictures: style distance {means[:3].mean():.4f} ({parts}), content SSIM {means[3]:.4f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--judge", required=True)
    parser.add_argument("--photos")
    parser.add_argument("--content")
    parser.add_argument("--style")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--results", help="a folder for the pictures")
    parser.add_argument("--one-pass", nargs="+", type=float, metavar="STRUCTURE")
    arguments = parser.parse_args()
    levels, models = {}, list(map(load_model, arguments.models))
    for model in models:
        levels = dict.fromkeys(model.layers, model) | levels
    judge = load_model(arguments.judge)
    if arguments.photos:
        report_photos(levels, judge, arguments.photos)
    if arguments.content:
        painters = {"": functools.partial(by_cascade, levels)}
        if arguments.one_pass:
            painters = {f"structure {k:g}: ": functools.partial(in_one_pass, models[0], k) for k in arguments.one_pass}
        for name, paint in painters.items():
            print(name, end="")
            report_styles(paint, judge, arguments.content, arguments.style, arguments.size, arguments.results)


if __name__ == "__main__":
    main()
