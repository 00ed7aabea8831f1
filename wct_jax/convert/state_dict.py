"""State dicts: which network a set of PyTorch tensor names belongs to."""

import re
from collections.abc import Mapping

import numpy as np

from wct_jax.convert.checkpoint import (
    VGG19,
    Checkpoint,
    CheckpointError,
    Convolution,
    Preprocessing,
    assemble,
    in_vgg_order,
    pair,
)
from wct_jax.convert.sequential import from_sequence, preprocessing_of

# https://pytorch.org/vision/stable/models/generated/torchvision.models.vgg19.html
_MEAN = np.array([0.485, 0.456, 0.406])
_STD = np.array([0.229, 0.224, 0.225])

# Each convolution is followed by its ReLU, and each block but the last one here by its pooling.
_TORCHVISION = [2 * place + block - 1 for place, (block, _) in enumerate(VGG19)]


def from_state_dict(tensors: Mapping[str, np.ndarray]) -> Checkpoint:
    """Recognise a network by the names of its tensors.

    Args:
        tensors: Name to array; kernels are `[out, in, height, width]`.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: The names or shapes are of no network that can be converted.
    """
    # DataParallel puts "module." before whatever it wraps: the whole network, or its features alone.
    tensors = {".".join(part for part in name.split(".") if part != "module"): value for name, value in tensors.items()}
    if any(name.startswith("features.") for name in tensors):
        return _torchvision({name: value for name, value in tensors.items() if name.startswith("features.")})
    names = {name.rpartition(".")[0] for name in tensors}
    if all(name.isdecimal() for name in names):
        layers = _layers(tensors)
        return from_sequence([layers[name] for name in sorted(layers, key=int)], "Sequential state dict")
    if all(re.fullmatch(r"conv0|conv\d\d(_aux)?", name) for name in names):
        return _compressed(_layers(tensors))
    raise CheckpointError(
        f"its tensors are named {_some(tensors)}, expected features.N.weight (torchvision), "
        "N.weight (a Sequential) or convNN.weight (a compressed network)"
    )


def _layers(tensors: Mapping[str, np.ndarray]) -> dict[str, Convolution]:
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, value in tensors.items():
        layer, _, part = name.rpartition(".")
        if part not in ("weight", "bias"):
            raise CheckpointError(f"it holds {name!r}, expected the weight and bias of VGG-19's convolutions only")
        parts.setdefault(layer, {})[part] = value
    return {layer: _layer(layer, found.get("weight"), found.get("bias")) for layer, found in parts.items()}


def _layer(name: str, weight: np.ndarray | None, bias: np.ndarray | None) -> Convolution:
    if weight is not None and weight.ndim != 4:
        raise CheckpointError(
            f"{name}.weight has shape {list(weight.shape)}, expected a convolution's [out, in, height, width]"
        )
    return pair(name, None if weight is None else weight.transpose(2, 3, 1, 0), bias)


def _torchvision(tensors: Mapping[str, np.ndarray]) -> Checkpoint:
    for name in tensors:
        if name.endswith(".running_mean"):
            raise CheckpointError(f"it holds batch normalisation, {name}, expected VGG-19 without it")
    layers = {name.removeprefix("features."): layer for name, layer in _layers(tensors).items()}
    found = sorted(int(name) if name.isdecimal() else -1 for name in layers)
    if found != _TORCHVISION[: len(found)]:
        raise CheckpointError(
            f"it has layers at features {', '.join(sorted(layers, key=lambda name: name.zfill(9))[:20])}, "
            f"expected VGG-19's convolutions at {', '.join(map(str, _TORCHVISION))}"
        )
    preprocessing = Preprocessing("RGB 0..1, (x - mean) / std of ImageNet", np.diag(1 / _STD), -_MEAN / _STD)
    return assemble("torchvision VGG-19 state dict", [layers[str(index)] for index in found], preprocessing)


def _compressed(layers: dict[str, Convolution]) -> Checkpoint:
    """The networks of Collaborative Distillation (Wang et al., CVPR 2020): conv31 is VGG-19's conv3_1."""
    colour = layers.pop("conv0", None)
    maps = {_place(name): layer for name, layer in layers.items() if name.endswith("_aux")}
    ascending = in_vgg_order({_place(name): layer for name, layer in layers.items() if not name.endswith("_aux")})
    if colour is not None:
        return assemble(
            "compressed encoder state dict", ascending, preprocessing_of(colour), normalised=True, auxiliary=maps
        )
    if maps or not ascending or ascending[0].kernel.shape[3] != 3:
        raise CheckpointError("it has no conv0, the map from RGB of an encoder, and its conv11 does not end in RGB")
    return assemble("compressed decoder state dict", ascending[::-1], None)


def _place(name: str) -> tuple[int, int]:
    return int(name[4]), int(name[5])


def _some(tensors: Mapping[str, np.ndarray]) -> str:
    names = [repr(name[:60]) for name in list(tensors)[:3]]
    return ", ".join(names) + (f" and {len(tensors) - 3} more" if len(tensors) > 3 else "")
