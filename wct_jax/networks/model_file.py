"""The model file: one `.safetensors` with an encoder, its decoders and its painter.

Keys are `encoder/conv1_1/kernel` `[3, 3, in, out]`, `encoder/conv1_1/bias`, `decoder/relu3_1/conv3_1/kernel`, ...,
`painter/conv4_1/kernel`, ... and `auxiliary/relu3_1/kernel` `[1, 1, in, out]`. In format 2
some layers have an encoder of their own: `encoders/relu3_1/conv1_1/kernel`, .... One metadata key, `wct_jax`, holds a
JSON document.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from wct_jax.checks.arguments import as_path, check_kind
from wct_jax.checks.printable import printable
from wct_jax.kernels.canvas import as_array
from wct_jax.networks.digest import checksum_of, encoder_digest, flatten
from wct_jax.networks.document import FORMAT, FORMAT_OF_SEVERAL, own_encoders, parse_document, update_document
from wct_jax.networks.model import Model
from wct_jax.networks.parts import with_decoder, with_painter
from wct_jax.networks.tensor_file import FLOATING, MISSING, open_tensors, unreadable, write_tensors
from wct_jax.networks.vgg import LAYERS, convolution_of, decoder_shapes, depth_of, encoder_shapes
from wct_jax.system.folders import cache_folder

METADATA_KEY, STYLE_METADATA_KEY = "wct_jax", "wct_jax_style"
_PACKAGED = Path(__file__).with_name("compact.safetensors")


def model_path(model: str | os.PathLike[str]) -> Path:
    """The file of a model: "compact" comes with the package, "vgg19" is in the `cache_folder`, all else is a path."""
    if str(model) == "compact":
        return _PACKAGED
    return cache_folder() / "vgg19.safetensors" if str(model) == "vgg19" else Path(model)


def load_model(model: str | os.PathLike[str]) -> Model:
    """Read a model file and verify it.

    >>> load_model("compact").layers
    ('relu5_1', 'relu4_1', 'relu3_1', 'relu2_1', 'relu1_1')

    Args:
        model: Path of the file, or the name "compact" or "vgg19".

    Returns:
        The model, in float32.

    Raises:
        ValueError: There is no such file, or it is not a model file, has missing, extra or misshapen arrays, has values
            that are not finite, or has another digest or checksum than it says.
    """
    path = model_path(as_path("model", model))
    reason = unreadable(path)
    if reason == MISSING:
        raise ValueError(
            f"there is no model file {path}: expected compact, or a file (vgg19 stands for one) that "
            "python convert_vgg.py makes"
        )
    if reason:
        raise ValueError(f"cannot read the model file {path}: {reason}")
    arrays: dict[str, np.ndarray] = {}
    try:
        with open_tensors(path) as file:
            metadata_keys, document = set(file.metadata), file.metadata.get(METADATA_KEY)
            if document is not None:
                arrays = dict(file)
    except ValueError as error:
        raise ValueError(f"{path} is not a model file, which python convert_vgg.py makes: {error}") from error
    if STYLE_METADATA_KEY in metadata_keys:
        raise ValueError(f"{path} is a style file: expected a model file")
    if document is None:
        raise ValueError(
            f"{path} holds weights but is not a model file of wct_jax: convert it with python convert_vgg.py {path}"
        )
    metadata = parse_document(path, document)
    widths = tuple(metadata["widths"])
    _verify(path, arrays, widths, metadata["layers"], own_encoders(path, metadata))
    networks = ("encoder", "encoders", "decoder", "auxiliary", "painter")
    tree: dict[str, Any] = {network: {} for network in networks}
    for name, array in arrays.items():
        *parents, leaf = name.split("/")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = as_array(array.astype(np.float32, copy=False))
    digest = encoder_digest(tree["encoder"], tree["encoders"])
    if digest != metadata["digest"]:
        raise ValueError(
            f"{path} is damaged: its encoder's digest is {digest[:12]}, expected {printable(metadata['digest'][:12])}"
        )
    checksum = checksum_of(arrays)
    if metadata.get("checksum", checksum) != checksum:
        expected = printable(metadata["checksum"][:12])
        raise ValueError(f"{path} is damaged: its checksum is {checksum[:12]}, expected {expected}")
    return Model(
        encoder=tree["encoder"],
        decoders=tree["decoder"],
        widths=widths,
        digest=digest,
        auxiliary=tree["auxiliary"],
        document=document,
        encoders=tree["encoders"],
        painter=tree["painter"],
    )


def is_model_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file has the metadata of a model file."""
    if unreadable(path):
        return False
    try:
        with open_tensors(path) as file:
            return METADATA_KEY in file.metadata
    except ValueError:
        return False


def save_model(path: str | os.PathLike[str], model: Model) -> None:
    """Write a model file, whole or not at all.

    Args:
        path: Path of the file; an existing one is replaced.
        model: Model to write. The file's document has its format, widths, layers, digest and checksum updated.

    Raises:
        ValueError: The file cannot be written, or the arrays are not those of a model.
    """
    path, model = as_path("path", path), check_kind("model", model, Model, "load_model")
    arrays = flatten("encoder", model.encoder) | flatten("auxiliary", model.auxiliary)
    arrays |= flatten("painter", model.painter)
    for layer, parameters in model.decoders.items():
        arrays |= flatten(f"decoder/{layer}", parameters)
    for layer, parameters in model.encoders.items():
        arrays |= flatten(f"encoders/{layer}", parameters)
    own = {layer: list(model.widths_at(layer)) for layer in sorted(model.encoders, key=depth_of)}
    _verify(Path(path), arrays, model.widths, model.layers, own)
    facts = {
        "format": FORMAT_OF_SEVERAL if own else FORMAT,
        "widths": list(model.widths),
        "layers": list(model.layers),
        "digest": encoder_digest(model.encoder, model.encoders),
        "checksum": checksum_of(arrays),
        **({"encoders": own} if own else {}),
    }
    write_tensors(path, arrays, {METADATA_KEY: update_document(path, model.document, facts)})


def check_model_target(path: str | os.PathLike[str]) -> None:
    """Check before long work that a model file can be written.

    Raises:
        ValueError: The path is that of the packaged model, or its folder is not writable.
    """
    target = os.path.realpath(path)
    if target == os.path.realpath(_PACKAGED):
        raise ValueError(f"the packaged model is never written to: copy {_PACKAGED} and name the copy")
    if not os.access(os.path.dirname(target), os.W_OK):
        raise ValueError(f"cannot write {path}: its folder is not writable")


def add_decoder(path: str | os.PathLike[str], model: Model, layer: str, record: Mapping[str, Any]) -> None:
    """Add a decoder to a model file, or replace the one it has for the layer.

    The file is locked meanwhile, so that several training runs can end at the same time; readers see the old file or
    the new one.

    Args:
        path: Path of the model file.
        model: Model with the decoder and the encoder that it inverts.
        layer: Layer of the decoder.
        record: JSON values that describe the training.

    Raises:
        ValueError: The file cannot be read or written, or has another encoder.
    """
    decoder = model.decoders[layer]
    _change(path, model, f"decoder of {layer}", lambda there: with_decoder(there, layer, decoder, record))


def add_painter(path: str | os.PathLike[str], model: Model, record: Mapping[str, Any]) -> None:
    """Add a painter to a model file, or replace the one it has; see `add_decoder`.

    Args:
        path: Path of the model file.
        model: Model with the painter and its encoder.
        record: JSON values that describe the training.

    Raises:
        ValueError: The file cannot be read or written, or has another encoder.
    """
    _change(path, model, "painter", lambda there: with_painter(there, model.painter, record))


def _change(path: str | os.PathLike[str], model: Model, what: str, change: Callable[[Model], Model]) -> None:
    check_model_target(path)
    target = Path(os.path.realpath(path))
    try:
        with filelock.FileLock(target.with_name(f".{target.name}.lock")):
            there = load_model(target)
            if there.digest != model.digest:
                raise ValueError(f"{path} has another encoder than the one the {what} was trained for")
            save_model(target, change(there))
    except OSError as error:
        raise ValueError(f"cannot lock {path}: {error.strerror or error}") from None


def _verify(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    widths: tuple[int, ...],
    layers: tuple[str, ...],
    own: Mapping[str, Sequence[int]],
) -> None:
    networks = {
        "encoder": encoder_shapes(widths),
        **{f"encoders/{layer}": encoder_shapes(each) for layer, each in own.items()},
        **{f"decoder/{layer}": decoder_shapes(layer, own.get(layer, widths)) for layer in layers},
    }
    painted = [layer for layer in LAYERS[: len(widths)] if f"painter/{convolution_of(layer)}/kernel" in arrays]
    if painted and not own:  # It takes all features from one encoder.
        networks["painter"] = decoder_shapes(painted[-1], widths)
    expected: dict[str, tuple[int, ...]] = {}
    for network, convolutions in networks.items():
        for name, (inputs, outputs) in convolutions.items():
            expected[f"{network}/{name}/kernel"] = (3, 3, inputs, outputs)
            expected[f"{network}/{name}/bias"] = (outputs,)
    for name, array in arrays.items():
        # The auxiliary maps lead to another network with widths of its own.
        prefix, _, rest = name.partition("/")
        layer, _, leaf = rest.partition("/")
        if prefix == "auxiliary" and layer in LAYERS[: len(widths)] and leaf in ("kernel", "bias") and array.ndim:
            outputs = array.shape[-1]
            inputs = own.get(layer, widths)[depth_of(layer) - 1]
            expected[name] = (1, 1, inputs, outputs) if leaf == "kernel" else (outputs,)
    floating = {name: array for name, array in arrays.items() if array.dtype.name in FLOATING}
    faults = {
        "missing": [name for name in expected if name not in arrays],
        "extra": [name for name in arrays if name not in expected],
        "wrong shape": [
            f"{name} {arrays[name].shape} for {shape}"
            for name, shape in expected.items()
            if name in arrays and arrays[name].shape != shape
        ],
        "not floating point": [f"{name} {arrays[name].dtype}" for name in arrays if name not in floating],
        "not finite": [name for name, array in floating.items() if not _is_finite(array)],
    }
    found = "; ".join(f"{fault}: {', '.join(names)}" for fault, names in faults.items() if names)
    if found:
        raise ValueError(f"{path} does not hold the arrays of a model of widths {widths}: {printable(found, 1000)}")


def _is_finite(array: np.ndarray) -> bool:
    with np.errstate(over="ignore"):  # A model is used in float32: larger values are infinite, too.
        return bool(np.isfinite(array.astype(np.float32, copy=False)).all())
