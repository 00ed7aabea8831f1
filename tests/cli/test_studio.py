"""What is kept from one job to the next."""

import argparse

import numpy as np
import pytest
from PIL import Image

from wct_jax.batch import Job, Look
from wct_jax.cli import studio
from wct_jax.cli.studio import Studio
from wct_jax.style import extract_style
from wct_jax.weights import load_model

LAYERS = ("relu1_1",)


@pytest.fixture
def pictures(tmp_path):
    def make(name, seed):
        path = tmp_path / f"{name}.png"
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 20, 3), np.uint8)).save(path)
        return path

    return [make(f"picture{number}", number) for number in range(5)]


@pytest.fixture
def keep(files, monkeypatch):
    """A studio that keeps as many styles as are said, the number of those it has, and those it has extracted."""
    extracted = []

    def counted(model, image, *rest, **options):
        extracted.append(image)
        return extract_style(model, image, *rest, **options)

    def make(most):
        model = load_model(files / "model.safetensors")
        size = studio._bytes_of(extract_style(model, np.zeros((16, 20, 3), np.float32), LAYERS))
        monkeypatch.setattr(studio, "_MOST_OF_STYLES", most * size)
        monkeypatch.setattr(studio, "extract_style", counted)
        names = ("mask", "style_mask", "style_size", "style_weights", "swap_layers", "tile", "memory", "max_megapixels")
        arguments = argparse.Namespace(
            transform="zca", patch=3, stride=1, margin=0, strength=1.0, **dict.fromkeys(names)
        )
        return Studio(arguments, model, LAYERS, print)

    return make, extracted


def style(room, *paths):
    look = Look(paths)
    return room.style(look, room.read_styles(look))


def test_styles_used_last_are_kept(keep, pictures):
    make, extracted = keep
    room = make(2)
    a, b, c = pictures[:3]
    for path, count in [(a, 1), (b, 2), (a, 2), (c, 3), (a, 3), (b, 4), (b, 4)]:
        style(room, path)
        assert len(extracted) == count, path
    for path in pictures * 3:
        style(room, path)
        assert len(room._styles) <= 3


def test_a_job_has_all_its_styles(keep, pictures):
    make, extracted = keep
    room = make(2)
    several = style(room, *pictures)
    assert len(extracted) == 5
    # Some known, some dropped, some twice.
    style(room, pictures[0], pictures[4], pictures[0])
    again = style(room, *pictures)
    np.testing.assert_array_equal(again.moments["relu1_1"].mean, several.moments["relu1_1"].mean)
    style(room, pictures[0])
    assert len(room._styles) <= 3


def test_what_was_dropped_is_prepared_again(keep, pictures, monkeypatch):
    room, dropped, prepared = keep[0](2), [0], []
    monkeypatch.setattr(studio, "keep_compilations", lambda **_: None)
    monkeypatch.setattr(studio, "compiler", lambda: argparse.Namespace(dropped=dropped[0]))
    monkeypatch.setattr(studio, "prepare", lambda *arguments, **options: prepared.append(arguments))
    arguments = {"content_size": None, "alpha_map": None, "mask": None, "synthesize": None}
    vars(room._arguments).update(arguments)
    look = Look((pictures[0],))
    for drops, times in [(0, 1), (0, 1), (3, 2), (3, 2)]:
        dropped[0] = drops
        room.prepare(room.read(Job(pictures[1], look, pictures[1])), look)
        assert len(prepared) == times
