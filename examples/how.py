"""What the networks and the transform do, step by step: docs/guide/how/*.jpg and *.png.

python examples/how.py
"""

from pathlib import Path

import matplotlib
import numpy as np

from panel import draw
from wct_jax import extract_style, load_model, moments, read_image, stylize, white_style, whiten
from wct_jax.networks.vgg import LAYERS

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs" / "guide" / "how"
SIDE, CONTRAST = 256, 3
DEEPEST_FIRST = LAYERS[::-1]


def pictures(model):
    """Rows of labelled pictures by the names of their files."""
    photo, *styles = (read_image(HERE / f"{name}.jpg", SIDE) for name in ("content", "waves", "mosaic"))
    style = extract_style(model, styles[0])

    def paint(*layers):
        return np.asarray(stylize(model, photo, style, layers=layers, method="cascade"))

    def rebuild(layer):
        return np.asarray(stylize(model, photo, style, 0.0, layers=layer, method="cascade"))

    white = white_style(model, ["relu4_1"])
    originals = [photo, *styles]
    # Whitened features leave faint pictures, so these are drawn with more contrast.
    whitened = [
        0.5 + CONTRAST * (np.asarray(stylize(model, each, white, method="cascade")) - 0.5) for each in originals
    ]
    so_far = [("the photo", photo)]
    so_far += [(f"{n}: {layer}", paint(*DEEPEST_FIRST[:n])) for n, layer in enumerate(DEEPEST_FIRST, 1)]
    return {
        "rebuilt": [[("the photo", photo), *((layer, rebuild(layer)) for layer in ("relu3_1", "relu5_1"))]],
        "whitened": [[("", each) for each in originals], [("whitened", each) for each in whitened]],
        "single": [
            [("the photo", photo), *((layer, paint(layer)) for layer in LAYERS[:2])],
            [(layer, paint(layer)) for layer in LAYERS[2:]],
        ],
        "cascade": [so_far[:3], so_far[3:]],
    }


def correlations(feature):
    """Correlation coefficients of the channels of a feature, 0 for a channel that does not vary."""
    covariance = np.asarray(moments(feature).covariance)
    deviation = np.sqrt(np.diagonal(covariance))
    scale = np.outer(deviation, deviation)
    return np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 1e-6)


def plot_channels(feature):
    """Correlations of all channels and histograms of some of them, before and after whitening."""
    whitened = np.asarray(whiten(feature))
    figure, axes = plt.subplots(2, 2, figsize=(7, 6), layout="constrained")
    for (above, below), (name, values) in zip(
        axes.T, {"relu3_1 of the photo": feature, "whitened": whitened}.items(), strict=True
    ):
        matrix = above.imshow(correlations(values), cmap="RdBu", vmin=-1, vmax=1, interpolation="nearest")
        above.set(title=name, xlabel="channel", ylabel="channel")
        for channel in range(0, values.shape[-1], 16):
            low, high = np.quantile(values[..., channel], [0.001, 0.999])
            below.hist(values[..., channel].ravel(), np.linspace(low, high, 60), histtype="step", density=True)
        below.set(xlabel="value of a channel", ylabel="density", yscale="log")
    figure.colorbar(matrix, ax=axes[0], label="correlation", shrink=0.9)
    figure.savefig(DOCS / "channels.png", dpi=110)


def plot_spectra(features):
    """Eigenvalues of each layer's covariance, and where the cut lies."""
    figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for layer, feature in features.items():
        values = np.linalg.eigvalsh(np.asarray(moments(feature).covariance, np.float64))[::-1]
        axis.plot(np.linspace(0, 1, len(values)), np.maximum(values / values[0], 1e-9), label=f"{layer}, {len(values)}")
    axis.axhline(1e-6, color="black", linestyle="--", linewidth=1)
    axis.text(0, 8e-7, "eps: directions below are dropped", va="top")
    axis.set(yscale="log", xlabel="eigenvalues, largest first, as a share of all", ylabel="share of the largest")
    axis.legend(title="layer, channels", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(DOCS / "spectra.png", dpi=110)


def main():
    DOCS.mkdir(parents=True, exist_ok=True)
    model = load_model("compact")
    for name, rows in pictures(model).items():
        draw(DOCS / f"{name}.jpg", rows)
    features = model.encode(read_image(HERE / "content.jpg", SIDE))
    plot_channels(np.asarray(features["relu3_1"]))
    plot_spectra(features)


if __name__ == "__main__":
    main()
