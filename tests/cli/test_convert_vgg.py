import dataclasses
import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import torch
from PIL import Image

from wct_jax import extract_style, load_model, read_image, save_model, stylize, stylize_tiled
from wct_jax.cli.convert_vgg import main
from wct_jax.convert import download
from wct_jax.convert.assembly import encoder_parameters
from wct_jax.convert.conversion import convert
from wct_jax.convert.reading import read_checkpoint
from wct_jax.kernels.conv import algorithm
from wct_jax.measures import metrics
from wct_jax.networks.vgg import LAYERS

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = (2, 3)
TORCHVISION = ["features.0", "features.2", "features.5"]


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(2):
        coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((256, 256)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def torch_file(tmp_path, state_dict):
    """Write an invertible Sequential's state dict, or one with other names."""

    def write(name, chain, names=None):
        path = tmp_path / name
        torch.save(state_dict(names or [str(3 * index + 1) for index in range(len(chain))], chain), path)
        return path

    return write


@pytest.fixture
def normalised(valid_files):
    """A normalised encoder of relu1_1 and relu2_1, which needs no photos."""
    return valid_files["zip.pth"]


@pytest.fixture
def decoders(torch_file, decoder):
    return [torch_file(f"decoder{depth}.pth", decoder(depth, WIDTHS)) for depth in (1, 3)]


@pytest.fixture
def output(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def report(run, output):
    """Convert to the output of the test, without a complaint: the report."""

    def report(*arguments):
        status, out, err = run(main, *arguments, "--output", output)
        assert (status, err) == (0, "")
        return out

    return report


@pytest.mark.parametrize("kind", ["keras.h5", "npz", "zip.pth", "legacy.pth", "safetensors", "t7", "mat"])
def test_sources_of_every_kind(report, valid_files, decoders, photos, output, kind):
    assert report(valid_files[kind], "--decoder", *decoders, "--photos", photos).endswith(f"wrote {output}\n")
    model = load_model(output)
    assert (model.widths, model.layers) == (WIDTHS, ("relu2_1", "relu1_1"))
    expected = convert(valid_files[kind], decoders, photos=photos)
    assert model.digest == expected.digest
    image = model.decode("relu2_1", model.encode(np.full((4, 6, 3), 0.5, np.float32))["relu2_1"])
    assert image.shape == (4, 6, 3)
    assert np.isfinite(image).all()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_torchvision(report, torch_file, layers, state_dict, photos, output, tmp_path, suffix):
    chain = layers(3, WIDTHS)
    if suffix == "pth":
        source = torch_file("vgg19.pth", chain, TORCHVISION)
    else:
        source = tmp_path / "vgg19.safetensors"
        tensors = state_dict(TORCHVISION, chain)
        safetensors.numpy.save_file({name: tensor.numpy() for name, tensor in tensors.items()}, source)
    out = report(source, "--photos", photos)
    assert "preprocessing folded into conv1_1: RGB 0..1, (x - mean) / std of ImageNet" in out
    assert f"scaled: every channel to mean activation 1 over 2 of photos of {photos.name}" in out
    assert load_model(output).widths == WIDTHS


def test_compressed_networks_keep_their_auxiliary_maps(report, torch_file, layers, decoder, colour, output):
    aux = [(np.ones((1, 1, 2, 5), np.float32), np.zeros(5, np.float32))]
    names = ["conv0", "conv11", "conv12", "conv21", "conv11_aux"]
    source = torch_file("encoder.pth", [colour, *layers(3, WIDTHS), *aux], names)
    inverse = torch_file("decoder.pth", decoder(3, WIDTHS), ["conv21", "conv12", "conv11"])
    assert "auxiliary maps\n  relu1_1  1 x 1 x 2 x 5\n" in report(source, "--decoder", inverse)
    model = load_model(output)
    assert model.layers == ("relu2_1",)
    np.testing.assert_array_equal(model.auxiliary["relu1_1"]["kernel"], aux[0][0])


@pytest.fixture
def compressed(torch_file, layers, decoder, colour):
    """Encoders of relu1_1 and relu2_1, of other widths, and their decoders, as Collaborative Distillation has them."""
    encoders = [
        torch_file("encoder2.pth", [colour, *layers(3, WIDTHS)], ["conv0", "conv11", "conv12", "conv21"]),
        torch_file("encoder1.pth", [colour, *layers(1, (5,))], ["conv0", "conv11"]),
    ]
    decoders = [
        torch_file("decoder2.pth", decoder(3, WIDTHS), ["conv21", "conv12", "conv11"]),
        torch_file("decoder1.pth", decoder(1, (5,)), ["conv11"]),
    ]
    return encoders, decoders


def test_an_encoder_for_each_layer_makes_one_model(run, report, compressed, output, tmp_path):
    encoders, decoders = compressed
    out = report(*encoders, "--decoder", *decoders)
    model = load_model(output)
    assert model.layers == ("relu2_1", "relu1_1")
    assert (model.widths, model.widths_at("relu1_1")) == (WIDTHS, (5,))
    for line in (
        "source: compressed encoder state dict (encoder2.pth)",
        "encoder of relu1_1: compressed encoder state dict (encoder1.pth)\n  conv1_1  3 x 3 x 3 x 5",
        "decoder of relu1_1: compressed decoder state dict (decoder1.pth)\n  conv1_1  3 x 3 x 5 x 3",
        f"digest of the encoders: {model.digest}",
    ):
        assert line in out
    # In any order, and of models that have been made of each.
    other, each = tmp_path / "other.safetensors", [tmp_path / f"{i}.safetensors" for i in range(2)]
    for source, inverse, single in zip(encoders, decoders, each, strict=True):
        assert run(main, source, "--decoder", inverse, "--output", single)[0] == 0
    assert run(main, *reversed(each), "--output", other)[0] == 0
    assert load_model(other).metadata["checksum"] == model.metadata["checksum"]
    # And decoders later.
    bare, whole = tmp_path / "bare.safetensors", tmp_path / "whole.safetensors"
    assert run(main, *encoders, "--output", bare)[0] == 0
    assert run(main, bare, "--decoder", *decoders, "--output", whole)[0] == 0
    assert load_model(whole).metadata["checksum"] == model.metadata["checksum"]


def test_encoders_that_do_not_go_together(refused, compressed, normalised, torch_file, decoder, output):
    encoders, decoders = compressed
    assert refused(main, *encoders) == "2 SOURCEs make one model: expected --output MODEL, which names it"
    refuse = functools.partial(refused, main, *encoders, "--output", output)
    assert refused(main, *encoders, "--download").endswith("got both")
    both = f"{encoders[0]} and {normalised} both end at relu2_1"
    assert both in refused(main, *encoders, normalised, "--output", output)
    narrow = torch_file("narrow.pth", decoder(1, (2,)))
    assert refuse("--decoder", narrow).startswith(
        f"{narrow} does not fit the encoder of {encoders[0]} or {encoders[1]}: its 1 maps 2 channels to 3, "
        "but conv1_1 of a decoder of relu1_1 for this encoder maps 5 to 3"
    )
    assert refuse("--decoder", *decoders, decoders[1]).endswith("is a decoder of relu1_1, and there already is one")


def test_the_report(report, normalised, decoders, output):
    assert report(normalised, "--decoder", *decoders).splitlines() == [
        f"source: normalised VGG-19, Sequential state dict ({normalised.name})",
        "encoder",
        "  conv1_1  3 x 3 x 3 x 2",
        "  conv1_2  3 x 3 x 2 x 2",
        "  conv2_1  3 x 3 x 2 x 3",
        "decoder of relu2_1: decoder, Sequential state dict (decoder3.pth)",
        "  conv2_1  3 x 3 x 3 x 2",
        "  conv1_2  3 x 3 x 2 x 2",
        "  conv1_1  3 x 3 x 2 x 3",
        "decoder of relu1_1: decoder, Sequential state dict (decoder1.pth)",
        "  conv1_1  3 x 3 x 2 x 3",
        "preprocessing folded into conv1_1: the file's own 1x1 convolution of RGB 0..1, 0",
        "scaled: none: the source's channels are scaled already",
        "licence: that of the source",
        f"digest of the encoder: {load_model(output).digest}",
        f"wrote {output}",
    ]


def test_decoders_come_in_any_order_and_leave_the_digest(run, normalised, decoders, tmp_path):
    bare, one, two = (tmp_path / f"{name}.safetensors" for name in ("bare", "one", "two"))
    assert run(main, normalised, "--output", bare)[0] == 0
    assert run(main, normalised, "--decoder", *decoders, "--output", one)[0] == 0
    assert run(main, normalised, "--decoder", decoders[1], "--output", two, "--decoder", decoders[0])[0] == 0
    assert load_model(bare).digest == load_model(one).digest
    jax.tree.map(np.testing.assert_array_equal, load_model(one).decoders, load_model(two).decoders)
    assert load_model(bare).layers == ()


def test_a_model_file_gets_more_decoders(report, refused, normalised, decoders, output):
    report(normalised, "--decoder", decoders[0])
    before = load_model(output)
    assert refused(main, output, "--decoder", decoders[1], "--output", output).startswith(f"{output} exists")
    out = report(output, "--decoder", decoders[1], "--overwrite")
    after = load_model(output)
    assert (before.layers, after.layers) == (("relu1_1",), ("relu2_1", "relu1_1"))
    assert after.digest == before.digest
    assert f"source: normalised VGG-19, Sequential state dict ({normalised.name})" in out
    assert "decoder of relu1_1: decoder, Sequential state dict (decoder1.pth)" in out
    sentence = refused(main, output, "--decoder", decoders[0], "--output", output, "--overwrite")
    assert sentence == f"{decoders[0]} is a decoder of relu1_1, and there already is one"


def test_a_model_saved_from_python_gets_more_decoders(report, normalised, decoders, output):
    save_model(output, dataclasses.replace(convert(normalised), document="{}"))
    assert "source: unknown" in report(output, "--decoder", decoders[1], "--overwrite")
    assert load_model(output).layers == ("relu2_1",)


def test_the_default_output_is_named_after_the_source_and_lies_here(run, refused, normalised, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    source = tmp_path / "net.v1.pth"
    source.write_bytes(normalised.read_bytes())
    assert run(main, source)[0] == 0
    assert os.listdir() == ["net.v1.safetensors"]
    assert refused(main, source) == "net.v1.safetensors exists: give another --output, or --overwrite to replace it"
    Path("net.v1.safetensors").write_bytes(b"old")
    assert run(main, source, "--overwrite")[0] == 0
    assert load_model("net.v1.safetensors").widths == WIDTHS


def test_the_output_named_vgg19_lies_in_the_cache(run, normalised, tmp_path, monkeypatch):
    monkeypatch.setenv("WCT_JAX_HOME", str(tmp_path / "new" / "home"))
    assert run(main, normalised, "--output", "vgg19")[0] == 0
    assert load_model("vgg19").widths == WIDTHS
    assert os.listdir(tmp_path / "new" / "home") == ["vgg19.safetensors"]


def test_photos_change_the_scales(report, valid_files, photos, output, tmp_path):
    bright = tmp_path / "bright"
    bright.mkdir()
    Image.new("RGB", (300, 256), (250, 250, 180)).save(bright / "bright.png")
    digests = set()
    for folder in (photos, bright):
        report(valid_files["npz"], "--photos", folder, "--overwrite")
        digests.add(load_model(output).digest)
    assert len(digests) == 2


def test_photos_that_cannot_be_read_are_left_out_and_said(run, valid_files, photos, output, tmp_path):
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "._0.png").write_bytes(b"\0\5\x16\7")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    status, _, err = run(main, valid_files["npz"], "--photos", folder, "--output", output)
    assert status == 0
    (line,) = err.splitlines()
    assert str(folder / "broken.jpg") in line
    assert "over 2 of photos of photos" in load_model(output).metadata["normalisation"]


def test_networks_that_do_not_fit(refused, normalised, valid_files, torch_file, decoder, decoders, output):
    def refuse(source, *files):
        return refused(main, source, "--decoder", *files, "--output", output)

    assert refuse(decoders[0], decoders[1]) == (
        f"{decoders[0]} cannot be the source: expected an encoder, got a decoder (decoder, Sequential state dict)"
    )
    start = f"{valid_files['t7']} does not fit the encoder of {normalised}: expected a decoder, got an encoder"
    assert refuse(normalised, decoders[0], valid_files["t7"]).startswith(start)
    assert refuse(normalised, *decoders, decoders[1]).endswith("is a decoder of relu2_1, and there already is one")
    wide = torch_file("wide.pth", decoder(3, (2, 4)))
    assert refuse(normalised, wide).endswith(
        "its 1 maps 4 channels to 2, but conv2_1 of a decoder of relu2_1 for this encoder maps 3 to 2"
    )
    deep = torch_file("deep.pth", decoder(5, (2, 3, 4)))
    assert refuse(normalised, deep).endswith("as many convolutions as one of 1 (relu1_1), 3 (relu2_1), got 5")
    between = torch_file("between.pth", decoder(2, WIDTHS))
    assert refuse(normalised, between).endswith("1 (relu1_1), 3 (relu2_1), got 2")


class Attack:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("role", ["source", "decoder"])
@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "truncated", "text", "nan", "attack", "old attack"])
def test_a_bad_file(refused, normalised, torch_file, decoder, tmp_path, output, role, kind):
    path = tmp_path / "bad.pth"
    chain = decoder(3, WIDTHS)
    match kind:
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "truncated":
            path.write_bytes(normalised.read_bytes()[:-100])
        case "text":
            path.write_text("weights")
        case "nan":
            chain[1][0][0, 0, 0, 0] = np.nan
            torch_file("bad.pth", chain)
        case "attack" | "old attack":
            marker = tmp_path / "marker"
            attack = {"1.weight": torch.zeros(3), "1.bias": Attack(marker)}
            torch.save(attack, path, _use_new_zipfile_serialization=kind == "attack")
    arguments = [path] if role == "source" else [normalised, "--decoder", path]
    sentence = refused(main, *arguments, "--output", output)  # which also looks for the marker
    assert str(path) in sentence


def test_the_attack_would_succeed(tmp_path):
    marker = tmp_path / "marker"
    torch.save({"1.weight": Attack(marker)}, tmp_path / "attack.pth")
    torch.load(tmp_path / "attack.pth", weights_only=False)
    assert marker.exists()


def test_a_damaged_model_file_as_the_source(refused, normalised, report, decoders, output, tmp_path):
    report(normalised)
    kernel = np.asarray(load_model(output).encoder["conv1_1"]["kernel"]).tobytes()
    output.write_bytes(output.read_bytes().replace(kernel, kernel[::-1]))
    other = tmp_path / "other.safetensors"
    assert f"{output} is damaged" in refused(main, output, "--decoder", decoders[0], "--output", other)


def test_bad_flags(refused, normalised, output, tmp_path):
    assert refused(main) == "expected either a SOURCE or --download, got neither"
    assert refused(main, normalised, "--download") == "expected either a SOURCE or --download, got both"
    assert refused(main, normalised, "--decoder") == "argument --decoder: expected at least one argument"
    refuse = functools.partial(refused, main, normalised, "--output")
    assert refuse(tmp_path / "model.pth").endswith("model.pth must end in .safetensors, or be the name vgg19")
    assert refuse(tmp_path / "missing" / "m.safetensors").endswith(f"directory {tmp_path / 'missing'} does not exist")
    # Found out before the work: the source is not even looked at.
    early = refused(main, tmp_path / "none.pth", "--output", tmp_path / "missing" / "m.safetensors")
    assert early.endswith("does not exist")
    assert "File name too long" in refuse(tmp_path / f"{'x' * 300}.safetensors")
    output.mkdir()
    assert refuse(output).startswith(f"{output} exists")
    assert refuse(output, "--overwrite").endswith("it is not a regular file")


def test_a_cache_that_cannot_be(refused, normalised, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("WCT_JAX_HOME", str(tmp_path / "file" / "home"))
    for arguments in ([normalised, "--output", "vgg19"], ["--download"]):
        assert refused(main, *arguments).startswith(f"cannot write {tmp_path / 'file' / 'home' / 'vgg19.safetensors'}")


def test_bad_photos(refused, valid_files, output, tmp_path):
    folder = tmp_path / "photos"

    def refuse():
        return refused(main, valid_files["keras.h5"], "--photos", folder, "--output", output)

    assert refuse() == f"cannot read the pictures in {folder}: there is no such folder"
    folder.mkdir()
    (folder / "notes.txt").touch()
    assert refuse().startswith(f"there is no picture in {folder}: of 1 files in it")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    assert str(folder / "broken.jpg") in refuse()


@pytest.mark.parametrize(
    ("place", "error", "sentence"),
    [
        ("wct_jax.networks.model_file.save_model", MemoryError(), "there is not enough memory"),
        ("wct_jax.system.atomic.os.replace", OSError(28, "No space"), "cannot write {}: No space"),
    ],
)
def test_an_error_while_writing(refused, normalised, output, monkeypatch, place, error, sentence):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(place, fail)
    assert refused(main, normalised, "--output", output) == sentence.format(output)


def test_preprocessing_can_be_said(report, refused, torch_file, layers, photos, output):
    source = torch_file("features.pth", layers(3, (4, 5)), ["0", "2", "5"])
    refuse = functools.partial(refused, main, source, "--photos", photos, "--output", output)
    assert "--preprocessing says what an encoder without the 1x1 convolution expects" in refuse()
    unknown = "unknown preprocessing 'bgr', expected one of caffe, caffe-rgb"
    assert unknown in refuse("--preprocessing", "bgr")
    out = report(source, "--photos", photos, "--preprocessing", "caffe-rgb")
    assert "preprocessing folded into conv1_1: RGB 0..255 less the means 123.68, 116.779, 103.939" in out
    again = refused(main, output, "--output", output, "--overwrite", "--preprocessing", "caffe")
    assert again == f"{output} is a model file, with its preprocessing in it: leave out --preprocessing"
    assert "is for a SOURCE" in refused(main, "--download", "--preprocessing", "caffe")


def test_text_of_a_file_does_not_steer_the_terminal(report, normalised, decoders, output):
    escapes = "\x1b]0;title\x07\x1b[2J\nwrote /etc/passwd\ud800\u202e" + "x" * 500
    record = {"kind": escapes, "file": escapes}
    document = {"licence": escapes, "source": record, "preprocessing": escapes, "normalisation": escapes}
    model = dataclasses.replace(convert(normalised, decoders[:1]), document="{}")
    for own in (document | {"decoders": {"relu1_1": record}}, {"source": escapes}):
        save_model(output, dataclasses.replace(model, document=json.dumps(own)))
        lines = report(output, "--decoder", decoders[1], "--overwrite").splitlines()
        assert all(line.isprintable() and len(line) < 600 for line in lines)
        assert len(lines) == 16


def test_a_model_whose_document_is_odd_leaves_no_output(refused, normalised, decoders, output, tmp_path):
    source = tmp_path / "odd.safetensors"
    save_model(source, convert(normalised))
    arrays = safetensors.numpy.load_file(source)
    with safetensors.safe_open(source, framework="np") as file:
        document = json.loads(file.metadata()["wct_jax"])
    for odd in ({"decoders": []}, {"source": 3}, {"licence": {}}, {"decoders": {"relu1_1": 3}}):
        safetensors.numpy.save_file(arrays, source, {"wct_jax": json.dumps(document | odd)})
        assert "cannot be made sense of" in refused(main, source, "--decoder", decoders[0], "--output", output)


@pytest.mark.skipif(os.name != "posix", reason="pipes with names are POSIX")
@pytest.mark.parametrize("role", ["source", "decoder"])
@pytest.mark.parametrize("suffix", ["pth", "safetensors", "h5"])
def test_a_pipe(refused, normalised, output, tmp_path, role, suffix):
    pipe = tmp_path / f"pipe.{suffix}"
    os.mkfifo(pipe)
    arguments = [pipe] if role == "source" else [normalised, "--decoder", pipe]
    sentence = refused(main, *arguments, "--output", output)
    assert sentence == f"cannot read {pipe}: it is not a file but a pipe, a socket or a device"


def test_a_dangling_link_as_the_output_is_there(refused, normalised, output, tmp_path):
    output.symlink_to(tmp_path / "elsewhere.safetensors")
    assert refused(main, normalised, "--output", output).startswith(f"{output} exists")


@pytest.fixture
def published(tmp_path_factory, valid_files, monkeypatch, tmp_path):
    """A small Keras file on a server, as if it were the published one; what was asked of the server."""
    folder = tmp_path_factory.mktemp("server")
    content = valid_files["keras.h5"].read_bytes()
    (folder / "vgg19.h5").write_bytes(content)
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            asked.append(self.path)

    handler = functools.partial(Handler, directory=str(folder))
    for proxy in ("http_proxy", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
    monkeypatch.setenv("WCT_JAX_HOME", str(tmp_path / "home"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        url = f"http://127.0.0.1:{server.server_port}/vgg19.h5"
        asset = download.Asset(url, hashlib.md5(content).hexdigest())
        monkeypatch.setattr(download, "KERAS_VGG19", asset)
        yield asked
        server.shutdown()


def test_download_makes_the_model_named_vgg19(run, refused, published, decoders, photos, tmp_path):
    status, out, err = run(main, "--download", "--photos", photos, "--decoder", *decoders)
    assert (status, err) == (0, "")
    assert "source: Keras HDF5 (vgg19_keras_notop.h5)" in out
    assert "licence: CC BY 4.0, Visual Geometry Group, University of Oxford" in out
    assert os.listdir(tmp_path / "home") == ["vgg19.safetensors"]
    assert load_model("vgg19").layers == ("relu2_1", "relu1_1")
    assert len(published) == 1
    assert "exists: give another --output, or --overwrite" in refused(main, "--download", "--photos", photos)
    assert len(published) == 1
    assert run(main, "--download", "--photos", photos, "--overwrite")[0] == 0
    assert load_model("vgg19").layers == ()


def test_download_to_a_path(report, published, photos, output):
    report("--download", "--photos", photos)
    assert load_model(output).widths == WIDTHS
    assert os.listdir(output.parent) == [output.name]


def test_a_download_is_kept_when_the_conversion_fails(run, published, photos, tmp_path):
    for status, flags in ((2, ["--decoder", tmp_path / "missing.pth"]), (0, [])):
        assert run(main, "--download", "--photos", photos, *flags)[0] == status
        assert load_model("vgg19") if not status else not (tmp_path / "home" / "vgg19.safetensors").exists()
    assert len(published) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [(lambda asset: {"url": f"{asset.url}x"}, "answers 404"), (lambda _: {"md5": "0" * 32}, "expected 0000")],
)
def test_a_failed_download_leaves_no_model(run, refused, published, monkeypatch, tmp_path, change, reason):
    (tmp_path / "home").mkdir()
    asset = download.KERAS_VGG19
    monkeypatch.setattr(download, "KERAS_VGG19", asset._replace(**change(asset)))
    assert reason in refused(main, "--download")


def program(*arguments):
    command = [sys.executable, "-W", "error", "convert_vgg.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_the_program_converts_without_torch_and_refuses(normalised, decoders, output):
    process = program(normalised, "--decoder", *decoders, "--output", output)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.endswith(f"wrote {output}\n")
    assert load_model(output).layers == ("relu2_1", "relu1_1")
    process = program(normalised, "--output", output)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith(f"convert_vgg.py: error: {output} exists")
    assert process.stderr.count("\n") == 1


def psnr(image, path):
    expected = read_image(path)
    return -10 * np.log10(np.mean((np.clip(image, 0, 1) - expected) ** 2))


@pytest.mark.slow
def test_the_compressed_networks_give_the_known_features_and_pictures(run, shared, tmp_path):
    weights, golden = shared / "weights" / "compressed16x", shared / "golden"
    known = np.load(golden / "small_features.npz")
    small, content, picture = (read_image(golden / f"{name}.png") for name in ("small", "content", "style"))
    path = tmp_path / "compressed16x.safetensors"
    encoders, decoders = ([weights / f"{kind}_{layer}.pth" for layer in LAYERS] for kind in ("encoder", "decoder"))
    assert run(main, *encoders, "--decoder", *decoders, "--output", path)[0] == 0
    model = load_model(path)
    assert model.layers == tuple(reversed(LAYERS))
    features = jax.jit(lambda image: model.encode(image))(small)
    for layer in LAYERS:
        expected = known[f"c16/{layer}"]
        assert np.abs(features[layer] - expected).max() <= 1e-4 * np.abs(expected).max()
        kernel, bias = (np.asarray(model.auxiliary[layer][leaf]) for leaf in ("kernel", "bias"))
        mapped = np.asarray(features[layer]) @ kernel[0, 0] + bias
        expected = known[f"c16/aux_{layer}"]
        assert np.abs(mapped - expected).max() <= 1e-4 * np.abs(expected).max()

    style = extract_style(model, picture)
    images = {alpha: stylize(model, content, style, alpha) for alpha in (1.0, 0.6)}
    for alpha, image in images.items():
        assert psnr(image, golden / f"c16_54321_alpha{alpha}.png") >= 50
    with algorithm("direct"):
        assert metrics.psnr(stylize(model, content, extract_style(model, picture)), images[1.0]) >= 60
    assert metrics.psnr(stylize_tiled(model, content, style, tile=192), images[1.0]) >= 60


def scales(model, raw):
    """The factor of each channel, by least squares between kernels, less the previous layer's on the inputs."""
    found, before = {}, np.ones(3)
    for name, parameters in raw.items():
        kernel = np.asarray(parameters["kernel"], np.float64)
        scaled = np.asarray(model.encoder[name]["kernel"], np.float64) * before[:, None]
        before = (kernel * scaled).sum((0, 1, 2)) / (kernel**2).sum((0, 1, 2))
        found[name] = before
    return found


@pytest.mark.slow
def test_scaling_agrees_with_the_published_normalised_network(run, shared, tmp_path):
    source = shared / "weights" / "vgg19_keras_conv1_to_conv3.npz"
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    assert run(main, source, "--photos", shared / "photos" / "val", "--output", ours)[0] == 0
    published = shared / "weights" / "vgg19_normalised" / "vgg_normalised_conv3_1.pth"
    assert run(main, published, "--output", theirs)[0] == 0
    raw, _ = encoder_parameters(read_checkpoint(source))
    one, other = scales(load_model(ours), raw), scales(load_model(theirs), raw)
    assert list(one) == ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"]
    off = np.concatenate([np.abs(one[name] / other[name] - 1) for name in one])
    assert np.median(off) <= 0.1
    assert np.quantile(off, 0.9) <= 0.3
    assert load_model(ours).metadata["normalisation"].endswith("over 50 of photos of val")
