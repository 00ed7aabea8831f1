"""`stylize.py --method gatys` and `--method elad-milanfar`."""

import pytest
from PIL import Image

from wct_jax.cli.stylize import main

pytestmark = pytest.mark.usefixtures("directly")


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--method", "gatys", "--steps", 3], ["--method", "elad-milanfar"]])
def test_baselines_paint(run, few, tmp_path, flags):
    status, out, _ = run(main, *few, *flags, "--output", tmp_path / "result.png")
    assert status == 0
    assert "24 x 17 pixels" in out
    with Image.open(tmp_path / "result.png") as image:
        assert image.size == (24, 17)
    status, _, _ = run(main, *few, "--like", tmp_path / "result.png", "--output", tmp_path / "again.png")
    assert status == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "result.png").read_bytes()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--method", "gatys", "--alpha", 0.5], "--method gatys takes no --alpha"),
        (["--method", "elad-milanfar", "--steps", 5], "--method elad-milanfar takes no --steps"),
        (["--steps", 5], "--steps needs --method gatys"),
        (["--method", "gatys", "--layers", "relu5_1"], "the encoder has layers relu1_1"),
    ],
)
def test_options_are_refused(run, few, tmp_path, flags, sentence):
    status, _, err = run(main, *few, *flags, "--output", tmp_path / "result.png")
    assert status == 2
    assert sentence in err
    assert not list(tmp_path.iterdir())
