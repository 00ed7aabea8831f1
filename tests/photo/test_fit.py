import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import sqrtm

from wct_jax import load_model
from wct_jax.measures.metrics import edge_similarity
from wct_jax.networks.vgg import LAYERS
from wct_jax.photo import fit
from wct_jax.photo.cells import CELL, Photo, blocks, no_change
from wct_jax.photo.fit import fit_cells, fitted_layers
from wct_jax.photo.tone import YCC, Toning, into_gamut, share_of
from wct_jax.transform.statistics import frobenius, moments

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def scene():
    """A sky without clouds over a textured ground, and a picture of other colours and contrasts."""
    rng = np.random.default_rng(0)
    photo = np.full((96, 128, 3), (0.55, 0.7, 0.9), np.float32)
    photo[60:] = (0.3, 0.5, 0.25) + 0.15 * rng.normal(size=(36, 128, 1)).clip(-1, 1)
    style = np.full((96, 128, 3), (0.7, 0.4, 0.1), np.float32)
    style[40:] = (0.2, 0.1, 0.25) + 0.1 * rng.normal(size=(56, 128, 1)).clip(-1, 1)
    return photo, style.clip(0, 1)


@pytest.fixture(scope="module")
def fitted(scene):
    """The photo before and after a fit, with what the layers see of the style."""
    model = load_model("compact")
    photo, style = (jnp.asarray(each) for each in scene)
    wanted = {layer: moments(x) for layer, x in model.encode(style, fitted_layers(5)).items()}
    own = Photo(photo, Toning.of(moments(photo), moments(style)))
    cells = fit_cells(model, own, wanted)

    def distance(image):
        seen = model.encode(image, list(wanted))
        pairs = [(moments(seen[layer]).covariance, wanted[layer].covariance) for layer in wanted]
        return float(np.mean([frobenius(have - want) / frobenius(want) for have, want in pairs]))

    return own, cells, distance


@pytest.mark.slow
def test_the_fit_brings_features_nearer_than_matched_colours_do(fitted, scene):
    own, cells, distance = fitted
    assert cells.shape == no_change(own.pixels).shape
    matched, result = (np.asarray(into_gamut(own.graded(each))) for each in (no_change(own.pixels), cells))
    assert distance(result) < 0.8 * distance(matched)
    assert edge_similarity(result[64:], scene[0][64:]) > 0.8


@pytest.mark.slow
def test_a_flat_sky_stays_flat(fitted):
    own, cells, _ = fitted
    sky = np.asarray(into_gamut(own.graded(cells)))[:40]
    assert np.abs(np.diff(sky, axis=0)).max() < 0.01
    assert np.abs(np.diff(sky, axis=1)).max() < 0.01


def test_faint_detail_is_what_a_guided_filter_would_take(scene):
    photo = jnp.asarray(scene[0]).at[:, :, :].add(0.004 * np.random.default_rng(1).normal(size=(96, 128, 3)))
    own = Photo(photo.astype(jnp.float32), Toning.of(moments(photo), moments(photo)))
    faint = np.trace(np.asarray(fit._fine_moments(own)), axis1=-2, axis2=-1)
    np.testing.assert_allclose(faint[:3], 3 * 0.004**2 * (1e-4 / (1e-4 + 0.004**2)) ** 2, rtol=0.3)
    assert faint[4:].max() < faint[:3].mean() / 2  # The ground is no detail.


def test_blocks_reach_beyond_the_border(rng):
    x = rng.random((10, 7, 2), np.float32)
    found = np.asarray(blocks(jnp.asarray(x), 4))
    assert found.shape == (3, 2, 2)
    np.testing.assert_allclose(found[2, 1], x[8:, 4:].sum((0, 1)), rtol=1e-5)
    assert CELL % fit._SQUARE == 0


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_layers(depth):
    assert fitted_layers(depth) == LAYERS[: min(depth, 3)]


def test_share_of_the_change(rng):
    one, other = (rng.random((40, 3), np.float32) * scale for scale in (np.float32(0.5), np.float32(0.3)))
    pair = moments(jnp.asarray(one[None])), moments(jnp.asarray(other[None]))
    (mean, cov), (mean2, cov2) = ((x.mean(0) @ YCC.T, np.cov((x @ YCC.T).T, bias=True)) for x in (one, other))
    root = sqrtm(cov)
    squared = np.square(mean - mean2).sum() + np.trace(cov + cov2 - 2 * sqrtm(root @ cov2 @ root)).real
    ratios = np.log((np.sqrt(np.diag(cov)) + 0.02) / (np.sqrt(np.diag(cov2)) + 0.02))
    apart = np.sqrt(squared) * (1 + min(np.linalg.norm(ratios), 1)) / 2
    np.testing.assert_allclose(share_of(*pair), 1 / (1 + (0.092 / apart) ** 8), rtol=0.05)
    assert share_of(pair[0], pair[0]) < 1e-3
    far = moments(jnp.asarray(other[None] + 0.7))
    assert share_of(pair[0], far) > 0.99
