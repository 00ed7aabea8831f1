import io

import numpy as np
import pytest

from wct_jax.photo.cube import read_lut, write_lut
from wct_jax.photo.lut import Lut, fit_lut, identity_lut

pytestmark = pytest.mark.core


@pytest.mark.parametrize("size", [2, 5, 33])
def test_the_identity_changes_nothing(photo, size):
    np.testing.assert_allclose(identity_lut(size).apply(photo), photo, atol=1e-6)


def test_a_table_of_each_channel(photo):
    curve = np.linspace(0, 1, 256)[:, None] ** np.asarray([1, 2, 0.5])
    np.testing.assert_allclose(Lut(curve).apply(photo), photo ** np.asarray([1, 2, 0.5]), atol=2e-3)


def test_colours_are_interpolated_linearly(photo, rng):
    matrix = rng.random((3, 3)).astype(np.float32) / 3
    lut = identity_lut(4)
    np.testing.assert_allclose(Lut(lut.table @ matrix).apply(photo), photo @ matrix, atol=1e-5)


def test_domain(photo):
    lut = Lut(identity_lut(3).table, ((0.0, 0.0, 0.0), (2.0, 2.0, 2.0)))
    np.testing.assert_allclose(lut.apply(photo), photo / 2, atol=1e-6)
    lut = Lut(identity_lut(3).table, ((0.5,) * 3, (0.6,) * 3))
    np.testing.assert_allclose(lut.apply(photo), ((photo - 0.5) / 0.1).clip(0, 1), atol=1e-5)


def test_a_large_photo(rng):
    photo = rng.random((700, 1000, 3), np.float32)
    np.testing.assert_allclose(identity_lut(3).apply(photo), photo, atol=1e-6)


def test_a_smooth_change_is_found(photo):
    changed = (photo**2 * 0.8 + 0.1).astype(np.float32)
    lut = fit_lut(photo, changed, 17)
    np.testing.assert_allclose(lut.apply(photo), changed, atol=0.04)
    assert np.abs(lut.apply(photo) - changed).mean() < 2e-3


def test_an_affine_change_is_found_everywhere(photo, rng):
    changed = photo @ np.asarray([[0.7, 0.1, 0], [0, 0.6, 0.1], [0.1, 0, 0.5]], np.float32) + np.float32(0.1)
    lut = fit_lut(photo, changed, 9)
    other = rng.random(photo.shape, np.float32)  # Colours that the photo does not have.
    expected = other @ np.asarray([[0.7, 0.1, 0], [0, 0.6, 0.1], [0.1, 0, 0.5]], np.float32) + np.float32(0.1)
    np.testing.assert_allclose(lut.apply(other), expected, atol=0.05)


def test_pixels_without_weight_do_not_count(photo):
    changed, weights = photo * np.float32(0.5), np.ones(photo.shape[:2], np.float32)
    changed[:, 60:], weights[:, 60:] = 1, 0
    lut = fit_lut(photo, changed, 9, weights)
    np.testing.assert_allclose(lut.apply(photo)[:, :60], changed[:, :60], atol=0.01)


def test_a_grey_photo_without_pixels_that_count():
    grey = np.full((4, 5, 3), 0.4, np.float32)
    table = fit_lut(grey, grey * np.float32(0.5), 5, np.zeros((4, 5))).table
    assert np.isfinite(table).all()
    np.testing.assert_allclose(fit_lut(grey, grey * np.float32(0.5), 5).apply(grey), grey * 0.5, atol=0.01)


@pytest.mark.parametrize("shape", [(2, 2, 2, 3), (5, 5, 5, 3), (7, 3)])
def test_round_trip_through_a_file(tmp_path, rng, shape):
    lut = Lut(rng.random(shape).astype(np.float32), ((0.0, -0.5, 0.0), (1.0, 1.5, 2.0)), "evening")
    write_lut(tmp_path / "a.cube", lut)
    found = read_lut(tmp_path / "a.cube")
    np.testing.assert_allclose(found.table, lut.table, atol=1e-6)
    assert (found.domain, found.title) == (lut.domain, "evening")


def test_red_changes_fastest(tmp_path):
    write_lut(tmp_path / "a.cube", identity_lut(2))
    rows = [line for line in (tmp_path / "a.cube").read_text().splitlines() if line[0] in "01"]
    assert rows[:3] == ["0.000000 0.000000 0.000000", "1.000000 0.000000 0.000000", "0.000000 1.000000 0.000000"]


def test_comments_and_blank_lines(tmp_path):
    text = '# made by hand\nTITLE "a b"\n\nLUT_1D_SIZE 2\n# rows\n0 0 0\n\n1e0 .5 +1\n'
    (tmp_path / "a.cube").write_text(text)
    np.testing.assert_allclose(read_lut(tmp_path / "a.cube").table, [[0, 0, 0], [1, 0.5, 1]])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "expected either LUT_1D_SIZE or LUT_3D_SIZE, got neither"),
        ("LUT_1D_SIZE 2\nLUT_3D_SIZE 2\n", "got LUT_1D_SIZE and LUT_3D_SIZE"),
        ("LUT_3D_SIZE 1\n0 0 0\n", "LUT_3D_SIZE 1, expected 2 to 256"),
        ("LUT_3D_SIZE 257\n", "LUT_3D_SIZE 257, expected 2 to 256"),
        ("LUT_3D_SIZE two\n", "LUT_3D_SIZE two, expected 2 to 256"),
        ("LUT_1D_SIZE 2\n0 0 0\n", "expected 2 colours, got 1"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1 1\n1 1 1\n", "expected 2 colours, got 3"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1\n", "a colour '1 1', expected three numbers"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1 nan\n", "a colour '1 1 nan', expected three numbers"),
        ("LUT_1D_SIZE 2\n0 0 0\nred green blue\n", "a colour 'red green blue', expected three numbers"),
        ("LUT_1D_SIZE 2\nDOMAIN_MIN 1 0 0\n0 0 0\n1 1 1\n", "expected the second to be larger"),
        ("LUT_1D_SIZE 2\nDOMAIN_MAX 1\n0 0 0\n1 1 1\n", "DOMAIN_MAX '1', expected three numbers"),
        ("LUT_1D_SIZE 2\nLUT_1D_SIZE 2\n", "each keyword once, got 'LUT_1D_SIZE'"),
        ("<html>\n", "expected keywords TITLE, .* got '<html>'"),
        ("\0\x89PNG\n", "is no .cube file: "),
    ],
)
def test_malformed_files(tmp_path, text, sentence):
    (tmp_path / "a.cube").write_text(text)
    with pytest.raises(ValueError, match=rf"^[^\n]*{sentence}[^\n]*$"):
        read_lut(tmp_path / "a.cube")


def test_files_that_cannot_be_read_or_written(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read .*: No such file"):
        read_lut(tmp_path / "none.cube")
    with pytest.raises(ValueError, match=r"cannot read .*directory"):
        read_lut(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        write_lut(tmp_path / "none" / "a.cube", identity_lut(2))
    with pytest.raises(ValueError, match="as many points"):
        write_lut(tmp_path / "a.cube", Lut(np.zeros((2, 3, 2, 3))))
    with pytest.raises(ValueError, match="lut must be"):
        write_lut(tmp_path / "a.cube", io.BytesIO())
    assert not list(tmp_path.iterdir())
