"""Which files a name stands for, which go together, and what the results are called."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wct_jax.studio.contact import draw_sheet
from wct_jax.studio.jobs import Job, Look, by_name, check_folder, draw, each_once, grid, named


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


def names(pairs, folder=Path("out")):
    return [job.output.name for job in named(pairs, folder)]


@pytest.mark.parametrize(
    ("photos", "styles"),
    [
        (("p/a.jpg", "p/a.png", "p/a_jpg.png", "p/a.jpg.png"), ("s/c.png",)),
        (("x/a.jpg", "y/a.jpg", "x/y/a.jpg", "x_y/a.jpg"), ("s/c.png",)),
        (("a.png", "a__b.png"), ("c.png", "b__c.png")),
        (("a.png",), ("s/m/s.png", "s/n/s.png", "s/s.png", "s.png", "s.safetensors")),
        (("A.png", "a.png"), ("S.png", "s.png")),
        (("é.png", "e\u0301.png", "\udcff.png", "\udcfe.png"), ("\n.png", " .png")),
        ((f"{'x' * 240}1.png", f"{'x' * 240}2.png", f"{'ж' * 120}.png"), (f"{'y' * 240}1.png", f"{'y' * 240}2.png")),
    ],
)
def test_each_result_has_a_name_that_no_other_can_have(photos, styles):
    pairs = grid(contents(*photos), looks(*styles))
    together = names(pairs)
    # As on file systems that do not tell upper from lower case.
    assert len({name.lower() for name in together}) == len(pairs)
    assert all(len(os.fsencode(name)) <= 255 for name in together)
    # Whatever else is in the batch.
    assert [names([pair]) for pair in pairs] == [[name] for name in together]
    assert names(reversed(pairs)) == together[::-1]


def test_names_say_photo_and_style():
    mixed = Look((Path("x.png"), None, Path("y.jpg")), masks=(Path("m.png"), Path("n.png")))
    starts = [name[:-18] for name in names([(None, mixed), (Path("a.b.png"), Look(())), (Path("p/a.png"), mixed)])]
    assert starts == ["texture__x+none+y", "a.b__white", "a__x+none+y"]
    orders = [Look((Path("x.png"), Path("y.png"))), Look((Path("y.png"), Path("x.png"))), Look((Path("x+y.png"),))]
    assert len(set(names(grid(contents("a.png"), orders)))) == 3


def test_names_follow_the_files_and_not_how_they_were_named(tmp_path, monkeypatch):
    folder = touch(tmp_path, "a.png", "s.png")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    expected = names([(folder / "a.png", Look((folder / "s.png",)))], folder / "out")
    for photo in ("a.png", "./a.png", "link/a.png"):
        assert names([(Path(photo), Look((Path("s.png"),)))], Path("out")) == expected
    # Photos and results that are moved together keep their names.
    (tmp_path / "b").mkdir()
    moved = touch(tmp_path / "b", "a.png", "s.png")
    assert names([(moved / "a.png", Look((moved / "s.png",)))], moved / "out") == expected
    assert names([(moved / "a.png", Look((moved / "s.png",)))], folder / "out") != expected


def test_a_file_counts_once(tmp_path):
    touch(tmp_path, "a.png", "b.png")
    (tmp_path / "link.png").symlink_to("a.png")
    a, b, link = (tmp_path / name for name in ("a.png", "b.png", "link.png"))
    assert each_once([b, a, link, a, tmp_path / "." / "b.png"]) == [b, a]
    assert each_once([link, b, a]) == [link, b]


@pytest.mark.parametrize("kind", ["read-only", "without a disk", "in a file"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path, kind):
    folder = {"read-only": tmp_path / "sealed", "without a disk": Path("/proc/self")}.get(
        kind, tmp_path / "file" / "out"
    )
    touch(tmp_path, "file")
    (tmp_path / "sealed").mkdir(mode=0o500)
    if os.access(folder, os.W_OK) and kind == "read-only":
        pytest.skip("permissions do not bind this user")
    if not folder.exists() and kind == "without a disk":
        pytest.skip("needs a file system in which nothing can be made")
    for target in (folder, folder / "new"):
        with pytest.raises(ValueError, match=f"cannot write to {target}: "):
            check_folder(target, [])


def test_results_do_not_go_where_photos_are_read(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (tmp_path / "link").symlink_to(photos)
    touch(tmp_path, "file")
    for folder in (photos, photos / "out", tmp_path / "link"):
        with pytest.raises(ValueError, match=rf"the output {folder} is inside {photos}, whose files are read"):
            check_folder(folder, [photos])
    check_folder(tmp_path / "new", [photos])
    check_folder(tmp_path, [photos])
    for name, reason in (("file", "got a file"), ("new.png", "got a file"), ("a/b", "does not exist")):
        with pytest.raises(ValueError, match=reason):
            check_folder(tmp_path / name, [])


def paint(path, *colour):
    Image.fromarray(np.full((30, 60, 3), colour, np.uint8)).save(path)
    return path


@pytest.fixture
def photos(tmp_path):
    return [paint(tmp_path / f"{name}.png", 200, i, 0) for i, name in enumerate("ab")]


def cells(jobs, path):
    """The colours in the middle of a sheet's cells."""
    draw_sheet(path, jobs)
    with Image.open(path) as image:
        sheet = np.asarray(image)
    assert [(side - 8) % step for side, step in zip(sheet.shape, (270, 248), strict=False)] == [0, 0]
    return sheet[128::270, 128::248].tolist()


def test_a_sheet_of_a_grid_has_photos_down_and_styles_across(photos, tmp_path):
    styles = [paint(tmp_path / f"{name}.png", 0, 200, i) for i, name in enumerate("xyz")]
    jobs = named(grid(photos, [Look((style,)) for style in styles]), tmp_path)
    for i, job in enumerate(jobs):
        paint(job.output, 0, i, 200)
    expected = [[[255, 255, 255], *([0, 200, i] for i in range(3))]]
    expected += [[[200, i, 0], *([0, 3 * i + j, 200] for j in range(3))] for i in range(2)]
    assert cells(jobs, tmp_path / "sheet.png") == expected


def test_a_sheet_of_pairs_has_a_row_for_each_photo(photos, tmp_path):
    jobs = [
        Job(photo, Look((Path(f"{i}.safetensors"),)), paint(tmp_path / f"{i}.png", 0, i, 200))
        for i, photo in enumerate(photos)
    ]
    assert cells(jobs, tmp_path / "sheet.png") == [[[200, i, 0], [0, i, 200]] for i in range(2)]
