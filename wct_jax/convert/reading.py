"""Foreign checkpoint files: what kind one is, by its content, and its reading."""

import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import safetensors

from wct_jax.convert.checkpoint import Checkpoint, CheckpointError
from wct_jax.convert.keras import read_hdf5, read_npz
from wct_jax.convert.matconvnet import read_matconvnet
from wct_jax.convert.state_dict import from_state_dict
from wct_jax.convert.torch7 import read_torch7
from wct_jax.convert.torch_file import MAGIC_BYTES, read_legacy, read_zip

_KNOWN = "Keras HDF5, NumPy .npz, PyTorch .pth, .safetensors, Torch7 .t7 or MatConvNet .mat"


#: What the safetensors library accepts.
_LONGEST_SAFETENSORS_HEADER = 100_000_000


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a foreign checkpoint, of whatever kind its content shows it to be.

    Args:
        path: A Keras HDF5 file, a NumPy archive with Keras' names, a PyTorch state dict (zip or legacy),
            a safetensors file with a state dict's names, a Torch7 or a MatConvNet file.

    Returns:
        The convolutions, float32 and finite, and the preprocessing.

    Raises:
        ValueError: The file cannot be read, is damaged, or holds something else; one sentence says what.
    """
    file = Path(path)
    try:
        if not file.is_file():
            state = (
                "it is a directory"
                if file.is_dir()
                else "it is not a file"
                if file.exists()
                else "there is no such file"
            )
            raise CheckpointError(f"{state}, expected {_KNOWN}")
        # Libraries warn of the oddities of damaged files; the error that follows says it all.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _reader(file)(file)
    except CheckpointError as error:
        raise ValueError(f"cannot read {path}: {_one_line(str(error))}") from None
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            # The system's word, such as a permission denied.
            raise ValueError(f"cannot read {path}: {error.strerror}") from error
        # Parsers meet damaged bytes with errors of every type, MemoryError and RecursionError among them.
        detail = _one_line(str(error))[:200]
        raise ValueError(
            f"cannot read {path}: it is damaged or cut short ({type(error).__name__}: {detail})"
        ) from error


def _one_line(text: str) -> str:
    # Names in a message come from the file, which may hold anything.
    return "".join(character if character.isprintable() else " " for character in text)[:1000]


def _reader(path: Path) -> Callable[[Path], Checkpoint]:
    with path.open("rb") as file:
        head = file.read(520)
    if not head:
        raise CheckpointError(f"it is empty, expected {_KNOWN}")
    # First, since what it begins with is a length, which may begin like anything.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _LONGEST_SAFETENSORS_HEADER:
        return _read_safetensors
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return read_hdf5
    if head.startswith(b"MATLAB 5.0 MAT-file"):
        return read_matconvnet
    if head.startswith(b"MATLAB 7.3 MAT-file"):
        raise CheckpointError("it is a MATLAB 7.3 file; save it anew with save(name, '-v7'), which writes MATLAB 5")
    if head.startswith(b"PK\x03\x04"):
        return _zip_reader(path)
    if head.startswith(b"\x80"):
        if MAGIC_BYTES not in head[:32]:
            raise CheckpointError("it is a pickle that torch.save did not write, expected a state dict")
        return lambda path: from_state_dict(read_legacy(path))
    if head.startswith((b"\3\0\0\0\1\0\0\0", b"\4\0\0\0\1\0\0\0")):
        return read_torch7
    if head.startswith(b"4\n1\n"):
        raise CheckpointError("it is a Torch7 file in text form; save it anew with torch.save(name, network, 'binary')")
    raise CheckpointError(f"it is of no known kind, expected {_KNOWN}")


def _zip_reader(path: Path) -> Callable[[Path], Checkpoint]:
    with zipfile.ZipFile(path) as archive:
        names = {name.rpartition("/")[2] for name in archive.namelist()}
    if "data.pkl" in names:
        return lambda path: from_state_dict(read_zip(path))
    if any(name.endswith(".npy") for name in names):
        return read_npz
    if "model.weights.h5" in names:
        raise CheckpointError("it is a .keras archive; save it anew with model.save('name.h5')")
    raise CheckpointError(f"it is a zip archive without tensors, expected {_KNOWN}")


def _read_safetensors(path: Path) -> Checkpoint:
    with safetensors.safe_open(path, framework="np") as file:
        if "wct_jax" in (file.metadata() or {}):
            raise CheckpointError("it already is a model of wct_jax and needs no conversion")
        return from_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (not a dict)
