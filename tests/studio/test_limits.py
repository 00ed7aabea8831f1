"""How large a picture may be before it is cut into tiles."""

import re

import pytest

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


def tile(model, sides, most=None):
    return Limits(most).tile_of(sides, "photo.png", model, LAYERS)


def test_half_of_what_there_is(model, present):
    sides = (4000, 4000)
    present(8 * GB)
    assert tile(model, sides) == tile(model, sides, 4 * GB) is None
    present(2 * GB)
    assert tile(model, sides) == tile(model, sides, 1 * GB) > 0


def test_no_more_than_others_leave(model, present):
    present(16 * GB, free=1 * GB)
    assert tile(model, (4000, 4000)) == tile(model, (4000, 4000), 1 * GB) > 0


def test_all_if_half_is_too_little(model, present):
    present(0.9 * GB)
    assert tile(model, (4000, 4000)) == tile(model, (4000, 4000), 0.9 * GB) > 0
    # What others have now they may give back; without it there would be no result.
    present(0.9 * GB, free=0.1 * GB)
    assert tile(model, (4000, 4000)) > 0


@pytest.mark.parametrize("most", [1e6, 0.4 * GB, 0.4999 * GB, 0.5 * GB, 0.69 * GB, 0.692 * GB])
def test_a_refusal_does_not_contradict_itself(model, present, most):
    present(most)
    with pytest.raises(ValueError, match=r"photo\.png cannot be repainted: 4000 x 4000 pixels take") as refusal:
        tile(model, (4000, 4000))
    need, have = (
        float(n) * {"MB": 1e6, "GB": 1e9}[unit] for n, unit in re.findall(r"([\d.]+) ([MG]B)", str(refusal.value))
    )
    assert need > have
    assert abs(have - most) <= 1e6
