"""Pictures, styles and helpers that the tests of painting share."""

import dataclasses

import numpy as np
import pytest

from wct_jax import extract_style, load_model, stylize, stylize_tiled
from wct_jax.painting.options import PAINTERS

LAYERS = ["relu2_1", "relu1_1"]


@pytest.fixture(scope="session")
def compact():
    """The packaged model, which paints in one pass like its decoder of relu4_1 if it has no painter."""
    model = load_model("compact")
    return dataclasses.replace(model, painter=model.painter or model.decoders["relu4_1"])


@pytest.fixture(params=PAINTERS)
def method(request):
    return request.param


@pytest.fixture(scope="session")
def photo():
    return np.random.default_rng(3).random((70, 90, 3), np.float32)


@pytest.fixture(scope="module")
def style(model, photo):
    return extract_style(model, photo[:40, :50] ** 3, LAYERS)


@pytest.fixture(params=["whole", "tiled"])
def repaint(request):
    """Both ways to repaint a photo."""
    return stylize if request.param == "whole" else lambda *args, **options: stylize_tiled(*args, tile=48, **options)
