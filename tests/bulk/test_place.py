"""Folders and buckets: the same contract, and one sentence for whatever is wrong with them."""

import os
import pickle
import re

import pytest

from wct_jax.bulk.address import parted, place_of

pytest.importorskip("pyarrow.fs")


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path):
    if request.param == "folder":
        return place_of(tmp_path / "place")
    return place_of(request.getfixturevalue("store").address("box/some/place"))


def test_files_are_written_listed_and_read(place, tmp_path):
    assert place.names() == set()
    for name in ("b/ü x.png", "a.PNG", "b/.hidden.png", "@eaDir/a.png", "notes.txt"):
        place.write(name, name.encode())
    place.write("a.PNG", b"again")
    with place.alone():
        assert {"b/ü x.png", "a.PNG", "notes.txt"} <= place.names()
    entries, notes = place.entries([".png"])
    assert [(entry.name, entry.size) for entry in entries] == [("a.PNG", 5), ("b/ü x.png", 10)]
    assert all(entry.modified > 10**18 for entry in entries)
    assert len(notes) == 1
    assert "passed over" in notes[0]
    assert "1 .txt" in notes[0]
    assert (place.read("a.PNG"), place.read("a.PNG", 2)) == (b"again", b"ag")
    assert [place.has(name) for name in ("a.PNG", "b", "c.png")] == [True, place.uri.startswith("/"), False]
    with place.open("a.PNG") as file:
        file.seek(1)
        assert file.read(2) == b"ga"
    place.fetch("a.PNG", tmp_path / "copy")
    place.send(tmp_path / "copy", "c/d.png")
    assert place.read("c/d.png") == b"again"
    assert pickle.loads(pickle.dumps(place)).read("a.PNG") == b"again"


def test_what_is_missing_is_said(place):
    name = re.escape(place.address("no.png"))
    place.write("a.txt", b"")
    for call in (lambda: place.read("no.png"), lambda: place.open("no.png"), lambda: place.fetch("no.png", "/tmp/x")):
        with pytest.raises(ValueError, match=rf"^cannot (read|copy) {name}.*: (N|there is n)o such file"):
            call()
    with pytest.raises(ValueError, match="there is no picture in"):
        place.entries([".png"])


def test_a_folder_has_one_run_at_a_time_and_loses_what_killed_ones_left(tmp_path):
    place = place_of(f"file://{tmp_path}/place")
    place.write("b/a.png", b"")
    (tmp_path / "place" / "b" / ".0123456789ab.png").touch()
    with place.alone():
        assert not (tmp_path / "place" / "b" / ".0123456789ab.png").exists()
        with pytest.raises(ValueError, match=r"^another run is writing to"), place_of(tmp_path / "place").alone():
            pass
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"it is not a folder$"), place_of(tmp_path / "file").alone():
        pass
    with pytest.raises(ValueError, match=r"^cannot write to .*: No such file or directory$"):
        place_of(tmp_path / "no" / "folder").alone().__enter__()


def test_a_bucket_is_missing_or_forbidden(store, monkeypatch):
    missing = place_of(store.address("nobox/photos"))
    assert missing.names() == set()
    for call in (lambda: missing.write("a.png", b""), lambda: missing.entries([".png"])):
        with pytest.raises(ValueError, match=r"^cannot (write|list) s3://nobox/photos.*: there is no such bucket$"):
            call()
    store.iam.create_user(UserName="reader")
    key = store.iam.create_access_key(UserName="reader")["AccessKey"]
    try:
        store.permit(0)
        for name, secret, reason in (
            ("nobody", "nothing", "the store refuses the credentials"),
            (key["AccessKeyId"], "nothing", "the store refuses the credentials"),
            (key["AccessKeyId"], key["SecretAccessKey"], "the store does not permit it to these credentials"),
        ):
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
            place = place_of(store.address("box"))
            with pytest.raises(ValueError, match=rf"^cannot list s3://box: {reason}$"):
                place.entries([".png"])
            with pytest.raises(ValueError, match=rf"^cannot write s3://box/a.png: {reason}$"):
                place.write("a.png", b"")
    finally:
        store.permit(10**9)


def test_a_busy_store_is_asked_again_and_a_silent_one_given_up(monkeypatch):
    naps = []
    monkeypatch.setattr("wct_jax.bulk.bucket.time.sleep", naps.append)
    place = place_of("s3://box/photos?endpoint_override=http://127.0.0.1:1&region=us-east-1")
    answers = [OSError("AWS Error SLOW_DOWN during PutObject operation: Please reduce your request rate.")] * 3

    def call():
        if answers:
            raise answers.pop()
        return "done"

    assert place._sure("write", "a.png", call) == "done"
    assert naps == sorted(naps)
    assert len(naps) == 3
    answers += [OSError("AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 7, Couldn't connect")] * 9
    with pytest.raises(ValueError, match=r"^cannot read s3://box/photos/a.png: the store does not answer$"):
        place._sure("read", "a.png", call)
    assert len(answers) == 3


def test_addresses_have_a_scheme_and_a_bucket(tmp_path):
    for address, sentence in (
        ("ftp://a/b", "expected a folder or one of s3://, gs://"),
        ("s3:///a", "expected a bucket"),
    ):
        with pytest.raises(ValueError, match=sentence):
            place_of(address)
    assert place_of("gs://anonymous@box/a/b")._system.type_name == "gcs"
    azure = place_of("abfs://box@account.dfs.core.windows.net/a/b")
    assert azure._system.type_name == "abfs"
    assert azure._path("c.png") == "box/a/b/c.png"
    place, name = parted("s3://box/a/b.png?region=us-east-1")
    assert (place.uri, name, place.address(name)) == ("s3://box/a?region=us-east-1", "b.png", "s3://box/a/b.png")
    assert [parted(path)[0].uri for path in ("a.png", "/a.png", f"{tmp_path}/a?.png")] == [
        os.getcwd(),
        "/",
        str(tmp_path),
    ]


# The server's program, with a gate before it that refuses every other request.
_THROTTLED = """
import itertools, sys
import moto.server
from werkzeug.serving import run_simple

numbers = itertools.count()
inner = moto.server.DomainDispatcherApplication(moto.server.create_backend_app)

def gate(environ, start):
    if next(numbers) % 2:
        return inner(environ, start)
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start("503 Slow Down", [("Content-Type", "application/xml"), ("Connection", "close")])
    return [b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"]

run_simple("127.0.0.1", int(sys.argv[1]), gate, threaded=True)
"""


@pytest.mark.slow
def test_a_throttled_store_loses_nothing(serve):
    import boto3

    port = serve("-c", _THROTTLED)
    boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}").create_bucket(Bucket="box")
    place = place_of(f"s3://box/in?endpoint_override=http://127.0.0.1:{port}")
    place.write("a.png", bytes(1000))
    assert (place.read("a.png"), place.names()) == (bytes(1000), {"a.png"})
