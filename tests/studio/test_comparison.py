"""Photos repainted by the baselines in a session, and the options that they refuse."""

import numpy as np
import pytest

from wct_jax import Options, Session, extract_style, preserve_color, save_style, stylize
from wct_jax.baselines.gatys import paint_gatys
from wct_jax.painting.options import BASELINES
from wct_jax.studio.limits import Limits
from wct_jax.studio.request import Look, Request, Texture
from wct_jax.studio.session import Cancelled

pytestmark = pytest.mark.usefixtures("directly", "quick")


@pytest.fixture(scope="module")
def model(random_model):
    return random_model((4, 6, 8), ("relu1_1",))


@pytest.fixture
def photo(rng):
    return rng.random((17, 22, 3), np.float32)


@pytest.fixture
def picture(rng):
    return rng.random((16, 20, 3), np.float32) ** 2


def options(method, **more):
    return Options(method=method, **{"steps": 3} if method == "gatys" else {}, **more)


@pytest.mark.parametrize("method", BASELINES)
@pytest.mark.slow
def test_paints_and_reports(model, photo, picture, method):
    session, reports = Session(model), []
    result = session.paint(photo, picture, options(method), progress=lambda *report: reports.append(report)).pixels
    assert result.shape == photo.shape
    assert not np.allclose(result, photo)
    assert reports[-1][1] <= reports[-1][2]
    assert {name for name, *_ in reports} & {"gatys", "patches"}
    half = session.paint(photo, picture, options(method, strength=0.5)).pixels
    np.testing.assert_allclose(half, (photo + result) / 2, atol=1e-5)
    kept = session.paint(photo, picture, options(method, preserve_color="coral")).pixels
    np.testing.assert_allclose(kept, preserve_color(result, photo, "coral"), atol=1e-5)


@pytest.mark.slow
def test_gatys_takes_layers_and_style_files(model, photo, picture, tmp_path):
    style = extract_style(model, picture, ["relu1_1", "relu2_1"])
    save_style(tmp_path / "style.safetensors", style)
    result = Session(model).paint(photo, tmp_path / "style.safetensors", options("gatys", layers=["relu2_1"])).pixels
    np.testing.assert_allclose(result, paint_gatys(model, photo, style, layers=["relu2_1"], steps=3), atol=1e-5)


@pytest.mark.parametrize("method", BASELINES)
def test_can_be_cancelled(model, photo, picture, method):
    calls = []

    def cancel():
        calls.append(None)
        return len(calls) > 4

    with pytest.raises(Cancelled):
        Session(model).paint(photo, picture, Options(method=method), cancel=cancel)


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("gatys", {"alpha": 0.5}),
        ("gatys", {"passes": 2}),
        ("gatys", {"transform": "ot"}),
        ("gatys", {"whiten_only": True}),
        ("gatys", {"margin": 4}),
        ("elad-milanfar", {"layers": ["relu1_1"]}),
        ("elad-milanfar", {"steps": 5}),
        ("elad-milanfar", {"structure": 0.5}),
    ],
)
def test_options_are_refused(method, more):
    with pytest.raises(ValueError, match=f"`method` {method} takes no `{next(iter(more))}`"):
        Options(method=method, **more)


def test_steps_need_gatys():
    with pytest.raises(ValueError, match="`steps` needs `method` gatys"):
        Options(method="cascade", steps=5)
    for steps in (0, 1.5, 10**9):
        with pytest.raises(ValueError, match="steps must be"):
            Options(method="gatys", steps=steps)


@pytest.mark.parametrize("method", BASELINES)
def test_requests_are_refused(model, photo, picture, method):
    mask, chosen = np.ones((17, 22), np.float32), Options(method=method)
    for request, sentence in (
        (lambda: Request(photo, Look((picture,), masks=(mask,)), chosen), "expected no `mask`"),
        (lambda: Request(Texture(8, 8), Look((picture,)), chosen), "`synthesize` has none"),
        (lambda: Request(photo, Look((picture,)), chosen, alpha_map=mask), "expected no `alpha_map`"),
        (lambda: Request(photo, Look((picture,)), chosen, structure=mask), "expected no `structure`"),
        (lambda: Session(model).frames(Request(photo, Look((picture,)), chosen), (17, 22)), "single photos"),
        (
            lambda: Session(model, Limits(memory=10**5)).paint(photo, picture, chosen),
            "too many for `method`|too little",
        ),
        (
            lambda: stylize(model, photo, extract_style(model, picture, ["relu1_1"]), method=method),
            "method must be one of cascade",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            request()


def test_patches_are_those_of_one_whole_picture(model, photo, picture):
    session, chosen, mask = Session(model), Options(method="elad-milanfar"), np.ones((16, 20), np.float32)
    for look, sentence in (
        (Look((picture, picture)), "one picture, got several"),
        (Look((picture,), style_masks=(mask,)), "expected no `style_mask`"),
        (Look((extract_style(model, picture, ["relu1_1"]),)), "got a style without them"),
    ):
        with pytest.raises(ValueError, match=sentence):
            session.serve(Request(photo, look, chosen))
    with pytest.raises(ValueError, match="a style has none"):
        session.style(Look((picture,)), chosen)
