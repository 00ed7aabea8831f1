"""HDF5 files, read without leaving the file or trusting the sizes that it states."""

import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from wct_jax.convert.checkpoint import CheckpointError
from wct_jax.convert.containers.budget import Budget

# A model in a model in a model is a dozen deep. The library recurses as deep as a file says, and crashes.
_DEEPEST = 32
# Visiting an object takes as long as visiting this many in other kinds of file.
_SLOWNESS = 10


def read_datasets(path: Path, root: str, wanted: Callable[[str], object]) -> dict[str, np.ndarray]:
    """Read the datasets of an HDF5 file without following links, which can lead to other files, pipes or in circles.

    Args:
        path: The file.
        root: The name of the group to read; without such a group, the whole file is read.
        wanted: A predicate on a dataset's path in the group.

    Returns:
        Path in the group to array.

    Raises:
        CheckpointError: Values have another type, lie outside the file, or exceed what it can hold; damaged files
            raise other errors too.
    """
    budget = Budget(path)
    with h5py.File(path, "r") as file:
        is_there = isinstance(file.get(root, getlink=True), h5py.HardLink)
        group = file[root] if is_there else file
        found = {name: dataset for name, dataset in _datasets(group, budget) if wanted(name)}
        for name, dataset in found.items():
            _check(name, dataset, budget)
        return {name: dataset[()] for name, dataset in found.items()}


def _datasets(root: h5py.Group, budget: Budget) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield the datasets of a group and its subgroups, each once, with their paths in it."""
    seen: set[int] = set()
    waiting = [("", root, 0)]
    while waiting:
        prefix, group, depth = waiting.pop()
        if depth > _DEEPEST:
            raise CheckpointError(f"its groups are nested deeper than {_DEEPEST}")
        budget.meet(_SLOWNESS * len(group))
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            inner = group[name]
            address = h5py.h5o.get_info(inner.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(inner, h5py.Group):
                waiting.append((f"{prefix}{name}/", inner, depth + 1))
            elif isinstance(inner, h5py.Dataset):
                yield f"{prefix}{name}", inner


def _check(name: str, dataset: h5py.Dataset, budget: Budget) -> None:
    # HDF5 can keep values in other files of the machine.
    if dataset.external or dataset.is_virtual:
        raise CheckpointError(f"the values of {name} do not lie in the file itself")
    if dataset.dtype.kind != "f":
        raise CheckpointError(f"{name} holds {dataset.dtype} values, expected floating point")
    shape = dataset.shape or ()
    # The library reads whole chunks, which may reach far beyond the shape.
    chunk = dataset.chunks or (1,) * len(shape)
    size = dataset.dtype.itemsize * math.prod(chunk)
    budget.spend(size * math.prod(-(-length // step) for length, step in zip(shape, chunk, strict=True)), name)
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]
    if filters not in ([], [h5py.h5z.FILTER_DEFLATE], [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]):
        raise CheckpointError(f"{name} is packed by filters {filters}, expected none or gzip")
    if filters:
        _check_chunks(name, dataset, size, len(filters) - 1)


def _check_chunks(name: str, dataset: h5py.Dataset, size: int, deflate: int) -> None:
    # The library unpacks everything before it compares the size with the expected one.
    for number in range(dataset.id.get_num_chunks()):
        chunk = dataset.id.get_chunk_info(number)
        if chunk.size > dataset.file.id.get_filesize():
            raise CheckpointError(f"it is damaged: a chunk of {name} is larger than the file")
        skipped, packed = dataset.id.read_direct_chunk(chunk.chunk_offset)
        stream = zlib.decompressobj()
        if not skipped >> deflate & 1 and (len(stream.decompress(packed, size)) != size or not stream.eof):
            raise CheckpointError(f"it is damaged: a chunk of {name} unpacks to another size than {size} bytes")
