"""Votes: the files that people bring back from the page where they choose the better of two."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wct_jax.measures.preference import Strength, strengths

_FORMAT = "wct_jax votes 1"
# The first one's share of a win.
_SHARES = {"left": 1.0, "right": 0.0, "neither": 0.5}


class Votes(NamedTuple):
    """The votes of one or more people.

    Attributes:
        methods: What they chose from.
        votes: The method on the left, the one on the right, and the left one's share of a win.
        people: How many files.
    """

    methods: list[str]
    votes: list[tuple[str, str, float]]
    people: int

    @property
    def strengths(self) -> dict[str, Strength]:
        """Bradley-Terry scores with 95 % intervals, the best first."""
        return strengths(self.methods, self.votes)


def read_votes(paths: Sequence[Path]) -> Votes:
    """Read files of votes, all of one report.

    Args:
        paths: The files.

    Raises:
        ValueError: One cannot be read, is no file of votes, or belongs to another report; or there is no vote.
    """
    methods: dict[str, None] = {}
    votes: list[tuple[str, str, float]] = []
    report = None
    seen: dict[bytes, Path] = {}
    for path in paths:
        try:
            text = path.read_bytes()
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror}") from None
        if text in seen:
            raise ValueError(f"{path} has the same votes as {seen[text]}: expected each file once")
        seen[text] = path
        try:
            file = json.loads(text)
            if file["format"] != _FORMAT or not isinstance(file["report"], str):
                raise ValueError
            named = [str(name) for name in file["methods"]]
            some = [(str(vote["left"]), str(vote["right"]), _SHARES[vote["choice"]]) for vote in file["votes"]]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise ValueError(f"{path} is no file of votes: expected JSON that the page of --vote saved") from None
        if any(left == right or not {left, right} <= set(named) for left, right, _ in some):
            raise ValueError(f"{path} is damaged: expected votes between two of {', '.join(named)[:80]}")
        if report not in (None, file["report"]):
            raise ValueError(f"{path} is of another report than {paths[0]}: expected votes on the same pictures")
        report = file["report"]
        methods |= dict.fromkeys(named)
        votes += some
    if not votes:
        raise ValueError("there is no vote in these files: expected one at least")
    return Votes(list(methods), votes, len(paths))
