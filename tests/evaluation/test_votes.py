"""Files of votes, good and bad."""

import json

import pytest

from wct_jax.evaluation.votes import read_votes


@pytest.fixture
def write(tmp_path):
    def write(name="votes.json", **changes):
        vote = {"content": "a", "style": "x", "left": "p", "right": "q", "choice": "left"}
        votes = [vote, vote | {"choice": "neither"}, vote | {"left": "q", "right": "p"}]
        file = {"format": "wct_jax votes 1", "report": "1", "voter": 7, "methods": ["p", "q"], "votes": votes}
        (tmp_path / name).write_text(json.dumps(file | changes))
        return tmp_path / name

    return write


def test_votes_of_several_people(write):
    found = read_votes([write(), write("b.json", voter=8)])
    assert found.people == 2
    assert found.votes == [("p", "q", 1.0), ("p", "q", 0.5), ("q", "p", 1.0)] * 2
    assert found.strengths["p"].score == pytest.approx(0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "2"}, "is no file of votes"),
        ({"votes": [{"left": "p", "right": "q", "choice": "up"}]}, "is no file of votes"),
        ({"votes": [{"left": "p", "right": "p", "choice": "left"}]}, "is damaged"),
        ({"votes": [{"left": "p", "right": "r", "choice": "left"}]}, "is damaged"),
        ({"votes": 3}, "is no file of votes"),
        ({"votes": []}, "there is no vote"),
    ],
)
def test_bad_files(write, changes, said):
    with pytest.raises(ValueError, match=said):
        read_votes([write(**changes)])


def test_files_that_do_not_go_together(write, tmp_path):
    with pytest.raises(ValueError, match="of another report"):
        read_votes([write(), write("b.json", report="2")])
    with pytest.raises(ValueError, match="has the same votes as"):
        read_votes([write(), write("b.json")])
    with pytest.raises(ValueError, match="cannot read"):
        read_votes([tmp_path / "none.json"])
