"""Training of any networks: from the first state to a model that holds the record of its training."""

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
from wct_jax.kernels.compilation import compiler_options
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
    """The settings of a training.

    Attributes:
        steps: Number of steps.
        batch_size: Number of crops in a step, over all devices.
        crop: Side of the square crops in pixels.
        learning_rate: Highest rate of the schedule.
        precision: Precision of the convolutions, "float32" or "bfloat16".
        seed: Seed of the first parameters and of the crops.
        data: Name of the photos in the record.
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
    """The photos, recipe and folder of a training.

    Attributes:
        batches: Batches of this process, uint8 `[B / processes, crop, crop, 3]` each; see `loop.train`.
        folder: Folder of the run.
        recipe: Settings of the training.
        photos: Photos that are shown with what the networks make of them, float `[H, W, 3]` in 0..1 each.
        val: Function that gives such photos anew at each call, to measure the result on; None to measure nothing.
        save_every: Number of steps between saves.
        console: Console for the progress; None for standard error.
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
    """The networks to train, and the functions that train, build and measure them.

    Attributes:
        name: Name in the progress.
        identity: Identity of the run, JSON.
        begin: Function from the optimizer to the first state.
        step: Function from a state, a batch and the networks `frozen`, with keywords `optimizer` and `dtype`, to the
            next state and its metrics.
        frozen: Networks that stay as they are.
        losses: Metrics to draw, with the titles of their panels.
        networks: Function from the parameters to a model.
        recorded: Function that enters the record of a training into the document of its model.
        measure: Function from a model and photos to the scores of its reconstructions.
        more: Further entries of the record.
        optimizer: Function from the learning rate and the number of steps to the optimizer; None for `make_optimizer`.
        show: Function from a model and a photo to what it makes of it, for the report; None for the reconstruction by
            the deepest decoder.
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
    optimizer: Callable[[float, int], optax.GradientTransformation] | None = None
    show: Callable[[Model, np.ndarray], np.ndarray] | None = None


def perform(task: Task, setup: Setup) -> tuple[Model, dict[str, Any]]:
    """Begin or resume a training in the folder of its run.

    At each save the folder also gets the curves of the losses, the reconstructions of some photos and a model file
    with the networks as they are then.

    Returns:
        The model, and the JSON record of its training.

    Raises:
        ValueError: The devices cannot share a batch, the folder cannot be used, or the training fails.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    recipe, folder = setup.recipe, Path(setup.folder)
    check_batch_size(recipe.batch_size)
    # A finished run keeps the settings that its steps were taken with.
    settings = settings_of(folder) if last_step(folder) >= recipe.steps else dataclasses.asdict(recipe)
    first = jax.process_index() == 0
    console = setup.console or Console(stderr=True, quiet=not first)
    optimizer = (task.optimizer or make_optimizer)(recipe.learning_rate, recipe.steps)
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
        show = task.show or (lambda model, photo: rebuild(model, model.layers[0], photo))
        rebuilt = [show(partial, photo) for photo in setup.photos]
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


_NOT_RECORDED = ("layer", "painter", "encoder", "teachers", "widths", "model")


def _record(
    task: Task, settings: dict[str, Any], metrics: Mapping[str, np.ndarray], scores: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The JSON record of a training, for its model file."""
    return {
        "kind": f"trained by wct_jax {wct_jax.__version__}",
        **{name: value for name, value in (settings | task.identity).items() if name not in _NOT_RECORDED},
        "steps": len(metrics["step"]),
        "losses": {name: float(metrics[name][-100:].mean()) for name in task.losses},
        "seconds": round(float(metrics["seconds"].sum())),
        **task.more,
        **({} if scores is None else {"val": scores}),
    }
