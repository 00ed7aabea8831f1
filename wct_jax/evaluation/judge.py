"""Judges: the network by whose features results are compared with photos and styles."""

import dataclasses
import os
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from wct_jax.kernels.compilation import compiled
from wct_jax.measures.calm import calm
from wct_jax.measures.colors import color_distance
from wct_jax.measures.metrics import psnr, ssim
from wct_jax.measures.self_similarity import self_similarity_distance
from wct_jax.networks.model import Model
from wct_jax.networks.model_file import load_model
from wct_jax.networks.vgg import VGG19_WIDTHS
from wct_jax.transform.statistics import frobenius, moments

JUDGED = ("relu1_1", "relu2_1", "relu3_1")
_NOTE = (
    "Judged by the encoder of the packaged model, since no --judge was given. That model was trained to please these "
    "features, so style distance and CFSD flatter it: compare settings of one model by them, not models, and not with "
    "figures published elsewhere. --judge VGG.safetensors (python convert_vgg.py --download) judges by VGG-19."
)
_OTHER = "Judged by a network that is not as wide as VGG-19: style distance and CFSD compare only within this report."


class Seen(NamedTuple):
    """What a judge sees of a picture.

    Attributes:
        pixels: `[H, W, 3]` in 0..1.
        covariances: Those of the features at relu1_1, relu2_1 and relu3_1, `[C, C]`.
        signed: The feature of conv3_1 before its ReLU.
    """

    pixels: np.ndarray
    covariances: list[Array]
    signed: Array


class Judge:
    """A network that compares pictures.

    Attributes:
        name: Name of its file, without folders.
        digest: Digest of its encoder.
        note: A sentence on how far its figures can be trusted; empty for VGG-19.
    """

    def __init__(self, model: Model | str | os.PathLike[str] | None = None) -> None:
        """Load a judge.

        Args:
            model: A model, or the path or name of one; None for the packaged encoder.

        Raises:
            ValueError: The model cannot be loaded, or its encoder does not reach relu3_1.
        """
        loaded = model if isinstance(model, Model) else load_model("compact" if model is None else model)
        self.name = "compact" if model is None else "model" if isinstance(model, Model) else os.path.basename(model)
        if len(loaded.widths) < len(JUDGED):
            raise ValueError(f"`judge` must have an encoder down to relu3_1, got {', '.join(loaded.layers)}")
        self.digest = loaded.digest
        full = loaded.widths[: len(JUDGED)] == VGG19_WIDTHS[: len(JUDGED)]
        self.note = _NOTE if model is None else "" if full else _OTHER
        self._model = _with_signed(loaded)

    def see(self, pixels: np.ndarray) -> Seen:
        """Look at a picture `[H, W, 3]` in 0..1."""
        *covariances, signed = _see(self._model, jnp.asarray(pixels, jnp.float32))
        return Seen(pixels, covariances, signed)

    def compare(self, result: Seen, content: Seen, style: Seen) -> dict[str, float]:
        """The figures of a result.

        Args:
            result: The result, as large as the content.
            content: The photo.
            style: The style.

        Raises:
            ValueError: Result and content differ in size.
        """
        if result.pixels.shape != content.pixels.shape:
            sizes = [f"{x.pixels.shape[1]} x {x.pixels.shape[0]}" for x in (content, result)]
            raise ValueError(f"expected a result of the photo's {sizes[0]} pixels, got {sizes[1]}")
        return {
            "style_distance": float(_style_distance(result.covariances, style.covariances)),
            "ssim": float(ssim(result.pixels, content.pixels)),
            "cfsd": float(_structure(content.signed, result.signed)),
            "color_distance": color_distance(result.pixels, style.pixels),
            "calm": calm(result.pixels, content.pixels, style.pixels),
        }


def rebuilt(result: np.ndarray, content: np.ndarray) -> dict[str, float]:
    """The figures of a photo that was painted in its own style."""
    return {"rebuilt_psnr": float(psnr(result, content)), "rebuilt_ssim": float(ssim(result, content))}


def _with_signed(model: Model) -> Model:
    """The encoder alone, with the channels of conv3_1 a second time and negated."""
    # So that before the ReLU x = max(x, 0) - max(-x, 0).
    own = model.encoders.get(JUDGED[-1], model.encoder)
    both = {name: jnp.concatenate([value, -value], axis=-1) for name, value in own["conv3_1"].items()}
    encoders = {**model.encoders, JUDGED[-1]: {**own, "conv3_1": both}}
    return dataclasses.replace(model.bare, decoders={}, auxiliary={}, painter={}, encoders=encoders)


@compiled()
def _see(model: Model, image: Array) -> tuple[Array, ...]:
    features = model.encode(image, JUDGED)
    features[JUDGED[-1]], negative = jnp.split(features[JUDGED[-1]], 2, axis=-1)
    return (*(moments(features[layer]).covariance for layer in JUDGED), features[JUDGED[-1]] - negative)


@compiled()
def _style_distance(result: list[Array], style: list[Array]) -> Array:
    return jnp.stack([frobenius(x - y) / frobenius(y) for x, y in zip(result, style, strict=True)]).mean()


_structure = compiled()(self_similarity_distance)
