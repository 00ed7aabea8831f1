"""Which files a name stands for, which go together, and what the results are called."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wct_jax.batch import Job, Look, by_name, check_folder, draw, grid, named
from wct_jax.contact import draw_sheet


def looks(*names):
    return [Look((Path(name),)) for name in names]


def contents(*names):
    return [Path(name) for name in names]


def touch(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_all_pairs_and_those_of_one_name():
    photos, styles = contents("a.png", "b.png"), looks("b.jpg", "a.jpg")
    assert grid(photos, styles) == [(photo, style) for photo in photos for style in styles]
    assert by_name(photos, styles) == [(photos[0], styles[1]), (photos[1], styles[0])]
    with pytest.raises(ValueError, match=r"one style named c for c\.png, got 0"):
        by_name(contents("c.png"), styles)
    with pytest.raises(ValueError, match=r"one style named a for a\.png, got 2"):
        by_name(photos, [*styles, *looks("a.webp")])


def test_random_styles_depend_on_the_photo_and_the_seed_alone():
    styles = looks(*(f"{i}.png" for i in range(20)))
    alone = draw(contents("x/b.png"), styles, 4, 7)
    among = draw(contents("a.png", "b.png", "c.png"), styles, 4, 7)
    assert [look for _, look in alone] == [look for photo, look in among if photo.name == "b.png"]
    assert len({look for _, look in alone}) == 4
    assert draw(contents("b.png"), styles, 4, 8) != draw(contents("b.png"), styles, 4, 7)
    assert len({tuple(look for p, look in among if p == photo) for photo, _ in among}) == 3
    with pytest.raises(ValueError, match="21 styles cannot be drawn from 20"):
        draw(contents("b.png"), styles, 21, 0)


def test_names_have_suffixes_only_where_they_are_needed():
    pairs = grid(contents("p/a.png", "p/b.png", "p/b.jpg"), looks("s/a.jpg", "s/c.safetensors"))
    assert [job.output.name for job in named(pairs, Path("out"))] == [
        *("a__a.png", "a__c.png", "b_png__a.png", "b_png__c.png", "b_jpg__a.png", "b_jpg__c.png")
    ]
    mixed = Look((Path("x.png"), None, Path("y.jpg")))
    jobs = named([(None, mixed), (Path("a.png"), Look(()))], Path("out"))
    assert [job.output for job in jobs] == [Path("out/texture__x+none+y.png"), Path("out/a__white.png")]


def test_results_do_not_go_where_photos_are_read(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for folder in (photos, photos / "out", tmp_path / "link"):
        if folder.name == "link":
            folder.symlink_to(photos)
        with pytest.raises(ValueError, match=rf"the output {folder} is inside {photos}, whose files are read"):
            check_folder(folder, [photos])
    check_folder(tmp_path / "new", [photos])
    check_folder(tmp_path, [photos])
    touch(tmp_path, "file")
    with pytest.raises(ValueError, match="expected a folder for several results, got a file"):
        check_folder(tmp_path / "file", [])
    with pytest.raises(ValueError, match="expected a folder for several results, got a file"):
        check_folder(tmp_path / "new.png", [])
    with pytest.raises(ValueError, match="does not exist"):
        check_folder(tmp_path / "a" / "b", [])


def paint(path, *colour):
    Image.fromarray(np.full((30, 60, 3), colour, np.uint8)).save(path)
    return path


def at(sheet, row, column):
    """The middle of a cell."""
    return sheet[row * 270 + 128, column * 248 + 128].tolist()


def test_a_sheet_of_a_grid_has_photos_down_and_styles_across(tmp_path):
    photos = [paint(tmp_path / f"{name}.png", 200, i, 0) for i, name in enumerate("ab")]
    styles = [paint(tmp_path / f"{name}.png", 0, 200, i) for i, name in enumerate("xyz")]
    jobs = named(grid(photos, [Look((style,)) for style in styles]), tmp_path / "out")
    (tmp_path / "out").mkdir()
    for i, job in enumerate(jobs):
        paint(job.output, 0, i, 200)
    draw_sheet(tmp_path / "sheet.png", jobs)
    with Image.open(tmp_path / "sheet.png") as image:
        sheet = np.asarray(image)
    assert at(sheet, 0, 0) == [255, 255, 255]
    assert [at(sheet, 0, 1 + i) for i in range(3)] == [[0, 200, i] for i in range(3)]
    assert [at(sheet, 1 + i, 0) for i in range(2)] == [[200, i, 0] for i in range(2)]
    assert [at(sheet, 1 + i, 1 + j) for i in range(2) for j in range(3)] == [[0, i, 200] for i in range(6)]


def test_a_sheet_of_pairs_has_a_row_for_each_photo(tmp_path):
    photos = [paint(tmp_path / f"{name}.png", 200, i, 0) for i, name in enumerate("ab")]
    jobs = [
        Job(photo, Look((Path(f"{i}.safetensors"),)), paint(tmp_path / f"{i}.png", 0, i, 200))
        for i, photo in enumerate(photos)
    ]
    draw_sheet(tmp_path / "sheet.png", jobs)
    with Image.open(tmp_path / "sheet.png") as image:
        sheet = np.asarray(image)
    assert sheet.shape == (2 * 270 + 8, 2 * 248 + 8, 3)
    assert [at(sheet, i, 0) for i in range(2)] == [[200, i, 0] for i in range(2)]
    assert [at(sheet, i, 1) for i in range(2)] == [[0, i, 200] for i in range(2)]
