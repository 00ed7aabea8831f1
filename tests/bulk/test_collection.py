"""What is to be done: names and keys of results, changed photos, Parquet files, blocks."""

import dataclasses
import io
import itertools
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wct_jax.bulk.address import place_of
from wct_jax.bulk.collection import Collection, Item, collect
from wct_jax.bulk.kit import Kit
from wct_jax.bulk.manifest import NAME, Manifest
from wct_jax.bulk.parquet import RowGroup, row_groups, split
from wct_jax.painting.options import Options
from wct_jax.studio.request import Look


@pytest.fixture
def kit(kept):
    return Kit.packed(kept / "model.safetensors", [Look((kept / "picture.png",))], Options())


@pytest.fixture
def target(tmp_path):
    (tmp_path / "out").mkdir()
    return place_of(tmp_path / "out")


def manifest_of(place):
    notes = []
    return Manifest(place, notes.append), notes


def collected(source, target, kit, column=None):
    return collect(place_of(source), target, kit, column, manifest_of(target)[0])


def test_a_key_depends_on_all_that_a_result_depends_on(kit, kept, tmp_path):
    styles = [kept / "picture.png", tmp_path / "other.png", tmp_path / "picture.png"]
    styles[1].write_bytes(b"other")
    styles[2].write_bytes(styles[0].read_bytes())

    def key(model=kept / "model.safetensors", files=styles[:1], options=Options(), weights=None, **named):
        return Kit.packed(model, [Look(tuple(files), weights)], options, **named).keys()[0]

    keys = [
        kit.keys()[0],
        key(options=Options(alpha=0.5)),
        key("compact"),
        key(files=styles[1:2]),
        key(files=styles[:2]),
        key(files=styles[:2], weights=(1, 2)),
        key(maps={"alpha_map": styles[1]}),
        key(maps={"strength": styles[1]}),
        key(suffix=".jpg"),
        key(settings=False),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == key() == key(files=styles[2:])
    assert key(files=map(str, styles[:1])) == keys[0]
    with pytest.raises(ValueError, match=r"must be paths of files, got"):
        key(files=[np.zeros((8, 8, 3))])
    with pytest.raises(ValueError, match=r"^cannot read no.png: No such file or directory$"):
        key(files=[tmp_path.relative_to(tmp_path) / "no.png"])


def test_results_keep_their_folders_and_have_names_of_their_own(kit):
    sources = [
        "a.png",
        "a.jpg",
        "b/a.png",
        "../a.png",
        "_/a.png",
        "/a.png",
        "b//a.png",
        "b/./a.png",
        f"{'é' * 200}.png",
    ]
    names = [kit.target(source, 0, "key") for source in sources]
    assert len(set(names)) == len(names)
    assert [os.path.dirname(name) for name in names] == ["", "", "b", "_", "_", "_", "b/_", "b/_", ""]
    assert all(os.path.basename(name).startswith("a__picture__") for name in names[:-1])
    assert all(len(os.fsencode(part)) < 250 for name in names for part in name.split("/"))
    assert kit.target("a.png", 0, "other") != names[0]


def test_files_are_unpacked_under_their_names_and_named_by_their_own_paths(kit, kept, tmp_path):
    moved = kit.unpack(tmp_path / "kit")
    ((style,),) = (look.files for look in moved.looks)
    assert style.name == "picture.png"
    assert style.read_bytes() == (kept / "picture.png").read_bytes()
    assert kit.said(f"{style} is odd", tmp_path / "kit") == f"{kept / 'picture.png'} is odd"
    assert moved.model.endswith("/model.safetensors")
    assert not moved.files


def test_results_that_are_there_are_left_unless_their_photos_changed(photos, target, kit):
    (photos / "film.mp4").touch()
    (photos / "data.parquet").touch()
    found = collected(photos, target, kit)
    assert found.photos == 6 + any(item.source == "film.mp4" for item in found.items)
    assert "Parquet files, passed over without `image_column`: 1" in found.notes
    (photos / "film.mp4").unlink()
    found = collected(photos, target, kit)
    assert [item.source for item in found.items] == ["a.bmp", "a.png", "b/a.png", "b/c d/é.png", "b/z.png", "c.png"]
    assert found.missing == [0, 1, 2, 3, 4, 5]
    for item in found.items[:4]:
        target.write(item.target, b"painted")
    manifest, _ = manifest_of(target)
    for number, status in ((0, "done"), (1, "failed"), (2, "done")):
        item = found.items[number]
        manifest.add([{"source": item.source, "target": item.target, "status": status, "modified": item.modified}])
    manifest.write()
    assert collected(photos, target, kit).missing == [4, 5]
    for name in ("a.bmp", "a.png", "b/c d/é.png"):
        os.utime(photos / name, (1, 1))
    again = collected(photos, target, kit)
    assert [again.items[number].source for number in again.missing] == ["a.bmp", "b/z.png", "c.png"]
    others = collected(photos, target, dataclasses.replace(kit, options=Options(alpha=0.5)))
    assert len(others.missing) == 6


def test_a_damaged_manifest_is_made_anew(target):
    target.write(NAME, b"PAR1 or not")
    manifest, notes = manifest_of(target)
    assert not manifest.rows
    assert len(notes) == 1
    assert "manifest.parquet is damaged, and made anew" in notes[0]
    manifest.add([{"source": "a", "target": "b", "status": "done", "other": 1}])
    assert pq.read_table(io.BytesIO(target.read(NAME))).to_pylist()[0]["target"] == "b"


def test_pictures_in_parquet_files_are_rows(photos, target, kit):
    images = [path.read_bytes() for path in sorted(photos.rglob("*.png"))]
    table = pa.table({"image": [{"bytes": image, "path": None} for image in images], "label": list(range(5))})
    pq.write_table(table, photos / "data.parquet", row_group_size=2)
    source = place_of(photos)
    assert list(row_groups(source, "data.parquet", "image")) == [range(2), range(2, 4), range(4, 5)]
    group = RowGroup(source, "data.parquet", 3, "image")
    assert [group.has(source, "data.parquet", row) for row in range(5)] == [False, False, True, True, False]
    assert group.value(3)["bytes"] == images[3]
    assert [split(name) for name in ("a/b.parquet#12", "a#1.png", "b.parquet")] == [
        ("a/b.parquet", 12),
        ("a#1.png", None),
        ("b.parquet", None),
    ]
    found = collected(photos, target, kit, "image")
    assert found.photos == 11
    groups = [item.group for item in found.items if item.source.startswith("data.parquet#")]
    assert groups == [1, 1, 2, 2, 3]
    blocks = found.blocks(found.missing, 1)
    assert [[found.items[number].source for number in block] for block in blocks if found.items[block[0]].group] == [
        ["data.parquet#0", "data.parquet#1"],
        ["data.parquet#2", "data.parquet#3"],
        ["data.parquet#4"],
    ]
    assert list(itertools.chain(*blocks)) == found.missing
    with pytest.raises(ValueError, match=r"data.parquet has no column picture: expected one of image, label$"):
        collected(photos, target, kit, "picture")
    with pytest.raises(ValueError, match=r"data.parquet has 5 rows, and no row 5"):
        RowGroup(source, "data.parquet", 5, "image")
    (photos / "data.parquet").write_bytes(b"no table")
    with pytest.raises(ValueError, match=r"^cannot read .*data.parquet: "):
        collected(photos, target, kit, "image")


@pytest.mark.parametrize(("count", "workers"), [(1, 8), (7, 8), (300, 2), (100_000, 1000)])
def test_blocks_become_smaller_so_that_all_workers_end_together(count, workers):
    items = [Item(f"{number}.png", 0, f"{number}", "", 0, 0, False, False) for number in range(count)]
    blocks = Collection(count, items, []).blocks(list(range(count)), workers)
    assert list(itertools.chain(*blocks)) == list(range(count))
    sizes = np.array([len(block) for block in blocks])
    assert (np.diff(sizes) <= 0).all()
    assert sizes[0] <= 64
    assert (sizes[-min(workers, count) :] == 1).all()
