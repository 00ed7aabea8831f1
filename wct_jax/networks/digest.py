"""Checksums of arrays, and of the encoders that styles are tied to."""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from wct_jax.networks.model import Parameters


def checksum_of(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over the sorted names, types, shapes and values of all arrays, in hexadecimal."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def encoder_digest(encoder: Parameters, encoders: Mapping[str, Parameters] = MappingProxyType({})) -> str:
    """SHA-256 over the sorted names, shapes and float32 values of a model's encoders, in hexadecimal.

    Args:
        encoder: The encoder of the model.
        encoders: Layer to its own encoder, for layers that have one.
    """
    digest = hashlib.sha256()
    arrays = flatten("encoder", encoder)
    for layer, parameters in encoders.items():
        arrays |= flatten(f"encoders/{layer}", parameters)
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(array.astype("<f4").tobytes())
    return digest.hexdigest()


def flatten(prefix: str, parameters: Parameters) -> dict[str, np.ndarray]:
    """Parameters by their names in a model file."""
    # In C order: safetensors writes the memory as it lies, and not every array or device has that order.
    return {
        f"{prefix}/{name}/{leaf}": np.asarray(array, order="C")
        for name, leaves in parameters.items()
        for leaf, array in leaves.items()
    }
