"""Where the commands keep what they compile: in folders of this user's own, and nowhere else."""

import hashlib
import os
import pickle
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from wct_jax.kernels import compilation_cache
from wct_jax.studio import kept

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX")


@pytest.fixture
def homes(tmp_path, monkeypatch):
    """A home of `WCT_JAX_HOME`, and one of the user's cache."""
    monkeypatch.setenv("WCT_JAX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "home", tmp_path / "cache" / "wct_jax"


def test_the_folder_is_this_users_alone(homes, monkeypatch):
    before = os.umask(0)
    try:
        folder = kept._folder("compiled")
    finally:
        os.umask(before)
    assert folder == homes[0] / "compiled"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert kept._folder("compiled") == folder  # What is made here is taken again.
    assert not homes[1].exists()
    monkeypatch.delenv("WCT_JAX_HOME")
    assert kept._folder("compiled") == homes[1] / "compiled"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o2770])
def test_what_others_can_write_to_holds_no_code(homes, mode):
    homes[0].mkdir()
    homes[0].chmod(mode)
    assert kept._folder("compiled") == homes[1] / "compiled"
    assert list(homes[0].iterdir()) == []
    homes[0].chmod(0o755)
    for home, other in zip(homes, (homes[1] / "compiled", None), strict=True):
        (home / "compiled").mkdir(exist_ok=True)
        (home / "compiled").chmod(mode)
        assert kept._folder("compiled") == other


def test_another_users_home_is_not_used(homes, monkeypatch):
    for home in homes:
        (home / "compiled").mkdir(parents=True)
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    assert kept._folder("compiled") is None
    # Nor is anything made in one: with sudo, its owner could not use it.
    shutil.rmtree(homes[1])
    assert kept._folder("compiled") is None
    assert not homes[1].exists()


def test_a_link_is_judged_by_where_it_leads(homes, tmp_path):
    homes[0].mkdir()
    (tmp_path / "other").mkdir(mode=0o777)
    (tmp_path / "other").chmod(0o777)
    (homes[0] / "compiled").symlink_to(tmp_path / "other")
    assert kept._folder("compiled") == homes[1] / "compiled"
    (tmp_path / "other").chmod(0o755)
    assert kept._folder("compiled") == homes[0] / "compiled"


@pytest.mark.parametrize("place", ["file", "file/home", "nothing", "x" * 5000, os.fsdecode(b"\xff\xfe")])
def test_a_home_that_is_none_leaves_the_users_cache(homes, tmp_path, monkeypatch, place):
    (tmp_path / "file").touch()
    (tmp_path / "nothing").symlink_to("missing/too")
    monkeypatch.setenv("WCT_JAX_HOME", str(tmp_path / place))
    expected = tmp_path / place if place.startswith("\udcff") else homes[1]
    assert kept._folder("compiled") == expected / "compiled"


@pytest.mark.parametrize("home", [None, "", "relative", "file", "missing"])
def test_a_user_without_a_home_keeps_what_is_compiled_only_where_named(homes, tmp_path, monkeypatch, home):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/cache")
    monkeypatch.setenv("HOME", str(tmp_path / home) if home in ("file", "missing") else home or "")
    if home is None:  # A user that the system does not know.
        monkeypatch.delenv("HOME")
        monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert kept._folder("compiled") == homes[0] / "compiled"
    monkeypatch.delenv("WCT_JAX_HOME")
    expected = tmp_path / "missing" / ".cache" / "wct_jax" / "compiled" if home == "missing" else None
    assert kept._folder("compiled") == expected
    assert not (tmp_path / "relative").exists()


def test_a_folder_that_is_only_read_is_used(homes):
    folder = kept._folder("compiled")
    for path in (folder, homes[0]):
        path.chmod(0o500)
    assert kept._folder("compiled") == folder
    for path in (homes[0], folder):
        path.chmod(0o700)


def test_jax_keeps_what_it_compiles_where_it_was_told(homes, monkeypatch):
    used = []
    monkeypatch.setattr(compilation_cache, "use", used.append)
    told = jax.config.values["jax_compilation_cache_dir"]
    try:
        jax.config.update("jax_compilation_cache_dir", str(homes[1]))
        kept.keep_compilations()
        assert not used
        jax.config.update("jax_compilation_cache_dir", None)
        kept.keep_compilations()
        assert [type(one).__name__ for one in used] == ["CompilationCache"]
        assert [path.name for path in homes[0].iterdir()] == ["compiled"]
        assert not homes[1].exists()
        monkeypatch.setattr(kept, "_homes", lambda: iter(()))
        kept.keep_compilations()
        assert len(used) == 1
    finally:
        jax.config.update("jax_compilation_cache_dir", told)


# As processes


class Planted:
    """It makes a folder when it is unpickled."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.mkdir, (str(self.witness),)


def start(files, output, *options, before=(), env=None):
    given = {"--content": "photo.png", "--style": "picture.png", "--model": "model.safetensors"}
    flags = [part for flag, name in given.items() for part in (flag, files / name)]
    command = [*before, sys.executable, "stylize.py", *flags, "--output", output, "--overwrite", *options]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)


def repaint(files, output, environment, before=()):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_", "WCT_"))}
    clean = {name: value for name, value in (clean | environment).items() if value is not None}
    process = start(files, output, before=before, env=clean)
    assert (process.returncode, process.stderr) == (0, ""), (process.returncode, process.stderr)
    return np.asarray(Image.open(output))


def checksums(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.slow
def test_what_is_kept_serves_again_unless_damaged_or_planted(files, tmp_path):
    environment = {"WCT_JAX_HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    output, folder, witness = tmp_path / "out.png", tmp_path / "home" / "compiled", tmp_path / "witness"
    first = repaint(files, output, environment)
    whole = checksums(folder)
    assert whole
    np.testing.assert_array_equal(repaint(files, output, environment), first)
    assert checksums(folder) == whole
    for n, path in enumerate(sorted(folder.iterdir())):
        content = bytearray(path.read_bytes())
        content[n * len(content) // len(whole)] ^= 1 << n % 8
        path.write_bytes(content)
    damaged = checksums(folder)
    np.testing.assert_array_equal(repaint(files, output, environment), first)
    mended = checksums(folder)
    assert mended.keys() == whole.keys()
    assert all(mended[name] != damaged[name] for name in damaged)
    # Nor is a home that cannot be made a mistake.
    nowhere = dict.fromkeys(environment, str(files / "photo.png"))
    np.testing.assert_array_equal(repaint(files, output, nowhere), first)
    # In turn a pickle, a pipe, a link, and a folder.
    for n, path in enumerate(sorted(folder.iterdir())):
        path.unlink()
        make = [
            lambda path: path.write_bytes(pickle.dumps(Planted(witness))),
            os.mkfifo,
            lambda path: path.symlink_to("/dev/zero"),
            Path.mkdir,
        ][n % 4]
        make(path)
    folder.chmod(0o777)
    np.testing.assert_array_equal(repaint(files, output, environment), first)
    folder.chmod(0o700)
    np.testing.assert_array_equal(repaint(files, output, environment), first)
    assert not witness.exists()
    assert sum(path.is_file() and not path.is_symlink() for path in folder.iterdir()) >= len(whole) * 3 // 4


@pytest.mark.slow
def test_an_unknown_user_without_a_home(files):
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("needs setpriv, and to be root")
    capabilities = "+dac_override,+dac_read_search"
    before = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
    before += [f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}"]
    environment = {"HOME": None, "XDG_CACHE_HOME": None, "WCT_JAX_HOME": None}
    # Not in pytest's folder, which others cannot reach.
    with tempfile.TemporaryDirectory() as reached:
        os.chmod(reached, 0o777)
        home, output = Path(reached, "home"), Path(reached, "out.png")
        files = shutil.copytree(files, Path(reached, "files"))
        files.chmod(0o755)
        first = repaint(files, output, environment, before=before)
        home.mkdir()
        home.chmod(0o777)
        environment["WCT_JAX_HOME"] = str(home)
        np.testing.assert_array_equal(repaint(files, output, environment, before=before), first)
        assert list(home.iterdir()) == []
        os.chown(home, 12345, 12345)
        home.chmod(0o700)
        np.testing.assert_array_equal(repaint(files, output, environment, before=before), first)
        assert (home / "compiled").stat().st_uid == 12345
        before += ["env", "-u", "HOME", "-u", "WCT_JAX_HOME", "-u", "XDG_CACHE_HOME"]
        process = start(files, output, "--model", "vgg19", before=before)
        assert (process.returncode, len(process.stderr.splitlines())) == (2, 1), process.stderr
        assert "set WCT_JAX_HOME" in process.stderr
