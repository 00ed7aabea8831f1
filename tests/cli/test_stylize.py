import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import jax
import numpy as np
import pytest
from PIL import Image

from wct_jax import extract_style, load_model, read_image, stylize
from wct_jax.cli.stylize import main
from wct_jax.kernels.conv import algorithm
from wct_jax.painting.one_pass import paint_level
from wct_jax.pictures.images import read_picture
from wct_jax.system.machine import Memory

if os.name == "posix":
    import resource

ROOT = Path(__file__).resolve().parents[2]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image, int)


# Every flag changes the result


def test_content_size_is_the_short_side(repaint):
    for size, shape in ((8, (8, 11, 3)), (34, (34, 48, 3))):
        assert repaint("--content-size", size, "--layers", "relu1_1").shape == shape


def test_style_size_changes_the_style(repaint):
    small, full = repaint("--style-size", 8, "--layers", "relu1_1"), repaint("--layers", "relu1_1")
    assert small.shape == full.shape
    assert np.abs(small - full).mean() > 1


def test_another_model_gives_another_picture(repaint, files):
    other = repaint("--model", files / "other.safetensors")
    assert np.abs(other - repaint()).mean() > 1


@pytest.mark.core
def test_the_model_in_the_box_is_the_default(run, few, tmp_path):
    status, out, err = run(main, *few[:4], "--output", tmp_path / "out.png")
    assert status == 0, err
    assert "relu" not in out  # All the layers there are.
    assert run(main, *few[:4], "--output", tmp_path / "named.png", "--model", "compact")[0] == 0
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "named.png").read_bytes()


def test_the_model_named_vgg19_is_in_the_cache(repaint, refuse, files, tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("WCT_JAX_HOME", str(home))
    sentence = refuse("--model", "vgg19")
    assert f"there is no model file {home / 'vgg19.safetensors'}: expected compact, or a file" in sentence
    home.mkdir()
    (home / "vgg19.safetensors").write_bytes((files / "model.safetensors").read_bytes())
    np.testing.assert_array_equal(repaint("--model", "vgg19"), repaint())


@pytest.mark.parametrize(
    ("suffix", "kind"), [("png", "PNG"), ("JPG", "JPEG"), ("jpeg", "JPEG"), ("webp", "WEBP"), ("tif", "TIFF")]
)
def test_the_outputs_suffix_is_its_format(repaint, tmp_path, suffix, kind):
    result = repaint("--layers", "relu1_1", output=f"out.{suffix}")
    with Image.open(tmp_path / f"out.{suffix}") as image:
        assert image.format == kind
    assert np.abs(result - repaint("--layers", "relu1_1")).mean() < (20 if kind in ("JPEG", "WEBP") else 0.01)


def test_the_default_output_lies_beside_the_photo_and_is_never_overwritten(run, refused, files, tmp_path):
    photo = tmp_path / "my.photo.png"
    photo.write_bytes((files / "photo.png").read_bytes())
    output = tmp_path / "my.photo__picture.png"
    arguments = ["--content", photo, "--style", files / "picture.png", "--model", files / "model.safetensors"]
    status, out, err = run(main, *arguments)
    assert (status, err) == (0, "")
    assert re.fullmatch(rf"{re.escape(str(output))}: 24 x 17 pixels, [0-9.]+ s\n", out)
    assert sorted(os.listdir(tmp_path)) == ["my.photo.png", output.name]
    assert (
        refused(main, *arguments)
        == f"cannot write {output}: it exists, expected --overwrite to replace it or another name"
    )
    refused(main, *arguments, "--output", photo)
    output.write_bytes(b"")
    assert run(main, *arguments, "--overwrite")[0] == 0
    assert pixels(output).shape == (17, 24, 3)


# Pictures of every kind


def test_transparent_pixels_carry_no_weight_and_the_alpha_is_kept(repaint, files, tmp_path):
    content, style = noise(17, 24, 4), noise(16, 20, 4, seed=1)
    content[..., 3] = np.where(np.arange(24) < 9, 0, content[..., 3] | 1)
    style[..., 3] = np.where(np.arange(20) < 9, 0, 255)
    hidden, hidden_style = content.copy(), style.copy()
    hidden[:, :9, :3], hidden_style[:, :9, :3] = 255, 0
    paths = {"content": save(tmp_path / "content.png", content), "style": save(tmp_path / "style.png", style)}
    hidden_paths = {"content": save(tmp_path / "c.png", hidden), "style": save(tmp_path / "s.png", hidden_style)}
    first = repaint("--layers", "relu2_1", **paths, output="first.png")
    second = repaint("--layers", "relu2_1", **hidden_paths)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[..., 3], content[..., 3])
    # Not only for want of a colour of their own: what is weighed is the alpha.
    model, seen, styled = load_model(files / "model.safetensors"), *map(read_picture, paths.values())
    style = extract_style(model, styled.pixels, ["relu2_1"], weights=styled.alpha)
    expected = np.asarray(stylize(model, seen.pixels, style, content_weights=seen.alpha)).clip(0, 1) * 255
    assert np.abs(first[..., :3] - expected).max() <= 1


@pytest.mark.parametrize(
    ("content", "style"),
    [
        (noise(1, 1, 3), noise(5, 1, 3, seed=1)),
        (noise(17, 24), np.full((16, 20, 3), 99, np.uint8)),
        (np.full((17, 24, 3), 200, np.uint8), noise(16, 20)),
    ],
    ids=["one pixel", "grey on flat", "flat on grey"],
)
def test_pictures_that_other_programs_fail_on(repaint, tmp_path, content, style):
    result = repaint(content=save(tmp_path / "c.png", content), style=save(tmp_path / "s.png", style))
    assert result.shape == (*content.shape[:2], 3)


def test_a_wholly_transparent_photo(repaint, tmp_path):
    content = noise(17, 24, 4)
    content[..., 3] = 0
    assert not repaint("--layers", "relu2_1", content=save(tmp_path / "content.png", content))[..., 3].any()


def test_what_the_photo_says_of_itself_is_kept_without_its_orientation(repaint, tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x013B] = 6, "Maker", "Author"
    photo = save(tmp_path / "photo.jpg", noise(24, 17, 3), exif=exif)
    for output in ("out.png", "out.jpg"):
        assert repaint(content=photo, output=output).shape == (17, 24, 3)
        with Image.open(tmp_path / output) as image:
            kept = image.getexif()
        assert (kept[0x010F], kept[0x013B]) == ("Maker", "Author")
        assert 0x0112 not in kept


# What a user can get wrong


@pytest.mark.parametrize("role", ["content", "style"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.png", "No such file"),
        ("folder.png", "there is no picture in"),
        ("text.jpg", "is not a picture"),
        ("cut.jpg", "cut short or damaged"),
    ],
)
def test_a_bad_picture(refuse, tmp_path, role, name, reason):
    save(tmp_path / "cut.jpg", noise(99, 99, 3))
    os.truncate(tmp_path / "cut.jpg", 3000)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "text.jpg").write_text("Dear diary,\n")
    sentence = refuse(**{role: tmp_path / name})
    assert str(tmp_path / name) in sentence
    assert reason in sentence


def test_a_size_that_no_memory_holds(refuse, monkeypatch):
    assert "more than 178956970 pixels" in refuse("--content-size", 10**9)
    monkeypatch.setattr("wct_jax.studio.limits._present_memory", lambda: Memory(4e5, 4e5))
    sentence = refuse("--style-size", 200)
    assert "picture.png: 250 x 200 pixels take 501 MB of memory at least with this model" in sentence
    assert sentence.endswith("and there are 0 MB to take")


def test_too_little_memory_and_too_small_tiles(refuse):
    assert refuse("--memory", "400MB").endswith("and there are 400 MB to take")
    assert refuse("--tile", 20) == "--tile must be at least 32 with relu3_1, got 20"
    assert "not allowed with argument" in refuse("--tile", 500, "--memory", "4GB")


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--tile", 48], ["--memory", "0.5007GB"]])
def test_tiles_make_the_same_picture(repaint, tmp_path, flags):
    photo = save(tmp_path / "photo.png", noise(99, 150, 4))
    assert np.abs(repaint(content=photo) - repaint(*flags, content=photo)).max() <= 1
    assert sorted(os.listdir(tmp_path)) == ["out.png", "photo.png"]


@pytest.mark.parametrize("alpha", ["1.01", "-0.1", "nan", "inf", "half", ""])
def test_a_bad_alpha(refuse, alpha):
    assert "argument --alpha: expected" in refuse("--alpha", "1", "0.5", alpha)
    assert "argument --alpha: expected a number from 0 to 1" in refuse(f"--alpha={alpha}")


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--alpha", "1", "0.5"], "one number or one for each of 3 layers, got 2"),
        (["--layers", "relu1_1", "--alpha", "1", "0.5"], "one number or one for each of 1 layers, got 2"),
        (["--layers", "relu4_2"], "unknown layer 'relu4_2'"),
        (["--layers", "conv1_1", "relu1_1"], "unknown layer 'conv1_1'"),
        (["--layers", "relu1_1", "relu2_1", "relu1_1"], "named once, got relu1_1, relu2_1, relu1_1"),
        (["--layers"], "argument --layers: expected at least one"),
        (["--colour"], "unrecognized arguments: --colour"),
        (["one\ntwo"], "unrecognized arguments: one two"),
        (["--over"], "unrecognized arguments: --over"),
    ],
)
def test_bad_flags(refuse, flags, reason):
    assert reason in refuse(*flags)


def test_nothing_asked(refused):
    assert refused(main) == "expected --content, --synthesize or --save-style, got none"


def test_a_layer_the_model_lacks_comes_with_the_command_that_trains_it(refuse, files):
    path = files / "model.safetensors"
    assert refuse("--layers", "relu4_1", "relu1_1") == (
        f"the model {path} has no decoder for relu4_1 (it has relu3_1, relu2_1, relu1_1): "
        f"python train.py --layer relu4_1 --model {path} trains one, "
        f"and python convert_vgg.py {path} --decoder FILE adds a published one"
    )


def test_a_bad_model(refuse, files, tmp_path):
    (tmp_path / "cut.safetensors").write_bytes((files / "model.safetensors").read_bytes()[:-9])
    for path, reason in ((tmp_path / "cut.safetensors", "is not a model file"), (tmp_path, "it is a directory")):
        sentence = refuse("--model", path)
        assert str(path) in sentence
        assert reason in sentence


def test_outputs_that_cannot_be(refuse, tmp_path):
    (tmp_path / "old.png").touch()
    for output, reason in (
        ("missing/out.png", "does not exist"),
        ("old.png", "it exists"),
        ("out.gif", "its suffix must be one of .png, .jpg"),
        ("out", "its suffix must be one of .png, .jpg"),
        ("old.png/out.png", "Not a directory"),
        (f"{'x' * 300}.png", "File name too long"),
    ):
        sentence = refuse(output=tmp_path / output)
        assert sentence.startswith(f"cannot write {tmp_path / output}: ")
        assert reason in sentence
    assert "must be one of" in refuse(content="missing.png", output="out.gif")


def test_a_directory_that_cannot_be_written_to(refuse, tmp_path, mounted):
    folder = tmp_path / "locked"
    with contextlib.ExitStack() as stack:
        if os.geteuid() == 0:  # who may write wherever the file system can be written to
            stack.enter_context(mounted(folder, "ro"))
        else:
            folder.mkdir(0o500)
        assert refuse(output=folder / "out.png").startswith(f"cannot write {folder / 'out.png'}: ")


def test_a_full_disk(refuse, tmp_path, mounted):
    folder = tmp_path / "full"
    with mounted(folder, "size=4k"):
        (folder / "filler").write_bytes(bytes(4096))
        assert refuse(output=folder / "out.png") == f"cannot write {folder / 'out.png'}: No space left on device"


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
def test_a_file_that_cannot_grow(refuse, tmp_path):
    (tmp_path / "out.png").write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        assert refuse("--overwrite") == f"cannot write {tmp_path / 'out.png'}: File too large"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")]
)
@pytest.mark.parametrize("where", ["wct_jax.studio.styles.extract_style", "wct_jax.painting.one_pass.paint_level"])
def test_out_of_memory(refuse, monkeypatch, where, error):
    monkeypatch.setattr(where, Mock(side_effect=error))
    assert refuse() == (
        "there is not enough memory for pictures of this size: make them smaller, as with --content-size 512"
    )


def test_a_mistake_of_ours_is_not_hidden(refuse, monkeypatch):
    monkeypatch.setattr("wct_jax.painting.one_pass.paint_level", Mock(side_effect=RuntimeError("INTERNAL")))
    with pytest.raises(RuntimeError, match="INTERNAL"):
        refuse()


def test_an_interrupt(run, few, tmp_path, monkeypatch):
    monkeypatch.setattr("wct_jax.pictures.output.Image.Image.save", Mock(side_effect=KeyboardInterrupt))
    status, out, err = run(main, *few, "--output", tmp_path / "out.png")
    assert (status, out) == (130, "")
    assert err.endswith(": interrupted\n")
    assert not os.listdir(tmp_path)


# As a program


def start(*flags, start=subprocess.run, **streams):
    command = [sys.executable, "-W", "error", "stylize.py", *map(str, flags)]
    piped = {name: subprocess.PIPE for name in ("stdout", "stderr") if name not in streams}
    return start(command, cwd=ROOT, text=True, **piped, **streams)


@pytest.mark.core
def test_the_program_repaints(few, tmp_path):
    output = tmp_path / "out.png"
    process = start(*few, "--output", output, "--layers", "relu1_1")
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith(f"{output}: 24 x 17 pixels, relu1_1, ")
    assert pixels(output).shape == (17, 24, 3)


def test_ctrl_c_ends_the_program_at_once(few, tmp_path):
    # The tests themselves may have been started with it ignored, as jobs in the background are.
    heeding = (
        "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "sys.path.insert(0, '.'); sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", heeding, "stylize.py", *few, "--content", "-", "--output", tmp_path / "out.png"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        # A photo that never ends, and more of it than a pipe holds: this returns once the program is reading it.
        process.stdin.write(bytes(2**20))
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        status = process.wait(timeout=60)
        out, err = process.stdout.read(), process.stderr.read()
    assert (status, out, err) == (130, b"", b"stylize.py: interrupted\n")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_standard_output_that_takes_nothing(few, tmp_path):
    few += ["--layers", "relu1_1", "--output"]
    with open("/dev/full", "w") as full:
        process = start(*few, tmp_path / "one.png", stdout=full)
    # The picture is there, whether or not that can be said.
    assert process.returncode == 0
    assert process.stderr == "cannot write to standard output: No space left on device\n"
    # Nobody who listens is no mistake.
    reader, writer = os.pipe()
    os.close(reader)
    process = start(*few, tmp_path / "two.png", stdout=writer)
    os.close(writer)
    assert (process.returncode, process.stderr) == (0, "")
    assert sorted(os.listdir(tmp_path)) == ["one.png", "two.png"]


@pytest.mark.skipif(os.name != "posix", reason="pseudoterminals are POSIX")
def test_the_bar_leaves_standard_output_alone(few, tmp_path):
    output = tmp_path / "out.png"
    terminal, theirs = os.openpty()
    process = start(*few, "--layers", "relu1_1", "--output", output, start=subprocess.Popen, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # How a terminal on Linux ends.
        while part := os.read(terminal, 1000):
            shown += part
    os.close(terminal)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert out.startswith(f"{output}: 24 x 17 pixels, relu1_1, ")
    assert b"relu1_1" in shown


def test_an_output_that_appears_meanwhile_is_not_overwritten(run, few, monkeypatch, tmp_path):
    output = tmp_path / "out.png"

    def meanwhile(*arguments, **options):
        save(output, noise(1, 1, 3))
        return paint_level(*arguments, **options)

    monkeypatch.setattr("wct_jax.painting.one_pass.paint_level", meanwhile)
    status, _, err = run(main, *few, "--output", output, "--layers", "relu1_1")
    assert status == 2
    assert "it exists" in err
    assert pixels(output).shape == (1, 1, 3)


@pytest.mark.parametrize("flag", ["--content", "--style", "--output", "--model"])
def test_empty_paths(refuse, flag):
    names = {"--output": "-o/--output"}
    assert refuse(flag, "") == f"argument {names.get(flag, flag)}: expected a path, got ''"


def test_a_style_that_cannot_be_seen(refuse, tmp_path):
    save(tmp_path / "clear.png", np.zeros((4, 4, 4), np.uint8))
    assert "clear.png is wholly transparent" in refuse(style=tmp_path / "clear.png")


def test_a_missing_photo_is_what_is_missing(refuse, files):
    assert "cannot read" in refuse(content=files / "none" / "photo.png", output=None)


def test_the_program_refuses(files, tmp_path):
    process = start("--content", tmp_path / "missing.png", "--style", files / "picture.png")
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr == f"stylize.py: error: cannot read {tmp_path / 'missing.png'}: No such file or directory\n"
    assert not os.listdir(tmp_path)


def test_the_program_says_its_version():
    import wct_jax

    assert start("--version").stdout == f"wct_jax {wct_jax.__version__}\n"


# Against the published networks


def psnr(path, expected):
    return 10 * np.log10(255**2 / np.mean((pixels(path) - pixels(expected)) ** 2))


@pytest.mark.slow
def test_the_published_networks_give_the_known_pictures(run, shared, tmp_path):
    from wct_jax.cli import convert_vgg

    weights = shared / "weights" / "vgg19_normalised"
    decoders = [weights / f"feature_invertor_conv{level}_1.pth" for level in (1, 2, 3)]
    model = tmp_path / "vgg19.safetensors"
    source = weights / "vgg_normalised_conv3_1.pth"
    assert run(convert_vgg.main, source, "--decoder", *decoders, "--output", model)[0] == 0
    golden = shared / "golden"
    pictures = ["--content", golden / "content.png", "--style", golden / "style.png", "--model", model]
    for alpha in ("1.0", "0.6"):
        output = tmp_path / f"{alpha}.png"
        assert run(main, *pictures, "--output", output, "--alpha", alpha)[0] == 0
        assert psnr(output, golden / f"vgg19_321_alpha{alpha}.png") >= 50
    directly = tmp_path / "directly.png"
    with algorithm("direct"):
        assert run(main, *pictures, "--output", directly)[0] == 0
    assert psnr(directly, tmp_path / "1.0.png") >= 60

    network, known = load_model(model), np.load(golden / "small_features.npz")
    features = jax.jit(lambda image: network.encode(image))(read_image(golden / "small.png"))
    for layer, feature in features.items():
        expected = known[f"vgg19/{layer}"]
        assert np.abs(feature - expected).max() <= 1e-4 * np.abs(expected).max()
        image = network.decode(layer, expected)
        assert np.abs(image - known[f"vgg19/reconstruction_{layer}"]).max() <= 1e-4
