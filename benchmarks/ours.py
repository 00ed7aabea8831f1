"""Painting by this library; `stylize.py` starts this."""

import jax
import jax.numpy as jnp
import numpy as np
from stopwatch import Stopwatch
from worker import serve

from wct_jax.kernels.compilation import compiler_options
from wct_jax.networks.model import Model, widths_of
from wct_jax.painting.style import extract_style, feature_moments
from wct_jax.painting.stylization import stylize
from wct_jax.transform.whitening import apply, whiten_color


class Ours:
    """A model, a photo and a picture, and the method to paint by."""

    def __init__(self, encoder, decoders, content, style, painter=None, method="cascade"):
        jax.config.update("jax_platforms", "cpu")
        self._model = jax.tree.map(jnp.asarray, Model(encoder, decoders, widths_of(encoder), painter=painter or {}))
        self._method = method
        self._content, self._style = jnp.asarray(content), jnp.asarray(style)

    def fresh(self):
        """Repaint with a new style."""
        self._kept = extract_style(self._model, self._style)
        return self.kept()

    def kept(self):
        """Repaint with the style from before."""
        return np.asarray(stylize(self._model, self._content, self._kept, method=self._method))

    def stages(self):
        """Seconds of each of the cascade's stages with a new style, each waited for: together longer than the whole."""
        options = compiler_options(quick=True)
        solve, color = (jax.jit(function, compiler_options=options) for function in (whiten_color, apply))

        def paint(watch):
            def measured(stage, function, *args):
                with watch(stage):
                    return jax.block_until_ready(function(*args))

            def look(image, layers):
                features = measured("encode", self._model.encode, image, layers)
                return {
                    layer: (feature, measured("encode", feature_moments, feature, None, None, layer))
                    for layer, feature in features.items()
                }

            styles, image = look(self._style, self._model.layers), self._content
            for layer in self._model.layers:
                feature, own = look(image, (layer,))[layer]
                style = styles[layer][1]
                matrix, _ = measured("matrix", solve, own, style)
                feature = measured("decode", color, feature, own.mean, matrix, style.mean)
                image = measured("decode", self._model.decode, layer, feature)[: len(image), : len(image)]
            return watch.seconds

        paint(Stopwatch())  # Compiles.
        return paint(Stopwatch())


if __name__ == "__main__":
    serve(Ours)
