import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wct_jax.convert.checkpoint import CheckpointError
from wct_jax.convert.torch.strided import strided

STORAGE = np.arange(24, dtype=np.float32)


@given(st.integers(0, 30), st.lists(st.tuples(st.integers(0, 6), st.integers(0, 13)), max_size=4))
def test_same_as_pytorch_or_refused(offset, dimensions):
    size, stride = [length for length, _ in dimensions], [step for _, step in dimensions]
    elements = int(np.prod(size))
    last = offset + sum((length - 1) * step for length, step in dimensions)
    if elements > 24 or (elements and last >= 24):
        with pytest.raises(CheckpointError, match="does not lie within its storage of 24 elements"):
            strided(STORAGE, offset, size, stride)
    elif elements:
        expected = torch.as_strided(torch.from_numpy(STORAGE), size, stride, offset).numpy()
        np.testing.assert_array_equal(strided(STORAGE, offset, size, stride), expected)
    else:
        assert strided(STORAGE, offset, size, stride).shape == tuple(size)


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (-1, [2], [1]),
        (4, [2], [-1]),
        (0, [-2], [1]),
        (0, [2, 2], [1]),
        (0, [2.0], [1]),
        (0, ["2"], [1]),
        (2**63, [1], [1]),
        (0, [True], [1]),
    ],
)
def test_numbers_that_make_no_sense(offset, size, stride):
    with pytest.raises(CheckpointError, match="makes no sense"):
        strided(STORAGE, offset, size, stride)


@pytest.mark.parametrize(("size", "stride"), [([2**40], [0]), ([25], [0]), ([2**20, 2**20, 2**20], [0, 0, 0])])
def test_repeated_elements_cannot_fill_the_memory(size, stride):
    with pytest.raises(CheckpointError, match="does not lie within its storage"):
        strided(STORAGE, 0, size, stride)


def test_dimensions_without_end():
    for count in (33, 300_000):
        with pytest.raises(CheckpointError, match="a tensor's size or stride makes no sense"):
            strided(np.zeros(4), 0, [2**62] * count, [0] * count)
