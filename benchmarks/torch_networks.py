"""Encoder and decoders in PyTorch, with the parameters of `wct_jax.networks.autoencoder`."""

import torch
from torch import nn
from torch.nn import functional

from wct_jax.networks.vgg import deepest, table_to, tap_of


class Convolution(nn.Module):
    """A 3x3 convolution with reflected border, and a ReLU unless told otherwise."""

    def __init__(self, kernel, bias, relu=True):
        super().__init__()
        self.kernel = nn.Parameter(torch.tensor(kernel).permute(3, 2, 0, 1).contiguous())
        self.bias, self.relu = nn.Parameter(torch.tensor(bias)), relu

    def forward(self, x):
        """`[N, C, H, W]` to `[N, C', H, W]`."""
        x = functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode="reflect"), self.kernel, self.bias)
        return functional.relu(x) if self.relu else x


class Encoder(nn.Module):
    """Images `[N, 3, H, W]` to the features of `layers`, a tuple, shallowest first."""

    def __init__(self, parameters, layers):
        super().__init__()
        self.names, self.layers = table_to(deepest(layers)), layers
        names = [name for name in self.names if name != "pool"]
        self.convolutions = nn.ModuleDict({name: Convolution(**parameters[name]) for name in names})

    def forward(self, x):
        """Encode."""
        features = []
        for name in self.names:
            x = functional.max_pool2d(x, 2, ceil_mode=True) if name == "pool" else self.convolutions[name](x)
            if tap_of(name) in self.layers:
                features.append(x)
        return tuple(features)


class Decoder(nn.Module):
    """The feature of a layer to an image, not cropped."""

    def __init__(self, parameters, layer):
        super().__init__()
        self.names = table_to(layer)[::-1]
        convolutions = {name: Convolution(**each, relu=name != "conv1_1") for name, each in parameters.items()}
        self.convolutions = nn.ModuleDict(convolutions)

    def forward(self, x):
        """Decode."""
        for name in self.names:
            upsamples = name == "pool"
            x = functional.interpolate(x, scale_factor=2, mode="nearest") if upsamples else self.convolutions[name](x)
        return x
