"""Bootstrap intervals: how far a figure would move if other pairs had been drawn."""

import numpy as np


def bootstrap_mean(values: np.ndarray, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of a mean: Efron and Tibshirani, "An introduction to the bootstrap", section 13.3.

    Args:
        values: `[n]`, at least one.
        draws: Resamples.
        seed: Seed of the resamples.

    Returns:
        The ends; both are the value itself if there is one.
    """
    values = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    means = np.array([values[rng.integers(len(values), size=len(values))].mean() for _ in range(draws)])
    low, high = interval(means)
    return float(low), float(high)


def interval(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 2.5th and the 97.5th percentile of figures `[draws, ...]`."""
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return low, high
