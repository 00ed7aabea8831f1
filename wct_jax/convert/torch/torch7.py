"""Torch7 files (`.t7`), in the binary format that Lua's `torch.save` wrote on 64-bit machines.

See `File:readObject` in https://github.com/torch/torch7/blob/master/File.lua and `read` in `generic/Tensor.c` and
`generic/Storage.c` there. Functions in a file are skipped, not loaded.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from wct_jax.convert.checkpoint import Checkpoint, CheckpointError, Convolution, pair
from wct_jax.convert.containers.budget import Budget
from wct_jax.convert.containers.mapped import map_file
from wct_jax.convert.torch.sequential import from_sequence
from wct_jax.convert.torch.strided import strided
from wct_jax.networks.vgg import PLACES

_NIL, _NUMBER, _STRING, _TABLE, _TORCH, _BOOLEAN, _FUNCTION, _OLD_CLOSURE, _CLOSURE = range(9)

_DTYPES = {
    **dict(Float="<f4", Double="<f8", Half="<f2", Cuda="<f4", CudaDouble="<f8", CudaHalf="<f2"),
    **dict(Byte="u1", Char="i1", Short="<i2", Int="<i4", Long="<i8", CudaByte="u1", CudaLong="<i8"),
}
_TENSORS = {f"torch.{name}Tensor": np.dtype(dtype) for name, dtype in _DTYPES.items()}
_STORAGES = {f"torch.{name}Storage": np.dtype(dtype) for name, dtype in _DTYPES.items()}

_CONVOLUTIONS = {"nn.SpatialConvolution", "nn.SpatialConvolutionMM", "cudnn.SpatialConvolution"}
# The modules between the convolutions of VGG-19 and of its decoders.
_WITHOUT_WEIGHTS = {
    *("nn.ReLU", "cudnn.ReLU", "nn.Identity", "nn.Dropout"),
    *("nn.SpatialMaxPooling", "cudnn.SpatialMaxPooling", "nn.SpatialUpSamplingNearest"),
    *("nn.SpatialReflectionPadding", "nn.SpatialReplicationPadding", "nn.SpatialZeroPadding"),
}
# The deepest real file, a Sequential in a Sequential, nests a dozen objects.
_DEEPEST = 60


def read_torch7(path: Path, preprocessing: str | None = None) -> Checkpoint:
    """Read a Torch7 network of convolutions in sequence."""
    module = _Reader(memoryview(map_file(path)), Budget(path)).read()
    # Stop one beyond the largest network, so that many references to one layer cost nothing.
    modules = islice(_modules("", module, set()), len(PLACES) + 2)
    layers = [_convolution(name, module) for name, module in modules]
    return from_sequence(layers, "Torch7", preprocessing)


@dataclass(eq=False)
class _Module:
    """An object of a Torch class other than tensor and storage."""

    kind: str
    fields: dict


class _Reader:
    def __init__(self, content: memoryview, budget: Budget) -> None:
        self._content, self._budget = content, budget
        self._position = 0
        self._memo: dict[int, object] = {}

    def read(self, depth: int = 0) -> object:
        if depth > _DEEPEST:
            raise CheckpointError(f"it is damaged: its objects are nested deeper than {_DEEPEST}")
        self._budget.meet()
        kind = self._int()
        if kind == _NIL:
            return None
        if kind == _NUMBER:
            return self._unpack("<d", 8)
        if kind == _BOOLEAN:
            return self._int() == 1
        if kind == _STRING:
            return self._string()
        if kind == _FUNCTION:
            self._skip_function(depth)
            return None
        if kind not in (_TABLE, _TORCH, _OLD_CLOSURE, _CLOSURE):
            raise CheckpointError(f"it is damaged: it holds an object of the unknown type {kind}")
        index = self._int()
        if index in self._memo:
            return self._memo[index]
        if kind == _TABLE:
            return self._table(index, depth)
        if kind == _TORCH:
            return self._torch(index, depth)
        self._memo[index] = None
        self._skip_function(depth)
        return None

    def _table(self, index: int, depth: int) -> dict:
        table: dict = {}
        self._memo[index] = table
        for _ in range(self._count(self._int())):
            key = self.read(depth + 1)
            value = self.read(depth + 1)
            if isinstance(key, str | float | bool):
                table[key] = value
        return table

    def _torch(self, index: int, depth: int) -> object:
        version = self._string()
        # Files without versions have the class here.
        kind = self._string() if version.startswith("V ") else version
        value: object
        if kind in _STORAGES:
            dtype = _STORAGES[kind]
            count = self._count(self._long())
            value = np.frombuffer(self._take(count * dtype.itemsize), dtype)
        elif kind in _TENSORS:
            value = self._tensor(_TENSORS[kind], depth)
        else:
            value = _Module(kind, {})
            # Registered before its fields are read, which may refer to it.
            self._memo[index] = value
            fields = self.read(depth + 1)
            if not isinstance(fields, dict):
                raise CheckpointError(f"it holds a {kind[:60]!r}, expected modules, tensors and tables only")
            value.fields = fields
        self._memo[index] = value
        return value

    def _tensor(self, dtype: np.dtype, depth: int) -> np.ndarray:
        dimensions = self._count(self._int())
        self._budget.meet(dimensions)
        size = [self._long() for _ in range(dimensions)]
        stride = [self._long() for _ in range(dimensions)]
        offset = self._long() - 1
        storage = self.read(depth + 1)
        if storage is None or not dimensions:
            return np.zeros(0, dtype)
        if not isinstance(storage, np.ndarray) or storage.ndim != 1 or storage.dtype != dtype:
            raise CheckpointError("it is damaged: a tensor has no storage of its type")
        return strided(storage, offset, size, stride)

    def _skip_function(self, depth: int) -> None:
        self._string()
        self.read(depth + 1)

    def _string(self) -> str:
        return bytes(self._take(self._int())).decode("latin-1")

    def _int(self) -> int:
        return self._unpack("<i", 4)

    def _long(self) -> int:
        return self._unpack("<q", 8)

    def _unpack(self, form: str, length: int) -> Any:
        return struct.unpack(form, self._take(length))[0]

    def _count(self, number: int) -> int:
        # An element takes at least a byte, so this bounds memory and time.
        if not 0 <= number <= len(self._content) - self._position:
            raise CheckpointError(f"it is cut short or damaged: {number} elements announced, which it cannot hold")
        return number

    def _take(self, length: int) -> memoryview:
        end = self._position + self._count(length)
        taken = self._content[self._position : end]
        self._position = end
        return taken


def _modules(name: str, module: object, seen: set[int]) -> Iterator[tuple[str, _Module]]:
    """Yield the convolutions of nested Sequentials in order, named by place as Lua counts: "3", "2.1"."""
    if not isinstance(module, _Module):
        raise CheckpointError("it holds no nn module, expected an nn.Sequential of convolutions")
    if module.kind == "nn.Sequential":
        # A Sequential inside itself would never end.
        inner = module.fields.get("modules")
        if id(module) in seen or not isinstance(inner, dict):
            raise CheckpointError("it is damaged: an nn.Sequential without modules or met twice")
        seen.add(id(module))
        for number in range(1, len(inner) + 1):
            yield from _modules(f"{name}.{number}".removeprefix("."), inner.get(number), seen)
    elif module.kind in _CONVOLUTIONS:
        yield name, module
    elif module.kind not in _WITHOUT_WEIGHTS:
        raise CheckpointError(f"it holds a {module.kind[:60]!r}, which neither VGG-19 nor a decoder has")


def _convolution(name: str, module: _Module) -> Convolution:
    fields = module.fields
    weight, bias = (value if isinstance(value := fields.get(part), np.ndarray) else None for part in ("weight", "bias"))
    if any(fields.get(part, 1) != 1 for part in ("dW", "dH", "groups")):
        raise CheckpointError(f"layer {name} has strides or groups, which neither VGG-19 nor a decoder has")
    if weight is not None and weight.ndim == 2:
        # SpatialConvolutionMM and older SpatialConvolution store [out, in * height * width].
        weight = weight.reshape(len(weight), *(int(fields[part]) for part in ("nInputPlane", "kH", "kW")))
    if weight is not None and weight.ndim != 4:
        raise CheckpointError(
            f"layer {name} has a weight of shape {list(weight.shape)}, expected [out, in, height, width]"
        )
    return pair(name, None if weight is None else weight.transpose(2, 3, 1, 0), bias)
