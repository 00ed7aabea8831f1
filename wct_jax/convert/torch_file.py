"""Files written by `torch.save`, read without PyTorch."""

import io
import zipfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wct_jax.convert.checkpoint import CheckpointError
from wct_jax.convert.strided import strided
from wct_jax.convert.unpickler import Storage, Tensor, Unpickler

_MAGIC = 0x1950A86A20F9469CFC6C
#: How the pickle of the magic number, which begins a legacy file, holds it.
MAGIC_BYTES = _MAGIC.to_bytes(10, "little")
_PROTOCOL = 1001


def read_zip(path: Path) -> dict[str, np.ndarray]:
    """Read the state dict in a file of PyTorch 1.6 or later, a zip archive.

    Args:
        path: The file.

    Returns:
        Name to array.

    Raises:
        CheckpointError: It holds more than tensors, or no state dict. Damaged files raise other errors too.
    """
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise CheckpointError(f"it holds {len(pickles)} data.pkl, expected the one of torch.save")
        folder = pickles[0].removesuffix("data.pkl")
        left = path.stat().st_size

        def record(name: str) -> bytes:
            # torch.save does not compress. Entries that were, or that overlap, could fill the memory.
            nonlocal left
            entry = archive.getinfo(folder + name)
            left -= entry.file_size
            if left < 0:
                raise CheckpointError("it is damaged: its records hold more than the file can")
            return archive.read(entry)

        names = archive.namelist()
        byteorder = {b"little": "<", b"big": ">"}[record("byteorder") if folder + "byteorder" in names else b"little"]
        storages: dict[str, Storage] = {}

        def storage(dtype: np.dtype | None, key: str, location: str, count: int) -> Storage:
            if key not in storages:
                data = record(f"data/{key}")
                storages[key] = Storage(dtype, len(data), data, byteorder)
            return _sized(storages[key], dtype, count)

        return _state_dict(Unpickler(storage).load(io.BytesIO(record("data.pkl"))))


def read_legacy(path: Path) -> dict[str, np.ndarray]:
    """Read the state dict in a file of PyTorch before 1.6: pickles, then the storages' bytes.

    Args:
        path: The file.

    Returns:
        Name to array.

    Raises:
        CheckpointError: It holds more than tensors, or no state dict. Damaged files raise other errors too.
    """
    content = path.read_bytes()
    stream = io.BytesIO(content)
    storages: dict[str, Storage] = {}

    def storage(dtype: np.dtype | None, key: str, location: str, count: int, view: object = None) -> Storage:
        if view is not None:
            raise CheckpointError("it holds views of storages, as PyTorch 0.3 and older wrote; save it anew")
        if key not in storages:
            storages[key] = Storage(dtype, count * (dtype.itemsize if dtype else 1))
        return _sized(storages[key], dtype, count)

    unpickler = Unpickler(storage)
    magic, protocol, _ = (unpickler.load(stream) for _ in range(3))
    if magic != _MAGIC or protocol != _PROTOCOL:
        raise CheckpointError(f"its serialization protocol is {protocol!r:.40}, expected {_PROTOCOL}")
    root = unpickler.load(stream)
    keys = unpickler.load(stream)
    if not isinstance(keys, list) or len(set(keys)) != len(keys):
        raise CheckpointError("it is damaged: its list of storages makes no sense")
    view = memoryview(content)
    position = stream.tell()
    for key in keys:
        # The raw part is little-endian wherever it was written.
        start = position + 8
        count = int.from_bytes(view[position:start], "little")
        found = storages[key]
        position = start + found.nbytes
        if position > len(content) or count * (found.dtype.itemsize if found.dtype else 1) != found.nbytes:
            raise CheckpointError("it is cut short or damaged: a tensor's values are missing")
        found.data = view[start:position]
    return _state_dict(root)


def _sized(storage: Storage, dtype: np.dtype | None, count: int) -> Storage:
    if type(count) is not int or count < 0 or storage.dtype != dtype:
        raise CheckpointError("it is damaged: a storage's size or type makes no sense")
    if count * (dtype.itemsize if dtype else 1) != storage.nbytes:
        raise CheckpointError(f"it is damaged: a storage has {storage.nbytes} bytes, expected {count} {dtype} values")
    return storage


def _state_dict(root: object) -> dict[str, np.ndarray]:
    found = [
        (keys, state) for keys, state in _dicts(root) if any(name.endswith(".weight") for name, _ in _tensors(state))
    ]
    if not found:
        raise CheckpointError("it holds no state dict, expected tensors named like '0.weight' or 'features.0.weight'")
    if len(found) > 1:
        raise CheckpointError(
            f"it holds {len(found)} state dicts, under {' and '.join(keys or 'no key' for keys, _ in found)[:100]!r}; "
            "save the one to be converted alone"
        )
    return {name: _array(tensor) for name, tensor in _tensors(found[0][1])}


def _dicts(root: object) -> Iterator[tuple[str, dict]]:
    """Every dict in a tree of dicts, with the keys that lead to it."""
    seen: set[int] = set()
    waiting = deque([("", root)])
    while waiting:
        keys, value = waiting.popleft()
        if isinstance(value, dict) and id(value) not in seen:
            seen.add(id(value))
            yield keys, value
            waiting.extend((f"{keys}.{key}"[-60:].removeprefix("."), inner) for key, inner in value.items())


def _tensors(state: dict) -> Iterator[tuple[str, Tensor]]:
    return ((name, value) for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor))


def _array(tensor: Tensor) -> np.ndarray:
    storage, dtype, offset, size, stride = tensor
    if not isinstance(storage, Storage) or storage.data is None:
        raise CheckpointError("it is cut short or damaged: a tensor's values are missing")
    count = storage.nbytes // dtype.itemsize
    words = np.frombuffer(storage.data, f"{storage.byteorder}u{dtype.itemsize}", count)
    elements = words.astype(f"=u{dtype.itemsize}", copy=False).view(dtype)
    return strided(elements, offset, size, stride)
