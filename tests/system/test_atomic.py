import os
import subprocess
import sys

import pytest

from wct_jax.system.atomic import atomic_write, check_target, discard_leftovers, discard_unfinished


def test_the_file_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "out.png"
    with atomic_write(target) as scratch:
        scratch.write_bytes(b"new")
        assert scratch.parent == tmp_path
        assert scratch.suffix == ".png"
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["out.png"]


def test_unfinished_files_can_be_discarded_without_unwinding(tmp_path):
    def end():
        with atomic_write(tmp_path / "out.png") as scratch:
            scratch.write_bytes(b"ne")
            discard_unfinished()
            assert not os.listdir(tmp_path)
            raise SystemExit

    with pytest.raises(SystemExit):
        end()
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError])
def test_an_error_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "out.png"
    target.write_bytes(b"old")

    def crash():
        with atomic_write(target) as scratch:
            scratch.write_bytes(b"ne")
            raise error

    with pytest.raises(error):
        crash()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.png"]


def test_what_the_system_refuses_is_one_sentence_about_the_file(tmp_path):
    target = tmp_path / "out.png"
    with pytest.raises(ValueError, match=f"^cannot write {target}: No space left on device$"), atomic_write(target):
        raise OSError(28, "No space left on device")
    assert not os.listdir(tmp_path)


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="cannot write"), atomic_write(tmp_path / "out.png"):
        pass
    assert not os.listdir(tmp_path)


def test_a_name_that_is_too_long(tmp_path):
    target = tmp_path / f"out.{'x' * 250}"
    with pytest.raises(ValueError, match=r"cannot write .* File name too long"), atomic_write(target) as scratch:
        scratch.write_bytes(b"new")
    assert not os.listdir(tmp_path)


def test_a_link_is_followed(tmp_path):
    (tmp_path / "models").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "models" / "real")
    for content in (b"first", b"second"):
        with atomic_write(link) as scratch:
            scratch.write_bytes(content)
        assert link.is_symlink()
        assert (tmp_path / "models" / "real").read_bytes() == content
    assert os.listdir(tmp_path / "models") == ["real"]


def test_what_killed_processes_left_is_found_and_nothing_else(tmp_path):
    names = ("model.safetensors", "plain", ".lock", ".hidden.png", ".0123456789ab.png.txt", ".0123456789AB.png")
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "pictures").mkdir()
    code = (
        "import os, signal, sys\n"
        "from wct_jax.system.atomic import atomic_write\n"
        "with atomic_write(sys.argv[1]) as scratch:\n"
        "    scratch.touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    for target in (tmp_path / "model.safetensors", tmp_path / "plain", tmp_path / "pictures" / "1.png"):
        subprocess.run([sys.executable, "-c", code, target], check=False)
    assert len(list(tmp_path.rglob(".*"))) == 4 + 3
    discard_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted([*names, "pictures"])


def test_targets_that_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match=r"missing does not exist$"):
        check_target(tmp_path / "missing" / "out.png")
    with pytest.raises(ValueError, match=r"not a regular file$"):
        check_target(tmp_path)
    with pytest.raises(ValueError, match=r"not a regular file$"), atomic_write(os.devnull):
        pytest.fail("the block must not be entered")
