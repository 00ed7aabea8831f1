"""Weights with the layer names of Keras' VGG-19, as HDF5 or as a NumPy archive."""

import math
import re
import zipfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np

from wct_jax.convert.checkpoint import (
    Checkpoint,
    CheckpointError,
    Preprocessing,
    assemble,
    in_vgg_order,
    pair,
)

# `preprocess_input` of https://keras.io/api/applications/vgg/: BGR, 0..255, less the means.
_MEAN = np.array([103.939, 116.779, 123.68])
_PREPROCESSING = Preprocessing("BGR 0..255 less the means 103.939, 116.779, 123.68", 255 * np.eye(3)[::-1], -_MEAN)


def read_hdf5(path: Path) -> Checkpoint:
    """Read what `model.save_weights` or `model.save` wrote as HDF5, with or without the dense layers.

    Args:
        path: The file.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: It is another network. Damaged files raise other errors too.
    """
    # A weight lies under its layer's name, deep in a group if the network was part of another one. The file's lists
    # of names (layer_names, weight_names) say no more, and damaged ones make HDF5 allocate gigabytes.
    names: list[str] = []
    with h5py.File(path, "r") as file:
        root = file.get("model_weights", file)
        root.visit(names.append)
        arrays = [
            (name, _dataset(path, file, root[name]))
            for name in names
            if _LAYER.search(name) and isinstance(root[name], h5py.Dataset)
        ]
    return _from_arrays("Keras HDF5", arrays)


def read_npz(path: Path) -> Checkpoint:
    """Read a NumPy archive with keys such as `block1_conv1/kernel`.

    Args:
        path: The file.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: It is another network. Damaged files raise other errors too.
    """
    with zipfile.ZipFile(path) as archive:
        arrays = [
            (entry.filename.removesuffix(".npy"), _npy(path, archive, entry))
            for entry in archive.infolist()
            if _LAYER.search(entry.filename)
        ]
    return _from_arrays("NumPy archive with Keras layer names", arrays)


_LAYER = re.compile(r"block(\d)_conv(\d)(?!\d)")


def _from_arrays(kind: str, arrays: Iterable[tuple[str, np.ndarray]]) -> Checkpoint:
    # Names of weights changed from block1_conv1_W_1:0 to block1_conv1/kernel; their ranks did not.
    parts: dict[tuple[int, int], dict[int, np.ndarray]] = {}
    for name, array in arrays:
        match = _LAYER.findall(name)[-1]
        layer = parts.setdefault((int(match[0]), int(match[1])), {})
        if array.ndim not in (1, 4) or array.ndim in layer:
            raise CheckpointError(f"{name} has shape {list(array.shape)}, expected one kernel and one bias per layer")
        layer[array.ndim] = array
    if not parts:
        raise CheckpointError("it has no layer block1_conv1, expected those of Keras' VGG-19")
    layers = {place: pair("block{}_conv{}".format(*place), part.get(4), part.get(1)) for place, part in parts.items()}
    return assemble(kind, in_vgg_order(layers), _PREPROCESSING)


def _dataset(path: Path, file: h5py.File, dataset: h5py.Dataset) -> np.ndarray:
    # HDF5 can have its values in other files of the machine.
    if dataset.file != file or dataset.external or dataset.is_virtual:
        raise CheckpointError(f"the values of {dataset.name} do not lie in the file itself")
    if dataset.dtype.kind != "f":
        raise CheckpointError(f"{dataset.name} holds {dataset.dtype} values, expected floating point")
    if dataset.nbytes > path.stat().st_size:
        raise CheckpointError(f"it is damaged: {dataset.name} announces more values than the file can hold")
    return dataset[()]


def _npy(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    # An archive may be compressed, but weights hardly can be: more than this would be made to fill the memory.
    if entry.file_size > 16 * path.stat().st_size:
        raise CheckpointError(f"it is damaged: {entry.filename} announces more values than the file can hold")
    content = BytesIO(archive.read(entry))
    version = np.lib.format.read_magic(content)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = header(content)
    # Unlike np.load, this neither allocates what a header announces nor unpickles.
    flat = np.frombuffer(content.getbuffer()[content.tell() :], dtype, math.prod(shape))
    return flat.reshape(shape, order="F" if is_fortran else "C")
