"""Weights with the layer names of Keras' VGG-19, as HDF5 or as a NumPy archive."""

import math
import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np

from wct_jax.convert.checkpoint import Checkpoint, CheckpointError, assemble, in_vgg_order, pair
from wct_jax.convert.containers.archive import open_zip, read_entry
from wct_jax.convert.containers.budget import Budget
from wct_jax.convert.containers.hdf5 import read_datasets
from wct_jax.convert.preprocessing import find_preprocessing


def read_hdf5(path: Path, preprocessing: str | None = None) -> Checkpoint:
    """Read an HDF5 file from `model.save_weights` or `model.save`, with or without the dense layers."""
    # A weight lies under its layer's name, deep in a group if the network was part of another one. The file's lists
    # of names (layer_names, weight_names) add nothing, and damaged ones make HDF5 allocate gigabytes.
    return _from_arrays("Keras HDF5", read_datasets(path, "model_weights", _LAYER.search), preprocessing)


def read_npz(path: Path, preprocessing: str | None = None) -> Checkpoint:
    """Read a NumPy archive with keys such as `block1_conv1/kernel`."""
    budget = Budget(path)
    with open_zip(path) as archive:
        entries = {
            entry.filename.removesuffix(".npy"): entry for entry in archive.infolist() if _LAYER.search(entry.filename)
        }
        for name, entry in entries.items():
            budget.spend(entry.file_size, name)
        arrays = {name: _npy(read_entry(archive, entry)) for name, entry in entries.items()}
    return _from_arrays("NumPy archive with Keras layer names", arrays, preprocessing)


_LAYER = re.compile(r"block(\d)_conv(\d)(?!\d)")


def _from_arrays(kind: str, arrays: Mapping[str, np.ndarray], preprocessing: str | None) -> Checkpoint:
    # Keras renamed weights from block1_conv1_W_1:0 to block1_conv1/kernel; their ranks stayed.
    parts: dict[tuple[int, int], dict[int, np.ndarray]] = {}
    for name, array in arrays.items():
        match = _LAYER.findall(name)[-1]
        layer = parts.setdefault((int(match[0]), int(match[1])), {})
        if array.ndim not in (1, 4) or array.ndim in layer:
            raise CheckpointError(f"{name} has shape {list(array.shape)}, expected one kernel and one bias per layer")
        layer[array.ndim] = array
    if not parts:
        raise CheckpointError("it has no layer block1_conv1, expected those of Keras' VGG-19")
    layers = {place: pair("block{}_conv{}".format(*place), part.get(4), part.get(1)) for place, part in parts.items()}
    chain = in_vgg_order(layers)
    # `preprocess_input` of https://keras.io/api/applications/vgg/ is Caffe's.
    return assemble(kind, chain, find_preprocessing(chain[0], "caffe", preprocessing))


def _npy(file: bytes) -> np.ndarray:
    content = BytesIO(file)
    version = np.lib.format.read_magic(content)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = header(content)
    # Unlike np.load, this neither allocates what a header announces nor unpickles.
    flat = np.frombuffer(file, dtype, math.prod(shape), content.tell())
    return flat.reshape(shape, order="F" if is_fortran else "C")
