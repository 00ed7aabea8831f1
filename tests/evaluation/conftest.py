"""Fixtures: a small evaluation, painted by a small model."""

import dataclasses

import jax
import numpy as np
import pytest
from PIL import Image

from wct_jax.networks.model_file import save_model


@pytest.fixture(scope="session")
def pictures(tmp_path_factory, random_model):
    """Three photos, two styles and a model in one folder: none of them is written to."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for kind, names in (("content", "abc"), ("style", "xy")):
        (folder / kind).mkdir()
        for name in names:
            Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(folder / kind / f"{name}.png")
    model = random_model((4, 6, 8), ("relu3_1", "relu2_1", "relu1_1"))
    for decoder in model.decoders.values():  # into 0..1
        decoder["conv1_1"] = {"kernel": decoder["conv1_1"]["kernel"] / 4, "bias": np.full(3, 0.5, np.float32)}
    model = jax.tree.map(np.asarray, dataclasses.replace(model, painter=model.decoders["relu3_1"]))
    save_model(folder / "model.safetensors", model)
    return folder
