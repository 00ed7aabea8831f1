"""Fixtures of the tests of collections: a small model, photos, an object store, the command."""

import contextlib
import dataclasses
import importlib.util
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wct_jax.networks.model_file import save_model

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("commands", ROOT / "tests" / "cli" / "conftest.py")
_commands = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_commands)
run, refused = _commands.run, _commands.refused


def draw(path, size, seed):
    """A picture of noise at a path, whose folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


@pytest.fixture(scope="session")
def kept(tmp_path_factory, random_model):
    """A model of two levels and a picture: not written to."""
    folder = tmp_path_factory.mktemp("kept")
    model = random_model((4, 6), ("relu2_1", "relu1_1"))
    save_model(folder / "model.safetensors", dataclasses.replace(model, painter=model.decoders["relu2_1"]))
    draw(folder / "picture.png", (20, 16), 99)
    return folder


@pytest.fixture
def photos(tmp_path):
    """Six photos of two sizes in nested folders, two of them with one name up to the suffix."""
    names = ["a.png", "a.bmp", "b/a.png", "b/c d/é.png", "b/z.png", "c.png"]
    for seed, name in enumerate(names):
        draw(tmp_path / "photos" / name, [(20, 18), (16, 30)][seed % 2], seed)
    return tmp_path / "photos"


@pytest.fixture(scope="session")
def look(kept):
    """Flags for the picture and the model."""
    return ["--style", kept / "picture.png", "--model", kept / "model.safetensors"]


@pytest.fixture(scope="session")
def command():
    """Start `wct-jax VERB` in a process of its own, as a person would, and wait unless told otherwise."""

    def command(*arguments, wait=True, **variables):
        environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
        paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
        environment |= {"PYTHONPATH": os.pathsep.join(paths)} | variables
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, "-m", "wct_jax", *map(str, arguments)],
            env=environment,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        if not wait:
            return process
        out, err = process.communicate()
        return process.returncode, out, err

    return command


class Store:
    """An S3-compatible server with one bucket."""

    def __init__(self, port):
        import boto3

        self.port, self.client = port, boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
        self.iam = boto3.client("iam", endpoint_url=f"http://127.0.0.1:{port}")

    def address(self, path):
        return f"s3://{path}?endpoint_override=http://127.0.0.1:{self.port}"

    def permit(self, calls):
        """Ask for credentials after so many calls."""
        import urllib.request

        address = f"http://127.0.0.1:{self.port}/moto-api/reset-auth"
        plain = {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(address, str(calls).encode(), plain, method="POST")).close()


KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def serve():
    """Start servers of a Python program that is given a port, with credentials for them, until the module's end."""
    pytest.importorskip("moto")
    null, processes = subprocess.DEVNULL, []

    def serve(*program):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        processes.append(subprocess.Popen([sys.executable, *program, str(port)], stdout=null, stderr=null))
        while processes[-1].poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        return port

    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        yield serve
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server(serve):
    """An S3-compatible server that forgets everything at the end of the module."""
    return Store(serve("-m", "moto.server", "-p"))


@pytest.fixture
def store(server):
    """The server with an empty bucket."""
    for bucket in server.client.list_buckets()["Buckets"]:
        for entry in server.client.list_objects_v2(Bucket=bucket["Name"]).get("Contents", ()):
            server.client.delete_object(Bucket=bucket["Name"], Key=entry["Key"])
        server.client.delete_bucket(Bucket=bucket["Name"])
    server.client.create_bucket(Bucket="box")
    return server
