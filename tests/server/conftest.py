"""A server in a thread and one in another, with a small model, and small pictures to send."""

import contextlib
import dataclasses
import io
import os
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pytest
from PIL import Image

from wct_jax.networks.model_file import save_model
from wct_jax.server.bounds import Bounds
from wct_jax.server.guard import Door
from wct_jax.server.service import Service
from wct_jax.server.serving import bind, serve
from wct_jax.server.workers import Workers
from wct_jax.studio.limits import Limits
from wct_jax.studio.session import Session


def encoded(width=24, height=17, format="PNG", seed=0, **options):
    """A picture of noise, as a file's content."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


@pytest.fixture(scope="session", name="encoded")
def _encoded():
    return encoded


PHOTO, STYLE = encoded(), encoded(20, 16, seed=1)


@pytest.fixture(scope="session")
def photo():
    """A photo, as a file's content."""
    return PHOTO


@pytest.fixture(scope="session")
def style():
    """A style's picture, as a file's content."""
    return STYLE


def order(*more, photo=PHOTO, style=STYLE, **texts):
    """The parts of a form for a picture, as httpx takes them; further files as pairs."""
    files = [("content", ("photo.png", photo)), ("style", ("picture.png", style)), *more]
    return {"files": [pair for pair in files if pair[1][1] is not None], "data": texts}


@pytest.fixture(scope="session", name="order")
def _order():
    return order


@pytest.fixture(scope="session")
def opened():
    """The picture in an answer."""

    def opened(answer):
        assert answer.status_code == 200, answer.text
        return Image.open(io.BytesIO(answer.content))

    return opened


@pytest.fixture(scope="session")
def refused():
    """The sentence in an answer that refuses a request, after checking that it is one."""

    def refused(answer, status):
        assert answer.status_code == status, answer.text
        assert list(answer.json()) == ["detail"]
        sentence = answer.json()["detail"]
        assert sentence
        assert "\n" not in sentence
        assert "Traceback" not in sentence
        assert answer.headers["x-content-type-options"] == "nosniff"
        return sentence

    return refused


@pytest.fixture(scope="session")
def model_file(tmp_path_factory, random_model):
    """A model of three levels, two decoders and a painter."""
    model = random_model((4, 6, 8), ("relu3_1", "relu1_1"))
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, dataclasses.replace(model, painter=model.decoders["relu3_1"]))
    return path


@pytest.fixture(scope="session")
def session(model_file):
    """A session, so that not every server compiles anew."""
    return Session(model_file, Limits(max_pixels=10**6))


@pytest.fixture(scope="session")
def serving(session):
    """Serve in a thread, with other bounds than usual if need be: a client."""

    @contextlib.contextmanager
    def serving(door=None, **bounds):
        chosen = Bounds(**{"pixels": 10**6, "upload": 10**6, "rate": 10**6, **bounds})
        service = Service(Workers(lambda: session, lambda session: iter(()), chosen.queue), chosen)
        with bind("127.0.0.1", 0) as taken:
            started = threading.Event()
            thread = threading.Thread(target=serve, args=(service, taken, door or Door(), "small", started.set))
            thread.start()
            started.wait()
            address = f"http://127.0.0.1:{taken.getsockname()[1]}"
            with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
                client.service = service
                try:
                    yield client
                finally:
                    service.failed()
                    thread.join()

    return serving


@pytest.fixture(scope="module")
def client(serving):
    with serving() as client:
        yield client


@pytest.fixture(scope="session", name="running")
def _running():
    return running


@pytest.fixture(scope="session", name="ready")
def _ready():
    return ready


@contextlib.contextmanager
def running(*flags, environment=None):
    """Run `wct-jax serve` in a process of its own: the process, with the `address` that it printed."""
    command = [sys.executable, "-m", "wct_jax", "serve", "--port", "0", "--no-warm", *map(str, flags)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"} | (environment or {})
    )
    try:
        line = process.stderr.readline()
        process.address = line.rstrip("\n").partition(": ")[2]
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def server(model_file):
    """A server in another process: a client of it."""
    with (
        running("--model", model_file, "--max-megapixels", 1, "--max-upload", 1) as process,
        httpx.Client(base_url=process.address, timeout=60, trust_env=False) as client,
    ):
        ready(client)
        client.process = process
        yield client


def ready(client):
    """Wait until a server is ready."""
    while not client.get("/v1/health").json()["ready"]:
        time.sleep(0.05)
