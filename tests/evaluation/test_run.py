"""Runs that are broken off and go on, and the summary and files of the report."""

import csv
import json

import pytest

from wct_jax import read_image
from wct_jax.evaluation.judge import Judge
from wct_jax.evaluation.methods import found, painted
from wct_jax.evaluation.report import About, write_report
from wct_jax.evaluation.run import Task, run
from wct_jax.evaluation.summary import FIGURES, summarise


@pytest.fixture(scope="module")
def judge(pictures):
    return Judge(pictures / "model.safetensors")


@pytest.fixture
def evaluate(pictures, judge, tmp_path):
    def evaluate(*methods, contents="abc", styles="xy", stop=None, folder=tmp_path / "report"):
        def report(name, done, total):
            if done == stop:
                raise KeyboardInterrupt

        paths = [[pictures / kind / f"{name}.png" for name in names] for kind, names in
                 (("content", contents), ("style", styles))]  # fmt: skip
        task = Task(methods, [(c, s) for c in paths[0] for s in paths[1]], {p: p.stem for q in paths for p in q}, 32)
        return run(task, judge, folder, lambda text: None, report)

    return evaluate


@pytest.fixture(scope="module")
def ways(pictures):
    return painted(["cascade,layers=relu1_1", "one-pass"], [str(pictures / "model.safetensors")], [], [0, 1])


def without_costs(records):
    return [{name: x for name, x in r.items() if name not in ("seconds", "memory", "first")} for r in records]


@pytest.mark.slow
def test_an_interrupted_run_goes_on(evaluate, ways, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        evaluate(*ways, contents="ab", stop=5)
    with open(tmp_path / "report/figures.jsonl", "ab") as file:
        file.write(b'{"key": "torn')
    went_on = evaluate(*ways, contents="ab")
    assert went_on.kept == 5
    assert not went_on.failures
    # Two photos in two styles by three methods, and by two in their own.
    assert len(went_on.records) == 12 + 4
    whole = evaluate(*ways, contents="ab", folder=tmp_path / "whole")
    assert without_costs(went_on.records) == without_costs(whole.records)
    again = evaluate(*ways, contents="ab")
    assert again.kept == 16
    assert again.records == went_on.records


def test_a_lost_picture_is_made_again(evaluate, ways, tmp_path):
    first = evaluate(ways[0], contents="a", styles="x")
    (tmp_path / "report" / first.records[0]["picture"]).unlink()
    second = evaluate(ways[0], contents="a", styles="x")
    assert second.kept == 1
    assert (tmp_path / "report" / first.records[0]["picture"]).is_file()


@pytest.mark.slow
def test_results_that_are_there_have_the_same_figures(evaluate, ways, tmp_path):
    made = evaluate(ways[0])
    (tmp_path / "there").mkdir()
    pairs = [r for r in made.records if r["kind"] == "pair"]
    for r in pairs[:-1]:
        picture = (tmp_path / "report" / r["picture"]).read_bytes()
        (tmp_path / "there" / f"{r['content']}__{r['style']}.png").write_bytes(picture)
    judged = evaluate(found(tmp_path / "there"))
    assert [f.split(" has no result of ")[0] for f in judged.failures] == ["there"]
    assert [r["style_distance"] for r in judged.records] == [r["style_distance"] for r in pairs[:-1]]
    assert all(r["seconds"] is None for r in judged.records)


def test_a_folder_of_something_else_and_a_damaged_one_are_refused(evaluate, ways, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine.txt").touch()
    with pytest.raises(ValueError, match="has files and no report"):
        evaluate(ways[0])
    (tmp_path / "report" / "figures.jsonl").write_text("mine\n")
    with pytest.raises(ValueError, match="is not the figures of a report"):
        evaluate(ways[0])
    (tmp_path / "report" / "figures.jsonl").write_text('{"wct_jax evaluation": 1}\n[]\n')
    with pytest.raises(ValueError, match="damaged in line 2"):
        evaluate(ways[0])


@pytest.mark.slow
def test_the_files_of_a_report(evaluate, ways, tmp_path):
    outcome, folder = evaluate(*ways, contents="a"), tmp_path / "report"
    write_report(folder, outcome, About("judge", 32, ["<b>mind</b>"], vote=False))
    assert not (folder / "vote.html").exists()
    report = json.loads((folder / "report.json").read_text())
    assert report["results"] == outcome.records
    data = (folder / "data.js").read_text()
    assert json.loads(data.removeprefix("window.REPORT = "))["pairs"][0][:2] == ["a", "x"]
    with open(folder / "figures.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["ssim"]) for row in rows if row["ssim"]] == [r["ssim"] for r in outcome.records if "ssim" in r]
    for name in outcome.pictures.values():
        assert read_image(folder / name).shape[0] == 32


def test_summaries():
    def record(value, first=False):
        return {"method": "a", "setting": "", "kind": "pair", "ssim": value, "calm": None, "seconds": value,
                "memory": 2e6, "first": first}  # fmt: skip

    (summary,) = summarise([record(0.5), record(0.25), record(0.9, first=True)])
    assert summary["ssim"]["mean"] == pytest.approx(0.55)
    assert summary["ssim"]["median"] == 0.5
    assert summary["ssim"]["low"] < 0.55 < summary["ssim"]["high"]
    assert summary["seconds"]["n"] == 2  # Without what compiled.
    assert summary["memory"]["mean"] == 2
    assert summary["calm"] is None
    assert set(FIGURES) <= set(summary)
