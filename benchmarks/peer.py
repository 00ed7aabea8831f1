"""The networks and the transform as PyTorch's users write them, to compare this project with.

Eager, all cores, an encoder run for each level and picture, statistics in float64. Parameters are those of
`wct_jax.networks.autoencoder`: a kernel and a bias for each convolution's name.
"""

import contextlib

import torch
from torch.nn import functional

from wct_jax.networks.vgg import cell_of, deepest_first, table_to


def tensors(parameters, memory_format=torch.contiguous_format):
    """A kernel `[out, in, 3, 3]` and a bias `[out]` for each convolution's name."""
    return {
        name: (
            torch.tensor(p["kernel"]).permute(3, 2, 0, 1).contiguous(memory_format=memory_format),
            torch.tensor(p["bias"]),
        )
        for name, p in parameters.items()
    }


def convolve(x, kernel, bias):
    return functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, bias)


def encode(encoder, x, layer):
    """The feature `[N, C, H', W']` of images `[N, 3, H, W]`."""
    for name in table_to(layer):
        pools = name == "pool"
        x = functional.max_pool2d(x, 2, ceil_mode=True) if pools else functional.relu(convolve(x, *encoder[name]))
    return x


def decode(decoder, x, layer):
    """The image of a feature of the layer."""
    for name in reversed(table_to(layer)):
        x = functional.interpolate(x, scale_factor=2, mode="nearest") if name == "pool" else convolve(x, *decoder[name])
        x = x if name in ("pool", "conv1_1") else functional.relu(x)
    return x


def stylize(encoder, decoders, content, style, stage=lambda name: contextlib.nullcontext()):
    """Run the cascade over `[1, 3, H, W]`, each stage within the context that `stage` makes for its name."""
    x = content
    for layer in deepest_first(decoders):
        with stage("encode"):
            features = [encode(encoder, image, layer)[0].flatten(1).double() for image in (x, style)]
        with stage("statistics"):
            means = [feature.mean(1, keepdim=True) for feature in features]
            centered = [feature - mean for feature, mean in zip(features, means, strict=True)]
            covariances = [x @ x.T / (x.shape[1] - 1) for x in centered]
        with stage("eigh"):
            (values, vectors), (style_values, style_vectors) = map(torch.linalg.eigh, covariances)
            kept, style_kept = (v > 1e-6 * v[-1] for v in (values, style_values))
            whitening = (vectors[:, kept] * values[kept] ** -0.5) @ vectors[:, kept].T
            coloring = (style_vectors[:, style_kept] * style_values[style_kept] ** 0.5) @ style_vectors[:, style_kept].T
        with stage("apply"):
            y = (coloring @ (whitening @ centered[0]) + means[1]).float()
        with stage("decode"):
            sides = [-(-side // cell_of(layer)) for side in content.shape[2:]]
            x = decode(decoders[layer], y.view(1, -1, *sides), layer)[:, :, : content.shape[2], : content.shape[3]]
    return x
