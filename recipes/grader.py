"""Trains the grader of wct_jax/networks/compact.safetensors, in a given time.

    python recipes/grader.py MODEL VGG19 PHOTOS OUTPUT SECONDS [--batch-size B] [--crop SIDE] [--finetune]
    python recipes/pack.py OUTPUT wct_jax/networks/compact.safetensors

MODEL has the encoder, VGG19 is the normalised VGG-19, at least up to relu3_1 (both model files), PHOTOS a folder, and
SECONDS the time that all of it may take. The photos are kept in memory, on a GPU in its own, and cropped there: 800
take 0.5 GB. OUTPUT gets MODEL with the grader, each minute and at the end.

Edges are a bound rather than a term: their weight rises while results keep less of them than `--edges`, and falls
otherwise.
"""

import argparse
import dataclasses
import functools
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from PIL import Image

import wct_jax
from wct_jax import load_model, save_model
from wct_jax.kernels.compilation import compiler_options
from wct_jax.networks.parts import with_network
from wct_jax.networks.taps import choose_taps
from wct_jax.training.grader import GraderWeights, grader_step, init_grader

# Share of the styles that are taken from the photo itself, elsewhere.
_OWN = 0.2
# Photos are enlarged by no more than this.
_ENLARGED = 1.3
# Photos are shrunk to this.
_CANVAS = 448
_LOG_EVERY = 50
_SAVE_EVERY = 60.0
_WARM_UP = 200


def load_photos(folder: Path, side: int) -> tuple[np.ndarray, np.ndarray]:
    """All photos, on canvases uint8 `[N, side, side, 3]`, and their sizes `[N, 2]`."""

    def load(path: Path) -> np.ndarray:
        with Image.open(path) as image:
            image.thumbnail((side, side))
            return np.asarray(image.convert("RGB"))

    paths = sorted(folder.iterdir())
    canvases, sizes = np.zeros((len(paths), side, side, 3), np.uint8), np.empty((len(paths), 2), np.int32)
    with ThreadPoolExecutor() as threads:
        for number, photo in enumerate(threads.map(load, paths)):
            sizes[number] = photo.shape[:2]
            canvases[number, : len(photo), : photo.shape[1]] = photo
    return canvases, sizes


def draw(key: Array, photos: Array, sizes: Array, count: int, crop: int) -> Array:
    """Crops of photos beside crops of styles, uint8 `[count, 2, crop, crop, 3]`."""
    which, own, *keys = jax.random.split(key, 4)
    chosen = jax.random.randint(which, (2, count), 0, len(photos))
    chosen = chosen.at[1].set(jnp.where(jax.random.bernoulli(own, _OWN, (count,)), chosen[0], chosen[1]))

    def cut(key: Array, number: Array) -> Array:
        size = sizes[number].astype(jnp.float32)
        short = size.min()
        scale, place, mirror = jax.random.split(key, 3)
        low = jnp.minimum(short, crop / _ENLARGED)
        side = low * (short / low) ** jax.random.uniform(scale)
        corner = jax.random.uniform(place, (2,)) * (size - side)
        zoom = jnp.broadcast_to(crop / side, (2,))
        pixels = photos[number].astype(jnp.float32)
        square = jax.image.scale_and_translate(pixels, (crop, crop, 3), (0, 1), zoom, -corner * zoom, "cubic")
        square = jnp.where(jax.random.bernoulli(mirror), square[:, ::-1], square)
        return jnp.clip(jnp.round(square), 0, 255).astype(jnp.uint8)

    crops = [jax.vmap(cut)(jax.random.split(key, count), each) for key, each in zip(keys, chosen, strict=True)]
    return jnp.stack(crops, 1)


def main() -> None:
    """Train a grader."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("vgg")
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=0.003)
    parser.add_argument("--edges", type=float, default=0.885, help="similarity of edges that results are held to")
    parser.add_argument("--restored-weight", type=float, default=40.0)
    parser.add_argument("--precision", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--finetune", action="store_true", help="begin with the grader of MODEL")
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.seconds

    model = load_model(arguments.model)
    judges = choose_taps([load_model(arguments.vgg)], ("relu1_1", "relu2_1", "relu3_1"))
    photos, sizes = (jnp.asarray(each) for each in load_photos(arguments.photos, _CANVAS))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.inject_hyperparams(optax.adam)(learning_rate=0.0))
    optimizer = optax.apply_if_finite(optimizer, 100)
    state = init_grader(model, optimizer, arguments.seed, model.grader if arguments.finetune else None)
    still = GraderWeights(smooth=0.05, restored=arguments.restored_weight)

    @functools.partial(jax.jit, donate_argnums=0, compiler_options=compiler_options())
    def step(state, key, rate, edges, photos, sizes, model, judges):
        state.optimizer.inner_state[1].hyperparams["learning_rate"] = rate
        batch = draw(jax.random.fold_in(key, state.step), photos, sizes, arguments.batch_size, arguments.crop)
        weights = dataclasses.replace(still, edges=edges)
        dtype = jnp.dtype(arguments.precision)
        return grader_step(state, batch, model, judges, optimizer=optimizer, weights=weights, dtype=dtype)

    def save() -> None:
        names = ("batch_size", "crop", "learning_rate", "precision", "seed", "edges", "restored_weight", "finetune")
        record = {"kind": f"trained by wct_jax {wct_jax.__version__}", "steps": taken}
        record |= {"data": f"{len(sizes)} photos", "judge": "the normalised VGG-19 up to relu3_1"}
        record |= {name: getattr(arguments, name) for name in names}
        save_model(arguments.output, with_network(model, "grader", jax.device_get(state.parameters), record))

    key = jax.random.key(arguments.seed + 1)
    edges, taken, metrics, before = 0.4, 0, [], []
    start = saved = 0.0
    while time.monotonic() < end:
        passed = (time.monotonic() - start) / (end - start) if start else 0.0
        rate = arguments.learning_rate * min(1, (taken + 1) / _WARM_UP) * (0.5 + 0.5 * np.cos(np.pi * min(1, passed)))
        scalars = jnp.float32(rate), jnp.float32(edges)
        state, found = step(state, key, *scalars, photos, sizes, model.bare, judges)
        metrics.append(found)
        taken += 1
        if not start:
            jax.block_until_ready(found)
            start = saved = time.monotonic()
            print(f"compiled, {end - start:.0f} s left", flush=True)
        if taken % _LOG_EVERY == 0:
            # Of the steps before these, which the GPU has finished.
            if before:
                means = {name: float(np.nanmean([each[name] for each in jax.device_get(before)])) for name in found}
                short = means["edges"] - (1 - arguments.edges)
                edges = float(np.clip(edges * np.exp(2 * short), 0.05, 3))
                shown = " ".join(f"{name} {value:.4f}" for name, value in means.items())
                if taken % (4 * _LOG_EVERY) == 0:
                    broken = int(state.optimizer.total_notfinite)
                    print(
                        f"{taken} {time.monotonic() - start:.0f}s weight {edges:.3f} broken {broken} {shown}",
                        flush=True,
                    )
            before, metrics = metrics, []
        if time.monotonic() - saved > _SAVE_EVERY:
            saved = time.monotonic()
            save()
    save()
    print(f"{taken} steps", flush=True)


if __name__ == "__main__":
    main()
