"""The judge against float64 and, with real weights, against the yardstick and PyTorch."""

import sys

import numpy as np
import pytest

from wct_jax import load_model, read_image
from wct_jax.evaluation.judge import JUDGED, Judge, rebuilt


@pytest.mark.slow
def test_style_distance_is_that_of_covariances(pictures, rng):
    model = load_model(pictures / "model.safetensors")
    judge = Judge(model)
    x, y = (rng.random((32, 40, 3)).astype(np.float32) for _ in range(2))
    figures = judge.compare(judge.see(x), judge.see(x), judge.see(y))
    apart = []
    for layer in JUDGED:
        got, want = (
            np.cov(np.asarray(model.encode(z, [layer])[layer], np.float64).reshape(-1, 4 + 2 * JUDGED.index(layer)).T)
            for z in (x, y)
        )
        apart.append(np.linalg.norm(got - want) / np.linalg.norm(want))
    assert figures["style_distance"] == pytest.approx(np.mean(apart), rel=1e-4)
    assert figures["ssim"] == pytest.approx(1, abs=1e-5)
    assert figures["cfsd"] == 0


def test_the_signed_feature_is_that_before_the_relu(pictures, rng):
    model = load_model(pictures / "model.safetensors")
    x = rng.random((16, 16, 3)).astype(np.float32)
    signed = np.asarray(Judge(model).see(x).signed)
    assert (signed < 0).any()
    np.testing.assert_allclose(signed.clip(0), model.encode(x, ["relu3_1"])["relu3_1"], atol=1e-5)


def test_it_says_whom_it_flatters(pictures, random_model):
    assert "--judge" in Judge().note
    assert "not as wide" in Judge(pictures / "model.safetensors").note
    assert not Judge(random_model((64, 128, 256), ())).note
    with pytest.raises(ValueError, match="down to relu3_1"):
        Judge(random_model((4, 6), ()))


def test_sizes_must_agree(pictures, rng):
    judge = Judge(pictures / "model.safetensors")
    x, y = (judge.see(rng.random((32, side, 3)).astype(np.float32)) for side in (32, 33))
    with pytest.raises(ValueError, match="expected a result of the photo's 32 x 32 pixels, got 33 x 32"):
        judge.compare(y, x, x)


def test_rebuilt(rng):
    x = rng.random((16, 16, 3)).astype(np.float32)
    assert rebuilt(x, x) == {"rebuilt_psnr": np.inf, "rebuilt_ssim": pytest.approx(1, abs=1e-5)}


@pytest.mark.slow
def test_figures_are_those_of_the_yardstick_and_of_pytorch(shared, tmp_path, monkeypatch):
    from wct_jax.convert.conversion import convert

    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(shared / "peers")
    yardstick = __import__("judge")
    peer = sys.modules["torch_wct"]
    judge = Judge(convert([shared / "weights/vgg19_normalised/vgg_normalised_conv3_1.pth"]))
    state = yardstick.ENCODERS[3]

    def signed(image):
        x = peer.conv(torch.from_numpy(image).permute(2, 0, 1)[None], state, "conv0")
        for name in peer.up_to(3):
            if name == "P":
                x = torch.nn.functional.max_pool2d(x, 2, 2, ceil_mode=True)
            else:
                x = peer.conv(x, state, f"conv{name}")
                x = x if name == "31" else torch.relu(x)
        return x[0].flatten(1).T.double() / x.shape[1]

    style = read_image(shared / "images/style/la_muse.jpg", 192)
    for name in ("golden_gate", "sailboat"):
        photo = read_image(shared / f"images/content/{name}.jpg", 192)
        # Any picture of the photo's size is a result.
        result = np.clip(photo[:, ::-1] * [0.9, 0.7, 0.8], 0, 1).astype(np.float32)
        figures = judge.compare(judge.see(result), judge.see(photo), judge.see(style))
        given = [torch.from_numpy(np.ascontiguousarray(x)).permute(2, 0, 1)[None] for x in (result, photo, style)]
        assert figures["style_distance"] == pytest.approx(yardstick.style_distance(given[0], given[2]), abs=1e-3)
        assert figures["ssim"] == pytest.approx(yardstick.ssim(given[0], given[1]), abs=1e-3)
        with torch.inference_mode():
            a, b = (torch.log_softmax(f @ f.T, 1) for f in map(signed, (photo, np.ascontiguousarray(result))))
            divergence = float((a.exp() * (a - b)).sum() / len(a))
        assert figures["cfsd"] == pytest.approx(divergence, rel=1e-4)
