"""Evaluation of networks by the photos that they rebuild."""

from collections.abc import Iterable

import jax
import numpy as np

from wct_jax.kernels.canvas import as_array, cut_out, lay_out
from wct_jax.kernels.compilation import compiled
from wct_jax.measures.metrics import psnr, ssim
from wct_jax.networks.model import Model
from wct_jax.networks.pooling import size_at


def evaluate(model: Model, layer: str, photos: Iterable[np.ndarray]) -> dict[str, float]:
    """Compare photos with their reconstructions as 8-bit pictures.

    Args:
        model: Model with the decoder.
        layer: Layer of the decoder.
        photos: Photos `[H, W, 3]` in 0..1.

    Returns:
        The number of `photos` and the means of `psnr`, in dB, and `ssim`.
    """
    scores = []
    for photo in photos:
        output = np.rint(rebuild(model, layer, photo).clip(0, 1) * 255) / 255
        scores.append((psnr(output, photo), ssim(output, photo)))
    means = np.mean(scores, axis=0)
    return {"photos": len(scores), "psnr": round(float(means[0]), 2), "ssim": round(float(means[1]), 4)}


def rebuild(model: Model, layer: str, photo: np.ndarray) -> np.ndarray:
    """Encode and decode a photo `[H, W, 3]` in 0..1, not clipped, on a canvas so that little is compiled."""
    image, _, size = lay_out(as_array(photo), None)
    return np.asarray(cut_out(_on_canvas(model.bare, image, size, layer), photo.shape[-3:-1]))


@compiled(static=("layer",))
def _on_canvas(model: Model, image: jax.Array, size: jax.Array | None, layer: str) -> jax.Array:
    feature = model.encode(image, (layer,), size)[layer]
    return cut_out(model.decode(layer, feature, size_at(layer, size)), image.shape[-3:-1])
