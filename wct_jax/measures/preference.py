"""Preferences: what people's choices between two say about all."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wct_jax.measures.bootstrap import interval


class Strength(NamedTuple):
    """How one competitor does.

    Attributes:
        score: The logarithm of its strength, of mean 0 over all: with a lead of log 2 it is chosen twice as often.
        low: Lower end of the 95 % interval.
        high: Upper end.
        wins: How often it was chosen, where a draw counts a half.
        votes: How often it was shown.
    """

    score: float
    low: float
    high: float
    wins: float
    votes: int


def bradley_terry(wins: np.ndarray, prior: float = 0.5) -> np.ndarray:
    """The log strengths s under which i is chosen over j with probability 1 / (1 + exp(s_j - s_i)).

    Bradley and Terry, "Rank analysis of incomplete block designs", 1952, by the minorisation of Hunter, "MM algorithms
    for generalized Bradley-Terry models", 2004, equation 3. Each pair begins with `prior` wins on both sides, without
    which one that is always chosen would be infinitely strong.

    Args:
        wins: `[n, n]`, how often the row was chosen over the column.
        prior: Wins that each has over each other at the start, spread over the opponents.

    Returns:
        Log strengths `[n]` of mean 0, float64.
    """
    wins = np.asarray(wins, np.float64)
    count = len(wins)
    if count < 2:
        return np.zeros(count)
    wins = wins + prior / (count - 1) * (1 - np.eye(count))
    games, won = wins + wins.T, wins.sum(1)
    strength = np.ones(count)
    for _ in range(10_000):
        new = won / (games / (strength[:, None] + strength[None])).sum(1)
        new /= np.exp(np.log(new).mean())
        done = np.abs(np.log(new / strength)).max() < 1e-10
        strength = new
        if done:
            break
    return np.log(strength)


def strengths(
    names: Sequence[str], votes: Sequence[tuple[str, str, float]], draws: int = 1000, seed: int = 0
) -> dict[str, Strength]:
    """Bradley-Terry scores with bootstrap intervals, in which whole votes are drawn again.

    Args:
        names: The competitors.
        votes: One, another, and the first one's win: 1, 0, or a half if neither was better.
        draws: Resamples.
        seed: Seed of the resamples.

    Returns:
        Name to strength, the best first.
    """
    place = {name: i for i, name in enumerate(names)}
    first = np.array([place[a] for a, _, _ in votes], np.int64)
    second = np.array([place[b] for _, b, _ in votes], np.int64)
    won = np.array([share for _, _, share in votes], np.float64)

    def wins_of(chosen: np.ndarray) -> np.ndarray:
        wins = np.zeros((len(names), len(names)))
        np.add.at(wins, (first[chosen], second[chosen]), won[chosen])
        np.add.at(wins, (second[chosen], first[chosen]), 1 - won[chosen])
        return wins

    every = np.arange(len(won))
    wins = wins_of(every)
    scores = bradley_terry(wins)
    rng = np.random.default_rng(seed)
    drawn = np.array([bradley_terry(wins_of(rng.choice(every, len(every)))) for _ in range(draws)])
    low, high = interval(drawn)
    shown = (wins + wins.T).sum(1)
    found = {
        name: Strength(float(scores[i]), float(low[i]), float(high[i]), float(wins[i].sum()), round(shown[i]))
        for name, i in place.items()
    }
    return dict(sorted(found.items(), key=lambda item: -item[1].score))
