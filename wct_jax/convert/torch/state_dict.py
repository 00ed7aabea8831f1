"""Recognising a network by the names in a PyTorch state dict."""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from wct_jax.convert.checkpoint import Checkpoint, CheckpointError, Convolution, assemble, in_vgg_order, pair
from wct_jax.convert.preprocessing import PREPROCESSINGS, find_preprocessing
from wct_jax.convert.torch.sequential import from_sequence, preprocessing_of
from wct_jax.networks.vgg import PLACES

# A ReLU follows each convolution, and a pooling each block.
_TORCHVISION = [2 * place + block - 1 for place, (block, _) in enumerate(PLACES)]
# DataParallel and torch.compile put these before the names of the network, or part of it, that they wrap.
_WRAPPERS = {"module", "_orig_mod"}
_FIRST = "features.0.weight"


def from_state_dict(tensors: Mapping[str, np.ndarray], preprocessing: str | None = None) -> Checkpoint:
    """Recognise a network by its tensors' names, and by its first convolution where the names do not suffice.

    Args:
        tensors: Name to array, kernels `[out, in, height, width]`; only convolutions are read.
        preprocessing: The preprocessing that an encoder without its own expects, or None to recognise it.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: The names or shapes belong to no network that can be converted.
    """
    names = _without_prefix(tensors)
    layers = {name.rpartition(".")[0] for name in names}
    if any(name.startswith("features.") for name in names):
        return _torchvision(tensors, names, preprocessing)
    if all(name.isdecimal() for name in layers):
        found = _layers(tensors, names)
        chain = [found[name] for name in sorted(found, key=int)]
        return from_sequence(chain, "Sequential state dict", preprocessing)
    if all(re.fullmatch(r"conv0|conv\d\d(_aux)?", name) for name in layers):
        return _compressed(_layers(tensors, names), preprocessing)
    if all(re.fullmatch(r"conv\d_\d|fc\d", name) for name in layers):
        return _caffe(tensors, names, preprocessing)
    raise CheckpointError(
        f"its tensors are named {_some(tensors)}, expected features.N.weight (torchvision), "
        "N.weight (a Sequential), convN_N.weight (Caffe's names) or convNN.weight (a compressed network)"
    )


def _without_prefix(names: Iterable[str]) -> dict[str, str]:
    """Strip the prefixes that objects around the network add: short name to the name in the file."""
    short = {".".join(part for part in name.split(".") if part not in _WRAPPERS): name for name in names}
    around = [name.removesuffix(_FIRST) for name in short if f".{name}".endswith(f".{_FIRST}")]
    if len(around) > 1:
        raise CheckpointError(f"it holds {len(around)} networks, {_some(around)}; save the one to be converted alone")
    prefix = around[0] if around else _common_prefix(short)
    return {name.removeprefix(prefix): whole for name, whole in short.items() if name.startswith(prefix)}


def _common_prefix(names: Iterable[str]) -> str:
    paths = [name.split(".") for name in names if name.endswith((".weight", ".bias"))]
    common = 0
    # At least two parts must remain: the layer, and "weight" or "bias".
    while paths and all(len(path) > common + 2 and path[common] == paths[0][common] for path in paths):
        common += 1
    return "".join(f"{part}." for part in paths[0][:common]) if paths else ""


def _layers(tensors: Mapping[str, np.ndarray], names: Mapping[str, str]) -> dict[str, Convolution]:
    parts: dict[str, dict[str, str]] = {}
    for name, whole in names.items():
        layer, _, part = name.rpartition(".")
        if part not in ("weight", "bias"):
            expected = "the weight and bias of VGG-19's convolutions only"
            raise CheckpointError(f"it holds {whole[:60]!r}, expected {expected}")
        parts.setdefault(layer, {})[part] = whole
    # Compressed networks have an auxiliary map for each convolution, and conv0.
    if len(parts) > 2 * len(PLACES) + 1:
        raise CheckpointError(f"it has {len(parts)} layers, expected at most VGG-19's {len(PLACES)} convolutions")
    return {
        layer: _layer(layer[:60], *(tensors[found[part]] if part in found else None for part in ("weight", "bias")))
        for layer, found in parts.items()
    }


def _layer(name: str, weight: np.ndarray | None, bias: np.ndarray | None) -> Convolution:
    if weight is not None and weight.ndim != 4:
        raise CheckpointError(
            f"{name}.weight has shape {list(weight.shape)}, expected a convolution's [out, in, height, width]"
        )
    return pair(name, None if weight is None else weight.transpose(2, 3, 1, 0), bias)


def _torchvision(tensors: Mapping[str, np.ndarray], names: Mapping[str, str], preprocessing: str | None) -> Checkpoint:
    features = {name: whole for name, whole in names.items() if name.startswith("features.")}
    for name in features:
        if name.endswith(".running_mean"):
            raise CheckpointError(f"it holds batch normalisation, {name[:60]}, expected VGG-19 without it")
    layers = {name.removeprefix("features."): layer for name, layer in _layers(tensors, features).items()}
    found = sorted(int(name) if name.isdecimal() else -1 for name in layers)
    if found != _TORCHVISION[: len(found)]:
        raise CheckpointError(
            f"it has layers at features {', '.join(sorted(layers, key=lambda name: name.zfill(9))[:20])}, "
            f"expected VGG-19's convolutions at {', '.join(map(str, _TORCHVISION))}"
        )
    chain = [layers[str(index)] for index in found]
    # Caffe's weights come with a Dropout before the first dense layer: https://github.com/jcjohnson/pytorch-vgg
    dense = {match[1] for name in names if (match := re.fullmatch(r"classifier\.(\d+)\.weight", name))}
    names_say = "caffe" if "1" in dense and "0" not in dense else "torchvision"
    expected = find_preprocessing(chain[0], names_say, preprocessing)
    is_theirs = expected is PREPROCESSINGS["torchvision"]
    kind = "torchvision VGG-19 state dict" if is_theirs else "VGG-19 state dict with torchvision's names"
    return assemble(kind, chain, expected)


def _caffe(tensors: Mapping[str, np.ndarray], names: Mapping[str, str], preprocessing: str | None) -> Checkpoint:
    """Read Caffe's names, as in https://github.com/leongatys/PytorchNeuralStyleTransfer, with anybody's weights."""
    layers = _layers(tensors, {name: whole for name, whole in names.items() if name.startswith("conv")})
    chain = in_vgg_order({(int(name[4]), int(name[6])): layer for name, layer in layers.items()})
    expected = find_preprocessing(chain[0], None, preprocessing)
    return assemble("VGG-19 state dict with Caffe's names", chain, expected)


def _compressed(layers: dict[str, Convolution], preprocessing: str | None) -> Checkpoint:
    """Read a network of Collaborative Distillation (Wang et al., CVPR 2020), whose conv31 is VGG-19's conv3_1."""
    colour = layers.pop("conv0", None)
    maps = {_place(name): layer for name, layer in layers.items() if name.endswith("_aux")}
    ascending = in_vgg_order({_place(name): layer for name, layer in layers.items() if not name.endswith("_aux")})
    if colour is not None:
        own = preprocessing_of(colour, preprocessing)
        return assemble("compressed encoder state dict", ascending, own, normalised=True, auxiliary=maps)
    if maps or not ascending or ascending[0].kernel.shape[3] != 3:
        raise CheckpointError("it has no conv0, the map from RGB of an encoder, and its conv11 does not end in RGB")
    return assemble("compressed decoder state dict", ascending[::-1], None)


def _place(name: str) -> tuple[int, int]:
    return int(name[4]), int(name[5])


def _some(names: Iterable[str]) -> str:
    first = [repr(name[:60]) for name in list(names)[:3]]
    return ", ".join(first) + (f" and {more} more" if (more := len(list(names)) - 3) > 0 else "")
