"""Who may ask: names of the server, pages of other sites, tokens, rates, slow clients."""

import json
import socket
import time

import httpx
import pytest

from wct_jax.server.clients import name_of
from wct_jax.server.connection import Connection
from wct_jax.server.guard import Door

HOSTS = ["127.0.0.1", "localhost", "LOCALHOST:1", "[::1]:8000"]
FOREIGN_HOSTS = [
    *("evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "127.0.0.1:80@evil.example", "", "192.168.0.7"),
    *("evil.example:8000", "localhost:8000:9", "0.0.0.0", "[::1].evil.example", "[::ffff:7f00:1]", "localhost."),
    *("127.1", "2130706433", "0x7f.1", "user@localhost"),
]


@pytest.mark.parametrize("host", HOSTS)
def test_the_server_knows_its_names(client, host):
    assert client.get("/v1/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_other_names_are_refused(client, refused, host):
    answer = client.get("/v1/health", headers={"host": host})
    if answer.status_code != 400:  # By h11 already.
        refused(answer, 403)


FOREIGN = [
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:1"},
    {"origin": "http://localhost"},
    {"origin": "file://"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": "http://127.0.0.1", "sec-fetch-site": "cross-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: " ".join(headers.values()))
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "OPTIONS"])
def test_pages_of_other_sites_cannot_write(client, refused, headers, method):
    given = {"host": "127.0.0.1", **headers}
    path = "/v1/paint" if method == "POST" else "/v1/styles/waves"
    refused(client.request(method, path, headers=given), 403)


@pytest.mark.parametrize(
    "headers", [{}, {"sec-fetch-site": "none"}, {"origin": "own", "sec-fetch-site": "same-origin"}]
)
def test_its_own_page_can(client, order, headers):
    own = str(client.base_url).rstrip("/")
    headers = {name: own if value == "own" else value for name, value in headers.items()}
    assert client.post("/v1/paint", **order(), headers=headers).status_code == 200


def test_no_answer_lets_other_sites_in(client, order):
    answers = [
        client.get("/"),
        client.get("/docs"),
        client.get("/v1/health"),
        client.get("/nothing"),
        client.get("/v1/jobs/x"),
        client.post("/v1/paint", **order()),
        client.post("/v1/paint"),
        client.get("/v1/health", headers={"host": "evil.example"}),
        client.put("/v1/health"),
    ]
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers


def test_a_token(serving, order, refused):
    with serving(Door(addresses=True, token="x" * 16)) as client:
        for given in ({}, {"authorization": "Bearer y"}, {"authorization": "x" * 16}, {"authorization": "Bearer é"}):
            raw = {name: value.encode() for name, value in given.items()}
            answer = client.post("/v1/paint", **order(), headers=raw)
            assert "the token" in refused(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
        shown = {"authorization": "Bearer " + "x" * 16}
        assert client.post("/v1/paint", **order(), headers=shown).status_code == 200
        assert client.get("/docs").status_code == 200
        assert client.get("/v1/health").status_code == 200
        refused(client.get("/metrics"), 401)
        refused(client.get("/v1/styles/waves/thumbnail"), 401)
        # By an address nobody can be lured here, by another name they can.
        assert client.get("/v1/health", headers={"host": "192.168.0.7:8000"}).status_code == 200
        refused(client.get("/v1/health", headers={"host": "evil.example"}), 403)


def test_rates(serving, refused):
    with serving(rate=2) as client:
        assert client.get("/v1/health").status_code == 200
        answer = next(answer for _ in range(1000) if (answer := client.get("/v1/health")).status_code != 200)
        assert answer.headers["retry-after"] == "1"
        assert "at most 2 per second" in refused(answer, 429)


def test_clients_are_told_apart():
    assert name_of("10.0.0.1") != name_of("10.0.0.2")
    assert name_of("2001:db8::1") == name_of("2001:db8::2") != name_of("2001:db8:0:1::1")
    assert name_of("somebody") == "somebody"


@pytest.fixture(scope="module")
def impatient(serving):
    """A server that waits for half a second: its address, as sockets take it."""
    interval, Connection.interval = Connection.interval, 0.25
    with serving(idle=0.5, body=1.0, requests=4) as client:
        client.where = (client.base_url.host, client.base_url.port)
        yield client
    Connection.interval = interval


HEAD = b"POST /v1/paint HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
SLOW = {
    "nothing": (b"", b""),
    "a header that never ends": (b"GET / HTTP/1.1\r\nX-A: ", b""),
    "a header bit by bit": (b"GET / HTTP/1.1\r\n", b"a"),
    "a body that does not come": (HEAD + b"Content-Length: 100\r\n\r\n", b"408"),
    "a body in chunks that do not come": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"408"),
}


@pytest.mark.parametrize(("sent", "status"), SLOW.values(), ids=SLOW)
def test_slow_clients_are_left(impatient, sent, status):
    with socket.create_connection(impatient.where) as connection:
        connection.sendall(sent)
        connection.settimeout(20)
        began, answer = time.monotonic(), b""
        if status == b"a":
            connection.settimeout(0.1)
        while True:
            try:
                if not (part := connection.recv(2**16)):
                    break
                answer += part
            except TimeoutError:
                try:
                    connection.sendall(b"X")
                except OSError:
                    break
            except ConnectionResetError:
                break
            assert time.monotonic() - began < 15
    if status.isdigit():
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"detail": "the request comes too slowly"}


def test_a_body_bit_by_bit_is_left(impatient):
    with socket.create_connection(impatient.where) as connection:
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n")
        connection.settimeout(0.2)
        for sign in b"--x\r\nContent-Disposition: form-data; name=content":
            connection.sendall(bytes([sign]))
            try:
                answer = connection.recv(2**16)
                break
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408")


def test_too_many_at_once(impatient, refused):
    with socket.create_connection(impatient.where) as one, socket.create_connection(impatient.where) as other:
        held = [one, other, socket.create_connection(impatient.where), socket.create_connection(impatient.where)]
        for connection in held:
            connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n")
        time.sleep(0.2)
        assert "at the same time" in refused(impatient.get("/v1/health"), 429)
        for connection in held[2:]:
            connection.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_are_bounded_while_they_come(client, refused, chunked):
    taken = 0

    def body():
        nonlocal taken
        yield b'--x\r\nContent-Disposition: form-data; name="content"; filename="x"\r\n\r\n'
        for _ in range(10000):
            taken += 2**16
            yield b"x" * 2**16

    headers = {"content-type": "multipart/form-data; boundary=x"}
    if not chunked:
        headers["content-length"] = str(65 + 10000 * 2**16)
    assert "at most 1 MB" in refused(client.post("/v1/paint", content=body(), headers=headers), 413)
    assert taken < 10**8


def test_all_bodies_together_are_bounded(serving, refused, photo):
    with serving(upload=10**4) as client:
        held = []
        for _ in range(4):
            connection = socket.create_connection((client.base_url.host, client.base_url.port))
            connection.sendall(HEAD + b"Content-Length: 10000\r\n\r\n" + b"x" * 9999)
            held.append(connection)
        time.sleep(0.3)
        answer = client.post("/v1/settings", files={"picture": ("x.png", photo)})
        assert "too many uploads" in refused(answer, 503)
        assert answer.headers["retry-after"] == "5"
        for connection in held:
            connection.close()
        time.sleep(0.3)
        refused(client.post("/v1/settings", files={"picture": ("x.png", photo)}), 422)


def test_a_client_that_takes_nothing_is_left(impatient):
    def refused_to_take():
        while True:
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")

    with socket.create_connection(impatient.where) as connection:
        connection.settimeout(20)
        with pytest.raises(OSError, match=r"Broken pipe|reset by peer"):
            refused_to_take()
    assert impatient.get("/v1/health").status_code == 200


def test_websockets_are_refused(client):
    headers = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    assert client.get("/v1/health", headers=headers).status_code in (200, 400)


def test_a_name_that_leads_here_by_dns_is_no_name_of_ours(client):
    """A page at a name of its own, which leads to this machine, sends that name along."""
    rebound = httpx.Client(
        base_url=client.base_url, headers={"host": "rebound.example", "origin": "http://rebound.example"}
    )
    with rebound:
        for answer in (rebound.get("/"), rebound.get("/v1/styles"), rebound.post("/v1/paint")):
            assert answer.status_code == 403
            assert json.loads(answer.content)["detail"]
