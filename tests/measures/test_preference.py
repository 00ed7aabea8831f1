"""Bradley-Terry scores against closed forms and the gradient of the likelihood; bootstrap intervals."""

import numpy as np
import pytest

from wct_jax.measures.bootstrap import bootstrap_mean
from wct_jax.measures.preference import bradley_terry, strengths


def test_of_two_it_is_the_log_odds():
    a, b = bradley_terry(np.array([[0, 30], [10, 0]]), prior=0)
    assert a - b == pytest.approx(np.log(3))
    assert a + b == pytest.approx(0)


def test_the_likelihood_is_highest(rng):
    wins = rng.integers(1, 20, (5, 5)) * (1 - np.eye(5))
    scores = bradley_terry(wins, prior=0)
    chance = 1 / (1 + np.exp(scores[None] - scores[:, None]))
    np.testing.assert_allclose(wins.sum(1), ((wins + wins.T) * chance).sum(1), rtol=1e-6)


def test_who_always_wins_is_finite():
    scores = bradley_terry(np.array([[0, 9, 9], [0, 0, 5], [0, 4, 0]]))
    assert np.isfinite(scores).all()
    assert scores.argmax() == 0
    assert bradley_terry(np.zeros((1, 1))) == [0]


def test_votes_rank_and_more_of_them_are_surer(rng):
    true = {"a": 1.0, "b": 0.0, "c": -1.0}

    def votes(count):
        drawn = [rng.choice(list(true), 2, replace=False) for _ in range(count)]
        return [(x, y, float(rng.random() < 1 / (1 + np.exp(true[y] - true[x])))) for x, y in drawn]

    few, many = strengths(list(true), votes(40), 200), strengths(list(true), votes(2000), 200)
    assert list(many) == ["a", "b", "c"]
    assert sum(s.votes for s in many.values()) == 4000
    for name, strength in many.items():
        assert strength.low - 0.1 < true[name] < strength.high + 0.1
        assert strength.low <= strength.score <= strength.high
        assert strength.high - strength.low < few[name].high - few[name].low


def test_a_draw_is_half_a_win():
    found = strengths(["a", "b"], [("a", "b", 0.5)] * 8, 50)
    assert found["a"].score == found["b"].score == 0
    assert (found["a"].wins, found["a"].votes) == (4, 8)


def test_the_interval_of_a_mean(rng):
    values = rng.normal(3, 2, 400)
    low, high = bootstrap_mean(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.2)
    assert bootstrap_mean(np.array([5.0])) == (5, 5)
