"""Painting the frames of a film, each like a photo, by statistics that do not jump."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wct_jax.networks.model import Model
from wct_jax.painting.color import preserve_color
from wct_jax.painting.frames import Statistics, stylize_frame
from wct_jax.painting.options import Options
from wct_jax.painting.style import Style


@dataclass(frozen=True, eq=False)
class FramePainter:
    """The model, style and options of a film.

    Attributes:
        model: The networks.
        style: A style, or one for each mask.
        options: Options with their method and layers.
        guides: The maps and numbers that `stylize` takes beside the options.
    """

    model: Model
    style: Style | Sequence[Style | None]
    options: Options
    guides: Mapping[str, Any]

    def learn(self, frames: Sequence[np.ndarray]) -> Statistics:
        """The statistics by which all frames of a shot can be painted, from some of them, `[H, W, 3]` each."""
        _, statistics = stylize_frame(self.model, np.stack(frames), self.style, self._options, **self._maps)
        return statistics

    def paint(
        self,
        frame: np.ndarray,
        alpha: np.ndarray | None = None,
        *,
        known: Statistics | None = None,
        kept: float | None = None,
        masks: Sequence[np.ndarray] | None = None,
    ) -> tuple[np.ndarray, Statistics]:
        """Paint a frame.

        Args:
            frame: `[H, W, 3]`, RGB in 0..1.
            alpha: Opacity, `[H, W]` in 0..1; None for an opaque frame.
            known: Statistics of other frames; None for the frame's own.
            kept: Weight of the pixels in `known`; None to paint by `known` alone.
            masks: Masks of this frame in place of the film's.

        Returns:
            `[H, W, 3]` in 0..1, and the statistics that it was painted by.
        """
        maps = self._maps | {"content_weights": alpha} | ({} if masks is None else {"mask": masks})
        found, statistics = stylize_frame(self.model, frame, self.style, self._options, known=known, kept=kept, **maps)
        image = np.clip(np.asarray(found), 0, 1)
        if self.options.preserve_color:
            strength = self.guides["strength"]
            image = preserve_color(image, frame, self.options.preserve_color, weights=alpha, strength=strength)
        return image, statistics

    @property
    def _options(self) -> Options:
        return dataclasses.replace(self.options, structure=self.guides["structure"])

    @property
    def _maps(self) -> dict[str, Any]:
        return {name: value for name, value in self.guides.items() if name != "structure"}
