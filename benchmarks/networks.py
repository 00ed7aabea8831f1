"""Networks of random weights, as fast as trained ones."""

import jax.numpy as jnp
import numpy as np

from wct_jax.networks.model import Model
from wct_jax.networks.vgg import LAYERS, decoder_shapes, deepest, depth_of, encoder_shapes


def random_model(widths, layers=LAYERS):
    """Draw He's weights, which keep the scale of features at any depth; the encoder ends at the deepest layer."""
    rng = np.random.default_rng(0)
    widths = widths[: depth_of(deepest(layers))]
    decoders = {layer: _parameters(decoder_shapes(layer, widths), rng) for layer in layers}
    return Model(_parameters(encoder_shapes(widths), rng), decoders, widths)


def _parameters(shapes, rng):
    return {
        name: {
            "kernel": jnp.asarray(rng.normal(0, (2 / 9 / inputs) ** 0.5, (3, 3, inputs, outputs)), jnp.float32),
            "bias": jnp.zeros(outputs),
        }
        for name, (inputs, outputs) in shapes.items()
    }
