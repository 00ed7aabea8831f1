"""MatConvNet models, such as `imagenet-vgg-verydeep-19.mat`."""

import re
from pathlib import Path

import numpy as np

from wct_jax.convert.checkpoint import (
    Checkpoint,
    CheckpointError,
    Convolution,
    Preprocessing,
    assemble,
    in_vgg_order,
    pair,
)
from wct_jax.convert.containers.matlab import read_matlab
from wct_jax.convert.preprocessing import PREPROCESSINGS


def read_matconvnet(path: Path, preprocessing: str | None = None) -> Checkpoint:
    """Read a SimpleNN model from a MATLAB 5 file; without `preprocessing`, the file's own average image counts.

    Reads both layouts of https://github.com/vlfeat/matconvnet/blob/master/matlab/simplenn/vl_simplenn_tidy.m.
    """
    model = read_matlab(path, ("layers", "meta", "normalization"))
    layers = model.get("layers")
    if not isinstance(layers, list):
        raise CheckpointError("it has no cell array 'layers', expected a SimpleNN model of MatConvNet")
    found: dict[tuple[int, int], Convolution] = {}
    for layer in layers:
        kind, name = layer["type"], layer["name"]
        match = re.fullmatch(r"conv(\d)_(\d)", name)
        if kind == "bnorm":
            raise CheckpointError(f"it holds batch normalisation, {name}, expected VGG-19 without it")
        if kind == "conv" and match:
            found[int(match[1]), int(match[2])] = _convolution(name, layer)
    chain = in_vgg_order(found)
    if preprocessing is not None:
        return assemble("MatConvNet VGG-19", chain, PREPROCESSINGS[preprocessing])
    average = _average(model)
    own = Preprocessing(
        f"RGB 0..255 less the average {', '.join(f'{value:.6g}' for value in average)}", 255 * np.eye(3), -average
    )
    return assemble("MatConvNet VGG-19", chain, own)


def _convolution(name: str, layer: dict) -> Convolution:
    # Up to about beta 16, files had filters and biases instead of weights.
    kernel, bias = layer["weights"] if "weights" in layer else (layer["filters"], layer["biases"])
    return pair(name, kernel, bias.ravel())


def _average(model: dict) -> np.ndarray:
    normalization = model["meta"].get("normalization") if "meta" in model else model.get("normalization")
    if normalization is None:
        raise CheckpointError("it has no normalization.averageImage, which its preprocessing needs")
    image = normalization["averageImage"].astype(np.float64)
    average = image.ravel() if image.size == 3 else image.mean((0, 1))
    if average.shape != (3,) or not np.isfinite(average).all():
        raise CheckpointError(f"its averageImage has shape {list(image.shape)}, expected 3 finite values per pixel")
    return average
