"""How networks are trained: from batches of photos to a model with the record of its training."""

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console

import wct_jax
from wct_jax.canvas import as_array, cut_out, lay_out
from wct_jax.compilation import by_parts
from wct_jax.devices import check_batch_size, replicate
from wct_jax.distill import DistillWeights, distill_step, fixed_convolutions, init_student
from wct_jax.loop import State, train
from wct_jax.metrics import psnr, ssim
from wct_jax.model import Model, Parameters, Taps, size_at
from wct_jax.programs import compiler_options
from wct_jax.progress import Progress
from wct_jax.report import draw_curves, draw_grid, read_metrics
from wct_jax.run import Run, last_step, settings_of
from wct_jax.training import LossWeights, init_state, make_optimizer, train_step
from wct_jax.weights import encoder_digest, save_model, with_decoder

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


@dataclass(frozen=True)
class Recipe:
    """What networks are trained with.

    Attributes:
        steps: How many.
        batch_size: Photos in a step, over all devices.
        crop: Side of the square crops.
        learning_rate: The highest one, see `make_optimizer`.
        precision: Of the convolutions, "float32" or "bfloat16".
        seed: Of what is drawn at first and of the crops.
        data: What the photos are called in the record.
    """

    steps: int
    batch_size: int
    crop: int
    learning_rate: float
    precision: str
    seed: int
    data: str


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

    def result(decoder: Parameters, record: dict[str, Any]) -> Model:
        return with_decoder(bare, layer, decoder, record)

    identity = {"layer": layer, "encoder": model.digest, **dataclasses.asdict(weights), "finetune": finetune}
    deeper = {name: parameters for name, parameters in model.decoders.items() if weights.style and name > layer}
    if deeper:
        identity["after"] = sorted(deeper, reverse=True)
    if judges:
        identity["judges"] = {name: judge.model.digest for judge in judges for name in judge.layers}
    task = _Task(
        name=layer,
        identity=identity,
        begin=begin,
        step=functools.partial(train_step, layer=layer, weights=weights),
        frozen=(dataclasses.replace(bare, decoders=deeper), tuple(judges)),
        losses={name: title for name, title in LOSSES.items() if getattr(weights, name)},
        result=result,
    )
    return _train(task, batches, folder, recipe, photos, save_every, console)


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
        save_every: Steps between saves.
        console: Where to show the progress; standard error by default.

    Returns:
        The model, and the record of its training: JSON.

    Raises:
        ValueError: A layer without a teacher; and as `train_decoder`.
        Interrupted: As `loop.train`.
    """
    widths = tuple(widths)
    layers = sorted(layer for teacher in teachers for layer in teacher.layers)
    fixed = fixed_convolutions(model, layers) if model else {}

    def begin(optimizer: optax.GradientTransformation) -> State:
        return init_student(widths, teachers, optimizer, recipe.seed, model, finetune)

    def result(student: Any, record: dict[str, Any]) -> Model:
        document: dict[str, Any] = (
            model.metadata if model else {"source": "distilled from " + "; ".join(map(_name, teachers))}
        )
        taught = [teacher.model.metadata | {"layers": list(teacher.layers)} for teacher in teachers]
        document["distillations"] = [*document.get("distillations", []), record | {"teachers": taught}]
        document["decoders"] = document.get("decoders", {}) | {
            layer: {"kind": "of the last distillation that learned it"} for layer in layers
        }
        encoder = {**fixed, **student["encoder"]}
        decoders = {**(model.decoders if model else {}), **student["decoders"]}
        return Model(encoder, decoders, widths, encoder_digest(encoder), document=json.dumps(document))

    identity = {
        "teachers": {layer: teacher.model.digest for teacher in teachers for layer in teacher.layers},
        "widths": list(widths),
        **dataclasses.asdict(weights),
    }
    if judges:
        identity["judges"] = {name: judge.model.digest for judge in judges for name in judge.layers}
    if model:
        identity |= {"model": model.digest, "finetune": finetune}
    task = _Task(
        name="distillation",
        identity=identity,
        begin=begin,
        step=functools.partial(distill_step, widths=widths, weights=weights),
        frozen=(tuple(teachers), tuple(judges), fixed),
        losses={name: title for name, title in DISTILLATION_LOSSES.items() if getattr(weights, name, 1)},
        result=result,
        weight_decay=0.1,
    )
    return _train(task, batches, folder, recipe, photos, save_every, console)


@dataclass(frozen=True)
class _Task:
    """What is trained.

    Attributes:
        name: For the progress.
        identity: Of the run.
        begin: From the optimizer to the state before the first step.
        step: From state, batch and those of `frozen`, with `optimizer` and `dtype`, to the next state and metrics.
        frozen: The networks that stay as they are.
        losses: Which metrics to draw, and their titles.
        result: From the parameters and the record of the training to a model.
        weight_decay: Of the optimizer.
    """

    name: str
    identity: dict[str, Any]
    begin: Callable[[optax.GradientTransformation], State]
    step: Callable[..., tuple[State, dict[str, jax.Array]]]
    frozen: tuple[Any, ...]
    losses: dict[str, str]
    result: Callable[[Any, dict[str, Any]], Model]
    weight_decay: float = 0.0


def _train(
    task: _Task,
    batches: Iterator[np.ndarray],
    folder: str | os.PathLike[str],
    recipe: Recipe,
    photos: Sequence[np.ndarray],
    save_every: int,
    console: Console | None,
) -> tuple[Model, dict[str, Any]]:
    check_batch_size(recipe.batch_size)
    folder = Path(folder)
    # A run that has taken its steps took them with the settings of then.
    settings = settings_of(folder) if last_step(folder) >= recipe.steps else dataclasses.asdict(recipe)
    first = jax.process_index() == 0
    console = console or Console(stderr=True, quiet=not first)
    optimizer = make_optimizer(recipe.learning_rate, recipe.steps, task.weight_decay)
    step = functools.partial(task.step, optimizer=optimizer, dtype=jnp.dtype(recipe.precision))
    jitted = jax.jit(step, donate_argnums=0, compiler_options=compiler_options())
    frozen = replicate(task.frozen)

    def result(state: State) -> tuple[Model, dict[str, Any]]:
        metrics = read_metrics(folder / "metrics.jsonl")
        record = {
            "kind": f"trained by wct_jax {wct_jax.__version__}",
            **{name: value for name, value in (settings | task.identity).items() if name not in _NOT_RECORDED},
            "steps": int(state.step),
            "losses": {name: float(metrics[name][-100:].mean()) for name in task.losses},
            "seconds": round(float(metrics["seconds"].sum())),
        }
        return task.result(jax.tree.map(jnp.asarray, jax.device_get(state.parameters)), record), record

    def report(number: int, state: State) -> None:
        if not first:
            return
        partial, _ = result(state)
        save_model(folder / "model.safetensors", partial)
        draw_curves(folder / "curves.png", read_metrics(folder / "metrics.jsonl"), task.losses)
        pictures = folder / "reconstructions"
        pictures.mkdir(exist_ok=True)
        rebuilt = [_reconstruct(partial, photo, partial.layers[0]) for photo in photos]
        draw_grid(pictures / f"{number:06d}.png", photos, rebuilt)

    with Run(folder, task.identity, settings) as run:
        with Progress(
            task.name, recipe.steps, run.step, images_per_step=recipe.batch_size, console=console
        ) as progress:
            for name, (old, new) in run.changed.items():
                progress.say(f"{folder} goes on with {name.replace('_', ' ')} {new} instead of {old}")
            if run.step >= recipe.steps:
                progress.say(f"{folder} is finished: it has taken {run.step} steps")
            elif run.step:
                progress.say(f"{folder} goes on after step {run.step}")
            state = train(
                lambda state, batch: jitted(state, batch, *frozen),
                task.begin(optimizer),
                batches,
                run,
                steps=recipe.steps,
                save_every=save_every,
                progress=progress,
                report=report,
            )
        return result(state)


_NOT_RECORDED = ("layer", "encoder", "teachers", "widths", "model")


def _name(teacher: Taps) -> str:
    source = teacher.model.metadata.get("source", "an encoder")
    return f"{', '.join(teacher.layers)} of {source['kind'] if isinstance(source, dict) else source}"


def evaluate(model: Model, layer: str, photos: Iterable[np.ndarray]) -> dict[str, float]:
    """How well a decoder rebuilds photos, as pictures of 8 bits.

    Args:
        model: Has the decoder.
        layer: The decoder's.
        photos: `[H, W, 3]` in 0..1 each.

    Returns:
        `photos`, their number, and the means of `psnr`, in dB, and `ssim`.
    """
    scores = []
    for photo in photos:
        output = np.rint(_reconstruct(model, photo, layer).clip(0, 1) * 255) / 255
        scores.append((psnr(output, photo), ssim(output, photo)))
    means = np.mean(scores, axis=0)
    return {"photos": len(scores), "psnr": round(float(means[0]), 2), "ssim": round(float(means[1]), 4)}


def _reconstruct(model: Model, photo: np.ndarray, layer: str) -> np.ndarray:
    # On a canvas, since photos have many sizes.
    image, _, size = lay_out(as_array(photo), None)
    return np.asarray(cut_out(_on_canvas(model, image, size, layer), photo.shape[-3:-1]))


@by_parts(static=("layer",))
def _on_canvas(model: Model, image: jax.Array, size: jax.Array | None, layer: str) -> jax.Array:
    feature = model.encode(image, (layer,), size)[layer]
    return cut_out(model.decode(layer, feature, size_at(layer, size)), image.shape[-3:-1])
