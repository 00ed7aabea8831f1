"""What the tests of the command lines share: running one in this process, and the writers of checkpoints."""

import contextlib
import importlib.util
import subprocess
from pathlib import Path

import jax
import pytest

from wct_jax.conv import algorithm

_spec = importlib.util.spec_from_file_location("checkpoints", Path(__file__).parents[1] / "convert" / "conftest.py")
_checkpoints = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_checkpoints)

colour = _checkpoints.colour
decoder = _checkpoints.decoder
layers = _checkpoints.layers
state_dict = _checkpoints.state_dict
valid_files = _checkpoints.valid_files


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
