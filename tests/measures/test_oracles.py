"""PSNR and SSIM against scikit-image."""

import numpy as np
import pytest

from wct_jax.measures.metrics import psnr, ssim

metrics = pytest.importorskip("skimage.metrics", reason="needs scikit-image, of the extra test")


@pytest.mark.parametrize("shape", [(11, 11, 3), (40, 61, 3)])
def test_they_are_those_of_scikit_image(rng, shape):
    x = rng.random(shape)
    y = np.clip(x + 0.2 * rng.normal(size=shape), 0, 1)
    same = metrics.peak_signal_noise_ratio(x, y, data_range=1)
    assert float(psnr(x.astype(np.float32), y.astype(np.float32))) == pytest.approx(same, abs=1e-4)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    same = metrics.structural_similarity(x.mean(-1), y.mean(-1), **options)
    assert float(ssim(x.astype(np.float32), y.astype(np.float32))) == pytest.approx(same, abs=1e-5)
