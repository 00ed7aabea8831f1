"""Masks: grey pictures of any kind, brought to the size of what they are for."""

import numpy as np
import pytest
from PIL import Image

from wct_jax import read_mask
from wct_jax.pictures.mask import fit_mask


def test_white_is_all_and_what_is_transparent_nothing(tmp_path):
    grey = np.asarray([[0, 51, 255]], np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_allclose(read_mask(tmp_path / "grey.png"), [[0, 0.2, 1]], atol=1e-6)
    Image.fromarray(grey > 100).save(tmp_path / "bits.png")
    np.testing.assert_allclose(read_mask(tmp_path / "bits.png"), [[0, 0, 1]], atol=1e-6)
    colours = np.asarray([[[255, 255, 255, 51], [0, 255, 0, 255]]], np.uint8)
    Image.fromarray(colours).save(tmp_path / "colours.png")
    np.testing.assert_allclose(read_mask(tmp_path / "colours.png"), [[0.2, 0.587]], atol=1e-6)


def test_a_mask_is_resized_within_the_rounding_of_its_sides():
    mask = np.zeros((30, 40), np.float32)
    mask[:, 20:] = 1
    assert fit_mask("m", mask, (30, 40)) is mask
    for sides in ((60, 80), (15, 20), (61, 80), (45, 61), (7, 9)):
        fitted = fit_mask("m", mask, sides)
        assert fitted.shape == sides
        assert fitted.mean() == pytest.approx(0.5, abs=0.06)
        assert 0 <= fitted.min() <= fitted.max() <= 1
    for sides in ((40, 30), (60, 90), (30, 44)):
        with pytest.raises(
            ValueError, match=rf"m must have the proportions of its picture, {sides[1]} x {sides[0]} pix"
        ):
            fit_mask("m", mask, sides)
