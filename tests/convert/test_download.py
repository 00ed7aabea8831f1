import contextlib
import errno
import hashlib
import http.client
import http.server
import os
import socket
import ssl
import struct
import threading
import time
import urllib.request

import numpy as np
import pytest

from wct_jax.convert.download import KERAS_VGG19, Asset, download

if os.name == "posix":
    import resource

CONTENT = np.random.default_rng(0).bytes(700_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Answers requests by the steps of a script, the last of them again and again; keeps what was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.ranges = [serve()], []
        self.asset = Asset(f"http://127.0.0.1:{self.server_port}/file.h5", MD5)

    def handle_error(self, request, client_address):
        pass  # clients that go away are what is tested


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.ranges.append(self.headers["Range"])
        script = self.server.script
        (script.pop(0) if len(script) > 1 else script[0])(self)

    def log_message(self, *arguments):
        pass


def serve(content=CONTENT, *, upto=None, resumes=True, says_length=True, reset=False, pause=0.0):
    """A step: send the content from where it was asked, break off after `upto` bytes of it."""

    def step(handler):
        asked = handler.headers["Range"]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and resumes else 0
        if start and start >= len(content):
            refuse(416)(handler)
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if says_length:
            handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        rest = content[start : len(content) if upto is None else start + upto]
        for begin in range(0, len(rest), 100_000):
            handler.wfile.write(rest[begin : begin + 100_000])
            time.sleep(pause)
        if reset:  # the connection is torn down instead of closed
            time.sleep(0.05)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
        handler.close_connection = True

    return step


def refuse(status):
    def step(handler):
        handler.send_response(status)
        handler.send_header("Content-Length", "6")
        handler.end_headers()
        handler.wfile.write(b"sorry\n")

    return step


def broken_chunks(handler):
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"10000\r\n" + CONTENT[:100])
    handler.close_connection = True


def hang_up(handler):
    handler.close_connection = True


@pytest.fixture
def server(monkeypatch):
    for proxy in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.upper(), raising=False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "weights" / "file.h5"


@pytest.fixture
def part(target):
    return target.with_name("file.h5.part")


@pytest.fixture
def fetch(server, target):
    """Download; what was reported. The target must not be there before the end."""

    def fetch(asset=None):
        reports = []

        def report(have, total):
            assert not target.exists()
            reports.append((have, total))

        download(asset or server.asset, target, report, pause=0)
        assert os.listdir(target.parent) == [target.name]
        assert target.read_bytes() == CONTENT
        return reports

    return fetch


@pytest.fixture
def fails(fetch, target):
    """Download something that cannot be: the sentence, after checking that there is no target."""

    def fails(asset=None):
        with pytest.raises(ValueError, match=r".") as caught:
            fetch(asset)
        assert not target.exists()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return fails


def test_a_whole_file(server, fetch):
    reports = fetch()
    assert server.ranges == [None]
    assert reports[0] == (0, 700_000)
    assert reports[-1] == (700_000, 700_000)
    assert reports == sorted(reports)
    assert len(reports) > 2


def test_a_broken_connection_is_taken_up_where_it_broke(server, fetch):
    server.script = [serve(upto=300_000), serve(upto=150_000), serve()]
    reports = fetch()
    assert server.ranges == [None, "bytes=300000-", "bytes=450000-"]
    assert reports[-1] == (700_000, 700_000)
    assert (300_000, 700_000) in reports


def test_a_server_that_does_not_resume_starts_anew(server, fetch):
    server.script = [serve(upto=300_000), serve(resumes=False)]
    reports = fetch()
    assert server.ranges == [None, "bytes=300000-"]
    assert reports.count((0, 700_000)) == 2


def test_the_next_call_takes_up_what_is_there(server, fetch, part):
    part.parent.mkdir()
    part.write_bytes(CONTENT[:123_456])
    assert fetch()[0] == (123_456, 700_000)
    assert server.ranges == ["bytes=123456-"]


def test_retries_are_bounded_and_what_came_is_kept(server, fetch, fails, part):
    server.script = [serve(upto=100_000)]
    reason = "could not be fetched (the connection closed early): try again, what has come so far is kept"
    assert fails() == f"{server.asset.url} {reason}"
    assert server.ranges == [None, *(f"bytes={n}00000-" for n in (1, 2, 3, 4))]
    assert part.read_bytes() == CONTENT[:500_000]
    fetch()  # two more are enough
    assert server.ranges[5:] == ["bytes=500000-", "bytes=600000-"]


@pytest.mark.parametrize("resumes", [True, False])
def test_a_connection_that_is_torn_down(server, fetch, resumes):
    server.script = [serve(upto=300_000, reset=True), serve(resumes=resumes)]
    fetch()
    assert len(server.ranges) == 2


@pytest.mark.parametrize("step", [broken_chunks, hang_up, refuse(500), refuse(503)])
def test_troubles_that_pass(server, fetch, fails, step):
    server.script = [step, step, serve()]
    fetch()
    assert len(server.ranges) == 3


def test_a_server_whose_trouble_stays(server, fails):
    server.script = [refuse(503)]
    assert "could not be fetched (the server answers 503 Service Unavailable): try again" in fails()
    assert len(server.ranges) == 5


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final(server, fails, target, part, status):
    server.script = [refuse(status)]
    assert fails().startswith(f"{server.asset.url} answers {status} ")
    assert len(server.ranges) == 1
    assert not os.listdir(target.parent)


@pytest.mark.parametrize(
    ("step", "came"),
    [
        (serve(bytes(1000)), bytes(1000)),
        (serve(b""), b""),
        (serve(upto=300_000, says_length=False), CONTENT[:300_000]),
    ],
    ids=["another file", "nothing", "cut short, of a size that is not said"],
)
def test_the_wrong_file_is_removed(server, fetch, fails, part, step, came):
    server.script = [step, serve()]
    md5 = hashlib.md5(came).hexdigest()
    assert fails() == (
        f"{server.asset.url} gave a file with the checksum {md5}, expected {MD5}: it was removed, try again"
    )
    assert not part.exists()
    fetch()


@pytest.mark.parametrize("there", [bytes(1000), CONTENT + b"!"], ids=["wrong", "too long"])
def test_a_wrong_part_is_removed(server, fetch, fails, part, there):
    part.parent.mkdir()
    part.write_bytes(there)
    assert "gave a file with the checksum" in fails()
    assert server.ranges == [f"bytes={len(there)}-"]
    assert not part.exists()
    fetch()


def test_all_of_it_is_there_already(server, fetch, part):
    part.parent.mkdir()
    part.write_bytes(CONTENT)
    fetch()
    assert server.ranges == ["bytes=700000-"]


def test_a_size_that_is_not_said(server, fetch):
    server.script = [serve(says_length=False)]
    assert {total for _, total in fetch()} == {None}


def test_a_slow_server(server, fetch):
    server.script = [serve(pause=0.01)]
    fetch()
    assert len(server.ranges) == 1


def test_a_server_that_stalls(server, fetch, monkeypatch):
    stalled = threading.Event()

    def stall(handler):
        serve(upto=1 << 19)(handler)
        stalled.wait(10)

    urlopen = urllib.request.urlopen
    monkeypatch.setattr(urllib.request, "urlopen", lambda request, timeout: urlopen(request, timeout=timeout / 100))
    server.script = [stall, serve()]
    try:
        fetch()
    finally:
        stalled.set()
    assert server.ranges == [None, f"bytes={1 << 19}-"]


def test_nobody_listens(server, fails):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}/file.h5"
    sentence = fails(Asset(url, MD5))
    assert sentence.startswith(f"{url} could not be fetched (")
    assert "Connection refused" in sentence


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EHOSTUNREACH, "No route to host"), ssl.SSLError(1, "[SSL] record layer failure"), TimeoutError()],
    ids=["network", "TLS", "timeout"],
)
def test_errors_of_the_network_are_not_taken_for_the_disks(server, fetch, fails, monkeypatch, error):
    read = http.client.HTTPResponse.read
    broken = []

    def break_once(self, amount):
        if not broken:
            broken.append(self)
            raise error
        return read(self, amount)

    monkeypatch.setattr(http.client.HTTPResponse, "read", break_once)
    fetch()
    assert len(server.ranges) == 2


@contextlib.contextmanager
def file_size_limit(size):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
def test_a_full_disk_is_not_tried_again(server, fetch, fails, part):
    with file_size_limit(300_000):
        assert fails() == f"cannot write {part}: File too large"
    assert server.ranges == [None]
    fetch()
    assert server.ranges == [None, "bytes=300000-"]


def test_a_directory_that_cannot_be_made(server, fails, target, part):
    target.parent.write_bytes(b"")
    assert fails() == f"cannot write {part}: File exists"
    assert server.ranges == []


def test_waits_double(server, fails, monkeypatch, target):
    waits = []
    monkeypatch.setattr("wct_jax.convert.download.time.sleep", waits.append)
    server.script = [refuse(500)]
    with pytest.raises(ValueError, match="500"):
        download(server.asset, target, lambda have, total: None)
    assert waits == [1, 2, 4, 8]


def test_the_published_file_is_the_one_that_keras_names():
    assert KERAS_VGG19.url.startswith("https://storage.googleapis.com/tensorflow/keras-applications/vgg19/")
    assert KERAS_VGG19.url.endswith("_notop.h5")
    assert KERAS_VGG19.md5 == "253f8cb515780f3b799900260a226db6"
