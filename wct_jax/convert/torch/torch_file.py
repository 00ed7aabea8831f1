"""Reading files of `torch.save` without PyTorch."""

import io
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from wct_jax.convert.checkpoint import CheckpointError
from wct_jax.convert.containers.archive import open_zip, read_entry
from wct_jax.convert.containers.mapped import map_file
from wct_jax.convert.torch.strided import strided
from wct_jax.convert.torch.unpickler import Storage, Tensor, Unpickler

_MAGIC = 0x1950A86A20F9469CFC6C
#: The magic number as it is encoded in the pickle that begins a legacy file.
MAGIC_BYTES = _MAGIC.to_bytes(10, "little")
_PROTOCOL = 1001


class StateDict(Mapping[str, np.ndarray]):
    """Tensors by name, whose values are read on access, since most of VGG-19 is in its dense layers."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    def __len__(self) -> int:
        return len(self._tensors)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __getitem__(self, name: str) -> np.ndarray:
        return _array(self._tensors[name])


def read_zip(path: Path) -> StateDict:
    """Read the state dict from a zip archive of PyTorch 1.6 or later."""
    with open_zip(path) as archive:
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise CheckpointError(f"it holds {len(pickles)} data.pkl, expected the one of torch.save")
        folder = pickles[0].removesuffix("data.pkl")
        left = path.stat().st_size

        def record(name: str) -> zipfile.ZipInfo:
            # torch.save does not compress. Compressed or overlapping entries could fill the memory.
            nonlocal left
            entry = archive.getinfo(folder + name)
            left -= entry.file_size
            if left < 0:
                raise CheckpointError("it is damaged: its records hold more than the file can")
            return entry

        def content(name: str) -> bytes:
            return read_entry(archive, record(name))

        names = archive.namelist()
        byteorder = {b"little": "<", b"big": ">"}[content("byteorder") if folder + "byteorder" in names else b"little"]
        storages: dict[str, Storage] = {}

        def storage(dtype: np.dtype | None, key: str, location: str, count: int) -> Storage:
            if key not in storages:
                entry = record(f"data/{key}")
                storages[key] = Storage(dtype, entry.file_size, lambda: _read_entry(path, entry), byteorder)
            return _sized(storages[key], dtype, count)

        return _state_dict(Unpickler(storage).load(io.BytesIO(content("data.pkl"))))


def _read_entry(path: Path, entry: zipfile.ZipInfo) -> bytes:
    with open_zip(path) as archive:
        return read_entry(archive, entry)


def read_legacy(path: Path) -> StateDict:
    """Read the state dict from a file of PyTorch before 1.6: pickles, then the storages' bytes."""
    content = map_file(path)
    stream = cast(BinaryIO, content)  # It has a file's methods.
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
        # Anything but a number could be nested too deep to be written out.
        what = str(protocol)[:40] if isinstance(protocol, int | str) else type(protocol).__name__
        raise CheckpointError(f"its serialization protocol is {what}, expected {_PROTOCOL}")
    root = unpickler.load(stream)
    keys = unpickler.load(stream)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
        raise CheckpointError("it is damaged: its list of storages makes no sense")
    view = memoryview(content)
    position = stream.tell()
    for key in keys:
        # These bytes are little-endian on every machine.
        start = position + 8
        count = int.from_bytes(view[position:start], "little")
        found = storages[key]
        position = start + found.nbytes
        if position > len(view) or count * (found.dtype.itemsize if found.dtype else 1) != found.nbytes:
            raise CheckpointError("it is cut short or damaged: a tensor's values are missing")
        found.read = lambda start=start, end=position: view[start:end]
    return _state_dict(root)


def _sized(storage: Storage, dtype: np.dtype | None, count: int) -> Storage:
    if type(count) is not int or count < 0 or storage.dtype != dtype:
        raise CheckpointError("it is damaged: a storage's size or type makes no sense")
    if count * (dtype.itemsize if dtype else 1) != storage.nbytes:
        raise CheckpointError(f"it is damaged: a storage has {storage.nbytes} bytes, expected {count} {dtype} values")
    return storage


def _state_dict(root: object) -> StateDict:
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
    return StateDict(dict(_tensors(found[0][1])))


def _dicts(root: object) -> Iterator[tuple[str, dict]]:
    """Yield every dict in a tree of dicts with the keys that lead to it."""
    seen: set[int] = set()
    waiting = deque([("", root)])
    while waiting:
        keys, value = waiting.popleft()
        if isinstance(value, dict) and id(value) not in seen:
            seen.add(id(value))
            yield keys, value
            for key, inner in value.items():
                last = key[-60:] if isinstance(key, str) else type(key).__name__
                waiting.append((f"{keys}.{last}"[-60:].removeprefix("."), inner))


def _tensors(state: dict) -> Iterator[tuple[str, Tensor]]:
    return ((name, value) for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor))


def _array(tensor: Tensor) -> np.ndarray:
    storage, dtype, offset, size, stride = tensor
    if not isinstance(storage, Storage):
        raise CheckpointError("it is damaged: a tensor has no storage")
    count = storage.nbytes // dtype.itemsize
    words = np.frombuffer(storage.data, f"{storage.byteorder}u{dtype.itemsize}", count)
    elements = words.astype(f"=u{dtype.itemsize}", copy=False).view(dtype)
    return strided(elements, offset, size, stride)
