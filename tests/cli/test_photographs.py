"""The command's way with photographs: --photo, --protect, --save-lut, --lut."""

import json

import numpy as np
import pytest
from PIL import Image

from wct_jax import read_lut, save_model
from wct_jax.pictures.images import read_picture
from wct_jax.pictures.sixteen import encode_png


@pytest.fixture(scope="module")
def saved(tmp_path_factory, model):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, model)
    return path


@pytest.fixture
def paint(repaint, saved):
    return lambda *flags, **more: repaint("--model", saved, *flags, **more)


def test_photo_changes_the_colours(paint, files):
    result, photo = paint("--photo"), np.asarray(Image.open(files / "photo.png"), int)
    style = np.asarray(Image.open(files / "picture.png"), int)
    assert result.shape == photo.shape
    apart = [np.abs(image.mean((0, 1)) - style.mean((0, 1))).mean() for image in (photo, result)]
    assert apart[1] < apart[0]
    np.testing.assert_array_equal(paint("--photo", "--strength", 0), photo)


def test_options_of_photo(paint, files):
    plain = paint("--photo")
    for flags in (["--protect", "skin", "neutrals"], ["--strength", 0.5], ["--strength", files / "photo.png"]):
        assert np.abs(paint("--photo", *flags) - plain).max() > 0, flags


def test_masks(paint, files, tmp_path):
    Image.fromarray(np.uint8([[0, 255]] * 2).repeat(12, 1).repeat(9, 0)[:17]).save(tmp_path / "mask.png")
    result, photo = paint("--photo", "--mask", tmp_path / "mask.png"), np.asarray(Image.open(files / "photo.png"), int)
    np.testing.assert_array_equal(result[:, :12], photo[:, :12])
    assert np.abs(result[:, 12:] - photo[:, 12:]).max() > 0


def test_a_table_repeats_the_change(paint, run, files, saved, tmp_path):
    from wct_jax.cli.stylize import main

    table = tmp_path / "change.cube"
    status, out, err = run(
        main, "--photo", "--content", files / "photo.png", "--style", files / "picture.png", "--model", saved,
        "--save-lut", table, "--output", tmp_path / "a.png",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert f"{table}: the change of colours, as a table" in out
    assert read_lut(table).table.shape == (33, 33, 33, 3)
    result = np.asarray(Image.open(tmp_path / "a.png"), int)
    status, out, err = run(main, "--content", files / "photo.png", "--lut", table, "--output", tmp_path / "b.png")
    assert (status, err) == (0, "")
    again, photo = (np.asarray(Image.open(path), int) for path in (tmp_path / "b.png", files / "photo.png"))
    assert np.abs(again - result).mean() < 0.5 * np.abs(photo - result).mean()
    status, _, err = run(
        main, "--content", files / "photo.png", "--lut", table, "--strength", 0, "--output", tmp_path / "c.png"
    )
    assert (status, err) == (0, "")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "c.png"), int), photo)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_in_and_out(paint, files, run, saved, tmp_path, suffix):
    from wct_jax.cli.stylize import main

    levels = np.random.default_rng(0).integers(0, 65536, (17, 24, 3)).astype(np.uint16)
    (tmp_path / "deep.png").write_bytes(encode_png(levels, {}))
    output = tmp_path / f"out{suffix}"
    given = ("--content", tmp_path / "deep.png", "--style", files / "picture.png", "--model", saved)
    assert run(main, *given, "--photo", "--strength", 0, "--output", output)[0] == 0
    picture = read_picture(output)
    assert picture.bits == 16
    np.testing.assert_array_equal(np.rint(picture.pixels * 65535), levels)
    assert run(main, *given, "--layers", "relu1_1", "--overwrite", "--output", output)[0] == 0
    assert read_picture(output).bits == 8


def test_a_kept_style_serves_photographs(paint, run, files, saved, tmp_path):
    from wct_jax.cli.stylize import main

    kept = tmp_path / "style.safetensors"
    for flags in ([], ["--photo", "--overwrite"]):
        assert run(main, "--style", files / "picture.png", "--model", saved, "--save-style", kept, *flags)[0] == 0
        np.testing.assert_allclose(paint("--photo", style=kept), paint("--photo"), atol=1)


def test_the_options_are_taken_from_a_result(paint, files, tmp_path):
    for number, flags in enumerate((["--protect", "skin"], ["--strength", 1])):
        first = paint("--photo", *flags, output=f"{number}.png")
        np.testing.assert_array_equal(paint("--like", tmp_path / f"{number}.png", output=f"like{number}.png"), first)
        options = json.loads(Image.open(tmp_path / f"like{number}.png").text["wct_jax"])["options"]
        assert options["strength"] == (1 if number else None)


def test_refusals(refuse, files, saved, tmp_path):
    (tmp_path / "bad.cube").write_text("LUT_3D_SIZE 2\n")
    for flags, sentence in (
        (["--protect", "skin"], "--protect needs --photo, got it without"),
        (["--photo", "--model", saved, "--margin", 4], "expected no --margin with it"),
        (["--photo", "--model", saved, "--whiten-only"], "expected no --whiten-only with it"),
        (["--photo", "--model", saved, "--alpha-map", files / "photo.png"], "--alpha-map cannot guide --photo"),
        (["--photo", "--model", saved, "--structure", files / "photo.png"], "--structure cannot guide --photo"),
        (["--photo", "--model", saved, "--layers", "relu4_1"], "expected no --layers with it"),
        (["--photo", "--model", saved, "--one-pass"], "expected no --method with it"),
        (["--photo", "--model", saved, "--alpha", 0.5], "expected no --alpha with it"),
        (["--save-lut", tmp_path / "a.cube"], "--save-lut keeps a change of colours: expected --photo"),
        (["--photo", "--save-lut", tmp_path / "a.png"], "its suffix must be .cube"),
        (["--lut", tmp_path / "bad.cube"], "--lut takes photos alone: expected no style with it"),
    ):
        assert sentence in refuse(*flags), flags
    assert "expected 8 colours, got 0" in refuse("--lut", tmp_path / "bad.cube", style=None)
    assert "No such file" in refuse("--lut", tmp_path / "none.cube", style=None)
    assert "--lut repeats a change" in refuse("--lut", tmp_path / "bad.cube", "--photo", style=None)
