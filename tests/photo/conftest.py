import numpy as np
import pytest


@pytest.fixture
def photo():
    """Smooth colours, an edge, and a little noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:60, :90].astype(np.float32) / 90
    image = np.stack([x, y, 0.7 - x * y], -1) * 0.6 + 0.2
    image[:, 40:] *= 0.5
    return (image + rng.normal(0, 0.01, image.shape)).astype(np.float32).clip(0, 1)
