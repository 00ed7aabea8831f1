"""A private folder: files by key, ignored when damaged, misplaced or another user's, and never a reason to fail."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from wct_jax.system.private_folder import PrivateFolder, is_private

posix = pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX")
CONTENT = bytes(range(256)) * 4


@pytest.fixture
def folder(tmp_path):
    """A folder that has one file."""
    path = tmp_path / "folder"
    path.mkdir(mode=0o700)
    PrivateFolder(path, 10**6).write("key", CONTENT)
    return path


def read(folder, key="key"):
    return PrivateFolder(folder, 10**6).read(key)


def flipped(place):
    def flip(path):
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 1
        path.write_bytes(content)

    return flip


DAMAGES = {
    **{f"a bit flipped at {place}": flipped(place) for place in (0, 0.01, 0.02, 0.03, 0.04, 0.5, 1)},
    "empty": lambda path: path.write_bytes(b""),
    "its first bytes": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "all but the last byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a byte more": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "all zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "the content alone": lambda path: path.write_bytes(CONTENT),
    "twice": lambda path: path.write_bytes(path.read_bytes() * 2),
    "of another format": lambda path: path.write_bytes(path.read_bytes().replace(b"wct_jax 1", b"wct_jax 2")),
    "larger than the folder may be": lambda path: os.truncate(path, 10**12),
}
STRANGERS = {
    "a named pipe": os.mkfifo if os.name == "posix" else None,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a file": lambda path: path.symlink_to(Path(__file__)),
    "a folder": Path.mkdir,
}


def test_what_is_written_is_read(folder):
    assert read(folder) == CONTENT
    assert read(folder, "another key") is None
    PrivateFolder(folder, 10**6).write("key", b"")
    assert read(folder) == b""
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_none_and_is_replaced(folder, damage):
    (path,) = folder.iterdir()
    damage(path)
    assert read(folder) is None
    PrivateFolder(folder, 10**6).write("key", CONTENT)
    assert read(folder) == CONTENT
    assert list(folder.iterdir()) == [path]


def test_every_bit_counts(folder):
    (path,) = folder.iterdir()
    sealed = path.read_bytes()
    for bit in range(0, 8 * len(sealed), 31):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert read(folder) is None, bit


def test_a_file_under_another_name_is_none(folder):
    (first,) = folder.iterdir()
    PrivateFolder(folder, 10**6).write("second", b"second")
    (second,) = set(folder.iterdir()) - {first}
    spare = folder / "spare"
    first.rename(spare)
    second.rename(first)
    spare.rename(second)
    assert read(folder) is None
    assert read(folder, "second") is None


@posix
@pytest.mark.parametrize("make", STRANGERS.values(), ids=STRANGERS)
def test_what_is_not_a_regular_file_is_none(folder, make):
    (path,) = folder.iterdir()
    target = Path(__file__).read_bytes()
    path.unlink()
    make(path)
    private = PrivateFolder(folder, 10**6)
    assert private.read("key") is None
    private.write("key", CONTENT)
    assert private.read("key") == (None if path.is_dir() else CONTENT)
    private.prune()
    PrivateFolder(folder, 0).prune()
    assert Path(__file__).read_bytes() == target  # Links are not written through.


@posix
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777, 0o2775])
def test_a_folder_that_others_can_write_to_is_left_alone(folder, mode):
    folder.chmod(mode)
    assert not is_private(folder)
    private = PrivateFolder(folder, 0)
    assert read(folder) is None
    private.write("other", CONTENT)
    private.prune()
    assert len(list(folder.iterdir())) == 1
    assert stat.S_IMODE(folder.stat().st_mode) == mode
    link = folder.with_name("link")
    link.symlink_to(folder)
    assert read(link) is None


@posix
@pytest.mark.parametrize("mode", [0o660, 0o606, 0o666])
def test_a_file_that_others_can_write_to_is_none(folder, mode):
    (path,) = folder.iterdir()
    path.chmod(mode)
    assert read(folder) is None
    PrivateFolder(folder, 10**6).write("key", CONTENT)
    assert read(folder) == CONTENT


@posix
def test_what_belongs_to_another_user_is_left_alone(folder, monkeypatch):
    (path,) = folder.iterdir()
    before = path.stat().st_mtime_ns
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    private = PrivateFolder(folder, 0)
    assert not is_private(folder)
    assert private.read("key") is None
    private.write("key", b"ours")
    private.prune()
    monkeypatch.undo()
    assert read(folder) == CONTENT
    assert path.stat().st_mtime_ns >= before


@posix
@pytest.mark.parametrize("umask", [0, 0o002, 0o077])
def test_files_are_this_users_alone_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        PrivateFolder(tmp_path, 10**6).write("key", CONTENT)
    finally:
        os.umask(before)
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read(tmp_path) == CONTENT


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing", tmp_path / "file", tmp_path / "file" / "folder", Path("x" * 5000)):
        private = PrivateFolder(path, 10**6)
        private.write("key", CONTENT)
        assert private.read("key") is None
        private.prune()


def test_a_full_disk_is_no_reason_to_fail(folder, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    PrivateFolder(folder, 10**6).write("other", CONTENT)
    assert len(list(folder.iterdir())) == 1


def test_a_folder_that_is_only_read_is_read(folder, monkeypatch):
    def refused(*arguments, **options):
        raise PermissionError(30, "Read-only file system")

    for function in ("utime", "replace", "unlink"):
        monkeypatch.setattr(os, function, refused)
    monkeypatch.setattr("tempfile.mkstemp", refused)
    assert read(folder) == CONTENT
    private = PrivateFolder(folder, 0)
    private.write("key", b"")
    private.prune()
    monkeypatch.undo()
    folder.chmod(0o500)
    assert read(folder) == CONTENT
    folder.chmod(0o700)


def test_what_was_not_used_for_the_longest_time_goes_first(folder):
    private = PrivateFolder(folder, 10**6)
    for age, key in enumerate(("old", "older", "oldest")):
        before = set(folder.iterdir())
        private.write(key, CONTENT)
        (path,) = set(folder.iterdir()) - before
        os.utime(path, (1e7 - age, 1e7 - age))
    (folder / "notes.txt").write_bytes(CONTENT)
    os.utime(folder / "notes.txt", (0, 0))
    assert read(folder, "oldest") == CONTENT  # It is used.
    PrivateFolder(folder, 3 * len(CONTENT)).prune()
    assert [read(folder, key) is not None for key in ("older", "old", "oldest", "key")] == [False, False, True, True]
    assert (folder / "notes.txt").exists()  # It is not one of these files.


def test_several_processes_write_and_prune_at_once(folder):
    script = """
import sys
from pathlib import Path
from wct_jax.system.private_folder import PrivateFolder
folder = PrivateFolder(Path(sys.argv[1]), 20_000)
for n in range(150):
    content = str(n % 10).encode() * 5000
    folder.write(str(n % 10), content)
    assert folder.read(str(n % 10)) in (content, None)
    folder.prune()
"""
    command = [sys.executable, "-c", script, str(folder)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
    assert all(len(path.name) == 64 for path in folder.iterdir())
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 20_000
