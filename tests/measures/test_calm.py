"""Calm: a grid in a sky is none, strokes and grain are, and so is what photo or style have themselves."""

import numpy as np
import pytest

from wct_jax.measures.calm import calm

SIDE = 128
rows, columns = np.mgrid[:SIDE, :SIDE]
SKY = np.broadcast_to((0.5 + 0.1 * rows / SIDE)[..., None], (SIDE, SIDE, 3))


def drawn(pattern, amount=0.03):
    return SKY + amount * pattern[..., None]


def strokes(rng, turns):
    """Short bright strokes, each in one of some directions."""
    canvas = np.zeros((SIDE, SIDE))
    for _ in range(400):
        y, x, turn = *rng.integers(0, SIDE, 2), rng.choice(turns)
        for step in np.arange(-10, 10, 0.5):
            canvas[int(y + step * np.sin(turn)) % SIDE, int(x + step * np.cos(turn)) % SIDE] = 1
    return canvas


GRID = drawn(np.sin(np.pi * rows / 4) + np.sin(np.pi * columns / 4))
DIAGONAL = drawn(np.sin(np.pi * (rows + columns) / 6) + np.sin(np.pi * (rows - columns) / 6))


@pytest.fixture
def style(rng):
    return rng.normal(0.5, 0.2, (SIDE, SIDE, 3))


@pytest.mark.parametrize("grid", [GRID, DIAGONAL])
def test_a_grid_is_not_calm(grid, style):
    assert calm(grid, SKY, style) < 0.3
    grain = 0.02 * np.random.default_rng(1).normal(size=(SIDE, SIDE, 1))
    assert calm(grid + grain, SKY, style) < 0.6


def test_a_fainter_grid_is_calmer(style):
    values = [calm(drawn(GRID[..., 0] - SKY[..., 0], amount), SKY, style) for amount in (1e-4, 0.02, 0.2, 1)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.95


@pytest.mark.parametrize(
    "turns", [np.linspace(0, np.pi, 17), [0], [np.pi / 2], [np.pi / 4]], ids=["any", "rows", "columns", "diagonal"]
)
def test_strokes_and_grain_are_calm(rng, style, turns):
    assert calm(drawn(strokes(rng, turns), 0.3), SKY, style) > 0.75
    assert calm(drawn(rng.normal(size=(SIDE, SIDE)), 0.1), SKY, style) > 0.9
    assert calm(SKY, SKY, style) == 1


def test_a_grid_of_the_style_or_the_photo_is_allowed(style):
    assert calm(GRID, SKY, GRID) == pytest.approx(1)
    assert calm(GRID, drawn(GRID[..., 0] - SKY[..., 0], 1), style) == pytest.approx(1, abs=0.1)


def test_without_a_flat_part_nothing_is_said(rng, style):
    assert np.isnan(calm(GRID, style, style))
    assert np.isnan(calm(SKY[:20], SKY[:20], style))
