"""Styles that turn into one another while a film runs."""

import bisect
import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

import jax

from wct_jax.painting.style import Style, mix_styles
from wct_jax.studio.frames import FramePainter
from wct_jax.studio.request import Look, Request
from wct_jax.studio.session import Session


@dataclass(frozen=True, eq=False)
class Turns:
    """The painters of a film, each with a style of its own, and when the style is theirs alone.

    Attributes:
        painters: At least one.
        times: A time in seconds for each painter, increasing.
    """

    painters: Sequence[FramePainter]
    times: Sequence[Fraction]

    @classmethod
    def of(cls, session: Session, request: Request, sides: Sequence[int], times: Sequence[Fraction]) -> Self:
        """Give each style of a request its time.

        Args:
            session: The session that paints.
            request: The request.
            sides: Rows and columns of the frames.
            times: A time in seconds for each style; empty for a look that stays.

        Raises:
            ValueError: Styles and times differ in number, the times do not increase, or the look has masks or weights.
        """
        if not times:
            return cls([session.frames(request, sides)], [Fraction(0)])
        look = request.look
        if len(look.files) != len(times):
            raise ValueError(f"`style_at` must have a time for each of {len(look.files)} styles, got {len(times)}")
        if any(later <= sooner for sooner, later in itertools.pairwise(times)):
            raise ValueError(f"`style_at` must increase, got {', '.join(f'{float(time):g}' for time in times)}")
        if look.masks or look.weights:
            raise ValueError("`style_at` takes one style at a time: expected no `mask` and no `style_weights` with it")
        masks = look.style_masks or (None,) * len(times)
        looks = [Look((file,), None, (mask,) if mask else ()) for file, mask in zip(look.files, masks, strict=True)]
        return cls([session.frames(dataclasses.replace(request, look=each), sides) for each in looks], list(times))

    def on(self, device: jax.Device) -> Self:
        """The same with networks and styles on a device."""
        placed = [
            dataclasses.replace(each, **jax.device_put({"model": each.model, "style": each.style}, device))
            for each in self.painters
        ]
        return dataclasses.replace(self, painters=placed)

    def at(self, time: Fraction) -> FramePainter:
        """The painter at a time: between two times of a mixture, before and after them of one style alone."""
        after = bisect.bisect_right(self.times, time)
        if after in (0, len(self.times)):
            return self.painters[max(after - 1, 0)]
        first, second = self.painters[after - 1 : after + 1]
        start, end = self.times[after - 1 : after + 1]
        share = float((time - start) / (end - start))
        styles = [each.style for each in (first, second) if isinstance(each.style, Style)]
        return dataclasses.replace(first, style=mix_styles(styles, [1 - share, share]))
