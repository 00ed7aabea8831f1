"""The controls of stylize.py, alone, together and against the library; and what does not go together."""

import dataclasses
import json
import os
import re
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from wct_jax import (
    Options,
    extract_style,
    load_model,
    load_style,
    mix_styles,
    preserve_color,
    read_image,
    save_style,
    stylize,
    synthesize,
    white_style,
)
from wct_jax.cli.order import options_of
from wct_jax.cli.stylize import main
from wct_jax.painting.options import TRANSFORMS
from wct_jax.pictures.output import write_picture
from wct_jax.pictures.picture import Metadata, Picture

# Compiled in half the time.
pytestmark = pytest.mark.usefixtures("directly")


def save(path, array):
    Image.fromarray(array).save(path)
    return path


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image, int)


def levels(image):
    return np.asarray(image).clip(0, 1) * 255


def close(result, image, most=1):
    return np.abs(result - levels(image)).max() <= most


@pytest.fixture(autouse=True)
def paths(files, tmp_path, monkeypatch):
    """A model, a photo, and in the current folder three pictures, a.png to c.png, and masks of the photo's halves."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(8)
    pictures = [
        save(tmp_path / f"{name}.png", rng.integers(0, high, (19, 22, 3), np.uint8))
        for name, high in zip("abc", (256, 90, 180), strict=True)
    ]
    left = np.zeros((17, 24), np.uint8)
    left[:, :12] = 255
    masks = [save(tmp_path / "left.png", left), save(tmp_path / "right.png", 255 - left)]
    model, photo = files / "model.safetensors", files / "photo.png"
    few = ["--layers", "relu1_1", "--model", model, "--style", pictures[0]]
    return {"model": model, "photo": photo, "pictures": pictures, "masks": masks, "few": few}


@pytest.fixture
def library(paths):
    """The model, the photo, the styles of the pictures, and the masks, as the library takes them."""
    model = load_model(paths["model"])
    styles = [extract_style(model, read_image(path)) for path in paths["pictures"]]
    masks = [pixels(path).astype(np.float32) / 255 for path in paths["masks"]]
    return model, read_image(paths["photo"]), styles, masks


# Each alone


ONE_PASS = {"method": "one-pass"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "arguments", "most"),
    [
        ("", lambda s, m: {}, 1),
        ("--layers relu1_1 relu2_1", lambda s, m: {"layers": ("relu2_1", "relu1_1")}, 1),
        ("--alpha 0.5", lambda s, m: {"alpha": 0.5}, 1),
        ("--alpha 0", lambda s, m: {"alpha": 0.0}, 1),
        ("--layers relu1_1 relu3_1 relu2_1 --alpha 0.1 0.9 0.4", lambda s, m: {"alpha": (0.9, 0.4, 0.1)}, 1),
        ("--style a.png b.png c.png --style-weights 2 1 1", lambda s, m: {"style": mix_styles(s, [2, 1, 1])}, 1),
        ("--style a.png b.png --mask left.png right.png", lambda s, m: {"style": s[:2], "mask": m}, 1),
        ("--alpha-map left.png --alpha 0.7", lambda s, m: {"alpha": 0.7, "alpha_map": m[0]}, 1),
        ("--one-pass", lambda s, m: ONE_PASS, 1),
        ("--method cascade", lambda s, m: {"method": "cascade"}, 1),
        ("--method one-pass --structure 0.5", lambda s, m: ONE_PASS | {"structure": 0.5}, 1),
        (
            "--one-pass --structure 0.1 0.5 1 --shrinkage 0.1",
            lambda s, m: ONE_PASS | {"structure": (0.1, 0.5, 1), "shrinkage": 0.1},
            1,
        ),
        ("--one-pass --structure left.png", lambda s, m: ONE_PASS | {"structure": 1.0, "structure_map": m[0]}, 1),
        ("--strength 0.5", lambda s, m: {"strength": 0.5}, 1),
        ("--strength left.png", lambda s, m: {"strength": m[0]}, 1),
        *((f"--transform {name}", lambda s, m, name=name: {"transform": name}, 2) for name in TRANSFORMS),
        ("--passes 2 --alpha 0.5", lambda s, m: {"passes": 2, "alpha": 0.5}, 2),
        (
            "--mask left.png --margin 16 --strength 0.5",
            lambda s, m: {"style": s[:1], "mask": m[:1], "margin": 16, "strength": 0.5},
            1,
        ),
    ],
)
def test_flags_are_arguments_of_the_library(repaint, library, flags, arguments, most):
    model, photo, styles, masks = library
    plain = stylize(model, photo, styles[0])
    result = repaint(*flags.split(), style=Path("a.png").absolute())
    assert close(result, stylize(model, photo, **{"style": styles[0]} | arguments(styles, masks)), most)
    if flags not in ("", "--transform zca", "--one-pass"):
        assert np.abs(result - levels(plain)).mean() > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "same"),
    [
        ("--layers relu1_1 relu2_1", "--layers relu2_1 relu1_1"),
        *(
            ("--layers relu1_1 relu3_1 relu2_1 --alpha 0.1 0.9 0.4", f"{layers} --alpha 0.9 0.4 0.1")
            for layers in ("--layers relu3_1 relu2_1 relu1_1", "")  # Without layers it is deepest first.
        ),
        ("--style a.png b.png c.png --style-weights 0 3 0", "--style b.png"),
        ("--style a.png b.png --mask left.png right.png", "--style a.png b.png --mask left.png"),
        ("--style a.png none --mask left.png right.png", "--style a.png --mask left.png"),
        ("--style a.png --style-mask none", "--style a.png"),
        ("--strength 1", ""),
    ],
)
def test_flags_that_say_the_same(repaint, flags, same):
    np.testing.assert_array_equal(repaint(*flags.split()), repaint(*same.split()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ("--style a.png none --mask left.png right.png", np.s_[:, 12:]),
        ("--style none c.png --mask left.png right.png", np.s_[:, :12]),
        ("--style a.png --strength left.png", np.s_[:, 12:]),
        *(
            (f"--style {styles} --strength 0 {flags}", np.s_[:])
            for flags in ("", "--alpha 0", "--passes 2", "--preserve-color histogram", "--preserve-color coral")
            for styles in ("a.png", "a.png b.png --mask left.png")
        ),
    ],
)
def test_where_nothing_is_painted_it_is_the_photo(repaint, paths, flags, kept):
    np.testing.assert_array_equal(repaint(*flags.split())[kept], pixels(paths["photo"])[kept])


def test_styles_named_together_are_mixed_with_a_word(repaint, library):
    model, photo, styles, _ = library
    alike = repaint("--style", "a.png", "b.png", "c.png", said="mixing 3 styles; to take each alone, ")
    assert close(alike, stylize(model, photo, mix_styles(styles)))


def test_a_style_file_is_its_picture(run, repaint, paths, tmp_path):
    picture, file = paths["pictures"][0], tmp_path / "s.safetensors"
    status, out, err = run(main, "--style", picture, "--save-style", file, "--model", paths["model"])
    assert (status, err) == (0, "")
    assert out == f"{file}: the style at relu3_1, relu2_1, relu1_1\n"
    expected = repaint("--style", picture)
    np.testing.assert_array_equal(repaint("--style", file), expected)
    np.testing.assert_array_equal(repaint("--style", picture, "--save-style", tmp_path / "t.safetensors"), expected)
    assert file.read_bytes() == (tmp_path / "t.safetensors").read_bytes()


def test_a_mixture_can_be_kept(run, repaint, paths, tmp_path, library):
    file = tmp_path / "s.safetensors"
    flags = ["--style", *paths["pictures"][:2], "--style-weights", 1, 3]
    assert run(main, *flags, "--save-style", file, "--model", paths["model"])[0] == 0
    np.testing.assert_array_equal(repaint("--style", file), repaint(*flags))
    mixed = load_style(file)
    expected = mix_styles(library[2][:2], [1, 3])
    np.testing.assert_allclose(mixed.moments["relu2_1"].mean, expected.moments["relu2_1"].mean, rtol=1e-4, atol=1e-5)


def test_a_mask_of_another_size_is_resized_with_a_word(repaint):
    Image.open("left.png").resize((48, 34)).save("large.png")
    flags, said = ["--style", "a.png", "b.png", "--mask"], "large.png: resized from 48 x 34 to 24 x 17 pixels, the size"
    assert np.abs(repaint(*flags, "large.png", said=said) - repaint(*flags, "left.png")).mean() < 20


def test_a_style_mask_says_where_the_style_is_taken_from(repaint, paths, library, tmp_path):
    model, photo, styles, _ = library
    picture = paths["pictures"][0]
    mask = np.zeros((19, 22), np.uint8)
    mask[:8] = 255
    style = extract_style(model, read_image(picture), weights=mask.astype(np.float32) / 255)
    result = repaint("--style", picture, "--style-mask", save(tmp_path / "m.png", mask))
    assert close(result, stylize(model, photo, style))
    mixed = repaint("--style", picture, picture, "--style-mask", tmp_path / "m.png", "none", said="mixing 2 styles")
    assert close(mixed, stylize(model, photo, mix_styles([style, styles[0]])))


@pytest.mark.parametrize("how", ["luminance", "histogram", "coral"])
def test_colours_are_the_photos(repaint, paths, library, how):
    model, photo, styles, _ = library
    result = repaint("--style", paths["pictures"][0], "--preserve-color", how)
    expected = preserve_color(np.asarray(stylize(model, photo, styles[0])), photo, how)
    # A histogram may put values that float32 rounds differently some levels apart.
    assert np.abs(result - levels(expected)).mean() < 0.5


@pytest.mark.slow
def test_a_texture_of_the_style_alone(run, repaint, paths, library, tmp_path):
    model, _, styles, _ = library
    flags = ["--style", paths["pictures"][0], "--synthesize", "40x30"]
    first = repaint(*flags, content=None)
    wide = repaint(*flags, "--margin", 16, content=None)
    assert np.abs(wide - levels(synthesize(model, styles[0], 30, 40, margin=16))).mean() < 0.5
    assert first.shape == (30, 40, 3)
    assert np.abs(first - levels(synthesize(model, styles[0], 30, 40))).mean() < 0.5
    np.testing.assert_array_equal(repaint(*flags, "--seed", 0, "--passes", 3, content=None), first)
    assert np.abs(repaint(*flags, "--seed", 1, content=None) - first).mean() > 1
    assert run(main, *flags, "--model", paths["model"])[0] == 0
    np.testing.assert_array_equal(pixels(tmp_path / "texture__a.png"), first)


def test_style_swap(repaint, paths, library):
    model, photo, _, _ = library
    picture = paths["pictures"][0]
    style = extract_style(model, read_image(picture), swap_layers=["relu3_1"])
    for flags, options in (([], {}), (["--patch", 2, "--stride", 2], {"patch": 2, "stride": 2})):
        result = repaint("--style", picture, "--swap-layers", "relu3_1", *flags)
        expected = levels(stylize(model, photo, style, swap_layers=["relu3_1"], **options))
        assert np.abs(result - expected).mean() < 1
    assert np.abs(result - repaint("--style", picture)).mean() > 1


def test_whitening_alone(repaint, library):
    model, photo, _, _ = library
    for flags, layers in ([], None), (["--layers", "relu2_1"], ["relu2_1"]):
        assert close(repaint("--whiten-only", *flags, style=None), stylize(model, photo, white_style(model, layers)))


# Many


@pytest.fixture
def folders(paths, tmp_path):
    """A folder of photos and one of styles, with a text among each."""
    rng = np.random.default_rng(9)
    for folder, names in (("photos", "abc"), ("styles", "xyza")):
        (tmp_path / folder).mkdir()
        for name in names:
            save(tmp_path / folder / f"{name}.png", rng.integers(0, 256, (17, 24, 3), np.uint8))
        (tmp_path / folder / "notes.txt").write_text("none of these")
    return tmp_path / "photos", tmp_path / "styles"


def plain(name):
    """A result's name without its mark."""
    return re.sub(r"__[a-z2-7]{12}\.png$", ".png", name)


def result_named(folder, name):
    """The one result whose name without its mark is `name`."""
    (found,) = [path for path in folder.iterdir() if plain(path.name) == name]
    return found


@pytest.fixture
def grid(run, paths, folders, tmp_path):
    """Run the command on the folders into a new one: exit status, stdout, stderr, names of results."""

    def grid(*flags, content=folders[0], style=folders[1], output="out"):
        out = tmp_path / output
        flags = ["--layers", "relu1_1", "--model", paths["model"], *flags]
        status, said, err = run(main, "--content", content, "--style", style, "--output", out, *flags)
        # The folders have a text each, which the command says it passes over.
        rest = "".join(line for line in err.splitlines(keepends=True) if not line.endswith(": 1 .txt\n"))
        assert status or rest != err
        return status, said, rest, sorted(map(plain, os.listdir(out))) if out.is_dir() else []

    return grid


def test_all_pairs_of_two_folders(grid, repaint, folders, tmp_path, monkeypatch):
    extract = Mock(side_effect=extract_style)
    monkeypatch.setattr("wct_jax.studio.styles.extract_style", extract)
    status, out, err, names = grid("--sheet", tmp_path / "sheet.png")
    assert (status, err) == (0, "")
    assert extract.call_count == 4  # Each style is encoded once.
    assert names == [f"{photo}__{style}.png" for photo in "abc" for style in "axyz"]
    assert out.splitlines()[-1].startswith(f"{tmp_path / 'out'}: 12 of 12 results, ")
    assert len(out.splitlines()) == 14  # One for each result, for the sheet and for all.
    single = repaint("--layers", "relu1_1", content=folders[0] / "b.png", style=folders[1] / "y.png")
    np.testing.assert_array_equal(single, pixels(result_named(tmp_path / "out", "b__y.png")))
    assert pixels(tmp_path / "sheet.png").shape[1] == 5 * 248 + 8


def test_photos_and_styles_of_one_name(grid, folders):
    for name in "xyz":
        os.unlink(folders[1] / f"{name}.png")
    assert "one style named b for" in grid("--pair")[2]
    status, _, err, names = grid("--pair", content=str(folders[0] / "a*"))
    assert (status, err, names) == (0, "", ["a__a.png"])


def test_random_styles(grid):
    status, _, err, names = grid("--random", 2, "--seed", 5)
    assert (status, err, len(names)) == (0, "", 6)
    assert grid("--random", 2, "--seed", 5, output="again")[3] == names
    assert grid("--random", 2, "--seed", 6, output="others")[3] != names


def test_a_bad_file_is_told_at_the_end_and_the_rest_go_on(grid, folders):
    (folders[0] / "b.png").write_bytes(b"none")
    (folders[1] / "y.png").write_bytes((folders[1] / "y.png").read_bytes()[:200])
    status, out, err, names = grid()
    assert status == 2
    assert names == [f"{photo}__{style}.png" for photo in "ac" for style in "axz"]
    first, second, last = sorted(err.splitlines(), key=lambda line: "error" in line)
    assert {str(folders[0] / "b.png") in first + second, str(folders[1] / "y.png") in first + second} == {True}
    assert last.endswith("error: 6 of 12 results could not be made, for what is said above")
    assert "6 of 12 results" in out


def test_what_exists_is_left_or_replaced(grid, tmp_path):
    assert grid()[0] == 0
    kept = result_named(tmp_path / "out", "a__x.png")
    kept.write_bytes(b"mine")
    for path in (tmp_path / "out").iterdir():
        if path != kept:
            path.unlink()
    status, _, err, names = grid()
    assert status == 2
    assert f"1 of 12 results exist, such as {kept}: expected --overwrite or --skip-existing" in err
    assert names == ["a__x.png"]
    status, out, err, names = grid("--skip-existing")
    assert (status, err, len(names)) == (0, "", 12)
    assert kept.read_bytes() == b"mine"
    assert len(out.splitlines()) == 12
    assert "12 of 12 results (1 of them there before), " in out
    assert grid("--overwrite")[0] == 0
    assert pixels(kept).shape == (17, 24, 3)


def test_each_photo_has_a_result_of_its_own(run, paths, folders, tmp_path):
    photos = folders[0]
    for twin in ("x/a.png", "y/a.png", "a.tif", "a_tif.png"):
        (photos / twin).parent.mkdir(exist_ok=True)
        with Image.open(photos / "a.png") as image:
            image.save(photos / twin)
    twins = [photos / name for name in ("a.png", "x/a.png", "y/a.png", "a.tif", "a_tif.png")]
    few, out = paths["few"], tmp_path / "out"
    for flag, before in (("--overwrite", ""), ("--skip-existing", " (5 of them there before)")):
        status, said, err = run(main, "--content", *twins, *twins, *few, "--output", out, flag)
        assert (status, err) == (0, "")
        assert f"{out}: 5 of 5 results{before}, " in said
        assert len(os.listdir(out)) == 5
    alone = set(os.listdir(out))
    assert run(main, "--content", *twins[1:3], *few, "--output", tmp_path / "out", "--overwrite")[0] == 0
    assert set(os.listdir(out)) == alone
    # A photo that is named twice is one photo, and still one of several names.
    assert run(main, "--content", photos / "b.png", photos / "b.png", *few, "--output", tmp_path / "b")[0] == 0
    assert len(os.listdir(tmp_path / "b")) == 1


def test_a_single_result_can_go_into_a_folder(run, paths, tmp_path):
    few, photo, folder = paths["few"], paths["photo"], tmp_path / "folder"
    folder.mkdir()
    assert run(main, "--content", photo, *few, "--output", folder)[0] == 0
    assert run(main, "--content", photo, photo, *few, "--output", tmp_path / "new")[0] == 0
    assert len(os.listdir(folder)) == len(os.listdir(tmp_path / "new")) == 1
    assert run(main, "--content", photo, photo, *few, "--output", tmp_path / "one.png")[0] == 0
    assert (tmp_path / "one.png").is_file()


def test_what_exists_is_left_whatever_it_is(run, paths, tmp_path):
    style, sheet, output = tmp_path / "s.safetensors", tmp_path / "sheet.png", tmp_path / "out.png"
    asked = [*paths["few"], "--content", paths["photo"], "--output", output, "--save-style", style, "--sheet", sheet]
    status, out, err = run(main, *asked)
    assert (status, err) == (0, "")
    assert f"{sheet}: a sheet of 1 results" in out
    before = {path: path.read_bytes() for path in (style, sheet, output)}
    style.write_bytes(b"mine")
    sheet.write_bytes(b"mine")
    status, out, err = run(main, *asked, "--skip-existing")
    assert status == 0
    assert err.count("there before, and left") == 2
    assert (style.read_bytes(), sheet.read_bytes(), output.read_bytes()) == (b"mine", b"mine", before[output])


def test_no_file_that_is_read_is_written_over(refuse, paths, tmp_path):
    photo, style, link, sheet = (tmp_path / f"{name}.png" for name in ("photo", "style", "link", "sheet"))
    photo.write_bytes(paths["photo"].read_bytes())
    style.write_bytes(paths["pictures"][0].read_bytes())
    link.symlink_to("style.png")
    for output, flags, said in (
        (photo, [], f"--output {photo} is a photo"),
        (style, [], f"--output {style} is a style"),
        (link, [], f"--output {link} is a style"),
        (sheet, ["--sheet", sheet], f"--sheet {sheet} is what --output writes"),
    ):
        sentence = refuse("--overwrite", *flags, content=photo, style=style, output=output)
        assert sentence == f"{said} as well: expected a file of its own"


# Together


def test_masks_with_preserved_colours_and_weights_of_a_style_kept(run, repaint, paths, library, tmp_path):
    model, photo, styles, masks = library
    a, b, c = paths["pictures"]
    mixed = tmp_path / "ab.safetensors"
    weights = ["--style", a, b, "--style-weights", 1, 2]
    assert run(main, *weights, "--save-style", mixed, "--model", paths["model"])[0] == 0
    result = repaint("--style", mixed, c, "--mask", *paths["masks"], "--preserve-color", "luminance")
    both = stylize(model, photo, [mix_styles(styles[:2], [1, 2]), styles[2]], mask=masks)
    assert close(result, preserve_color(np.asarray(both), photo, "luminance"), 3)


@pytest.mark.slow
def test_a_texture_from_a_style_file(repaint, paths, library, tmp_path):
    save_style(tmp_path / "s.safetensors", library[2][1])
    flags, kept = ["--synthesize", "30x20", "--seed", 4], tmp_path / "s.safetensors"
    texture = repaint(*flags, style=kept, content=None)
    np.testing.assert_array_equal(texture, repaint(*flags, style=paths["pictures"][1], content=None))


def test_a_grid_with_alphas_for_layers(grid, repaint, folders, tmp_path):
    flags = ["--layers", "relu2_1", "relu1_1", "--alpha", 0.2, 0.9, "--transform", "ot"]
    assert grid(*flags)[0] == 0
    single = repaint(*flags, content=folders[0] / "b.png", style=folders[1] / "y.png")
    np.testing.assert_array_equal(single, pixels(result_named(tmp_path / "out", "b__y.png")))


@pytest.mark.slow
def test_all_of_it_in_tiles(repaint, tmp_path):
    rng = np.random.default_rng(3)
    photo = save(tmp_path / "photo.png", rng.integers(0, 256, (99, 150, 3), np.uint8))
    mask = save(tmp_path / "mask.png", rng.integers(0, 256, (99, 150), np.uint8))
    flags = ["--style", "a.png", "b.png", "--mask", mask, "--alpha-map", mask, "--layers", "relu3_1", "relu1_1"]
    flags += ["--transform", "cholesky", "--passes", 2, "--preserve-color", "coral"]
    assert np.abs(repaint(*flags, content=photo) - repaint(*flags, "--tile", 64, content=photo)).max() <= 2


# What does not go together


def test_contradictions(refuse, paths, folders, files):
    a, b, _ = paths["pictures"]
    left, folder = paths["masks"][0], folders[1]
    for flags, reason in (
        (["--whiten-only", "--style", a], "--whiten-only takes no --style"),
        (["--whiten-only", "--transform", "ot"], "--whiten-only is a transform of its own"),
        (["--style", a, b, "--style-weights", 0, 0], "--style-weights must not all be 0"),
        (["--style", a, b, "--style-weights", 1, "-1"], "argument --style-weights: expected a number of at least 0"),
        (["--style", a, b, "--style-weights", 1, "nan"], "argument --style-weights: expected a number of at least 0"),
        (["--style", folder, "--mask", left], "--mask needs a file for each style"),
        (["--style", folder, a], "--style takes files or one folder or pattern, got 2 names"),
        (["--style", folder], "expected a folder for several results, got a file"),
        (["--style", a, "--pair"], "--pair and --random need a folder or pattern of styles"),
        (["--style", a, "--random", 1], "--pair and --random need a folder or pattern of styles"),
        (["--style", a, "--seed", 1], "--seed needs --random or --synthesize"),
        (["--style", a, "--patch", 3], "--patch and --stride need --swap-layers"),
        (["--style", a, "--swap-layers", "relu3_1", "--stride", 4], "--stride must be from 1 to --patch, 3, got 4"),
        (["--style", a, "--swap-layers", "relu4_1"], "swap_layers must be among"),
        (["--style", a, "--synthesize", "20x20"], "not allowed with argument --content"),
        (["--style", a, "--save-style", "s.png"], "cannot write s.png: its suffix must be .safetensors"),
        (["--style", a, "--passes", 0], "argument --passes: expected a whole number from 1 to 1000"),
        (["--style", a, "--transform", "pca"], "invalid choice: 'pca'"),
        (["--style", a, "--strength", "50%"], "expected a number from 0 to 1 or a grey picture, got '50%'"),
        (["--style", a, "--strength", "1.5"], "expected a number from 0 to 1 or a grey picture, got '1.5'"),
        (
            ["--style", a, "--method", "cascade", "--structure", "0.5"],
            "--structure needs --method one-pass, got the cascade",
        ),
        (
            ["--style", a, "--method", "cascade", "--structure", left],
            "--structure needs --method one-pass, got the cascade",
        ),
        (
            ["--style", a, "--one-pass", "--structure", left, 1],
            f"--structure takes numbers or one grey picture, got {left}",
        ),
        (["--style", a, "--one-pass", "--structure", 1, 0], "structure must be one number or one for each of 3 layers"),
        (["--style", a, "--one-pass", "--structure", "2"], "expected a number from 0 to 1 or a grey picture, got '2'"),
        (["--style", a, "--one-pass", "--layers", "relu4_1"], "paints relu3_1, relu2_1, relu1_1, got relu4_1"),
        (["--style", a, "--model", files / "other.safetensors", "--one-pass"], "has no painter of one pass"),
        (["--style", a, "--overwrite", "--skip-existing"], "not allowed with argument"),
    ):
        assert reason in refuse(*flags, style=None), flags
    assert "expected --style PICTURE, or --whiten-only, got neither" in refuse(style=None)
    assert "4 results need a folder for the results: expected --output DIR" in refuse(style=folder, output=None)
    for flags, reason in (
        (["--style", a], "expected --content, --synthesize or --save-style, got none"),
        (["--style", a, "--synthesize", "20x20", "--strength", 0.5], "keeps some of the photo, and --synthesize has"),
        (["--style", a, "--synthesize", "20"], "expected a width and a height such as 640x480, got '20'"),
        (["--style", a, "--synthesize", "0x20"], "expected a width and a height such as 640x480, got '0x20'"),
    ):
        assert reason in refuse(*flags, content=None, output=None)


def test_bad_masks(refuse, paths, tmp_path):
    a = paths["pictures"][0]
    wide = save(tmp_path / "wide.png", np.full((17, 40), 255, np.uint8))
    sentence = f"{wide} must have the proportions of its picture, 24 x 17 pixels, got 40 x 17"
    assert refuse("--style", a, "--mask", wide) == sentence
    assert refuse("--style", a, "--alpha-map", wide) == sentence
    assert refuse("--style", a, "--strength", wide) == sentence
    assert refuse("--style", a, "--one-pass", "--structure", wide) == sentence
    assert "proportions of its picture, 22 x 19 pixels" in refuse("--style", a, "--style-mask", wide)
    black = save(tmp_path / "black.png", np.zeros((19, 22), np.uint8))
    assert f"{black} leaves nothing of {a}" in refuse("--style", a, "--style-mask", black)
    assert "cannot read" in refuse("--style", a, "--mask", tmp_path / "missing.png")


def test_bad_style_files(refuse, paths, files, tmp_path, model):
    a = paths["pictures"][0]
    image = read_image(a)
    foreign, few, good = (tmp_path / f"{name}.safetensors" for name in ("foreign", "few", "good"))
    save_style(foreign, extract_style(model, image))
    save_style(few, extract_style(load_model(paths["model"]), image, ["relu1_1"]))
    save_style(good, extract_style(load_model(paths["model"]), image))
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(good.read_bytes()[:-9])
    for flags, reason in (
        (["--style", foreign], f"{foreign} was made with another encoder: its digest is"),
        (["--style", few], "has no statistics for relu3_1, relu2_1: expected --layers of relu1_1"),
        (["--style", cut], "is not a style file, or is cut short"),
        (["--style", paths["model"]], "is a model file: expected one that --save-style"),
        (["--style", good, "--swap-layers", "relu3_1"], "has no patches for --swap-layers: expected its picture"),
        (
            ["--style", good, "--style-mask", paths["masks"][0]],
            "--style-mask cannot be laid over: expected its picture",
        ),
        (["--style", tmp_path / "none.safetensors"], "cannot read"),
    ):
        assert reason in refuse(*flags), flags


def test_bad_folders(grid, folders, tmp_path):
    empty, texts = tmp_path / "empty", tmp_path / "texts"
    empty.mkdir()
    texts.mkdir()
    (texts / "a.txt").write_text("a")
    for options, reason in (
        ({"content": empty}, f"no picture in {empty}: of 0 files"),
        ({"style": texts}, f"no picture in {texts}: of 1 files"),
        ({"content": str(tmp_path / "*.gif")}, "no file is named like"),
        ({"output": "photos"}, "whose files are read: expected another folder"),
        ({"output": "photos/out"}, "whose files are read: expected another folder"),
        ({"output": "left.png"}, "expected a folder for several results, got a file"),
    ):
        status, out, err, _ = grid(**options)
        assert (status, out) == (2, "")
        assert reason in err, options
    assert not (tmp_path / "out").exists()


def test_help_is_in_groups(run):
    status, out, _ = run(main, "--help")
    assert status == 0
    for group in (
        "what is repainted",
        "styles:",
        "how it looks:",
        "photographs:",
        "many results:",
        "model and machine:",
    ):
        assert group in out


def test_the_options_of_a_result_serve_another(run, repaint, refuse, paths, tmp_path):
    a, b, _ = paths["pictures"]
    flags = ["--alpha", 0.5, "--layers", "relu2_1", "--passes", 2, "--preserve-color", "luminance", "--strength", 0.7]
    expected = repaint("--style", b, *flags)
    repaint("--style", a, *flags, output="like.png")
    like = ["--like", tmp_path / "like.png"]
    np.testing.assert_array_equal(repaint("--style", b, *like), expected)
    # Other flags come first.
    np.testing.assert_array_equal(
        repaint("--style", b, *like, "--passes", 1), repaint("--style", b, *flags[:4], *flags[6:])
    )
    repaint("--style", a, "--no-settings", output="none.png")
    for suffix in ("jpg", "webp", "tif"):  # Only a PNG can say it.
        repaint("--style", a, output=f"none.{suffix}")
        assert "does not say how it was made" in refuse("--like", tmp_path / f"none.{suffix}")
    for path, reason in (("none.png", "does not say how it was made"), ("missing.png", "No such file")):
        assert reason in refuse("--style", a, "--like", tmp_path / path)


def saying(path, text):
    """A PNG with a text that should say how it was made."""
    write_picture(path, Picture(np.ones((2, 2, 3)), metadata=Metadata(settings=text)))
    return path


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"layers": ("relu1_1", "relu3_1", "relu2_1"), "alpha": (0.1, 0.9, 0.4), "eps": 1e-5},
        {"content_size": 300, "style_size": 200, "margin": 16, "transform": "ot", "preserve_color": "coral"},
        {"swap_layers": ("relu3_1",), "patch": 5, "stride": 2, "strength": 0.25},
        {"whiten_only": True, "passes": 3},
        {"method": "one-pass", "structure": (0.5, 0.1), "shrinkage": 0.01},
        {"method": "one-pass", "structure": 0.5},
    ],
)
def test_the_options_are_those_of_the_result(tmp_path, monkeypatch, values):
    taken, options = [], Options(**values)
    monkeypatch.setattr("wct_jax.cli.repaint.repaint", lambda arguments, _: taken.append(options_of(arguments)))
    path = saying(tmp_path / "like.png", json.dumps({"options": dataclasses.asdict(options)}))
    for flags in ([], ["--patch", "7", "--alpha", "1"]):
        main(["--like", str(path), *flags])
    assert taken == [options, dataclasses.replace(options, patch=7, alpha=1)]


DAMAGED = "is damaged where it should say how it was made: expected JSON with options"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *((text, DAMAGED) for text in ("none", "[]", "3", "null", '"x"', "{}", "[" * 10**5, '{"options": {"patch": ')),
        *((f'{{"options": {value}}}', "options must be a JSON object") for value in ("[]", "null", '"x"')),
        *(
            (f'{{"options": {{"{name}": 1}}}}', "options must be of method, structure, layers, alpha, ")
            for name in ("new", "x" * 10**5)
        ),
        ('{"options": {"alpha": NaN}}', "alpha must be in 0..1, got nan"),
        (f'{{"options": {{"patch": {"9" * 3000}}}}}', "got a number of 9966 bits"),
        (f'{{"options": {{"transform": "{"x" * 10**5}"}}}}', "transform must be one of zca, ot, "),
        *(
            (f'{{"options": {{"{name}": {{}}}}}}', "cannot take the options")
            for name in ("alpha", "eps", "passes", "whiten_only")
        ),
        ("x" * 3 * 10**6, DAMAGED),
    ],
    ids=lambda value: value[:30],
)
def test_a_result_that_says_nonsense(refused, tmp_path, text, reason):
    path = saying(tmp_path / "like.png", text)
    sentence = refused(main, "--content", "a.png", "--style", "b.png", "--like", path)
    assert reason in sentence
    assert str(path) in sentence
    assert len(sentence) < 500


def test_more_text_than_a_picture_has(refused, tmp_path):
    info = PngInfo()
    info.add_itxt("wct_jax", "x" * 10**8, zip=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "like.png", pnginfo=info)
    assert "like.png: it is cut short or damaged" in refused(main, "--like", tmp_path / "like.png")
