"""What the command lines share: what is about memory, and what only looks like it."""

import errno
import mmap
import pickle
import zlib

import jax
import numpy as np
import pytest

from wct_jax.cli.command import Parser, is_out_of_memory, run

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


def numpys_own():
    try:
        np.empty(2**56)
    except MemoryError as error:
        return error
    pytest.fail("there was as much as that")


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
    assert is_out_of_memory(error)


def test_numpy_says_it_in_its_own_way():
    assert is_out_of_memory(numpys_own())


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
    assert not is_out_of_memory(error)


def test_one_sentence(capsys):
    def body():
        mmap.mmap(-1, 2**60)

    parser = Parser("Test.")
    parser.prog = "program"
    with pytest.raises(SystemExit) as end:
        run(parser, body, ": make it smaller")
    assert end.value.code == 2
    assert capsys.readouterr().err == "program: error: there is not enough memory: make it smaller\n"


def test_other_errors_are_told_in_full():
    with pytest.raises(jax.errors.JaxRuntimeError, match="RET_CHECK"):
        run(Parser("Test."), lambda: (_ for _ in ()).throw(jax.errors.JaxRuntimeError("INTERNAL: RET_CHECK")))
