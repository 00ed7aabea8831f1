"""Converting published weights to a model."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from wct_jax.convert.assembly import auxiliary_parameters, decoder_layer, decoder_parameters, encoder_parameters
from wct_jax.convert.joining import join
from wct_jax.convert.normalise import mean_activations, normalise, read_photos
from wct_jax.convert.preprocessing import check_name
from wct_jax.convert.reading import read_checkpoint
from wct_jax.networks.digest import encoder_digest
from wct_jax.networks.model import Model
from wct_jax.networks.model_file import is_model_file, load_model
from wct_jax.networks.parts import with_decoder
from wct_jax.pictures.scan import scan


def convert(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    decoders: Sequence[str | os.PathLike[str]] = (),
    *,
    photos: str | os.PathLike[str] | None = None,
    preprocessing: str | None = None,
    licence: str = "that of the source",
    tell: Callable[[str], None] | None = None,
) -> Model:
    """Make a model of published weights.

    Args:
        source: An encoder in any format that `read_checkpoint` reads, or a model file to add decoders to; or several,
            where each layer has an encoder of its own.
        decoders: Decoder files in any of these formats.
        photos: A folder or pattern of photos over which to scale an encoder's channels to mean activation 1, unless
            they are so already; None for the small set in the package.
        preprocessing: The preprocessing that an encoder expects, unless it is the encoder's own first layer: "caffe"
            (BGR in 0..255 minus the means), "caffe-rgb" (the same for RGB), "torchvision" (RGB in 0..1, normalised by
            ImageNet's mean and deviation) or "none" (RGB in 0..1). None to recognise it by the weights and their names.
        licence: The licence to record in the document.
        tell: A function called with a sentence for each photo that cannot be read and is left out.

    Returns:
        The model; its document says what was converted and how.

    Raises:
        ValueError: A file cannot be read, is damaged, holds another network or does not fit the others, or the
            preprocessing cannot be recognised.
    """
    check_name(preprocessing)
    if photos is not None:
        scan(photos)  # Report a wrong path even where no photos are needed.

    def model_of(source: str | os.PathLike[str]) -> Model:
        if not is_model_file(source):
            return _encoder(source, photos, preprocessing, licence, tell)
        if preprocessing is not None:
            raise ValueError(f"{source} is a model file, with its preprocessing in it: leave out --preprocessing")
        return load_model(source)

    sources = [source] if isinstance(source, str | os.PathLike) else list(dict.fromkeys(source))
    models = {str(each): model_of(each) for each in sources}
    model = join(models) if len(models) > 1 else next(iter(models.values()))
    for file in decoders:
        checkpoint = read_checkpoint(file)
        try:
            layer = decoder_layer(checkpoint, len(model.widths))
            _, parameters = decoder_parameters(checkpoint, model.widths_at(layer))
        except ValueError as error:
            raise ValueError(f"{file} does not fit the encoder of {' or '.join(models)}: {error}") from None
        if layer in model.decoders:
            raise ValueError(f"{file} is a decoder of {layer}, and there already is one")
        model = with_decoder(model, layer, parameters, {"file": Path(file).name, "kind": checkpoint.kind})
    return model


def _encoder(
    source: str | os.PathLike[str],
    photos: str | os.PathLike[str] | None,
    preprocessing: str | None,
    licence: str,
    tell: Callable[[str], None] | None,
) -> Model:
    checkpoint = read_checkpoint(source, preprocessing)
    try:
        encoder, widths = encoder_parameters(checkpoint)
    except ValueError as error:
        raise ValueError(f"{source} cannot be the source: {error}") from None
    if checkpoint.normalised:
        normalisation = "none: the source's channels are scaled already"
    else:
        pictures = read_photos(photos, tell)
        try:
            encoder = normalise(encoder, mean_activations(encoder, widths, pictures))
        except ValueError as error:
            raise ValueError(f"{source} cannot be the source: {error}") from None
        of = "the package's own photos" if photos is None else f"photos of {Path(photos).name}"
        normalisation = f"every channel to mean activation 1 over {len(pictures)} of {of}"
    assert checkpoint.preprocessing is not None  # encoder_parameters checks that
    document = {
        "source": {"file": Path(source).name, "kind": checkpoint.kind},
        "preprocessing": checkpoint.preprocessing.description,
        "normalisation": normalisation,
        "licence": licence,
    }
    auxiliary = auxiliary_parameters(checkpoint, len(widths))
    return Model(encoder, {}, widths, encoder_digest(encoder), auxiliary, json.dumps(document))
