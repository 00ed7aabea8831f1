"""What the commands share: what they say, and that the work does not depend on being able to say it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from wct_jax.cli import command, stylize

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def process(few, tmp_path):
    """Run stylize.py as a process, far from the checkout: status, stdout, stderr, and whether the result is there."""

    def process(*flags, shell='"$@"', output="out.png", **options):
        words = [sys.executable, ROOT / "stylize.py", *few, "--layers", "relu1_1", *flags]
        line = ["sh", "-c", shell, "sh", *words, "--output", tmp_path / output]
        done = subprocess.run(line, capture_output=True, cwd=tmp_path, **options)
        return done.returncode, done.stdout, done.stderr, (tmp_path / output).exists()

    return process


@pytest.mark.skipif(os.name != "posix", reason="needs sh")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(process, closed):
    status, out, err, made = process(shell=f'"$@" {closed}')
    assert (status, made) == (0, True)
    assert err == b""
    if ">&-" in closed.split():
        assert out == b""


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX")
@pytest.mark.parametrize(
    ("encoding", "name"),
    [("cp1252", "фото.png"), ("ascii", "\N{SNOWMAN}.png"), ("utf-8", "\udcff.png"), ("latin-1:strict", "фото.png")],
)
def test_names_that_the_terminal_cannot_show(process, encoding, name):
    status, out, err, made = process(output=name, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert (status, err, made) == (0, b"", True)
    assert b"24 x 17 pixels" in out
    # Nor in a sentence on a mistake.
    status, out, err, made = process(output=name, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert (status, out) == (2, b"")
    assert b"it exists, expected --overwrite" in err
    assert b"Traceback" not in err


@pytest.mark.skipif(os.name != "posix", reason="a current folder stays there elsewhere")
def test_a_current_folder_that_is_gone(process, tmp_path):
    gone = f'mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir {tmp_path}/gone && "$@"'
    status, _, err, made = process(shell=gone)
    assert (status, made) == (0, True), err
    status, _, err, _ = process("--sheet", "sheet.png", "--overwrite", shell=gone)
    assert status == 2
    assert b"the current folder no longer exists" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("platform", ["cuda", "bogus", "bogus,cpu"])
def test_a_platform_that_is_not_there(process, platform):
    status, out, err, made = process(env=os.environ | {"JAX_PLATFORMS": platform})
    if status == 0 and platform == "cuda":
        pytest.skip("this machine has one")
    assert (status, out, made) == (2, b"", False)
    assert err.startswith(f"stylize.py: error: JAX finds no device for JAX_PLATFORMS={platform}: expected ".encode())
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("script", ["stylize.py", "train.py", "convert_vgg.py"])
def test_a_python_without_the_packages_says_so_in_a_sentence(tmp_path, script):
    arguments = {
        "stylize.py": ["--content", "a.png", "--style", "b.png"],
        "train.py": ["--layer", "relu1_1"],
        "convert_vgg.py": ["a.pth"],
    }[script]
    alone = [sys.executable, "-S", "-E", ROOT / script, *arguments]  # Without site-packages.
    done = subprocess.run(alone, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "does not have the package" in done.stderr or "training needs grain" in done.stderr
    helped = subprocess.run([*alone, "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert helped.returncode == 0


def test_control_characters_do_not_reach_the_terminal(run, refused, files, tmp_path):
    photo = tmp_path / "a\x1b[31m\n\u202e.png"
    photo.write_bytes((files / "photo.png").read_bytes())
    few = ["--style", files / "picture.png", "--layers", "relu1_1", "--model", files / "model.safetensors"]
    status, out, _ = run(stylize.main, "--content", photo, *few)
    assert status == 0
    assert "a\\x1b[31m\\n\\u202e__picture.png: 24 x 17 pixels" in out
    assert "\x1b" not in refused(stylize.main, "--content", photo.with_suffix(".gif"), *few)
    with Image.open(tmp_path / "a\x1b[31m\n\u202e__picture.png") as image:
        assert image.size == (24, 17)


@pytest.mark.parametrize("text", ["4", "4096", "0.5"])
def test_an_amount_of_memory_needs_its_unit(refused, text):
    sentence = refused(stylize.main, "--memory", text)
    assert sentence.endswith(f"such as 500MB or 4GB, got {text!r} without its unit: {text}MB, {text}GB?")


@pytest.mark.parametrize("flag", ["--passes", "--content-size", "--tile", "--random", "--patch", "--stride", "--seed"])
@pytest.mark.parametrize("number", ["9" * 20, "9" * 5000, "1e3", "-1", "0x10", "１"])
def test_whole_numbers_that_are_none_or_beyond_use(refused, flag, number):
    sentence = refused(stylize.main, f"{flag}={number}")
    assert sentence.startswith(f"argument {flag}: expected a whole number from ")
    assert len(sentence) < 150


def test_what_the_system_refuses_is_a_sentence():
    parser = command.Parser("Fail.")

    def body():
        os.listdir("/nowhere/at/all")

    with pytest.raises(SystemExit, match="2"):
        command.run(parser, body)
