"""The three trainings: of a decoder, of a painter, and of a small encoder with its decoders."""

import dataclasses
import functools
import json
from collections.abc import Iterable, Sequence
from typing import Any

import optax

from wct_jax.measures.evaluation import evaluate, rebuild
from wct_jax.networks.digest import encoder_digest
from wct_jax.networks.model import Model, Parameters
from wct_jax.networks.parts import with_decoder, with_painter
from wct_jax.networks.taps import Taps
from wct_jax.networks.vgg import deeper_than, depth_of
from wct_jax.training.decoder import LossWeights, init_state, make_optimizer, train_step
from wct_jax.training.loop import State
from wct_jax.training.painter import PainterWeights, init_painter, painter_step
from wct_jax.training.student import DistillWeights, distill_step, fixed_convolutions, init_student
from wct_jax.training.task import Setup, Task, perform

LOSSES = {
    "pixel": "pixel loss (mean squared error, pixels in 0..1)",
    "feature": "feature loss (mean squared error of the layer's feature)",
    "perceptual": "perceptual loss (relative error of the judges' features)",
    "style": "style loss (relative errors of covariances and feature)",
}
DISTILLATION_LOSSES = {
    "pixel": "pixel loss (mean squared error, pixels in 0..1; geometric mean over layers)",
    "feature": "feature loss (share of the teachers' variance that is not predicted; geometric mean over layers)",
    "perceptual": "perceptual loss (relative error of the judges' features; geometric mean over layers)",
}


def train_decoder(
    model: Model,
    layer: str,
    weights: LossWeights,
    setup: Setup,
    *,
    judges: Sequence[Taps] = (),
    finetune: bool = False,
) -> tuple[Model, dict[str, Any]]:
    """Train the decoder of a layer, or resume its training.

    Args:
        model: Model with the encoder, and with decoders of deeper layers for the loss of style.
        layer: Layer to invert.
        weights: Weights of the loss.
        setup: Photos, folder and recipe of the training.
        judges: Encoders for the perceptual loss and the loss of style, with the layers to read.
        finetune: Begin with the model's decoder rather than a new one.

    Returns:
        The model with this decoder alone, and the JSON record of its training.

    Raises:
        ValueError: The training cannot begin, or fails; see `perform`.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    bare = _without_networks(model)

    def begin(optimizer: optax.GradientTransformation) -> State:
        return init_state(model, layer, optimizer, setup.recipe.seed, model.decoders[layer] if finetune else None)

    def networks(decoder: Parameters) -> Model:
        return dataclasses.replace(bare, decoders={layer: decoder})

    def recorded(trained: Model, record: dict[str, Any]) -> Model:
        return with_decoder(trained, layer, trained.decoders[layer], record)

    identity = {"layer": layer, "encoder": model.digest, **dataclasses.asdict(weights), "finetune": finetune}
    deeper = deeper_than(layer, model.decoders) if weights.style else ()
    if deeper:
        identity["after"] = list(deeper)
    if judges:
        identity["judges"] = _digests(judges)
    task = Task(
        name=layer,
        identity=identity,
        begin=begin,
        step=functools.partial(train_step, layer=layer, weights=weights),
        frozen=(dataclasses.replace(bare, decoders={name: model.decoders[name] for name in deeper}), tuple(judges)),
        losses={name: title for name, title in LOSSES.items() if getattr(weights, name)},
        networks=networks,
        measure=lambda trained, val: evaluate(trained, layer, val()),
        recorded=recorded,
    )
    return perform(task, setup)


PAINTER_LOSSES = {
    "pixel": "pixel loss (mean squared error of rebuilt photos, pixels in 0..1)",
    "feature": "feature loss (relative errors of the painter's inputs)",
    "style": "style loss (distance from the style, as the judges see it)",
    "structure": "structure loss (change of the photo's structure)",
    "weave": "weave loss (excess of power along the axes in flat parts)",
    "gamut": "gamut loss (mean squared distance from 0..1)",
}


def train_painter(
    model: Model,
    layer: str,
    weights: PainterWeights,
    setup: Setup,
    *,
    judges: Sequence[Taps],
    finetune: bool = False,
) -> tuple[Model, dict[str, Any]]:
    """Train a painter of one pass, or resume its training.

    Args:
        model: Model with the encoder, and with a decoder of the layer or a painter to begin with.
        layer: The painter's deepest layer.
        weights: Weights of the loss.
        setup: Photos beside styles, folder and recipe of the training.
        judges: Encoders for the losses of style and structure, with the layers to read.
        finetune: Begin with the model's painter rather than with the decoder of the layer.

    Returns:
        The model with this painter and without decoders, and the JSON record of its training.

    Raises:
        ValueError: The training cannot begin, or fails; see `perform`.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    bare = _without_networks(model)

    def begin(optimizer: optax.GradientTransformation) -> State:
        return init_painter(model, layer, optimizer, setup.recipe.seed, model.painter if finetune else None)

    def as_decoder(trained: Model) -> Model:
        return dataclasses.replace(trained, decoders={layer: trained.painter})

    task = Task(
        name="painter",
        identity={
            "painter": layer,
            "encoder": model.digest,
            **dataclasses.asdict(weights),
            "finetune": finetune,
            "judges": _digests(judges),
        },
        begin=begin,
        step=functools.partial(painter_step, layer=layer, weights=weights),
        frozen=(bare, tuple(judges)),
        losses={name: title for name, title in PAINTER_LOSSES.items() if getattr(weights, name)},
        networks=lambda painter: dataclasses.replace(bare, painter=painter),
        recorded=lambda trained, record: with_painter(trained, trained.painter, record),
        measure=lambda trained, val: evaluate(as_decoder(trained), layer, val()),
        optimizer=functools.partial(make_optimizer, clip=1.0),
        show=lambda trained, photo: rebuild(as_decoder(trained), layer, photo),
    )
    return perform(task, setup)


def distill(
    teachers: Sequence[Taps],
    widths: Sequence[int],
    weights: DistillWeights,
    setup: Setup,
    *,
    judges: Sequence[Taps] = (),
    model: Model | None = None,
    finetune: bool = False,
) -> tuple[Model, dict[str, Any]]:
    """Train a small encoder and its decoders, or resume their training.

    Args:
        teachers: Encoders to learn from, with the layers that each teaches: together all layers of the student or, with
            a model, its last ones.
        widths: Channels of the encoder's blocks.
        weights: Weights of the loss.
        setup: Photos, folder and recipe of the training.
        judges: Encoders for the perceptual loss, with the layers to read.
        model: Model whose encoder stays as it is in front of the layers that are learned.
        finetune: Begin with the model's convolutions and decoders of the layers that are learned.

    Returns:
        The model, and the JSON record of its training.

    Raises:
        ValueError: The training cannot begin, or fails; see `perform`.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    widths = tuple(widths)
    layers = sorted((layer for teacher in teachers for layer in teacher.layers), key=depth_of)
    fixed = fixed_convolutions(model, layers) if model else {}

    def begin(optimizer: optax.GradientTransformation) -> State:
        return init_student(widths, teachers, optimizer, setup.recipe.seed, model, finetune)

    def networks(student: Any) -> Model:
        encoder = {**fixed, **student["encoder"]}
        decoders = {**(model.decoders if model else {}), **student["decoders"]}
        return Model(encoder, decoders, widths, encoder_digest(encoder))

    def recorded(student: Model, record: dict[str, Any]) -> Model:
        document: dict[str, Any] = (
            model.metadata if model else {"source": "distilled from " + "; ".join(map(_name, teachers))}
        )
        document["distillations"] = [*document.get("distillations", []), record]
        document["decoders"] = document.get("decoders", {}) | {
            layer: {"kind": "of the last distillation that learned it"} for layer in layers
        }
        return dataclasses.replace(student, document=json.dumps(document))

    identity = {"teachers": _digests(teachers), "widths": list(widths), **dataclasses.asdict(weights)}
    if judges:
        identity["judges"] = _digests(judges)
    if model:
        identity |= {"model": model.digest, "finetune": finetune}
    task = Task(
        name="distillation",
        identity=identity,
        begin=begin,
        step=functools.partial(distill_step, widths=widths, weights=weights),
        frozen=(tuple(teachers), tuple(judges), fixed),
        losses={name: title for name, title in DISTILLATION_LOSSES.items() if getattr(weights, name, 1)},
        networks=networks,
        measure=lambda student, val: {layer: evaluate(student, layer, val()) for layer in student.layers},
        recorded=recorded,
        more={"teachers": [teacher.model.metadata | {"layers": list(teacher.layers)} for teacher in teachers]},
        optimizer=functools.partial(make_optimizer, weight_decay=0.1),
    )
    return perform(task, setup)


def _without_networks(model: Model) -> Model:
    """The encoder of a model, with the document of what it is."""
    document = {name: value for name, value in model.metadata.items() if name != "painter"}
    document["decoders"] = {}
    return dataclasses.replace(model, decoders={}, auxiliary={}, painter={}, document=json.dumps(document))


def _digests(taps: Iterable[Taps]) -> dict[str, str]:
    """The digest of each layer's encoder."""
    return {layer: tap.model.digest for tap in taps for layer in tap.layers}


def _name(teacher: Taps) -> str:
    source = teacher.model.metadata.get("source", "an encoder")
    return f"{', '.join(teacher.layers)} of {source['kind'] if isinstance(source, dict) else source}"
