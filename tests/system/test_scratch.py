"""Folders that live as long as their process, or not much longer."""

import os
import signal
import subprocess
import sys
import threading

from wct_jax.system.scratch import scratch_folder


def test_folders_of_killed_processes_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    hold = (
        "from wct_jax.system.scratch import scratch_folder\n"
        "with scratch_folder() as folder:\n"
        "    print(folder, flush=True)\n"
        "    input()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", hold], env=os.environ | {"TMPDIR": str(tmp_path)}, **pipes)
    held = process.stdout.readline().strip()
    with scratch_folder() as kept:
        new = tmp_path / "wct_jax-scratch-new"
        new.mkdir()
        for folder in (held, kept):
            os.utime(folder, (1, 1))
        with scratch_folder() as made:
            assert set(map(str, tmp_path.iterdir())) == {held, *map(str, (kept, new, made))}
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with scratch_folder() as made:
            assert set(tmp_path.iterdir()) == {kept, new, made}
    assert list(tmp_path.iterdir()) == [new]


def test_another_thread_may_end_it(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    scratch = scratch_folder()
    (scratch.__enter__() / "film.mp4").touch()
    thread = threading.Thread(target=scratch.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    assert not list(tmp_path.iterdir())
