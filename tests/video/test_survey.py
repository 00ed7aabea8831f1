from fractions import Fraction

import numpy as np
import pytest

from wct_jax.video.files.frames import Glance
from wct_jax.video.survey import survey


@pytest.mark.parametrize(("count", "taken"), [(1, [0]), (2, [0, 1]), (7, [0, 1, 3, 5]), (8, range(8)), (100, None)])
def test_as_many_frames_are_learned_from_in_every_long_shot(count, taken):
    still = np.random.default_rng(0).random((12, 16, 3), np.float32)
    glances = [Glance(Fraction(n, 10), still, lambda n=n: still + np.float32(n / 1000)) for n in range(count)]
    found = []

    def learn(given):
        found.extend(round(1000 * float((each - still).mean())) for each in given)
        return ()

    known = survey(glances, learn)
    assert len(known.shots) == 1
    assert len(known.times) == count
    if taken is not None:
        assert found == list(taken)
    else:
        assert len(found) == 8
        assert (found[0], max(np.diff(found))) == (0, 16)
