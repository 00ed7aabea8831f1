"""The files that the pages speak of, small, and where the walk of a page finds them."""

import importlib.util
import json
import os
import re
import runpy
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import filelock
import numpy as np
import pytest
from PIL import Image
from uv import find_uv_bin

from wct_jax.networks.model_file import save_model

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT = ["examples", "recipes", "benchmarks", "docs", "stylize.py", "train.py", "convert_vgg.py"]
SIZE = (240, 160)
# Photos, each a view of examples/content.jpg: left, top, right and bottom.
PHOTOS = {
    "photo.jpg": (0, 0, 768, 512),
    "day.jpg": (0, 0, 768, 512),
    "another.tif": (90, 60, 690, 460),
    "photos/harbour.jpg": (0, 0, 768, 512),
    "photos/boats.jpg": (300, 180, 768, 492),
    "photos/2026/sky.jpg": (0, 0, 450, 300),
    "train/boats.jpg": (300, 180, 768, 492),
    "val/hills.jpg": (150, 100, 600, 400),
}
# Paintings, each one of examples/.
PAINTINGS = {
    "painting.jpg": "waves",
    "night.jpg": "ink",
    **{f"{name}.jpg": name for name in ("waves", "mosaic", "ink")},
    "a.jpg": "waves",
    "b.jpg": "mosaic",
    **{f"{folder}/{name}.jpg": name for folder in ("art", "paintings") for name in ("waves", "mosaic")},
}


def draw(folder):
    """Photos, paintings and masks."""
    for name in (*PHOTOS, *PAINTINGS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    content = Image.open(ROOT / "examples" / "content.jpg")
    for name, box in PHOTOS.items():
        content.resize(SIZE, box=box).save(folder / name)
    for name, painting in PAINTINGS.items():
        Image.open(ROOT / "examples" / f"{painting}.jpg").resize((160, 160)).save(folder / name)
    across, down = np.meshgrid(np.linspace(0, 1, SIZE[0]), np.linspace(1, 0, SIZE[1]))
    masks = {"ramp": across, "far": down, "part": down[:, :160], "left": across < 0.5, "right": across >= 0.5}
    for name, mask in masks.items():
        Image.fromarray(np.uint8(255 * mask)).save(folder / f"{name}.png")


def film(folder):
    """A film of a second with sound, and a moving mask for it."""
    import av

    frames = list(runpy.run_path(str(ROOT / "examples" / "film.py"))["frames"]())[20:44]
    masks = [Image.new("L", frames[0].size).convert("RGB") for _ in frames]
    for number, mask in enumerate(masks):
        mask.paste("white", (5 * number, 40, 5 * number + 120, 200))
    for name, pictures in (("film", frames), ("person", masks)):
        with av.open(str(folder / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=24)
            stream.width, stream.height, stream.pix_fmt = *frames[0].size, "yuv420p"
            sound = container.add_stream("aac", rate=48000)
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_image(picture)))
            container.mux(stream.encode(None))
            for start in range(0, 48000, 960):
                samples = np.sin(np.arange(start, start + 960) / 17).astype(np.float32)
                frame = av.AudioFrame.from_ndarray(np.stack([samples, samples]), "fltp", "stereo")
                frame.sample_rate, frame.pts = 48000, start
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))


def weights(folder):
    """Networks of the shape of those that are published, with few channels: as Torch7 files."""
    spec = importlib.util.spec_from_file_location("checkpoints", ROOT / "tests" / "convert" / "conftest.py")
    checkpoints = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checkpoints)
    torch7 = checkpoints.Torch7
    layers = [checkpoints.random_colour(), *checkpoints.random_layers(13)]
    files = {"vgg_normalised_conv5_1.t7": layers}
    for level, depth in enumerate((1, 3, 5, 9, 13), 1):
        files[f"feature_invertor_conv{level}_1.t7"] = checkpoints.random_decoder(depth)
    for name, convolutions in files.items():
        modules = [torch7.convolution(kernel / (kernel.size / 9) ** 0.5, bias) for kernel, bias in convolutions]
        (folder / name).write_bytes(torch7.dumps(torch7.sequential(modules)))


def votes(folder):
    """A file of one vote, as the page of votes saves it."""
    vote = {"content": "a", "style": "x", "left": "cascade", "right": "one-pass", "choice": "left"}
    file = {"format": "wct_jax votes 1", "report": "1", "voter": 1, "methods": ["cascade", "one-pass"], "votes": [vote]}
    (folder / "votes-1.json").write_text(json.dumps(file))


@pytest.fixture(scope="session")
def cast(tmp_path_factory, random_model):
    """A folder with all the files that pages name."""
    folder = tmp_path_factory.mktemp("cast")
    draw(folder)
    film(folder)
    weights(folder)
    votes(folder)
    save_model(folder / "vgg19.safetensors", random_model((4, 5, 6, 7, 8), ()))
    save_model(folder / "small.safetensors", random_model((4, 6, 8, 8, 8)))
    return folder


@pytest.fixture
def store(cast):
    """An object store in place of Amazon's for programs that the test starts: its bucket `bucket` has the photos."""
    server = pytest.importorskip("moto.server")
    import boto3

    store = server.ThreadedMotoServer("127.0.0.1", 0)
    store.start()
    host, port = store.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "reader",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        for photo in (cast / "photos").rglob("*.jpg"):
            client.upload_file(photo, "bucket", photo.relative_to(cast).as_posix())
        yield
    store.stop()


@pytest.fixture(scope="session")
def home(tmp_path_factory, cast):
    """A reader's home folder, with VGG-19 where the name `vgg19` is looked for, and a folder of programs."""
    home = tmp_path_factory.mktemp("home")
    (home / "models").mkdir()
    shutil.copy(cast / "vgg19.safetensors", home / "models")
    return home


@pytest.fixture(scope="session")
def together(tmp_path_factory, worker_id):
    """A folder of this run, which all its processes share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def wheel(together):
    """The wheel that .ci/run tried, or one that is built."""
    if given := os.environ.get("WCT_JAX_WHEEL"):
        return Path(given)
    with filelock.FileLock(together / "wheel.lock"):
        if not list((together / "dist").glob("*.whl")):
            subprocess.run(
                [find_uv_bin(), "build", "--quiet", "--wheel", "--out-dir", together / "dist", ROOT], check=True
            )
    (wheel,) = (together / "dist").glob("*.whl")
    return wheel


@pytest.fixture
def environment(together, wheel, tmp_path):
    """Make a virtual environment that has the wheel and what walks pages, and a `pip` that installs more into it.

    A page that installs more has one of its own, so that it finds what it names and nothing else.
    """

    def environment(own):
        folder = (tmp_path if own else together) / "environment"
        with filelock.FileLock(folder.with_suffix(".lock")):
            if not folder.exists():
                python = ["--quiet", "--no-python-downloads", "--python"]
                subprocess.run([find_uv_bin(), "venv", *python, sys.executable, folder], check=True)
                subprocess.run([find_uv_bin(), "pip", "install", *python, folder, wheel, "sybil >= 9.0"], check=True)
                pip = folder / "bin" / "pip"
                pip.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("installer.py")} "$@"\n')
                pip.chmod(pip.stat().st_mode | stat.S_IXUSR)
        return folder

    return environment


@pytest.fixture
def folder(tmp_path, cast):
    """Fill a folder for a page: with the checkout and all files that the page names, but does not make itself."""

    def fill(page):
        for name in CHECKOUT:
            path = ROOT / name
            if path.is_dir():
                shutil.copytree(path, tmp_path / name, ignore=shutil.ignore_patterns("*__*", "__pycache__"))
            else:
                shutil.copy(path, tmp_path)
        text = page.read_text()
        for path in cast.iterdir():
            if re.search(rf"--output {re.escape(path.name)}(?![\w.])", text):
                continue
            if path.is_dir():
                shutil.copytree(path, tmp_path / path.name)
            else:
                shutil.copy(path, tmp_path)
        return tmp_path

    return fill
