"""Gatys et al. beside an independent PyTorch of the same losses: how the loss falls, and both pictures.

    python benchmarks/gatys.py --model vgg19.safetensors --steps 200 --output DIR PHOTO PICTURE [PHOTO PICTURE ...]

PyTorch takes the model's weights and nothing else: network, losses and L-BFGS (with its own strong Wolfe search) are
its own.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from wct_jax import extract_style, load_model, read_image, write_image
from wct_jax.baselines.gatys import Weights, content_layer, paint_gatys, style_layers
from wct_jax.measures.metrics import ssim

COUNTS = (2, 2, 4, 4, 1)
SCALE = 1e4


def features(weights, image):
    """The network on `[1, 3, H, W]`: layer to feature."""
    found, x = {}, image
    for block, count in enumerate(COUNTS, 1):
        if block > 1:
            x = functional.max_pool2d(x, 2, ceil_mode=True)
        for index in range(1, count + 1):
            if f"conv{block}_{index}" not in weights:
                return found
            kernel, bias = weights[f"conv{block}_{index}"]
            x = functional.relu(functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, bias))
            found[f"relu{block}_{index}"] = x
    return found


def gram(feature):
    x = feature[0].flatten(1)
    return x @ x.T / x.shape[1]


def by_torch(model, photo, picture, steps, past):
    """The image and the lowest loss after each of the steps."""
    weights = {
        name: (
            torch.from_numpy(np.ascontiguousarray(np.transpose(np.asarray(p["kernel"]), (3, 2, 0, 1)))),
            torch.from_numpy(np.array(p["bias"])),
        )
        for name, p in model.encoder.items()
    }
    photo, picture = (torch.from_numpy(np.transpose(x, (2, 0, 1))[None].copy()) for x in (photo, picture))
    deep, layers, alphas = content_layer(model), style_layers(model), Weights()
    with torch.no_grad():
        content, of_style = features(weights, photo)[deep], features(weights, picture)
        grams = {layer: gram(of_style[layer]) for layer in layers}
        variance = content.var((0, 2, 3), unbiased=False).mean()
    x = photo.clone().requires_grad_()
    # Its thresholds are absolute, and made for losses larger than these: with its own it ends at the first step.
    thresholds = {"tolerance_grad": 0, "tolerance_change": 0}
    chunk = 10
    optimizer = torch.optim.LBFGS(
        [x], history_size=past, max_iter=chunk, max_eval=100 * chunk, line_search_fn="strong_wolfe", **thresholds
    )
    losses, evaluations = {}, 0

    def loss_of():
        nonlocal evaluations
        evaluations += 1
        optimizer.zero_grad()
        found = features(weights, x)
        style = sum(((gram(found[i]) - g) ** 2).sum() / (g**2).sum() for i, g in grams.items()) / len(grams)
        rows, columns = (x[..., 1:, :] - x[..., :-1, :]) ** 2, (x[..., 1:] - x[..., :-1]) ** 2
        loss = alphas.content * ((found[deep] - content) ** 2).mean() / variance
        loss = SCALE * (loss + alphas.style * style + alphas.variation * (rows.mean() + columns.mean()))
        loss.backward()
        return loss

    for done in range(chunk, steps + 1, chunk):
        optimizer.step(loss_of)
        losses[done] = loss_of().item() / SCALE
    return x.detach()[0].permute(1, 2, 0).numpy(), losses, evaluations


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", nargs="+", metavar="PHOTO PICTURE")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    model = load_model(arguments.model)
    for photo_file, picture_file in zip(arguments.pairs[::2], arguments.pairs[1::2], strict=True):
        photo, picture = (read_image(file, arguments.size) for file in (photo_file, picture_file))
        start, ours = time.perf_counter(), {}
        style = extract_style(model, picture, style_layers(model))
        image = paint_gatys(model, photo, style, steps=arguments.steps, progress=ours.__setitem__)
        spent, start = time.perf_counter() - start, time.perf_counter()
        theirs, losses, evaluations = by_torch(model, photo, picture, arguments.steps, 20)
        name = f"{Path(photo_file).stem} x {Path(picture_file).stem}"
        print(f"{name}: ours {spent:.0f} s, PyTorch {time.perf_counter() - start:.0f} s, {evaluations} evaluations")
        for done in (10, 20, 50, 100, 150, 200):
            if done in ours:
                mine, other = ours[done], losses[done]
                print(
                    f"  {done:4} steps: {mine:.5f}, PyTorch {other:.5f}, {100 * (mine / other - 1):+.1f} %", flush=True
                )
        pictures = [np.clip(x, 0, 1).astype(np.float32) for x in (image, theirs)]
        print(f"  SSIM of both pictures {float(ssim(*pictures)):.3f}")
        sheet = np.concatenate([photo, *pictures], 1)
        write_image(arguments.output / f"{name.replace(' ', '')}.png", sheet)


if __name__ == "__main__":
    main()
