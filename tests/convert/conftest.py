"""Small networks with VGG-19's shape, and files of every kind that hold one."""

import io
import struct
from itertools import pairwise

import h5py
import numpy as np
import pytest
import safetensors.numpy
import scipy.io

from wct_jax.convert.reading import read_checkpoint
from wct_jax.networks.vgg import PLACES

WIDTHS = (4, 5, 6, 7, 8)


def random_layers(depth=16, widths=WIDTHS, seed=0):
    """The first `depth` convolutions of VGG-19: [(kernel [3, 3, in, out], bias [out])]."""
    rng = np.random.default_rng(seed)
    channels = [3] + [widths[block - 1] for block, _ in PLACES[:depth]]
    return [
        (rng.normal(size=(3, 3, i, o)).astype(np.float32), rng.normal(size=o).astype(np.float32))
        for i, o in pairwise(channels)
    ]


def random_decoder(depth=5, widths=WIDTHS, seed=1):
    """The mirror of `random_layers`, deepest convolution first."""
    return [
        (kernel.transpose(0, 1, 3, 2), np.arange(kernel.shape[2], dtype=np.float32) + seed)
        for kernel, _ in reversed(random_layers(depth, widths, seed))
    ]


def random_colour(seed=2):
    """A 1x1 convolution of RGB: (kernel [1, 1, in, out], bias [out])."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(1, 1, 3, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)


def check_convolutions(checkpoint, expected):
    """Assert that a checkpoint's convolutions are exactly these kernels and biases."""
    for layer, (kernel, bias) in zip(checkpoint.convolutions, expected, strict=True):
        assert layer.kernel.dtype == layer.bias.dtype == np.float32
        np.testing.assert_array_equal(layer.kernel, kernel)
        np.testing.assert_array_equal(layer.bias, bias)


def reason_for_refusal(path, preprocessing=None):
    """The sentence with which a file is refused."""
    with pytest.raises(ValueError, match=r"^cannot read [^\n]+$") as error:
        read_checkpoint(path, preprocessing)
    assert str(error.value).startswith(f"cannot read {path}: ")
    assert type(error.value) is ValueError
    return str(error.value)


def make_state_dict(names, layers):
    """PyTorch tensors by name; kernels become [out, in, height, width]."""
    import torch  # The tests marked core run without it.

    state = {}
    for name, (kernel, bias) in zip(names, layers, strict=True):
        state[f"{name}.weight"] = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
        state[f"{name}.bias"] = torch.from_numpy(np.array(bias))
    return state


class Torch7Writer:
    """Writes files as `File:writeObject` in torch7's File.lua and `write` in generic/Tensor.c and Storage.c do.

    https://github.com/torch/torch7/blob/master/File.lua: a 4-byte type (0 nil, 1 number, 2 string, 3 table,
    4 torch object, 5 boolean, 8 function); tables, torch objects and functions then have a 4-byte index and
    are written once. A torch object has the strings "V 1" and its class. A tensor is its dimensions (4 bytes),
    sizes, strides and storage offset counted from 1 (8 bytes each), then its storage as an object; a storage is
    its length (8 bytes) and its elements. Any other object is the table of its fields.
    """

    def __init__(self):
        self.bytes = io.BytesIO()
        self.indices = {}
        self.kept = []

    def int(self, value):
        self.bytes.write(struct.pack("<i", value))

    def longs(self, *values):
        self.bytes.write(struct.pack(f"<{len(values)}q", *values))

    def string(self, text):
        self.int(len(text))
        self.bytes.write(text.encode("latin-1"))

    def indexed(self, kind, value):
        """Begin an object that is written once; False if it has been."""
        self.int(kind)
        known = id(value) in self.indices
        self.int(self.indices.setdefault(id(value), len(self.indices) + 1))
        self.kept.append(value)
        return not known

    def write(self, value):
        if value is None:
            self.int(0)
        elif isinstance(value, bool):
            self.int(5)
            self.int(int(value))
        elif isinstance(value, int | float):
            self.int(1)
            self.bytes.write(struct.pack("<d", value))
        elif isinstance(value, str):
            self.int(2)
            self.string(value)
        elif isinstance(value, dict):
            if self.indexed(3, value):
                self.int(len(value))
                for key, item in value.items():
                    self.write(key)
                    self.write(item)
        elif isinstance(value, Torch7Function):
            if self.indexed(8, value):
                self.string("\x1bLuaR bytecode")
                self.write({})
        elif self.indexed(4, value):
            self.string("V 1")
            value.write_to(self)


class Torch7Function:
    pass


class Torch7Module:
    def __init__(self, kind, **fields):
        self.kind, self.fields = kind, fields

    def write_to(self, writer):
        writer.string(self.kind)
        writer.write(self.fields)


class Torch7Storage:
    def __init__(self, array, kind):
        self.array, self.kind = array, kind

    def write_to(self, writer):
        writer.string(f"torch.{self.kind}Storage")
        writer.longs(self.array.size)
        writer.bytes.write(self.array.tobytes())


class Torch7Tensor:
    """A view of a storage; with no storage given, of one of its own."""

    def __init__(self, array, kind="Float", storage=None, offset=0):
        self.array, self.kind, self.offset = array, kind, offset
        self.storage = storage or Torch7Storage(np.ascontiguousarray(array).ravel(), kind)

    def write_to(self, writer):
        writer.string(f"torch.{self.kind}Tensor")
        strides = np.cumprod([1, *self.array.shape[:0:-1]])[::-1] if self.array.ndim else []
        writer.int(self.array.ndim)
        writer.longs(*self.array.shape, *strides, self.offset + 1)
        writer.write(self.storage)


class Torch7:
    """The parts of a Torch7 file, and its bytes."""

    Module, Tensor, Storage, Function = Torch7Module, Torch7Tensor, Torch7Storage, Torch7Function

    @staticmethod
    def dumps(value):
        writer = Torch7Writer()
        writer.write(value)
        return writer.bytes.getvalue()

    @staticmethod
    def convolution(kernel, bias, kind="nn.SpatialConvolution", tensor="Float"):
        height, width, inputs, outputs = kernel.shape
        weight = kernel.transpose(3, 2, 0, 1)
        if kind == "nn.SpatialConvolutionMM":
            weight = weight.reshape(outputs, -1)
        dtype = {"Double": np.float64, "Half": np.float16}.get(tensor, np.float32)
        arrays = {"weight": np.ascontiguousarray(weight, dtype), "bias": bias.astype(dtype)}
        shape = {"nInputPlane": inputs, "nOutputPlane": outputs, "kW": width, "kH": height}
        steps = {"dW": 1, "dH": 1, "padW": 0, "padH": 0, "train": False, "_type": f"torch.{tensor}Tensor"}
        tensors = {part: Torch7Tensor(array, tensor) for part, array in arrays.items()}
        return Torch7Module(kind, **tensors, **shape, **steps)

    @staticmethod
    def sequential(modules):
        return Torch7Module("nn.Sequential", modules=dict(enumerate(modules, 1)), train=False)


def write_keras(file, layers, *, old_names=False):
    """Write a file as Keras' `save_weights_to_hdf5_group` (https://github.com/keras-team/keras legacy_h5_format.py)."""
    names = ["input_1", *("block{}_conv{}".format(*place) for place in PLACES[: len(layers)]), "flatten"]
    file.attrs["layer_names"] = [name.encode() for name in names]
    file.attrs["backend"] = b"tensorflow"
    file.attrs["keras_version"] = b"2.1.3"
    for name in names:
        group = file.create_group(name)
        group.attrs["weight_names"] = np.zeros(0, "S1")
    for name, (kernel, bias) in zip(names[1:], layers, strict=False):
        parts = [f"{name}_W_1:0", f"{name}_b_1:0"] if old_names else [f"{name}/kernel:0", f"{name}/bias:0"]
        file[name].attrs["weight_names"] = [part.encode() for part in parts]
        file[name][parts[0]], file[name][parts[1]] = kernel, bias


def matconvnet_model(layers, *, old=False, average=None):
    """The struct that MatConvNet saves; its fields as in vl_simplenn_tidy.m, older ones with `old`."""
    cells = []
    for (block, index), (kernel, bias) in zip(PLACES, layers, strict=False):
        weights = np.empty((1, 2), object)
        weights[0, 0], weights[0, 1] = kernel, bias.reshape(1, -1)
        held = {"filters": kernel, "biases": bias.reshape(1, -1)} if old else {"weights": weights}
        cells += [
            {"name": f"conv{block}_{index}", "type": "conv", "pad": np.ones((1, 4)), "stride": np.ones((1, 2)), **held},
            {"name": f"relu{block}_{index}", "type": "relu"},
        ]
    array = np.empty((1, len(cells)), object)
    array[0, :] = cells
    normalization = {"averageImage": np.array([123.68, 116.779, 103.939]) if average is None else average}
    normalization["imageSize"] = np.array([224.0, 224.0, 3.0])
    return {
        "layers": array,
        **({"normalization": normalization} if old else {"meta": {"normalization": normalization}}),
    }


# Test modules cannot import from here: they get the functions above as fixtures.
layers = pytest.fixture(lambda: random_layers)
decoder = pytest.fixture(lambda: random_decoder)
colour = pytest.fixture(lambda: random_colour())
places = pytest.fixture(lambda: PLACES)
assert_holds = pytest.fixture(lambda: check_convolutions)
refusal = pytest.fixture(lambda: reason_for_refusal)
state_dict = pytest.fixture(lambda: make_state_dict)
torch7 = pytest.fixture(lambda: Torch7)
keras_writer = pytest.fixture(lambda: write_keras)
matconvnet = pytest.fixture(lambda: matconvnet_model)

KINDS = ["keras.h5", "npz", "zip.pth", "legacy.pth", "safetensors", "t7", "mat"]


@pytest.fixture(scope="session")
def valid_files(tmp_path_factory):
    """One small file of each kind: kind to path."""
    import torch

    folder = tmp_path_factory.mktemp("valid")
    paths = {kind: folder / f"{number}" for number, kind in enumerate(KINDS)}
    layers, colour = random_layers(3, (2, 3)), random_colour()
    state = make_state_dict(["0", "2", "5", "9"], [colour, *layers])
    with h5py.File(paths["keras.h5"], "w") as file:
        write_keras(file, layers)
    arrays = {}
    for place, (kernel, bias) in zip(PLACES, layers, strict=False):
        name = "block{}_conv{}".format(*place)
        arrays |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    with paths["npz"].open("wb") as file:
        np.savez(file, **arrays)
    torch.save(state, paths["zip.pth"])
    torch.save(state, paths["legacy.pth"], _use_new_zipfile_serialization=False)
    safetensors.numpy.save_file({name: tensor.numpy() for name, tensor in state.items()}, paths["safetensors"])
    modules = [Torch7.convolution(*colour), *(Torch7.convolution(*layer) for layer in layers)]
    paths["t7"].write_bytes(Torch7.dumps(Torch7.sequential(modules)))
    with paths["mat"].open("wb") as file:
        scipy.io.savemat(file, matconvnet_model(layers))
    return paths
