"""The server under load: the time of a preview beside the library's own, and 8 clients at once for some minutes.

    python benchmarks/server.py [--seconds 300] [--clients 8] [--previews 200] [--sides 64 512] [--seed 0]

Starts `wct-jax serve` with the packaged model. One client asks for previews with a long side of 256 pixels, none of
them the same, of a photo of this project, in turn with the library, which reads and encodes, too. After that each of
the clients asks for pictures of random sizes, methods and styles, and goes away before the answer every fourth time.
Prints the answers by status, the times, and the server's memory, after each of the photos was painted once. Exits with
status 1 if there was an answer other than 200 and 503. Linux only.
"""

import argparse
import collections
import io
import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
from memory import megabytes
from PIL import Image
from table import machine, print_table

_ROOT = Path(__file__).resolve().parents[1]
_LONGEST = 256
# Previews that do not count.
_FIRST = 20


def start():
    """Start a server; return its process, its address, and the seconds until it was ready."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "wct_jax", "serve", "--port", "0", "--warm", str(_LONGEST)]
    environment = os.environ | {"PYTHONPATH": str(_ROOT)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    address = process.stderr.readline().split()[-1]
    with httpx.Client(base_url=address, trust_env=False) as client:
        while not client.get("/v1/health").json()["ready"]:
            time.sleep(0.02)
    return process, address, time.perf_counter() - began


def percentiles(seconds):
    """Median and 95th percentile in milliseconds."""
    return {f"p{part} ms": 1000 * float(np.percentile(seconds, part)) for part in (50, 95)}


def options(number):
    """Options that no other number has."""
    return {"strength": 1 - number * 1e-5}


def previews(address, photo, count):
    """Have previews made by the server and by the library, in turn: seconds of both."""
    from wct_jax import Options, Session
    from wct_jax.pictures.output import write_picture

    session, server, library = Session("compact"), [], []
    style = (_ROOT / "wct_jax" / "server" / "styles" / "waves.jpg").read_bytes()
    with Image.open(io.BytesIO(photo)) as image:
        side = round(min(image.size) * _LONGEST / max(image.size))
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        for number in range(count + _FIRST):
            data = {"style_id": "waves", "longest": _LONGEST, "format": "jpeg", "options": json.dumps(options(number))}
            request = client.build_request("POST", "/v1/paint", files={"content": ("photo.jpg", photo)}, data=data)
            request.read()
            began = time.perf_counter()
            client.send(request).raise_for_status()
            server.append(time.perf_counter() - began)
            began = time.perf_counter()
            painted = session.paint(io.BytesIO(photo), io.BytesIO(style), Options(**options(number), content_size=side))
            write_picture(io.BytesIO(), painted, ".jpg")
            library.append(time.perf_counter() - began)
    return server[_FIRST:], library[_FIRST:]


def photos(sides, seed):
    """Crops of the project's own pictures, of random sizes, as files."""
    rng = np.random.default_rng(seed)
    sources = [Image.open(path).convert("RGB") for path in sorted((_ROOT / "examples").glob("*.jpg"))]
    for number in range(24):
        width, height = (int(side) for side in rng.integers(sides[0], sides[1] + 1, 2))
        file = io.BytesIO()
        sources[number % len(sources)].crop((0, 0, width, height)).save(file, "JPEG")
        yield file.getvalue()


class Client(threading.Thread):
    """A client that asks for pictures until it is time to stop."""

    def __init__(self, address, seed, given, end):
        super().__init__()
        self.address, self.given, self.end = address, given, end
        self.random, self.answers, self.seconds = random.Random(seed), collections.Counter(), []

    def run(self):
        """Ask for one picture after another."""
        with httpx.Client(base_url=self.address, trust_env=False) as client:
            while time.monotonic() < self.end:
                try:
                    self.ask(client)
                except httpx.TransportError as error:
                    self.answers[type(error).__name__] += 1

    def ask(self, client):
        """Ask for a picture, and go away before it is there every fourth time."""
        method = self.random.choice(["one-pass", "one-pass", "cascade"])
        data = {"style_id": self.random.choice(["waves", "mosaic", "ink"])}
        data |= {"options": json.dumps({"method": method, "strength": self.random.random()})}
        data |= {"format": self.random.choice(["png", "jpeg"])}
        if self.random.random() < 0.3:
            data["longest"] = str(_LONGEST)
        files = {"content": ("photo.jpg", self.random.choice(self.given))}
        goes = self.random.random() < 0.25
        began = time.perf_counter()
        try:
            answer = client.post(
                "/v1/paint", files=files, data=data, timeout=self.random.random() * 0.2 if goes else 120
            )
        except httpx.TimeoutException:
            if not goes:
                raise
            self.answers["gone"] += 1
            return
        self.answers[answer.status_code] += 1
        self.seconds.append(time.perf_counter() - began)
        if answer.status_code == 503:
            time.sleep(min(2, int(answer.headers["retry-after"])))


def warm_up(address, given):
    """Ask for all that the clients will ask for, so that it is compiled."""
    with httpx.Client(base_url=address, timeout=120, trust_env=False) as client:
        for photo, method, longest in itertools.product(given, ("one-pass", "cascade"), (0, _LONGEST)):
            data = {"style_id": "waves", "options": json.dumps({"method": method})}
            data |= {"longest": str(longest)} if longest else {}
            client.post("/v1/paint", files={"content": ("photo.jpg", photo)}, data=data).raise_for_status()


def load(process, address, arguments):
    """Let clients ask at once, and watch the server's memory."""
    given = list(photos(arguments.sides, arguments.seed))
    warm_up(address, given)
    warm, end = megabytes("VmRSS", process.pid), time.monotonic() + arguments.seconds
    clients = [Client(address, arguments.seed + number, given, end) for number in range(arguments.clients)]
    for client in clients:
        client.start()
    resident = []
    while time.monotonic() < end:
        time.sleep(1)
        resident.append(megabytes("VmRSS", process.pid))
    for client in clients:
        client.join()
    answers = sum((client.answers for client in clients), collections.Counter())
    row = {"clients": arguments.clients, "seconds": arguments.seconds}
    row |= percentiles([second for client in clients for second in client.seconds])
    row |= {"MB after warm-up": warm, "median MB": float(np.median(resident)), "most MB": max(resident)}
    row |= {"MB at the end": resident[-1]}
    print_table([row])
    print("answers:", ", ".join(f"{count} x {name}" for name, count in sorted(answers.items(), key=str)))
    return set(answers) <= {200, 503, "gone"}


def main():
    """Start a server, ask, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--previews", type=int, default=200)
    parser.add_argument("--sides", type=int, nargs=2, default=[64, 512])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(machine())
    process, address, ready = start()
    photo = (_ROOT / "examples" / "content.jpg").read_bytes()
    time.sleep(15)  # It goes on warming up.
    server, library = map(percentiles, previews(address, photo, arguments.previews))
    print_table([{"by": "server", **server}, {"by": "library", **library}])
    print(
        f"ready after {ready:.1f} s; p95 of a preview is {server['p95 ms'] / library['p95 ms']:.2f} times the library's"
    )
    fine = load(process, address, arguments)
    began = time.perf_counter()
    process.terminate()
    status = process.wait()
    said = process.stderr.read() or "no complaint"
    print(f"ended after {time.perf_counter() - began:.1f} s with status {status}: {said}")
    sys.exit(0 if fine and status == 0 else 1)


if __name__ == "__main__":
    main()
