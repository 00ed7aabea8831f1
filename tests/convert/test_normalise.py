import os

import numpy as np
import pytest
from PIL import Image

from wct_jax.convert.normalise import mean_activations, normalise, read_photos
from wct_jax.networks.modules import Encoder
from wct_jax.networks.vgg import convolution_of, encoder_shapes

WIDTHS = (5, 6, 7)
DEAD = ("conv2_1", 3)


@pytest.fixture(scope="module")
def encoder():
    """A random encoder, one channel of which never fires."""
    rng = np.random.default_rng(0)
    parameters = {
        name: {
            "kernel": rng.normal(scale=(2 / 9 / inputs) ** 0.5, size=(3, 3, inputs, outputs)).astype(np.float32),
            "bias": rng.uniform(0, 0.3, size=outputs).astype(np.float32),
        }
        for name, (inputs, outputs) in encoder_shapes(WIDTHS).items()
    }
    parameters[DEAD[0]]["bias"][DEAD[1]] = -1000
    return parameters


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(1)
    return [rng.uniform(0, brightness, size=(24, 32, 3)).astype(np.float32) for brightness in (1, 0.5, 0.2)]


@pytest.fixture(scope="module")
def means(encoder, photos):
    return mean_activations(encoder, WIDTHS, photos)


@pytest.fixture(scope="module")
def scaled(encoder, means):
    return normalise(encoder, means)


def test_activations_are_averaged_after_the_relu_over_all_pixels_of_all_photos(encoder, photos, means):
    assert {name: mean.shape for name, mean in means.items()} == {
        name: (outputs,) for name, (_, outputs) in encoder_shapes(WIDTHS).items()
    }
    for layer in ("relu1_1", "relu3_1"):
        features = np.stack([Encoder(WIDTHS).apply({"params": encoder}, photo)[layer] for photo in photos])
        np.testing.assert_allclose(means[convolution_of(layer)], features.mean((0, 1, 2)), rtol=1e-5)
    assert means["conv1_1"].dtype == np.float64


def test_every_live_channel_has_mean_activation_1(photos, scaled, means):
    assert min(np.abs(mean - 1).max() for mean in means.values()) > 0.1
    for name, mean in mean_activations(scaled, WIDTHS, photos).items():
        np.testing.assert_allclose(mean, means[name] > 0, rtol=0, atol=1e-4)


def test_the_features_are_those_of_before_less_the_scales(encoder, photos, scaled, means):
    before = Encoder(WIDTHS).apply({"params": encoder}, photos[0])
    after = Encoder(WIDTHS).apply({"params": scaled}, photos[0])
    for layer, feature in before.items():
        mean = means[convolution_of(layer)]
        expected = np.asarray(feature) / np.where(mean > 0, mean, 1)
        np.testing.assert_allclose(after[layer], expected, rtol=0, atol=1e-4 * expected.max())


def test_dead_channels_keep_scale_1(encoder, scaled, means):
    name, channel = DEAD
    assert means[name][channel] == 0
    assert scaled[name]["bias"][channel] == -1000
    before = np.where(means["conv1_2"] > 0, means["conv1_2"], 1)
    expected = encoder[name]["kernel"][..., channel] * before
    np.testing.assert_allclose(scaled[name]["kernel"][..., channel], expected, rtol=1e-6)
    for parameters in scaled.values():
        assert all(np.isfinite(array).all() and array.dtype == np.float32 for array in parameters.values())


def test_a_channel_that_hardly_fires_is_not_blown_up(encoder, means):
    name = "conv1_2"
    faint = {**means, name: np.where(np.arange(WIDTHS[0]) == 1, 1e-9, means[name])}
    np.testing.assert_array_equal(normalise(encoder, faint)[name]["bias"][1], encoder[name]["bias"][1])


def test_a_layer_that_never_fires_stays_finite(encoder, means):
    dead = {name: np.zeros_like(mean) for name, mean in means.items()}
    for name, parameters in normalise(encoder, dead).items():
        for leaf, array in parameters.items():
            np.testing.assert_array_equal(array, encoder[name][leaf])


# Photos


def save(path, height, width, red_columns=0, **options):
    array = np.zeros((height, width, 3), np.uint8)
    array[:, :red_columns, 0] = 255
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(array).save(path, **options)


def test_photos_are_read_in_order_of_their_names_as_centre_squares(tmp_path):
    save(tmp_path / "b.PNG", 256, 512, red_columns=256)
    save(tmp_path / "a.jpg", 600, 300)
    save(tmp_path / "more" / "c.webp", 100, 128, red_columns=128)
    (tmp_path / "notes.txt").write_text("no photo")
    first, second, third = read_photos(tmp_path)
    for photo in (first, second, third):
        assert photo.shape == (256, 256, 3)
        assert photo.dtype == np.float32
    assert first.max() < 0.1
    np.testing.assert_array_equal(second[..., 0], np.tile(np.arange(256) < 128, (256, 1)))
    assert third[..., 0].min() > 0.9


def test_photos_that_cannot_be_read_are_left_out_and_said(tmp_path):
    save(tmp_path / "a.jpg", 256, 256, red_columns=256)
    save(tmp_path / "sub" / "b.png", 256, 256)
    (tmp_path / "._a.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / ".thumbnails").mkdir()
    save(tmp_path / ".thumbnails" / "a.png", 8, 8)
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("Dear all,")
    (tmp_path / "notes.txt").write_text("no photo")
    os.mkfifo(tmp_path / "fifo.jpg")
    said = []
    first, second = read_photos(tmp_path, said.append)
    assert first.max() > 0.9
    assert second.max() == 0
    assert said[0].startswith(f"cannot read {tmp_path / 'cut.jpg'}: it is cut short or damaged")
    assert said[1:] == [
        f"{tmp_path / 'text.png'} is not a picture Pillow can read",
        f"cannot read {tmp_path / 'fifo.jpg'}: it is not a regular file",
        f"not named as pictures, and passed over in {tmp_path}: 1 .txt",
    ]
    assert len(read_photos(tmp_path)) == 2


def test_folders_without_photos(tmp_path):
    with pytest.raises(ValueError, match=r"the pictures in .*missing: there is no such folder"):
        read_photos(tmp_path / "missing")
    (tmp_path / "file.jpg").touch()
    with pytest.raises(ValueError, match="it is not a folder"):
        read_photos(tmp_path / "file.jpg")
    with pytest.raises(ValueError, match=r"no photo in .* can be read, 1 cannot: .*file\.jpg: the file is empty"):
        read_photos(tmp_path)
    (tmp_path / "file.jpg").unlink()
    with pytest.raises(ValueError, match=f"there is no picture in {tmp_path}: of 0 files in it"):
        read_photos(tmp_path)


def test_the_package_brings_photos_of_its_own():
    photos = read_photos()
    assert len(photos) >= 4
    assert len({photo.tobytes() for photo in photos}) == len(photos)
    for photo in photos:
        assert photo.shape == (256, 256, 3)
        assert photo.std() > 0.05


@pytest.mark.parametrize("name", ["conv1_1", "conv1_2", "conv3_1"])
@pytest.mark.parametrize("size", [1e30, 1e38])
def test_values_that_leave_the_range_of_single_precision(encoder, name, size):
    grown = {**encoder, name: {"kernel": encoder[name]["kernel"] * np.float32(size), "bias": encoder[name]["bias"]}}
    grown["conv2_1"] = {**grown["conv2_1"], "kernel": grown["conv2_1"]["kernel"] * np.float32(1e20)}
    means = mean_activations(grown, WIDTHS, [np.full((8, 8, 3), 0.5, np.float32)])
    with pytest.raises(
        ValueError, match=r"^scaled to mean activation 1, its conv\d_\d has values beyond float32's range$"
    ):
        normalise(grown, means)
