"""Fixtures of the commands' tests: running one in this process, and the writers of checkpoints."""

import contextlib
import dataclasses
import importlib.util
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from wct_jax.cli import stylize
from wct_jax.kernels.conv import algorithm
from wct_jax.networks.model_file import save_model

_spec = importlib.util.spec_from_file_location("checkpoints", Path(__file__).parents[1] / "convert" / "conftest.py")
_checkpoints = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_checkpoints)

colour = _checkpoints.colour
decoder = _checkpoints.decoder
layers = _checkpoints.layers
state_dict = _checkpoints.state_dict
valid_files = _checkpoints.valid_files


@pytest.fixture(scope="session")
def files(tmp_path_factory, random_model):
    """A model of four levels and three decoders, another one, a photo and a picture: none of them is written to."""
    folder = tmp_path_factory.mktemp("files")
    model = random_model((4, 6, 8, 8), ("relu3_1", "relu2_1", "relu1_1"))
    for decoder in model.decoders.values():  # into 0..1
        decoder["conv1_1"] = {"kernel": decoder["conv1_1"]["kernel"] / 4, "bias": np.full(3, 0.5, np.float32)}
    model = dataclasses.replace(model, painter=model.decoders["relu3_1"])
    save_model(folder / "model.safetensors", model)
    darker = jax.tree.map(lambda array: array * np.float32(0.8), model.decoders)
    other = dataclasses.replace(model, decoders=darker, painter={})
    save_model(folder / "other.safetensors", other)
    for name, shape, seed, scale in (("photo", (17, 24, 3), 0, 1), ("picture", (16, 20, 3), 1, 2)):
        noise = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(noise // scale).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def few(files):
    """Flags for the photo in the style of the picture, with the model."""
    return ["--content", files / "photo.png", "--style", files / "picture.png", "--model", files / "model.safetensors"]


@pytest.fixture
def run(capsys):
    """Run a command's `main`: exit status, stdout, stderr."""

    def run(main, *arguments):
        capsys.readouterr()
        try:
            main([str(argument) for argument in arguments])
            status = 0
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def refused(run, tmp_path):
    """Run a command that is to fail: the one sentence it says, after checking that it left nothing behind."""

    def refused(main, *arguments):
        before = _tree(tmp_path)
        status, out, err = run(main, *arguments)
        assert (status, out) == (2, ""), err
        assert err.endswith("\n"), err
        assert len(err.splitlines()) == 1, err
        program, error, sentence = err.rstrip("\n").split(": ", 2)
        assert program
        assert error == "error"
        assert _tree(tmp_path) == before
        return sentence

    return refused


@pytest.fixture
def repaint(run, files, tmp_path):
    """Run stylize.py, on the photo and the picture unless told otherwise, into a new file; its pixels."""

    def repaint(*flags, output="out.png", said="", **sources):
        path = tmp_path / output
        path.unlink(missing_ok=True)
        status, out, err = run(stylize.main, *_given(files, flags, **sources), "--output", path)
        assert status == 0, err
        assert said in err
        assert bool(said) == bool(err), err
        with Image.open(path) as image:
            result = np.asarray(image, int)
        assert f"{path}: {result.shape[1]} x {result.shape[0]} pixels, " in out
        return result

    return repaint


@pytest.fixture
def refuse(refused, files, tmp_path):
    """Run stylize.py as `repaint` does, with something wrong: the sentence it says."""

    def refuse(*flags, output=tmp_path / "out.png", **sources):
        return refused(stylize.main, *_given(files, flags, **sources), *(["--output", output] if output else []))

    return refuse


def _given(files, flags, content="photo.png", style="picture.png"):
    """The flags, and those for files that they do not name, None for a file that is not wanted."""
    given = {"--content": content, "--style": style, "--model": "model.safetensors"}
    wanted = {flag: files / path for flag, path in given.items() if path and flag not in flags}
    return [*(part for pair in wanted.items() for part in pair), *flags]


@pytest.fixture(scope="module")
def as_a_user():
    """Optax needs the promotion that a user has. What is compiled here is run for a few steps."""
    settings = {
        "jax_numpy_dtype_promotion": "standard",
        "jax_disable_most_optimizations": True,
    }
    before = {name: jax.config.values[name] for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    with algorithm("direct"):  # The same numbers, and half as long to compile.
        yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture
def mounted():
    """Mount a file system in memory on a new folder, to be full or read-only whoever runs the tests."""
    return _mounted


@contextlib.contextmanager
def _mounted(folder, options):
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        mount = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs mount")
    if mount.returncode:
        pytest.skip(f"needs leave to mount: {mount.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _tree(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
