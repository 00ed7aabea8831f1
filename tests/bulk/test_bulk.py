"""The command `wct-jax bulk`: what it counts, does, says and refuses."""

import io
import json
import re
import subprocess
import sys

import pytest
from PIL import Image

from wct_jax.bulk.address import place_of
from wct_jax.cli import stylize
from wct_jax.cli.bulk import main

pq = pytest.importorskip("pyarrow.parquet")


def test_help_loads_neither_jax_nor_ray():
    code = (
        "import json, sys\nfrom wct_jax.cli.main import main\ntry:\n    main(['bulk', '--help'])\n"
        "except SystemExit as stop:\n    assert stop.code == 0\nprint(json.dumps(sorted(sys.modules)))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *shown, modules = process.stdout.splitlines()
    assert any("--cores-per-worker" in line for line in shown)
    assert not {"jax", "ray", "numpy", "pyarrow", "PIL", "rich"} & set(json.loads(modules))


def test_a_dry_run_counts(run, photos, look, kept, tmp_path):
    out = tmp_path / "out"
    assert run(main, photos, *look, "--output", out, "--dry-run") == (
        0,
        f"{out}: 6 photos, 0 there before, 6 to make\n",
        "",
    )
    assert not out.exists()
    (kept / "styles").mkdir(exist_ok=True)
    for name in ("one.png", "two.png"):
        Image.new("RGB", (8, 8)).save(kept / "styles" / name)
    (photos / "notes.txt").touch()
    look = ["--style", kept / "styles", *look[2:]]
    status, told, said = run(main, photos, *look, "--output", out, "--dry-run")
    assert (status, told) == (0, f"{out}: 6 photos in 2 styles, 12 results, 0 there before, 12 to make\n")
    assert said.endswith(f"not named as pictures, and passed over in {photos}: 1 .txt\n")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ["{photos}", "--output", "{photos}/out"],
            "the output .*/out is inside .*, whose files are read: expected anoth",
        ),
        (["{photos}", "--output", "{photos}"], "the output .* is inside"),
        (["{photos}/none", "--output", "out"], "cannot read the pictures in .*none: there is no such folder"),
        (["{photos}/a.png", "--output", "out"], "cannot read the pictures in .*: expected a folder, got a file"),
        (
            ["http://a/b", "--output", "out"],
            "cannot read http://a/b: expected a folder or one of s3://, gs:// and abfs",
        ),
        (["{photos}", "--output", "{photos}/../kept.txt/out"], "cannot write to .*out: Not a directory"),
        (["{photos}", "--output", "o", "--style", "{photos}", "--mask", "a"], "--mask needs a file for each style"),
        (["{photos}", "--output", "o", "--style", "none.png"], "cannot read none.png: No such file or directory"),
        (["{photos}", "--output", "o", "--whiten-only"], "--whiten-only takes no --style: expected one of them"),
        (["{photos}", "--output", "o", "--photo", "--alpha", "0.5"], "--photo changes colours and no drawing"),
        (["{photos}", "--output", "o", "--workers", "0"], "argument --workers: expected a whole number from 1"),
        (["{photos}", "--output", "o", "--model", "none.safetensors"], "cannot read none.safetensors: No such file"),
        (["{photos}"], "the following arguments are required: -o/--output"),
    ],
)
def test_mistakes_are_one_sentence(refused, photos, look, tmp_path, monkeypatch, flags, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept.txt").touch()
    given = [str(flag).format(photos=photos) for flag in flags]
    assert re.search(sentence, refused(main, *given[:1], *look, *given[1:]))


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_named(command, photos, look, tmp_path):
    pytest.importorskip("ray")
    flags = [*look, "--output", tmp_path / "out", "--address", "127.0.0.1:1"]
    status, told, said = command("bulk", photos, *flags)
    assert (status, told) == (2, "")
    assert "error: cannot join the Ray cluster 127.0.0.1:1: [Errno 111] Connection refused" in said


@pytest.mark.slow
def test_a_collection_is_repainted(command, run, photos, look, kept, tmp_path):
    pytest.importorskip("ray")
    (photos / "broken.png").write_bytes(b"hello")
    out = tmp_path / "out"
    flags = [photos, *look, "--alpha", "0.5", "--output", out]
    status, told, said = command("bulk", *flags, "--workers", 1)
    assert status == 1, said
    assert told.startswith(f"{out}: 7 photos: 6 done, 0 skipped since they were there, 1 failed; ")
    assert told.endswith(" megapixels/s, 1 worker\n")
    assert said.splitlines() == [
        f"wct-jax bulk: {photos / 'broken.png'} is not a picture Pillow can read",
        f"wct-jax bulk: 1 of 7 results could not be made: the manifest in {out} has the reasons",
    ]
    rows = pq.read_table(io.BytesIO(place_of(out).read("manifest.parquet"))).to_pylist()
    assert [row["status"] for row in rows] == ["done"] * 5 + ["failed", "done"]
    for row in rows:
        if row["status"] == "failed":
            assert row["error"] == f"{photos / 'broken.png'} is not a picture Pillow can read"
            continue
        with Image.open(photos / row["source"]) as photo:
            assert (row["width"], row["height"]) == photo.size
        run(stylize.main, "--content", photos / row["source"], *look, "--alpha", "0.5", "--output", tmp_path / "a.png",
            "--overwrite")  # fmt: skip
        assert (out / row["target"]).read_bytes() == (tmp_path / "a.png").read_bytes()
    (photos / "broken.png").unlink()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert run(main, *flags) == (0, f"{out}: 6 photos: 0 done, 6 skipped since they were there, 0 failed\n", "")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == before
    assert "0 there before, 6 to make" in run(main, *flags, "--alpha", "0.6", "--dry-run")[1]
