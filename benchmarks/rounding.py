"""The boundary between rounding and signal in the spectra that the transform cuts.

    python benchmarks/rounding.py MODEL PHOTOS

Prints, for every layer of a model, the largest eigenvalue that flat pictures of many colours and sizes leave, encoded
directly and after a decoder (as in the cascade), and the smallest one above the relative cut of 1e-6 on real photos.
Both are relative to the feature's mean square ‖mean‖² + trace, as square roots in units of float32's epsilon.
`_ROUNDING` in wct_jax/transform/roots.py must lie well above the first and well below the second.
"""

import argparse
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from wct_jax import load_model, moments, read_image

SIZES = ((1, 1), (64, 97), (203, 301), (256, 256))


def spectrum(feature):
    """Eigenvalues over the mean square, ascending, as square roots in epsilons."""
    statistics = moments(feature)
    covariance = np.asarray(statistics.covariance, np.float64)
    mean_square = (np.asarray(statistics.mean, np.float64) ** 2).sum() + np.trace(covariance)
    values = np.linalg.eigvalsh(covariance) / mean_square
    return np.sqrt(values.clip(0)) / np.finfo(np.float32).eps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("photos", type=Path)
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    colours = np.concatenate([np.zeros((1, 3)), np.ones((1, 3)), np.random.default_rng(0).uniform(size=(6, 3))])
    residue, signal = {}, {}
    for size in SIZES:
        for colour in colours:
            flat = jnp.broadcast_to(jnp.asarray(colour, jnp.float32), (*size, 3))
            for layer, feature in model.encode(flat).items():
                decoded = [model.decode(layer, feature)[: size[0], : size[1]]] if layer in model.layers else []
                again = [model.encode(image, (layer,))[layer] for image in decoded]
                residue[layer] = max(residue.get(layer, 0), *(spectrum(f)[-1] for f in (feature, *again)))
    for photo in sorted(arguments.photos.iterdir())[:8]:
        for layer, feature in model.encode(jnp.asarray(read_image(photo))).items():
            roots = spectrum(feature)
            smallest = roots[roots**2 > 1e-6 * roots[-1] ** 2][0]
            signal[layer] = min(signal.get(layer, np.inf), smallest)
    for layer in residue:
        print(f"{layer}: flat pictures leave {residue[layer]:.2f}, photos' smallest kept {signal[layer]:.0f}")


if __name__ == "__main__":
    main()
