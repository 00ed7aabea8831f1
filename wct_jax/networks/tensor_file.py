"""The `.safetensors` file that model files, style files and published weights are: its metadata and its arrays."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping

import ml_dtypes  # noqa: F401 (NumPy and safetensors know bfloat16 by it)
import numpy as np
import safetensors
from safetensors.numpy import save

from wct_jax.checks.printable import printable
from wct_jax.system.atomic import atomic_write

#: The reason of `unreadable` for a path where nothing is.
MISSING = "there is no such file"

# Bytes of names, shapes and metadata; VGG-19 with its decoders takes kilobytes.
_LARGEST_HEADER = 4 << 20
_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
#: Names of the dtypes that weights may have, here and in every other kind of file.
FLOATING = tuple(_DTYPES.values())
_OTHER_DTYPES = {
    "BOOL": "bool",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    **{f"{sign}{bits}": f"{name}{bits}" for sign, name in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)},
}


def unreadable(path: str | os.PathLike[str]) -> str | None:
    """Say why a path cannot be read as a file, without waiting for data from a pipe or a device.

    Returns:
        The reason, in the system's words where it has some; None for a regular file that can be read.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            return "it is a directory"
        if not stat.S_ISREG(mode):
            return "it is not a file but a pipe, a socket or a device"
        with open(path, "rb"):
            return None
    except ValueError:  # A name with a zero byte.
        return MISSING
    except OSError as error:
        is_missing = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
        return MISSING if is_missing else error.strerror or str(error)


class TensorFile(Mapping[str, np.ndarray]):
    """A `.safetensors` file that reads each array when it is asked for.

    Attributes:
        metadata: Texts by key.
    """

    def __init__(self, file: safetensors.safe_open) -> None:
        self._file = file
        self._names = dict.fromkeys(file.keys())
        self.metadata: dict[str, str] = file.metadata() or {}

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, name: str) -> np.ndarray:
        """Read an array of float16, bfloat16, float32 or float64.

        Raises:
            KeyError: The file has no such array.
            ValueError: It holds values of another type.
        """
        if name not in self._names:
            raise KeyError(name)
        dtype = self._file.get_slice(name).get_dtype()
        if dtype not in _DTYPES:
            raise ValueError(
                f"{printable(name, 60)} holds {_OTHER_DTYPES.get(dtype, dtype)} values, "
                f"expected {', '.join(FLOATING[:-1])} or {FLOATING[-1]}"
            )
        return self._file.get_tensor(name)


@contextlib.contextmanager
def open_tensors(path: str | os.PathLike[str]) -> Iterator[TensorFile]:
    """Open a `.safetensors` file for which `unreadable` returns None, to read arrays in the block.

    Raises:
        ValueError: It is no such file, or is damaged; the text follows a sentence that says what was expected. Errors
            in the block pass.
    """
    with open(path, "rb") as start:
        length = int.from_bytes(start.read(8), "little")
    if length > _LARGEST_HEADER:
        raise ValueError(f"expected a header of at most {_LARGEST_HEADER} bytes, got {length}")
    try:
        file = safetensors.safe_open(path, framework="np")
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(printable(error)) from error
    with file:
        yield TensorFile(file)


def write_tensors(path: str | os.PathLike[str], arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write a `.safetensors` file, whole or not at all.

    Raises:
        ValueError: The file cannot be written.
    """
    with atomic_write(path) as scratch:
        # Not by save_file, which hides the system's message when a disk is full.
        scratch.write_bytes(save(arrays, metadata))
