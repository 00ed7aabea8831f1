"""Which files a folder or a pattern stands for."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from wct_jax.pictures.scan import is_many, scan


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def found(path, *more):
    """Scan: the files relative to the folder, or to the fixed part of a pattern, and the sentences."""
    files, skipped = scan(path, *more)
    fixed = next(parent for parent in (path, *path.parents) if parent.is_dir())
    return [file.relative_to(fixed).as_posix() for file in files], skipped


def refusal(path, *more):
    with pytest.raises(ValueError, match=r".") as caught:
        scan(path, *more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Folders.


def test_a_folder_stands_for_its_pictures_at_any_depth_in_order(tmp_path):
    names = ["a.JPG", "b/a.webp", "b/c/z.tif", "b.png", "c.Jpeg", "d/b.jpg/e.bmp"]
    touch(tmp_path, *reversed(names))
    assert found(tmp_path) == (names, [])
    assert scan(tmp_path).files[0] == tmp_path / "a.JPG"
    assert scan(str(tmp_path)) == scan(tmp_path)


def test_the_order_is_that_of_the_parts_of_paths(tmp_path):
    touch(tmp_path, "a/z.png", "a-b.png", "a.png", "B.png", "a/b/c.png", "é.png")
    assert found(tmp_path)[0] == ["B.png", "a/b/c.png", "a/z.png", "a-b.png", "a.png", "é.png"]


@pytest.mark.parametrize(
    "name",
    [
        *("._a.jpg", ".hidden.png", ".thumbnails/normal/a.png", "sub/.cache/a.png", ".jpg"),
        *("@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", "__MACOSX/a.jpg", "__MACOSX/b/._a.jpg", "$RECYCLE.BIN/a.jpg"),
        *("System Volume Information/a.jpg", "lost+found/a.jpg", "#recycle/a.jpg", "sub/@Recycle/a.jpg"),
    ],
)
@pytest.mark.parametrize("pattern", ["", "**/*", "*"])
def test_what_is_hidden_or_a_systems_is_passed_over(tmp_path, name, pattern):
    touch(tmp_path, "a.jpg", name)
    files, skipped = scan(tmp_path / pattern)
    assert (files, skipped) == ([tmp_path / "a.jpg"], [])


def test_what_is_hidden_is_read_when_it_is_named(tmp_path):
    touch(tmp_path, ".thumbnails/a.png", "@eaDir/b.png", ".c.png")
    assert found(tmp_path / ".thumbnails") == (["a.png"], [])
    assert found(tmp_path / "@eaDir" / "*") == (["b.png"], [])
    assert found(tmp_path / ".*.png") == ([".c.png"], [])
    assert "of 0 files in it, hidden ones not counted" in refusal(tmp_path)


def test_other_names_are_counted_by_their_suffix(tmp_path):
    touch(tmp_path, "a.png", "a.XMP", "b/b.xmp", "notes.txt", "README", "s.safetensors", "Thumbs.db", "desktop.ini")
    touch(tmp_path, "x.\n", "y.a suffix that is long")
    (told,) = found(tmp_path)[1]
    counts = "2 .xmp, 2 of other names, 1 .safetensors, 1 .txt, 1 without a suffix"
    assert told == f"not named as pictures, and passed over in {tmp_path}: {counts}"
    assert found(tmp_path, (".safetensors",))[0] == ["s.safetensors"]


def test_all_kinds_of_odd_names(tmp_path):
    names = ["a\nb.jpg", "[1]*?.jpg", "é ü.jpg", "A.jpg", "a.jpg", "-x.jpg", "x" * 250 + ".jpg", "a.b.c.jpg", " .jpg"]
    touch(tmp_path / "of [2] *", *names)
    assert sorted(found(tmp_path / "of [2] *")[0]) == sorted(names)
    assert sorted(found(tmp_path / "of [2] *" / "*.jpg")[0]) == sorted(names)
    assert found(tmp_path / "of [2] *" / "[[]1*") == (["[1]*?.jpg"], [])


def test_a_name_that_is_not_utf_8(tmp_path):
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.jpg")).touch()
    except OSError:
        pytest.skip("needs a file system that takes any bytes")
    assert [os.fsencode(file.name) for file in scan(tmp_path).files] == [b"caf\xe9.jpg"]
    assert [os.fsencode(file.name) for file in scan(tmp_path / "caf?.jpg").files] == [b"caf\xe9.jpg"]


def test_folders_deeper_than_the_stack(tmp_path):
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1200):
            os.mkdir("a")
            os.chdir("a")
        Path("deep.jpg").touch()
    finally:
        os.chdir(here)
    (deep,), skipped = scan(tmp_path)
    fitting = scan(tmp_path / "**" / "*.jpg").files
    subprocess.run(["rm", "-r", tmp_path / "a"], check=True)  # Python cannot.
    assert (len(deep.relative_to(tmp_path).parts), skipped, fitting) == (1201, [], [deep])


# Links, and what is no file.


def test_links_to_files_are_followed_and_those_to_folders_are_not(tmp_path):
    touch(tmp_path / "photos", "a.jpg", "sub/b.jpg")
    touch(tmp_path / "others", "c.jpg", "d.txt")
    photos = tmp_path / "photos"
    (photos / "c.jpg").symlink_to(tmp_path / "others" / "c.jpg")
    (photos / "d.jpg").symlink_to(tmp_path / "others" / "d.txt")
    (photos / "loop").symlink_to(photos)
    (photos / "sub" / "loop.jpg").symlink_to("..")
    (photos / "sub" / "others").symlink_to(tmp_path / "others")
    wanted = ["a.jpg", "c.jpg", "d.jpg", "sub/b.jpg"]
    told = f"links to folders, not followed in {photos}: 3, such as {photos / 'loop'}"
    assert found(photos) == (wanted, [told])
    for pattern in ("**/*.jpg", "**", "**/**/*", "*"):
        assert found(photos / pattern)[0] == wanted
    # The folder itself may be a link, as may those that a pattern goes through.
    (tmp_path / "link").symlink_to(photos)
    assert found(tmp_path / "link")[0] == wanted
    assert found(photos / "sub" / "o*" / "*.jpg")[0] == ["others/c.jpg"]


def test_a_file_is_taken_once_by_its_own_name(tmp_path):
    touch(tmp_path, "m/a.jpg", "elsewhere/b.png")
    touch(tmp_path / "photos", "c.jpg")
    photos = tmp_path / "photos"
    (photos / "a.jpg").symlink_to("c.jpg")
    (photos / "z.jpg").symlink_to(photos / "a.jpg")
    (photos / "2.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    (photos / "1.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    assert found(photos) == (["1.png", "c.jpg"], [f"further names of pictures that are found once, in {photos}: 3"])
    assert found(tmp_path / "**" / "*.*")[0] == ["elsewhere/b.png", "m/a.jpg", "photos/c.jpg"]


def special_files(folder):
    """A named pipe, a socket, and links to a device, to nothing and to itself, all named as photos."""
    os.mkfifo(folder / "fifo.jpg")
    here = os.getcwd()
    os.chdir(folder)  # The name of a socket has to be short.
    try:
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind("socket.jpg")
    finally:
        os.chdir(here)
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "gone.jpg").symlink_to(folder / "nothing")
    (folder / "self.jpg").symlink_to(folder / "self.jpg")


@pytest.mark.parametrize("pattern", ["", "*", "*.jpg", "**/*"])
def test_special_files_are_said_and_never_opened(tmp_path, pattern):
    touch(tmp_path, "a.jpg")
    special_files(tmp_path)
    special = "it is not a regular file"
    reasons = {"device": special, "fifo": special, "gone": os.strerror(2), "self": os.strerror(40), "socket": special}
    files, skipped = scan(tmp_path / pattern)
    assert files == [tmp_path / "a.jpg"]
    assert skipped == [f"cannot read {tmp_path / name}.jpg: {reason}" for name, reason in reasons.items()]


def test_only_special_files(tmp_path):
    special_files(tmp_path)
    sentence = f"there is no picture in {tmp_path} that can be read: cannot read {tmp_path / 'device.jpg'}: "
    assert refusal(tmp_path) == sentence + "it is not a regular file (and 4 more)"


def test_what_the_system_refuses(public, refused_by_the_system):
    touch(public, "a.jpg", "b.jpg", "closed/c.jpg", "listed/d.jpg", "entered/e.jpg", "open/f.jpg")
    modes = {"b.jpg": 0o000, "closed": 0o000, "listed": 0o444, "entered": 0o111}
    for name, mode in modes.items():
        (public / name).chmod(mode)
    with refused_by_the_system():
        everything = [found(public), found(public / "*"), found(public / "**")]
        sentences = [refusal(public / "closed"), refusal(public / "listed"), refusal(public / "entered")]
        inside = [refusal(public / "closed" / "*.jpg"), refusal(public / "listed" / "*" / "*.jpg")]
        hidden = refusal(public / "closed" / "x")
    for name in modes:
        (public / name).chmod(0o755)
    denied = [f"cannot read {public / name}: {os.strerror(13)}" for name in sorted(modes)]
    assert everything == [(["a.jpg", "open/f.jpg"], denied)] * 3
    for sentence, name in zip(sentences, ("closed", "listed", "entered"), strict=True):
        reason = f"that can be read: cannot read {public / name}: {os.strerror(13)}"
        assert sentence == f"there is no picture in {public / name} {reason}"
    for sentence, name in zip(inside, ("closed", "listed"), strict=True):
        assert f"cannot read {public / name}" in sentence
        assert os.strerror(13) in sentence
    assert hidden == f"cannot read the pictures in {public / 'closed' / 'x'}: {os.strerror(13)}"


# Patterns.


def test_a_pattern_stands_for_the_pictures_that_it_fits(tmp_path):
    touch(tmp_path, "a1.png", "a2.txt", "b1.png", "a3/c.png", "a3/d/e.png", "a[1].png")
    assert is_many(tmp_path / "a*.*")
    told = f"not named as pictures, and passed over in {tmp_path / 'a?.*'}: 1 .txt"
    assert found(tmp_path / "a?.*") == (["a1.png"], [told])
    assert found(tmp_path / "[!a]*") == (["b1.png"], [])
    assert found(tmp_path / "*" / "*.png") == (["a3/c.png"], [])
    assert found(tmp_path / "**" / "e*") == (["a3/d/e.png"], [])
    assert found(tmp_path / "**" / "[ce].png")[0] == ["a3/c.png", "a3/d/e.png"]


def test_folders_that_a_pattern_fits_are_searched(tmp_path):
    touch(tmp_path, "2023/a.jpg", "2023/sub/b.jpg", "2024/c.jpg", "x/d.jpg", "2025.jpg")
    wanted = ["2023/a.jpg", "2023/sub/b.jpg", "2024/c.jpg", "2025.jpg"]
    assert found(tmp_path / "20*") == (wanted, [])
    assert found(tmp_path / "**")[0] == [*wanted, "x/d.jpg"]


def test_a_pattern_may_name_a_suffix_of_its_own(tmp_path):
    touch(tmp_path, "a.DAT", "b.dat", "c.txt", "d.png")
    assert found(tmp_path / "*.dat") == (["b.dat"], [])
    assert found(tmp_path / "?.*")[0] == ["d.png"]
    assert found(tmp_path / "*")[0] == ["d.png"]


def test_a_name_that_is_there_is_no_pattern(tmp_path):
    touch(tmp_path, "a[1].png", "a1.png", "of [2]/b.png", "of 2/c.png")
    assert not is_many(tmp_path / "a[1].png")
    assert not is_many(tmp_path / "a1.png")
    assert not is_many(tmp_path / "missing.png")
    assert is_many(tmp_path / "of [2]")
    assert found(tmp_path / "of [2]" / "*") == (["b.png"], [])
    assert found(tmp_path / "of [1-3]" / "*") == (["of 2/c.png"], [])


def test_a_pattern_is_relative_to_the_current_folder(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "sub/b.png")
    monkeypatch.chdir(tmp_path / "sub")
    assert scan("*").files == [Path("b.png")]
    assert scan(".").files == [Path("b.png")]
    assert scan("../*.png").files == [Path("../a.png")]


# Nothing.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("missing", "cannot read the pictures in {}: there is no such folder"),
        ("text.txt", "cannot read the pictures in {}: it is not a folder"),
        ("text.txt/in", "cannot read the pictures in {}: " + os.strerror(20)),
        ("x" * 300, "cannot read the pictures in {}: " + os.strerror(36)),
        ("empty", "there is no picture in {}: of 0 files in it, hidden ones not counted, none is named as one (."),
        ("texts", "there is no picture in {}: of 2 files in it, hidden ones not counted, none is named as one (."),
        ("t*", "there is no picture in {}: of 3 files in it"),
        ("x*", "no file is named like {}"),
        ("x*/**/y", "no file is named like {}"),
        ("text.txt/*", "no file is named like {}"),
        ("text.txt/**", "no file is named like {}"),
    ],
)
def test_nothing_is_found(tmp_path, name, expected):
    touch(tmp_path, "text.txt", "texts/a.txt", "texts/b", "texts/.c.jpg")
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / name).startswith(expected.format(tmp_path / name))
