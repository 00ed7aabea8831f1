import os
import zlib

import h5py
import numpy as np
import pytest

from wct_jax.convert.checkpoint import CheckpointError
from wct_jax.convert.containers.hdf5 import read_datasets


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.h5"


def read(path, root="root"):
    return read_datasets(path, root, lambda name: "wanted" in name)


@pytest.mark.parametrize("root", ["root", "none"])
def test_datasets_by_their_paths(path, root):
    with h5py.File(path, "w") as file:
        file["root/a/wanted"], file["root/other"] = np.arange(6.0).reshape(2, 3), "text"
    found = read(path, root)
    assert list(found) == ["a/wanted" if root == "root" else "root/a/wanted"]
    np.testing.assert_array_equal(*found.values(), np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (2, 3)},
        {"chunks": (2, 3), "compression": "gzip"},
        {"chunks": (4, 5), "maxshape": (None, None), "compression": "gzip", "shuffle": True},
        {"chunks": True},
    ],
)
def test_chunks_and_gzip(path, options):
    array = np.arange(35, dtype=np.float32).reshape(5, 7)
    with h5py.File(path, "w") as file:
        file.create_dataset("wanted", data=array, **options)
    np.testing.assert_array_equal(read(path)["wanted"], array)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"compression": "lzf"}, r"wanted is packed by filters \[\d+\], expected none or gzip"),
        ({"scaleoffset": 3}, r"wanted is packed by filters \[\d+\], expected none or gzip"),
        ({"fletcher32": True}, r"wanted is packed by filters \[\d+\], expected none or gzip"),
        # A chunk larger than what it holds.
        (
            {"chunks": (10_000_000,), "maxshape": (None,), "compression": "gzip"},
            "wanted announces more values than the file can hold",
        ),
    ],
)
def test_other_storage_is_refused(path, options, sentence):
    with h5py.File(path, "w") as file:
        file.create_dataset("wanted", data=np.zeros(4, np.float32), **options)
    with pytest.raises(CheckpointError, match=sentence):
        read(path)


@pytest.mark.skipif(os.name != "posix", reason="pipes with names are POSIX")
@pytest.mark.parametrize("place", ["root", "wanted", "a/wanted", "wanted group"])
def test_links_to_other_files_are_not_opened(path, tmp_path, place):
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(path, "w") as file:
        for number, target in enumerate((tmp_path / "pipe", "/etc/passwd", path, "file.h5", "/dev/zero")):
            file[f"{place}{number or ''}"] = h5py.ExternalLink(str(target), "/")
        file["b/wanted"] = np.ones(2)
    assert list(read(path)) == ["b/wanted"]


def test_links_in_circles_and_several_to_one(path):
    with h5py.File(path, "w") as file:
        file["a/wanted"] = np.ones(2)
        file["a/itself"] = file["a"]
        file["a/root"] = file["/"]
        file["b"] = file["a"]
        file["wanted2"] = file["a/wanted"]
        file["soft/wanted"] = h5py.SoftLink("/a/wanted")
        file["one"], file["two"] = h5py.SoftLink("/two"), h5py.SoftLink("/one")
        file["root"] = h5py.SoftLink("/root")
    assert len(read(path)) == 1


def test_values_in_other_files_are_not_read(path, tmp_path):
    layout = h5py.VirtualLayout((2,), np.float32)
    layout[:] = h5py.VirtualSource(str(tmp_path / "other"), "x", (2,))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("wanted", layout)
    with pytest.raises(CheckpointError, match="the values of wanted do not lie in the file itself"):
        read(path)


def test_sizes_count_together(path):
    with h5py.File(path, "w") as file:
        for number in range(40):
            file.create_dataset(f"wanted{number}", data=np.zeros(20_000, np.float32), compression="gzip")
    assert path.stat().st_size * 16 < 40 * 80_000
    with pytest.raises(CheckpointError, match="announces more values than the file can hold"):
        read(path)


@pytest.mark.parametrize("size", [15, 17, 20_000_000])
def test_a_chunk_that_unpacks_to_another_size(path, size):
    with h5py.File(path, "w") as file:
        wanted = file.create_dataset("wanted", (4,), np.float32, chunks=(4,), compression="gzip")
        wanted.id.write_direct_chunk((0,), zlib.compress(bytes(size)))
    with pytest.raises(CheckpointError, match="a chunk of wanted unpacks to another size than 16 bytes"):
        read(path)


def test_groups_in_groups_without_end(path):
    with h5py.File(path, "w") as file:
        group = file
        for _ in range(100):
            group = group.create_group("g")
    with pytest.raises(CheckpointError, match="its groups are nested deeper than 32"):
        read(path)


def test_more_objects_than_a_network_has(path):
    with h5py.File(path, "w") as file:
        group = file.create_group("a")
        for number in range(20_001):
            group[str(number)] = h5py.SoftLink("/a")
    with pytest.raises(CheckpointError, match="it holds more than 200000 objects"):
        read(path)
