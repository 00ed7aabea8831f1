"""What is trained, whatever it is: from its first state to a model with the record of its training."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console

import wct_jax
from wct_jax.kernels.programs import compiler_options
from wct_jax.measures.evaluation import rebuild
from wct_jax.networks.model import Model
from wct_jax.networks.model_file import save_model
from wct_jax.training.decoder import make_optimizer
from wct_jax.training.devices import check_batch_size, replicate
from wct_jax.training.loop import State, train
from wct_jax.training.progress import Progress
from wct_jax.training.report import draw_curves, draw_grid
from wct_jax.training.run import Run, last_step, settings_of

Photos = Callable[[], Iterable[np.ndarray]]


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


@dataclass(frozen=True)
class Setup:
    """What a training is given, whatever it trains.

    Attributes:
        batches: This process's uint8 `[B / processes, crop, crop, 3]`, see `loop.train`.
        folder: Of the run.
        recipe: What to train with.
        photos: To show reconstructions of, by the deepest decoder: `[H, W, 3]` in 0..1 each.
        val: Gives such photos to measure the result on, each time it is called; None for none.
        save_every: Steps between saves.
        console: Where to show the progress; None for standard error.
    """

    batches: Iterator[np.ndarray]
    folder: str | os.PathLike[str]
    recipe: Recipe
    photos: Sequence[np.ndarray]
    val: Photos | None = None
    save_every: int = 500
    console: Console | None = None


@dataclass(frozen=True)
class Task:
    """What is trained.

    Attributes:
        name: For the progress.
        identity: Of the run.
        begin: From the optimizer to the state before the first step.
        step: From state, batch and those of `frozen`, with `optimizer` and `dtype`, to the next state and metrics.
        frozen: The networks that stay as they are.
        losses: Which metrics to draw, and their titles.
        networks: From the parameters to a model.
        recorded: From a model and the record of its training to the model with that in its document.
        measure: From a model and photos to what its record says of how well it rebuilds them.
        more: What else the record says.
        weight_decay: Of the optimizer.
    """

    name: str
    identity: dict[str, Any]
    begin: Callable[[optax.GradientTransformation], State]
    step: Callable[..., tuple[State, dict[str, jax.Array]]]
    frozen: tuple[Any, ...]
    losses: dict[str, str]
    networks: Callable[[Any], Model]
    recorded: Callable[[Model, dict[str, Any]], Model]
    measure: Callable[[Model, Photos], dict[str, Any]]
    more: Mapping[str, Any] = field(default_factory=dict)
    weight_decay: float = 0.0


def perform(task: Task, setup: Setup) -> tuple[Model, dict[str, Any]]:
    """Train, or go on with a training, in the folder of a run.

    Besides what `Run` keeps there, the folder gets at each save the curves of the losses, reconstructions of some
    photos and a model file with what is trained as it is.

    Returns:
        The model, and the record of its training: JSON.

    Raises:
        ValueError: As `loop.train`, `Run` and `check_batch_size`.
        Interrupted: As `loop.train`.
    """
    recipe, folder = setup.recipe, Path(setup.folder)
    check_batch_size(recipe.batch_size)
    # A run that has taken its steps took them with the settings of then.
    settings = settings_of(folder) if last_step(folder) >= recipe.steps else dataclasses.asdict(recipe)
    first = jax.process_index() == 0
    console = setup.console or Console(stderr=True, quiet=not first)
    optimizer = make_optimizer(recipe.learning_rate, recipe.steps, task.weight_decay)
    step = functools.partial(task.step, optimizer=optimizer, dtype=jnp.dtype(recipe.precision))
    jitted = jax.jit(step, donate_argnums=0, compiler_options=compiler_options())
    frozen = replicate(task.frozen)

    def networks(state: State) -> Model:
        return task.networks(jax.tree.map(jnp.asarray, jax.device_get(state.parameters)))

    def report(number: int, state: State) -> None:
        if not first:
            return
        partial, metrics = networks(state), run.metrics.columns
        save_model(folder / "model.safetensors", task.recorded(partial, _record(task, settings, metrics)))
        draw_curves(folder / "curves.png", metrics, task.losses)
        pictures = folder / "reconstructions"
        pictures.mkdir(exist_ok=True)
        rebuilt = [rebuild(partial, partial.layers[0], photo) for photo in setup.photos]
        draw_grid(pictures / f"{number:06d}.png", setup.photos, rebuilt)

    with (
        Run(folder, task.identity, settings) as run,
        Progress(task.name, recipe.steps, run.step, images_per_step=recipe.batch_size, console=console) as progress,
    ):
        for name, (old, new) in run.changed.items():
            progress.say(f"{folder} goes on with {name.replace('_', ' ')} {new} instead of {old}")
        if run.step >= recipe.steps:
            progress.say(f"{folder} is finished: it has taken {run.step} steps")
        elif run.step:
            progress.say(f"{folder} goes on after step {run.step}")
        state = train(
            lambda state, batch: jitted(state, batch, *frozen),
            task.begin(optimizer),
            setup.batches,
            run,
            steps=recipe.steps,
            save_every=setup.save_every,
            progress=progress,
            report=report,
        )
    model = networks(state)
    record = _record(task, settings, run.metrics.columns, task.measure(model, setup.val) if setup.val else None)
    return task.recorded(model, record), record


_NOT_RECORDED = ("layer", "encoder", "teachers", "widths", "model")


def _record(
    task: Task, settings: dict[str, Any], metrics: Mapping[str, np.ndarray], scores: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What a model file says of a training."""
    return {
        "kind": f"trained by wct_jax {wct_jax.__version__}",
        **{name: value for name, value in (settings | task.identity).items() if name not in _NOT_RECORDED},
        "steps": len(metrics["step"]),
        "losses": {name: float(metrics[name][-100:].mean()) for name in task.losses},
        "seconds": round(float(metrics["seconds"].sum())),
        **task.more,
        **({} if scores is None else {"val": scores}),
    }
