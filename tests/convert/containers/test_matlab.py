import contextlib
import tracemalloc
import zlib

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wct_jax.convert.checkpoint import CheckpointError
from wct_jax.convert.containers.matlab import read_matlab

DTYPES = st.sampled_from(["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("matlab") / "x.mat"


@given(
    array=hnp.arrays(DTYPES, hnp.array_shapes(min_dims=2, max_dims=4, max_side=4), elements=st.integers(0, 100)),
    compressed=st.booleans(),
)
def test_arrays(path, array, compressed):
    with path.open("wb") as file:
        scipy.io.savemat(file, {"a": array}, do_compression=compressed)
    found = read_matlab(path, ["a"])["a"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("compressed", [True, False])
def test_cells_structs_and_text(path, compressed):
    cell = np.empty((2, 2), object)
    cell[0, 0], cell[0, 1], cell[1, 0], cell[1, 1] = "text é", np.zeros((0, 0)), {"x": 1.0, "longer_name": "y"}, "z"
    records = np.array([(1.0, 2.0), (3.0, 4.0)], [("p", object), ("q", object)]).reshape(1, 2)
    with path.open("wb") as file:
        scipy.io.savemat(file, {"cell": cell, "s": records, "skipped": cell}, do_compression=compressed)
    found = read_matlab(path, ["cell", "s", "absent"])
    assert set(found) == {"cell", "s"}
    # Column by column.
    text, struct, empty, last = found["cell"]
    assert (text, last) == ("text é", "z")
    assert empty.size == 0
    assert struct["x"].item() == 1
    assert struct["longer_name"] == "y"
    assert [record["q"].item() for record in found["s"]] == [2, 4]


def test_whole_numbers_stored_small_keep_their_class(path):
    with path.open("wb") as file:
        scipy.io.savemat(file, {"a": np.array([[1.0, 2.0]])}, do_compression=False)
    content = bytearray(path.read_bytes())
    # Rewrite the element (type 9, double, 16 bytes) as a short element of two uint8, as MATLAB does.
    start = content.index((9).to_bytes(4, "little") + (16).to_bytes(4, "little"))
    content[start:] = (2).to_bytes(2, "little") + (2).to_bytes(2, "little") + bytes([7, 8, 0, 0])
    content[132:136] = (len(content) - 136).to_bytes(4, "little")
    path.write_bytes(content)
    np.testing.assert_array_equal(scipy.io.loadmat(path, mat_dtype=True)["a"], [[7.0, 8.0]])
    found = read_matlab(path, ["a"])["a"]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[7, 8]])


def element(kind, data, order="little"):
    return kind.to_bytes(4, order) + len(data).to_bytes(4, order) + data + bytes(-len(data) % 8)


def matrix(name, kind, dimensions, *rest, order="little"):
    """An array as the format's description lays it out; 1 is a cell, 6 a double."""
    shape = np.asarray(dimensions, "<i4" if order == "little" else ">i4").tobytes()
    head = element(6, kind.to_bytes(4, order) + bytes(4), order) + element(5, shape, order) + element(1, name, order)
    return element(14, head + b"".join(rest), order)


def write(path, *elements, order="little"):
    mark = b"\0\1IM" if order == "little" else b"\1\0MI"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + mark + b"".join(elements))


def packed(data):
    content = zlib.compress(data)
    return (15).to_bytes(4, "little") + len(content).to_bytes(4, "little") + content


@contextlib.contextmanager
def at_most(size):
    """Check how much memory a block takes at its peak."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size


def test_big_endian(path):
    numbers = element(9, np.array([1.5, -2.5], ">f8").tobytes(), "big")
    write(path, matrix(b"a", 6, [1, 2], numbers, order="big"), order="big")
    np.testing.assert_array_equal(scipy.io.loadmat(path)["a"], [[1.5, -2.5]])
    np.testing.assert_array_equal(read_matlab(path, ["a"])["a"], [[1.5, -2.5]])


def test_sparse_matrices_are_stepped_over(path):
    with path.open("wb") as file:
        scipy.io.savemat(file, {"a": scipy.sparse.eye_array(3).tocsc(), "b": np.ones((1, 1))})
    found = read_matlab(path, ["a", "b"])
    assert found["a"] is None
    assert found["b"].item() == 1


def test_compressed_zeros_cannot_fill_the_memory(path):
    with path.open("wb") as file:
        scipy.io.savemat(file, {"a": np.zeros((1000, 1000))}, do_compression=True)
    expected = "a compressed variable does not end"
    with at_most(50 * path.stat().st_size), pytest.raises(CheckpointError, match=expected):
        read_matlab(path, ["a"])


def test_structs_without_fields_cannot_fill_the_memory(path):
    # An array of 1 x 2^31-1 structs (kind 2) whose names have been cut off.
    write(path, matrix(b"a", 2, [1, 2**31 - 1], b"\5\0\4\0\1\0\0\0" + b"\1\0\0\0\0\0\0\0"))
    assert read_matlab(path, ["a"])["a"] in ([], {})


@pytest.mark.parametrize("wrap", [bytes, packed])
def test_variables_that_are_not_wanted_are_not_split(path, wrap):
    # A hundred thousand elements of 8 bytes, each of which would become an object.
    wanted = matrix(b"a", 6, [1, 1], element(9, np.float64(1.5).tobytes()))
    write(path, *(wrap(matrix(b"junk", 1, [1, 1], element(14, b"") * 100_000)) for _ in range(5)), wrap(wanted))
    with at_most(1_000_000):
        assert list(read_matlab(path, ["a"])) == ["a"]


def test_more_elements_than_a_network_has(path, monkeypatch):
    monkeypatch.setattr("wct_jax.convert.containers.budget._MOST_OBJECTS", 20_000)
    write(path, matrix(b"a", 1, [1, 300_000], element(14, b"") * 300_000))
    with at_most(6_000_000), pytest.raises(CheckpointError, match="it holds more than 20000 objects"):
        read_matlab(path, ["a"])


def test_compressed_variables_count_together(path):
    size = 400_000
    variable = matrix(b"a", 6, [1, size // 8], element(9, bytes(size)))
    write(path, *[packed(variable)] * 30, element(9, np.random.default_rng(0).bytes(40_000)))
    assert size < 16 * path.stat().st_size < 30 * size
    expected = r"a compressed variable .* announces more values than the file can hold"
    with at_most(3_000_000), pytest.raises(CheckpointError, match=expected):
        read_matlab(path, ["a"])


def test_small_numbers_that_become_large_ones_count(path):
    small = matrix(b"", 6, [1, 10_000], element(2, bytes(10_000)))
    write(path, matrix(b"a", 1, [1, 1], small))
    assert read_matlab(path, ["a"])["a"][0].nbytes == 80_000
    write(path, packed(matrix(b"a", 1, [1, 50], small * 50)), element(2, bytes(40_000)))
    with pytest.raises(CheckpointError, match="small numbers announces more values than the file can hold"):
        read_matlab(path, ["a"])


def test_dimensions_without_end(path):
    write(path, matrix(b"a", 1, [2**31 - 1] * 300_000))
    with pytest.raises(CheckpointError, match="an array has 300000 dimensions"):
        read_matlab(path, ["a"])


def test_cells_in_cells_without_end(path):
    nested = b""
    for _ in range(3000):
        nested = matrix(b"", 1, [1, 1], nested)
    write(path, matrix(b"a", 1, [1, 1], nested))
    with pytest.raises((RecursionError, CheckpointError)):
        read_matlab(path, ["a"])
