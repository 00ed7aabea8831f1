"""The recipes ask the trainings for what they take; they run for days, so here each training only reads its options."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import wct_jax

ROOT = Path(__file__).resolve().parents[1]
PACKAGED = Path(wct_jax.__file__).parent / "networks" / "compact.safetensors"
# In place of a command: its parser reads the options, and the run's model is the one that it would begin with.
READER = """\
import importlib, shutil, sys
from pathlib import Path

arguments = importlib.import_module(f"wct_jax.cli.{sys.argv[1]}").make_parser().parse_args(sys.argv[2:])
model = Path(arguments.out) / "model.safetensors"
model.parent.mkdir(parents=True, exist_ok=True)
if not model.exists():
    shutil.copy("vgg19.safetensors", model)
with open("asked.txt", "a") as asked:
    print(sys.argv[1], arguments.out, arguments.steps, file=asked)
"""


@pytest.fixture
def kitchen(tmp_path, monkeypatch):
    """A folder with the recipes, the files that they name, and commands that only read their options."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    for name in ("vgg19", "compressed4", "compressed5", "wct_jax/networks/compact"):
        path = tmp_path / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGED, path)
    for name in ("photos", "paintings", "val", "bin"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin" / "reader.py").write_text(READER)
    for name in ("train", "distill"):
        command = tmp_path / "bin" / f"wct-{name}"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {command.with_name("reader.py")} {name} "$@"\n')
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
    path = os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    monkeypatch.setenv("PATH", path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "files", "trainings"),
    [
        ("compact", ["vgg19.safetensors", "compressed4.safetensors", "compressed5.safetensors", "photos", "val"], 13),
        ("painter", ["vgg19.safetensors", "photos", "paintings", "val"], 3),
    ],
)
def test_the_trainings_take_what_a_recipe_asks_for(kitchen, recipe, files, trainings):
    script = ["bash", f"recipes/{recipe}.sh"]
    assert subprocess.run(script, capture_output=True).returncode == 2
    subprocess.run([*script, *files], check=True)
    asked = (kitchen / "asked.txt").read_text().splitlines()
    assert len(asked) == trainings
    model = wct_jax.load_model(kitchen / "wct_jax" / "networks" / "compact.safetensors")
    assert (model.layers, bool(model.painter)) == (wct_jax.load_model("compact").layers, True)
    # Again, as after a break: all but the decoders of which the model is there already.
    subprocess.run([*script, *files], check=True)
    there = {f"runs/compact/{run}" for run in ("relu5_1", "relu4_1", "relu5_1-again")}
    again = (kitchen / "asked.txt").read_text().splitlines()[trainings:]
    assert again == [line for line in asked if line.split()[1] not in there]
