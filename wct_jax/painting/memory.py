"""The statistics by which the frames of a film are whitened, so that they do not jump from frame to frame."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax import Array

from wct_jax.transform.statistics import Moments, merge


@functools.partial(jax.tree_util.register_dataclass, data_fields=("known", "kept"), meta_fields=())
@dataclass(frozen=True, eq=False)
class Memory:
    """What a level knows of the other frames.

    Attributes:
        known: Moments of other frames, one for each region. None for none: frames of one shot are the leading dimension
            of the image, and their moments are merged.
        kept: Weight of the pixels in `known`, a scalar: the frame's own moments are merged with them. None if `known`
            stands for this frame, too.
    """

    known: Sequence[Moments] | None = None
    kept: Any = None

    def recall(self, measure: Callable[[], list[Moments]]) -> list[Moments]:
        """The moments to whiten a frame by, given a function that measures its own."""
        if self.known is None:
            return [_all(own) for own in measure()]
        if self.kept is None:
            return list(self.known)
        return [merge(_weighted(before, self.kept), own) for before, own in zip(self.known, measure(), strict=True)]


def _weighted(moments: Moments, weight: Array) -> Moments:
    return Moments(weight * moments.count, moments.mean, weight * moments.scatter)


def _all(moments: Moments) -> Moments:
    """Merge moments `[N, ...]` over their first dimension."""
    first, *rest = (jax.tree.map(lambda x, i=i: x[i], moments) for i in range(len(moments.count)))
    return functools.reduce(merge, rest, first)
