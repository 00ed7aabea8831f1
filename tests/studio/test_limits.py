"""How large a picture may be before it is cut into tiles."""

import re

import pytest

from wct_jax.painting.options import Options
from wct_jax.studio import limits
from wct_jax.studio.limits import Limits
from wct_jax.system.machine import Memory

LAYERS = ("relu1_1", "relu2_1")
GB = 10**9


@pytest.fixture
def present(monkeypatch):
    def has(most, free=None):
        monkeypatch.setattr(limits, "_present_memory", lambda: Memory(most, most if free is None else free))

    return has


def tile(model, most=None):
    return Limits(most).tile_of((4000, 4000), "photo.png", model, Options(layers=LAYERS))


@pytest.mark.parametrize(
    ("most", "free", "taken"),
    [
        (8, 8, 4),  # Half of what there is,
        (2, 2, 1),
        (16, 1, 1),  # no more than others leave,
        (0.9, 0.9, 0.9),  # all if half is too little,
        (0.9, 0.1, 0.9),  # and what others may give back, since without it there would be no result.
    ],
)
def test_what_is_taken_of_the_memory(model, present, most, free, taken):
    present(most * GB, free * GB)
    assert tile(model) == tile(model, taken * GB)
    assert (tile(model) is None) == (taken == 4)


@pytest.mark.parametrize("most", [1e6, 0.4 * GB, 0.4999 * GB, 0.5 * GB, 0.69 * GB, 0.692 * GB])
def test_a_refusal_does_not_contradict_itself(model, present, most):
    present(most)
    with pytest.raises(ValueError, match=r"too little memory for photo\.png: 4000 x 4000 pixels take") as refusal:
        tile(model)
    need, have = (
        float(n) * {"MB": 1e6, "GB": 1e9}[unit] for n, unit in re.findall(r"([\d.]+) ([MG]B)", str(refusal.value))
    )
    assert need > have
    assert abs(have - most) <= 1e6
