"""How networks are trained: what each kind of training begins with, which steps it takes and what it makes."""

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import optax
from rich.console import Console

from wct_jax.distill import DistillWeights, distill_step, fixed_convolutions, init_student
from wct_jax.evaluation import evaluate
from wct_jax.loop import State
from wct_jax.model import Model, Parameters, Taps
from wct_jax.task import Recipe, Task, perform
from wct_jax.training import LossWeights, init_state, train_step
from wct_jax.vgg import deeper_than, depth_of
from wct_jax.weights import encoder_digest, with_decoder

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
    batches: Iterator[np.ndarray],
    folder: str | os.PathLike[str],
    recipe: Recipe,
    weights: LossWeights,
    *,
    judges: Sequence[Taps] = (),
    finetune: bool = False,
    photos: Sequence[np.ndarray],
    val: Callable[[], Iterable[np.ndarray]] | None = None,
    save_every: int = 500,
    console: Console | None = None,
) -> tuple[Model, dict[str, Any]]:
    """Train the decoder of a layer, or go on with its training, in the folder of a run.

    Besides what `Run` keeps there, the folder gets the curves of the losses, reconstructions of some photos and a
    model file with the decoder as it is, at each save.

    Args:
        model: The encoder, and the decoders that the loss of style takes.
        layer: The layer to invert.
        batches: This process's uint8 `[B / processes, crop, crop, 3]`, see `loop.train`.
        folder: Of the run.
        recipe: What to train with.
        weights: Of the loss.
        judges: Encoders for the losses that take them, see `train_step`.
        finetune: Begin with the model's decoder rather than a new one.
        photos: To show reconstructions of, `[H, W, 3]` in 0..1 each.
        val: Gives such photos to measure the result on, each time it is called; None not to.
        save_every: Steps between saves.
        console: Where to show the progress; standard error by default.

    Returns:
        The model with this decoder alone, and the record of its training: JSON.

    Raises:
        ValueError: As `loop.train`, `Run` and `check_batch_size`.
        Interrupted: As `loop.train`.
    """
    bare = dataclasses.replace(model, decoders={}, auxiliary={}, document=json.dumps(model.metadata | {"decoders": {}}))

    def begin(optimizer: optax.GradientTransformation) -> State:
        return init_state(model, layer, optimizer, recipe.seed, model.decoders[layer] if finetune else None)

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
        measure=None if val is None else lambda trained: evaluate(trained, layer, val()),
        recorded=recorded,
    )
    return perform(task, batches, folder, recipe, photos, save_every, console)


def distill(
    teachers: Sequence[Taps],
    widths: Sequence[int],
    batches: Iterator[np.ndarray],
    folder: str | os.PathLike[str],
    recipe: Recipe,
    weights: DistillWeights,
    *,
    judges: Sequence[Taps] = (),
    model: Model | None = None,
    finetune: bool = False,
    photos: Sequence[np.ndarray],
    val: Callable[[], Iterable[np.ndarray]] | None = None,
    save_every: int = 500,
    console: Console | None = None,
) -> tuple[Model, dict[str, Any]]:
    """Make a small encoder and its decoders, or go on with that, in the folder of a run.

    Args:
        teachers: Whose features the encoder's are to hold: one for each of the layers that are to be learned, which
            are all or, with a model, its last ones.
        widths: Channels of the encoder's blocks.
        batches: As for `train_decoder`.
        folder: Of the run.
        recipe: What to train with.
        weights: Of the loss.
        judges: Encoders for the perceptual loss, see `distill_step`.
        model: Whose encoder stays as it is down to the layer before the first that is to be learned.
        finetune: Begin with what the model has of the layers to be learned rather than anew.
        photos: To show reconstructions of, by the deepest decoder.
        val: As for `train_decoder`, for each decoder.
        save_every: Steps between saves.
        console: Where to show the progress; standard error by default.

    Returns:
        The model, and the record of its training: JSON.

    Raises:
        ValueError: A layer without a teacher; and as `train_decoder`.
        Interrupted: As `loop.train`.
    """
    widths = tuple(widths)
    layers = sorted((layer for teacher in teachers for layer in teacher.layers), key=depth_of)
    fixed = fixed_convolutions(model, layers) if model else {}

    def begin(optimizer: optax.GradientTransformation) -> State:
        return init_student(widths, teachers, optimizer, recipe.seed, model, finetune)

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

    def measure(student: Model) -> dict[str, Any]:
        assert val is not None
        return {layer: evaluate(student, layer, val()) for layer in student.layers}

    identity = {
        "teachers": _digests(teachers),
        "widths": list(widths),
        **dataclasses.asdict(weights),
    }
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
        measure=None if val is None else measure,
        recorded=recorded,
        more={"teachers": [teacher.model.metadata | {"layers": list(teacher.layers)} for teacher in teachers]},
        weight_decay=0.1,
    )
    return perform(task, batches, folder, recipe, photos, save_every, console)


def _digests(taps: Iterable[Taps]) -> dict[str, str]:
    """Of the encoder of each layer."""
    return {layer: tap.model.digest for tap in taps for layer in tap.layers}


def _name(teacher: Taps) -> str:
    source = teacher.model.metadata.get("source", "an encoder")
    return f"{', '.join(teacher.layers)} of {source['kind'] if isinstance(source, dict) else source}"
