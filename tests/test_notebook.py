"""The notebook of `examples/`: it runs from top to bottom, and is kept without results."""

import importlib.metadata
import re
import shutil
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def notebook():
    return nbformat.read(EXAMPLES / "wct_jax.ipynb", as_version=4)


def test_it_is_kept_without_results(notebook):
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)


def test_it_installs_extras_that_there_are(notebook):
    asked = re.findall(r"wct_jax\[([\w,]+)\]", "".join(cell.source for cell in notebook.cells))
    extras = importlib.metadata.metadata("wct_jax").get_all("Provides-Extra")
    assert asked
    assert {extra for each in asked for extra in each.split(",")} <= set(extras)


@pytest.mark.slow
def test_it_runs(notebook, tmp_path, monkeypatch):
    """Without the cells that install, download and upload, in a folder that has what they bring."""
    nbclient = pytest.importorskip("nbclient")
    for name in ("content.jpg", "waves.jpg", "mosaic.jpg", "ink.jpg"):
        shutil.copy(EXAMPLES / name, tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    assert sum("image/png" in data for data in shown) == 4
    assert any("video" in data.get("text/html", "") for data in shown)
    assert (tmp_path / "film.mp4").stat().st_size > 1000
