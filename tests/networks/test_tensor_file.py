import os
import socket

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from wct_jax.networks.tensor_file import open_tensors, unreadable


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.safetensors"


def test_what_is_no_file(tmp_path):
    assert unreadable(tmp_path) == "it is a directory"
    (tmp_path / "file").touch()
    assert unreadable(tmp_path / "file") is None
    (tmp_path / "dangling").symlink_to("nowhere")
    names = ("none", "none/x", "file/x", "dangling")
    for missing in (*(tmp_path / name for name in names), "x" * 5000, "nul\0byte", ""):
        assert unreadable(missing) == "there is no such file"
    (tmp_path / "loop").symlink_to("loop")
    assert unreadable(tmp_path / "loop") == "Too many levels of symbolic links"


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices with names are POSIX")
def test_pipes_sockets_and_devices_are_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # The name of a socket must be short.
    os.mkfifo("pipe")
    os.symlink("pipe", "link")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for name in ("pipe", "link", "socket", "/dev/zero", "/dev/tty"):
            assert unreadable(name) == "it is not a file but a pipe, a socket or a device"


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
def test_the_system_says_what_may_not_be_read(public, refused_by_the_system):
    (public / "closed").mkdir()
    files = public / "file", public / "closed" / "file"
    for file in files:
        file.touch()
    files[0].chmod(0)
    files[1].parent.chmod(0)
    try:
        with refused_by_the_system():
            assert [unreadable(file) for file in files] == ["Permission denied"] * 2
    finally:
        files[1].parent.chmod(0o700)


def test_arrays_are_read_one_by_one(path):
    tensors = {
        "half": torch.ones(3, dtype=torch.float16),
        "brain": torch.ones(2, dtype=torch.bfloat16),
        "scalar": torch.tensor(2.0, dtype=torch.float64),
        "empty": torch.zeros(0, 2),
    }
    safetensors.torch.save_file(tensors, path, {"key": "text"})
    with open_tensors(path) as file:
        assert file.metadata == {"key": "text"}
        assert sorted(file) == sorted(tensors)
        assert len(file) == 4
        assert file["half"].dtype == np.float16
        assert file["brain"].dtype == ml_dtypes.bfloat16
        assert file["scalar"].shape == ()
        assert file["empty"].shape == (0, 2)
        with pytest.raises(KeyError):
            file["none"]


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        *((getattr(torch, name), name) for name in ("int8", "uint8", "int64", "bool", "float8_e4m3fn", "float8_e5m2")),
        (torch.complex64, "complex64"),
    ],
)
def test_other_types_are_named(path, dtype, name):
    safetensors.torch.save_file({"a" * 100: torch.ones(2).to(dtype)}, path)
    expected = f"a... holds {name} values, expected float16, bfloat16, float32 or float64"
    with open_tensors(path) as file, pytest.raises(ValueError, match=expected):
        file["a" * 100]


def test_headers_of_megabytes_are_not_read(path):
    safetensors.numpy.save_file({"a": np.zeros(1)}, path, {"key": "x" * 5_000_000})
    with (
        pytest.raises(ValueError, match=r"^expected a header of at most 4194304 bytes, got 50000\d\d$"),
        open_tensors(path),
    ):
        pass


@pytest.mark.parametrize("content", [b"", b"x", b"\5\0\0\0\0\0\0\0{{{{{", b"\xff" * 100, b"\2\0\0\0\0\0\0\0{}{}"])
def test_damaged_files(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r".") as error, open_tensors(path):
        pass
    assert type(error.value) is ValueError
    assert "\n" not in str(error.value)
