"""The distance between conversion's scaling of ImageNet weights and the published normalised VGG-19.

    python benchmarks/scales.py KERAS_WEIGHTS VGG_NORMALISED [PHOTOS]

Prints, for each convolution and for all of them together, how far our scales of channels are from the published ones:
the median, the 90th percentile, and the share of channels within 30 %. By default PHOTOS are the package's own.
"""

import argparse

import numpy as np

from wct_jax.convert.assembly import encoder_parameters
from wct_jax.convert.normalise import mean_activations, read_photos
from wct_jax.convert.reading import read_checkpoint


def published_means(raw, normalised):
    """The mean activation that each published scale stands for, by least squares between the kernels."""
    means, before = {}, np.ones(3)
    for name in normalised:
        ours = np.asarray(raw[name]["kernel"], np.float64) * before[:, None]
        theirs = np.asarray(normalised[name]["kernel"], np.float64)
        before = means[name] = (ours * ours).sum((0, 1, 2)) / (ours * theirs).sum((0, 1, 2))
    return means


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", metavar="KERAS_WEIGHTS")
    parser.add_argument("normalised", metavar="VGG_NORMALISED")
    parser.add_argument("photos", nargs="?")
    arguments = parser.parse_args()
    raw, widths = encoder_parameters(read_checkpoint(arguments.raw))
    normalised, _ = encoder_parameters(read_checkpoint(arguments.normalised))
    expected = published_means(raw, normalised)
    got = mean_activations(raw, widths, read_photos(arguments.photos))
    off = {name: np.abs(got[name] / expected[name] - 1) for name in expected}
    off["together"] = np.concatenate(list(off.values()))
    for name, o in off.items():
        near = (o < 0.3).mean()
        print(f"{name:<8}: median {np.median(o):.3f}, 90 % {np.quantile(o, 0.9):.3f}, within 30 % {near:.3f}")


if __name__ == "__main__":
    main()
