"""All commands alike: their words, and that the work does not depend on being able to print them."""

import errno
import mmap
import os
import pickle
import subprocess
import sys
import zlib
from pathlib import Path
from unittest.mock import Mock

import jax
import numpy as np
import pytest
from PIL import Image

from wct_jax.cli import command, stylize

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def process(few, tmp_path):
    """Run stylize.py as a process, far from the checkout: status, stdout, stderr, and whether the result is there."""

    def process(*flags, shell='"$@"', output="out.png", **options):
        words = [sys.executable, ROOT / "stylize.py", *few, "--layers", "relu1_1", *flags]
        line = ["sh", "-c", shell, "sh", *words, "--output", tmp_path / output]
        done = subprocess.run(line, capture_output=True, cwd=tmp_path, **options)
        return done.returncode, done.stdout, done.stderr, (tmp_path / output).exists()

    return process


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs sh")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(process, closed):
    status, out, err, made = process(shell=f'"$@" {closed}')
    assert (status, made) == (0, True)
    assert err == b""
    if ">&-" in closed.split():
        assert out == b""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX")
@pytest.mark.parametrize(
    ("encoding", "name"),
    [("cp1252", "фото.png"), ("ascii", "\N{SNOWMAN}.png"), ("utf-8", "\udcff.png"), ("latin-1:strict", "фото.png")],
)
def test_names_that_the_terminal_cannot_show(process, encoding, name):
    status, out, err, made = process(output=name, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert (status, err, made) == (0, b"", True)
    assert b"24 x 17 pixels" in out
    # Nor in a sentence on a mistake.
    status, out, err, made = process(output=name, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert (status, out) == (2, b"")
    assert b"it exists, expected --overwrite" in err
    assert b"Traceback" not in err


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a current folder stays there elsewhere")
def test_a_current_folder_that_is_gone(process, tmp_path):
    gone = f'mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir {tmp_path}/gone && "$@"'
    status, _, err, made = process(shell=gone)
    assert (status, made) == (0, True), err
    status, _, err, _ = process("--sheet", "sheet.png", "--overwrite", shell=gone)
    assert status == 2
    assert b"the current folder no longer exists" in err
    assert len(err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["cuda", "bogus", "bogus,cpu"])
def test_a_platform_that_is_not_there(process, platform):
    status, out, err, made = process(env=os.environ | {"JAX_PLATFORMS": platform})
    if status == 0 and platform == "cuda":
        pytest.skip("this machine has one")
    assert (status, out, made) == (2, b"", False)
    assert err.startswith(f"stylize.py: error: JAX finds no device for JAX_PLATFORMS={platform}: expected ".encode())
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("script", ["stylize.py", "train.py", "convert_vgg.py"])
def test_a_python_without_the_packages_says_so_in_a_sentence(tmp_path, script):
    arguments = {
        "stylize.py": ["--content", "a.png", "--style", "b.png"],
        "train.py": ["--layer", "relu1_1"],
        "convert_vgg.py": ["a.pth"],
    }[script]
    alone = [sys.executable, "-S", "-E", ROOT / script, *arguments]  # Without site-packages.
    done = subprocess.run(alone, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "does not have the package" in done.stderr or "training needs grain" in done.stderr
    helped = subprocess.run([*alone, "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert helped.returncode == 0


def test_control_characters_do_not_reach_the_terminal(run, refused, files, tmp_path):
    photo = tmp_path / "a\x1b[31m\n\u202e.png"
    photo.write_bytes((files / "photo.png").read_bytes())
    few = ["--style", files / "picture.png", "--layers", "relu1_1", "--model", files / "model.safetensors"]
    status, out, _ = run(stylize.main, "--content", photo, *few)
    assert status == 0
    assert "a\\x1b[31m\\n\\u202e__picture.png: 24 x 17 pixels" in out
    assert "\x1b" not in refused(stylize.main, "--content", photo.with_suffix(".gif"), *few)
    with Image.open(tmp_path / "a\x1b[31m\n\u202e__picture.png") as image:
        assert image.size == (24, 17)


@pytest.mark.parametrize("text", ["4", "4096", "0.5", "", "0GB", "4 XB", "-1GB", "nanGB", "GB", "4GBB"])
def test_an_amount_of_memory_needs_its_unit(refused, text):
    unit = f" without its unit: {text}MB, {text}GB?" if text[-1:].isdigit() else ""
    expected = f"argument --memory: expected an amount of memory such as 500MB or 4GB, got {text!r}{unit}"
    assert refused(stylize.main, f"--memory={text}") == expected


WHOLE = ("passes", "content-size", "style-size", "tile", "random", "patch", "stride", "seed")


@pytest.mark.parametrize("flag", WHOLE)
@pytest.mark.parametrize("number", ["9" * 20, "9" * 5000, "1e3", "-1", "0x10", "１", "1.5", "ten", "nan", "", "0"])
def test_whole_numbers_that_are_none_or_beyond_use(refused, flag, number):
    if (flag, number) == ("seed", "0"):
        pytest.skip("0 is a seed")
    sentence = refused(stylize.main, f"--{flag}={number}")
    assert sentence.startswith(f"argument --{flag}: expected a whole number from ")
    assert len(sentence) < 150


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (lambda: os.listdir("/nowhere/at/all"), "cannot read or write /nowhere/at/all: No such file or directory"),
        (lambda: mmap.mmap(-1, 2**60), "there is not enough memory: make it smaller"),
    ],
)
def test_what_the_system_refuses_is_a_sentence(capsys, body, sentence):
    with pytest.raises(SystemExit, match="2"):
        command.run(command.Parser("Fail.", prog="program"), body, ": make it smaller")
    assert capsys.readouterr().err == f"program: error: {sentence}\n"


# Which errors are about memory, and which only look like it


SAID_BY_JAX = [
    "RESOURCE_EXHAUSTED: Out of memory allocating 68719476736 bytes.",
    "INTERNAL: Out of memory allocating 96000000 bytes.",
    "INTERNAL: Failed to allocate 1.2GiB for new constant",
    "RESOURCE_EXHAUSTED: Failed to allocate request for 4.00GiB (4294967296B) on device ordinal 0",
    "INTERNAL: std::bad_alloc",
    "UNKNOWN: Cannot allocate memory",
    "INTERNAL: the library was not initialized: CUDNN_STATUS_ALLOC_FAILED",
    "INTERNAL: CUDA error: CUDA_ERROR_OUT_OF_MEMORY: out of memory",
]


@pytest.mark.parametrize(
    "error",
    [
        *map(jax.errors.JaxRuntimeError, SAID_BY_JAX),
        RuntimeError("can't start new thread"),
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libx.so: failed to map segment from shared object: Cannot allocate memory"),
    ],
    ids=str,
)
def test_what_is_about_memory(error):
    assert command.is_out_of_memory(error)


def test_numpy_says_it_in_its_own_way():
    with pytest.raises(MemoryError) as raised:
        np.empty(2**56)
    assert command.is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        jax.errors.JaxRuntimeError("INVALID_ARGUMENT: Executable expected parameter 0 of size 12 but got 16"),
        jax.errors.JaxRuntimeError("INTERNAL: during context [pre-optimization]: RET_CHECK failure"),
        RuntimeError("dictionary changed size during iteration"),
        ValueError("cannot read out of memory.jpg: it is no picture"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "out of memory.jpg"),
        OSError(errno.ENOSPC, "No space left on device"),
        ImportError("No module named 'rich'"),
        KeyError("RESOURCE_EXHAUSTED"),
        AssertionError("out of memory"),
        zlib.error("Error -3 while decompressing data"),
        pickle.UnpicklingError("pickle data was truncated"),
    ],
    ids=repr,
)
def test_what_is_not(error):
    assert not command.is_out_of_memory(error)


def test_other_errors_are_told_in_full():
    with pytest.raises(jax.errors.JaxRuntimeError, match="RET_CHECK"):
        command.run(command.Parser("Test."), Mock(side_effect=jax.errors.JaxRuntimeError("INTERNAL: RET_CHECK")))


@pytest.mark.parametrize(("package", "extra"), [("starlette", "web"), ("pyarrow", "bulk")])
def test_a_package_of_an_extra_is_named_with_it(package, extra, capsys):
    def body():
        raise ModuleNotFoundError(name=package)

    with pytest.raises(SystemExit) as ended:
        command.run(command.Parser("", prog="wct-jax"), body)
    assert ended.value.code == 2
    assert f'this needs the package {package}: pip install "wct_jax[{extra}]"' in capsys.readouterr().err
