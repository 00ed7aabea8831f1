"""How a decoder is trained: from batches of photos to a finished decoder with its record."""

import dataclasses
import functools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

import wct_jax
from wct_jax.devices import check_batch_size, replicate
from wct_jax.loop import State, train
from wct_jax.metrics import psnr, ssim
from wct_jax.model import Model
from wct_jax.progress import Progress
from wct_jax.report import draw_curves, draw_grid, read_metrics
from wct_jax.run import Run
from wct_jax.training import LossWeights, init_state, make_optimizer, reconstruct, train_step
from wct_jax.weights import save_model, with_decoder

LOSSES = {
    "pixel": "pixel loss (mean squared error, pixels in 0..1)",
    "feature": "feature loss (mean squared error of the layer's feature)",
}


@dataclass(frozen=True)
class Recipe:
    """What a decoder is trained with.

    Attributes:
        steps: How many.
        batch_size: Photos in a step, over all devices.
        crop: Side of the square crops.
        learning_rate: The highest one, see `make_optimizer`.
        weights: Of the loss.
        precision: Of the convolutions, "float32" or "bfloat16".
        seed: Of the initial decoder and of the crops.
        data: What the photos are called in the record.
    """

    steps: int
    batch_size: int
    crop: int
    learning_rate: float
    weights: LossWeights
    precision: str
    seed: int
    data: str


def train_decoder(
    model: Model,
    layer: str,
    batches: Iterator[np.ndarray],
    folder: str | os.PathLike[str],
    recipe: Recipe,
    *,
    photos: Sequence[np.ndarray],
    save_every: int = 500,
    console: Console | None = None,
) -> tuple[Model, dict[str, Any]]:
    """Train the decoder of a layer, or go on with its training, in the folder of a run.

    Besides what `Run` keeps there, the folder gets the curves of the losses, reconstructions of some photos and a
    model file with the decoder as it is, at each save.

    Args:
        model: The encoder.
        layer: The layer to invert.
        batches: This process's uint8 `[B / processes, crop, crop, 3]`, see `loop.train`.
        folder: Of the run.
        recipe: What to train with.
        photos: To show reconstructions of, `[H, W, 3]` in 0..1 each.
        save_every: Steps between saves.
        console: Where to show the progress; standard error by default.

    Returns:
        The model with this decoder alone, and the record of its training: JSON.

    Raises:
        ValueError: As `loop.train`, `Run` and `check_batch_size`.
        Interrupted: As `loop.train`.
    """
    check_batch_size(recipe.batch_size)
    folder = Path(folder)
    settings = dataclasses.asdict(recipe)
    identity = {"layer": layer, "encoder": model.digest, **settings.pop("weights")}
    first = jax.process_index() == 0
    console = console or Console(stderr=True, quiet=not first)
    optimizer = make_optimizer(recipe.learning_rate, recipe.steps)
    step = functools.partial(
        train_step, layer=layer, optimizer=optimizer, weights=recipe.weights, dtype=jnp.dtype(recipe.precision)
    )
    jitted = jax.jit(step, donate_argnums=0)
    encoder = replicate(dataclasses.replace(model, decoders={}, auxiliary={}))

    def result(state: State) -> tuple[Model, dict[str, Any]]:
        metrics = read_metrics(folder / "metrics.jsonl")
        record = {
            "kind": f"trained by wct_jax {wct_jax.__version__}",
            **{name: value for name, value in (settings | identity).items() if name not in ("layer", "encoder")},
            "steps": int(state.step),
            "losses": {name: float(metrics[name][-100:].mean()) for name in LOSSES},
            "seconds": round(float(metrics["seconds"].sum())),
        }
        bare = dataclasses.replace(model, decoders={}, document=json.dumps(model.metadata | {"decoders": {}}))
        decoder = jax.tree.map(jnp.asarray, jax.device_get(state.parameters))
        return with_decoder(bare, layer, decoder, record), record

    def report(number: int, state: State) -> None:
        if not first:
            return
        partial, _ = result(state)
        save_model(folder / "model.safetensors", partial)
        draw_curves(folder / "curves.png", read_metrics(folder / "metrics.jsonl"), LOSSES)
        pictures = folder / "reconstructions"
        pictures.mkdir(exist_ok=True)
        draw_grid(pictures / f"{number:06d}.png", photos, [_reconstruct(partial, photo, layer) for photo in photos])

    with Run(folder, identity, settings) as run:
        with Progress(layer, recipe.steps, run.step, images_per_step=recipe.batch_size, console=console) as progress:
            for name, (old, new) in run.changed.items():
                progress.say(f"{folder} goes on with {name.replace('_', ' ')} {new} instead of {old}")
            if run.step:
                progress.say(f"{folder} goes on after step {run.step}")
            state = train(
                lambda state, batch: jitted(state, batch, encoder),
                init_state(model, layer, optimizer, recipe.seed),
                batches,
                run,
                steps=recipe.steps,
                save_every=save_every,
                progress=progress,
                report=report,
            )
        return result(state)


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
        output = jnp.rint(_reconstruct(model, photo, layer).clip(0, 1) * 255) / 255
        scores.append((psnr(output, photo), ssim(output, photo)))
    means = np.mean(scores, axis=0)
    return {"photos": len(scores), "psnr": round(float(means[0]), 2), "ssim": round(float(means[1]), 4)}


@functools.partial(jax.jit, static_argnames="layer")
def _reconstruct(model: Model, photo: np.ndarray, layer: str) -> jax.Array:
    return reconstruct(model, layer, model.decoders[layer], jnp.asarray(photo))[0]
