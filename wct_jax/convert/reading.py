"""Reading a foreign checkpoint file of any kind, recognised by its content."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

from wct_jax.checks.printable import printable
from wct_jax.convert.checkpoint import Checkpoint, CheckpointError
from wct_jax.convert.containers.archive import open_zip
from wct_jax.convert.keras import read_hdf5, read_npz
from wct_jax.convert.matconvnet import read_matconvnet
from wct_jax.convert.preprocessing import check_name
from wct_jax.convert.torch.state_dict import from_state_dict
from wct_jax.convert.torch.torch7 import read_torch7
from wct_jax.convert.torch.torch_file import MAGIC_BYTES, read_legacy, read_zip
from wct_jax.networks.tensor_file import MISSING, open_tensors, unreadable

_Reader = Callable[[Path, str | None], Checkpoint]

_KNOWN = "Keras HDF5, NumPy .npz, PyTorch .pth, .safetensors, Torch7 .t7 or MatConvNet .mat"

# Room for VGG-19 in double precision with an optimizer's state.
_LARGEST = 4 << 30
# The limit of the safetensors library.
_LONGEST_SAFETENSORS_HEADER = 100_000_000


def read_checkpoint(path: str | os.PathLike[str], preprocessing: str | None = None) -> Checkpoint:
    """Read a foreign checkpoint of the kind that its content shows.

    Args:
        path: A Keras HDF5 file, a NumPy archive with Keras' names, a PyTorch state dict (zip or legacy),
            a safetensors file with a state dict's names, a Torch7 or a MatConvNet file.
        preprocessing: The preprocessing that an encoder expects, unless it is the encoder's own first layer: "caffe",
            "caffe-rgb", "torchvision" or "none"; None to recognise it.

    Returns:
        The convolutions, float32 and finite, and the preprocessing.

    Raises:
        ValueError: The file cannot be read, is damaged, or holds something else.
    """
    file = Path(path)
    check_name(preprocessing)
    try:
        reason = unreadable(file)
        if reason:
            raise CheckpointError(f"{reason}, expected {_KNOWN}" if reason == MISSING else reason)
        if (size := file.stat().st_size) > _LARGEST:
            raise CheckpointError(f"it has {size} bytes, expected at most {_LARGEST}")
        # Libraries warn about damaged files; the error that follows is enough.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _reader(file)(file, preprocessing)
    except CheckpointError as error:
        raise ValueError(f"cannot read {path}: {printable(error, 1000)}") from None
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            # The system's own reason, such as "Permission denied".
            raise ValueError(f"cannot read {path}: {error.strerror}") from error
        # Parsers raise errors of every type for damaged bytes, MemoryError and RecursionError among them.
        kind, detail = type(error).__name__, printable(error)
        raise ValueError(f"cannot read {path}: it is damaged or cut short ({kind}: {detail})") from error


def _reader(path: Path) -> _Reader:
    with path.open("rb") as file:
        head = file.read(520)
    if not head:
        raise CheckpointError(f"it is empty, expected {_KNOWN}")
    # First, since such a file begins with a length, whose bytes may look like any other kind.
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
        return lambda path, preprocessing: from_state_dict(read_legacy(path), preprocessing)
    if head.startswith((b"\3\0\0\0\1\0\0\0", b"\4\0\0\0\1\0\0\0")):
        return read_torch7
    if head.startswith(b"4\n1\n"):
        raise CheckpointError("it is a Torch7 file in text form; save it anew with torch.save(name, network, 'binary')")
    raise CheckpointError(f"it is of no known kind, expected {_KNOWN}")


def _zip_reader(path: Path) -> _Reader:
    with open_zip(path) as archive:
        names = {name.rpartition("/")[2] for name in archive.namelist()}
    if "data.pkl" in names:
        return lambda path, preprocessing: from_state_dict(read_zip(path), preprocessing)
    if any(name.endswith(".npy") for name in names):
        return read_npz
    if "model.weights.h5" in names:
        raise CheckpointError("it is a .keras archive; save it anew with model.save('name.h5')")
    raise CheckpointError(f"it is a zip archive without tensors, expected {_KNOWN}")


def _read_safetensors(path: Path, preprocessing: str | None) -> Checkpoint:
    try:
        with open_tensors(path) as file:
            if "wct_jax" in file.metadata:
                raise CheckpointError("it already is a model of wct_jax and needs no conversion")
            return from_state_dict(file, preprocessing)
    except ValueError as error:
        # Errors of the tensor file concern the file itself or the type of an array.
        raise error if isinstance(error, CheckpointError) else CheckpointError(str(error)) from error
