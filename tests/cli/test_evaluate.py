"""`wct-jax evaluate` as a command: reports, what it refuses, and the counting of votes."""

import json

import pytest
from PIL import Image

from wct_jax.cli.evaluate import main


@pytest.fixture
def given(files, tmp_path):
    """Flags for a photo and a style of 40 pixels, with the model as its own judge."""
    for kind, name in (("content", "photo"), ("style", "picture")):
        (tmp_path / kind).mkdir()
        with Image.open(files / f"{name}.png") as image:
            image.save(tmp_path / kind / f"{name}.png")
    model = files / "model.safetensors"
    return ["--content", tmp_path / "content", "--style", tmp_path / "style", "--model", model, "--judge", model,
            "--size", 32]  # fmt: skip


@pytest.mark.slow
def test_a_report_and_again(run, given, tmp_path):
    output = tmp_path / "report"
    methods = ["--method", "cascade,layers=relu1_1", "one-pass", "--vote"]
    status, out, err = run(main, *given, *methods, "--output", output)
    assert (status, err) == (0, "")
    assert out == f"{output}: 4 results; open {output / 'vote.html'} in a browser\n"
    report = json.loads((output / "report.json").read_text())
    assert [each["method"] for each in report["summaries"]] == ["cascade, layers relu1_1", "one-pass"]
    assert report["summaries"][0]["rebuilt_psnr"]["n"] == 1
    assert "not as wide" in report["about"]["notes"][0]
    status, out, err = run(main, *given, *methods, "--output", output)
    assert out.startswith(f"{output}: 4 results (4 of them there before); open ")


def test_missing_results_are_told_and_the_others_judged(run, given, tmp_path):
    for name in ("one", "none"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (45, 32)).save(tmp_path / "one/photo__picture.png")
    Image.new("RGB", (45, 32)).save(tmp_path / "none/other__picture.png")
    status, out, err = run(
        main, *given, "--results", tmp_path / "one", tmp_path / "none", "--output", tmp_path / "report"
    )
    assert status == 2
    assert "none has no result of " in err
    assert "1 results are missing" in err
    assert out.startswith(f"{tmp_path / 'report'}: 1 results; open ")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--method", "paint"], "method must be"),
        (["--method", "cascade,alpha=3"], "alpha"),
        (["--method", "cascade", "cascade"], "two methods are called cascade"),
        (["--results", "nowhere"], "cannot read the pictures in nowhere: there is no such folder"),
        (["--judge", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--size", "3"], "argument --size: expected a whole number from 32"),
        (["--votes", "a.json"], "--votes counts what is there"),
        (["--pair"], "there must be one style named photo"),
        (["--style", "nowhere"], "nowhere"),
        (["--model", "nowhere"], "nowhere"),
    ],
)
def test_what_it_refuses(refused, given, tmp_path, flags, said):
    assert said in refused(main, *given, "--output", tmp_path / "report", *flags)


def test_what_it_needs(refused, given, tmp_path):
    assert "got no --output" in refused(main, *given)
    assert "got no --content" in refused(main, "--style", tmp_path / "style")
    assert "is inside" in refused(main, *given, "--output", tmp_path / "content" / "report")


def test_votes_are_counted(run, refused, tmp_path):
    votes = [{"content": "a", "style": "x", "left": "p", "right": "q", "choice": choice} for choice in
             ["left"] * 6 + ["right", "neither"]]  # fmt: skip
    file = {"format": "wct_jax votes 1", "report": "1", "methods": ["p", "q", "r"], "votes": votes}
    (tmp_path / "votes.json").write_text(json.dumps(file))
    status, out, err = run(main, "--votes", tmp_path / "votes.json")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "8 votes of 1 person"
    assert [line.split()[0] for line in lines[2:5]] == ["p", "r", "q"]
    assert lines[2].endswith("6.5 of 8")
    (tmp_path / "bad.json").write_text("{}")
    assert "is no file of votes" in refused(main, "--votes", tmp_path / "bad.json")
