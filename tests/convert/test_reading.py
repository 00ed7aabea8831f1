import contextlib
import os
import socket
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from wct_jax.convert.checkpoint import CheckpointError
from wct_jax.convert.conversion import convert
from wct_jax.convert.reading import read_checkpoint

KINDS = ["keras.h5", "npz", "zip.pth", "legacy.pth", "safetensors", "t7", "mat"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", ["", ".jpg", ".t7", ".h5"])
def test_kind_is_recognised_by_content(tmp_path, valid_files, layers, assert_holds, kind, suffix):
    path = tmp_path / f"network{suffix}"
    path.write_bytes(valid_files[kind].read_bytes())
    assert_holds(read_checkpoint(path), layers(3, (2, 3)))
    assert_holds(read_checkpoint(str(path)), layers(3, (2, 3)))


def test_a_kind_for_the_report(valid_files):
    assert {kind: read_checkpoint(path).kind for kind, path in valid_files.items()} == {
        "keras.h5": "Keras HDF5",
        "npz": "NumPy archive with Keras layer names",
        "zip.pth": "normalised VGG-19, Sequential state dict",
        "legacy.pth": "normalised VGG-19, Sequential state dict",
        "safetensors": "normalised VGG-19, Sequential state dict",
        "t7": "normalised VGG-19, Torch7",
        "mat": "MatConvNet VGG-19",
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("missing.pth", "there is no such file, expected Keras HDF5, NumPy .npz"),
        ("", "it is a directory"),
        ("pipe", "it is not a file"),
        ("/dev/null/x", "there is no such file"),
        ("/dev/zero", "it is not a file"),
        ("a" * 5000, ""),
    ],
)
def test_paths_that_are_no_files(tmp_path, refusal, name, expected):
    os.mkfifo(tmp_path / "pipe")
    assert expected in refusal(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_file_without_permission(tmp_path, refusal):
    path = tmp_path / "network"
    path.write_bytes(b"x")
    path.chmod(0)
    assert "Permission denied" in refusal(path)


def test_files_of_no_known_kind(tmp_path, refusal):
    path = tmp_path / "network.pth"
    path.write_bytes(b"")
    assert "it is empty" in refusal(path)
    for content in (b"hello, world\n" * 40, b"<!DOCTYPE html><html></html>", bytes(600), b"{", b"\x1f\x8b" + bytes(90)):
        path.write_bytes(content)
        assert "it is of no known kind, expected Keras HDF5" in refusal(path)
    for number in range(20):
        path.write_bytes(np.random.default_rng(number).bytes(2000))
        refusal(path)
    for format in ("JPEG", "PNG"):
        Image.new("RGB", (8, 8)).save(path, format)
        assert "it is of no known kind" in refusal(path)


@pytest.mark.parametrize("name_length", range(1, 60))
def test_safetensors_may_begin_like_anything(tmp_path, refusal, name_length):
    # The first byte is the length of the header: 0x80, for one, is how a pickle begins.
    path = tmp_path / "network"
    safetensors.numpy.save_file({"x" * name_length: np.zeros(1, np.float32)}, path)
    assert "its tensors are named 'x" in refusal(path)


def test_other_zip_archives(tmp_path, refusal):
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "it is a zip archive without tensors" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", "")
    assert "it is a .keras archive; save it anew with model.save('name.h5')" in refusal(path)


def test_a_model_of_this_package(tmp_path, refusal):
    path = tmp_path / "model.safetensors"
    tensors = {"encoder/conv1_1/kernel": np.zeros((3, 3, 3, 4), np.float32)}
    safetensors.numpy.save_file(tensors, path, metadata={"wct_jax": "{}"})
    assert "it already is a model of wct_jax and needs no conversion" in refusal(path)


def test_refusals_are_told_from_damage(valid_files):
    assert issubclass(CheckpointError, ValueError)
    with pytest.raises(ValueError, match="cannot read") as error:
        read_checkpoint("/nowhere")
    assert error.value.__cause__ is None


@pytest.mark.parametrize("kind", KINDS)
def test_cut_short_anywhere(tmp_path, valid_files, kind):
    content = valid_files[kind].read_bytes()
    path = tmp_path / "network"
    for length in np.linspace(0, len(content) - 1, 60).astype(int):
        path.write_bytes(content[:length])
        # Nothing but padding may be missing. Either outcome can be right, so not `raises`.
        try:
            read_checkpoint(path)
        except ValueError as error:
            assert str(error).startswith(f"cannot read {path}: ")  # noqa: PT017
        else:
            assert length > len(content) - 16


@pytest.mark.parametrize("kind", KINDS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_damaged_files_are_refused_or_read(tmp_path, valid_files, kind, flips, keep):
    content = bytearray(valid_files[kind].read_bytes())
    for place, value in flips:
        content[int(place * len(content))] = value
    path = tmp_path / "network"
    path.write_bytes(content[: round(keep * len(content))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Either outcome can be right, so not `raises`.
        try:
            checkpoint = read_checkpoint(path)
        except ValueError as error:
            assert str(error).startswith(f"cannot read {path}: ")  # noqa: PT017
            assert str(error).isprintable()  # noqa: PT017
        else:
            for layer in checkpoint.convolutions:
                assert layer.kernel.dtype == layer.bias.dtype == np.float32
                assert np.isfinite(layer.kernel).all()
                assert np.isfinite(layer.bias).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npz", "zip.pth", "legacy.pth", "safetensors", "t7", "mat"])
def test_damaged_lengths_allocate_nothing(tmp_path, valid_files, kind):
    content = valid_files[kind].read_bytes()
    path = tmp_path / "network"
    for place in range(0, len(content) - 8, len(content) // 200):
        path.write_bytes(content[:place] + b"\xff\xff\xff\x7f\0\0\0\0" + content[place + 8 :])
        tracemalloc.start()
        with contextlib.suppress(ValueError):
            read_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["dangling", "loop", "socket", "link to a pipe"])
def test_what_looks_like_a_file(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # The name of a socket must be short.
    expected = "it is not a file but a pipe, a socket or a device"
    with socket.socket(socket.AF_UNIX) as server:
        match kind:
            case "dangling":
                os.symlink("nowhere.pth", "x.pth")
                expected = "there is no such file"
            case "loop":
                os.symlink("x.pth", "x.pth")
                expected = "Too many levels of symbolic links"
            case "socket":
                server.bind("x.pth")
            case "link to a pipe":
                os.mkfifo("pipe")
                os.symlink("pipe", "x.pth")
        for call in (read_checkpoint, convert):
            with pytest.raises(ValueError, match=f"^cannot read x.pth: {expected}"):
                call("x.pth")


def test_a_file_of_gigabytes_is_not_read(tmp_path, refusal):
    path = tmp_path / "network"
    with path.open("wb") as file:
        file.truncate(5 << 30)
    assert "it has 5368709120 bytes, expected at most 4294967296" in refusal(path)
