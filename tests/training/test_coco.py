"""COCO by tensorflow-datasets' real builder, on a tiny set in COCO's own layout and without a network."""

import fcntl
import hashlib
import http.server
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.core.utils import Size
from tensorflow_datasets.object_detection.coco import Coco as Builder

from wct_jax.training.coco import open_coco

HOST = "http://images.cocodataset.org"
PHOTOS, LIST = f"{HOST}/zips/test2017.zip", f"{HOST}/annotations/image_info_test2017.zip"
RECORDS = Path("coco", "2017_test", "1.1.0")


def jpeg(seed):
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (40 + seed, 60), dtype=np.uint8)
    Image.fromarray(pixels).convert("L" if seed == 2 else "RGB").save(file, "JPEG")
    return file.getvalue()


JPEGS = {f"{seed:012d}.jpg": jpeg(seed) for seed in range(1, 7)}


def archive(files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        for name, data in files.items():
            target.writestr(name, data)
    return file.getvalue()


def tiny_coco():
    """The two archives of the test images, by their address."""
    images = [{"id": int(name[:12]), "file_name": name, "height": 40, "width": 60} for name in JPEGS]
    document = {"images": images, "categories": [{"id": i, "name": f"category {i}"} for i in range(80)]}
    return {
        PHOTOS: archive({f"test2017/{name}": data for name, data in JPEGS.items()}),
        LIST: archive({"annotations/image_info_test2017.json": json.dumps(document)}),
    }


class Host:
    """Stands in for COCO's server, as a proxy: what it answers may be bytes, a status, or nothing at all."""

    def __init__(self):
        self.archives = tiny_coco()
        self.answers = dict(self.archives)
        self.asked = []
        self.over = threading.Event()
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                host.asked.append(self.path)
                answer = host.answers[self.path]
                if answer is None:
                    host.over.wait()
                elif isinstance(answer, int):
                    self.send_error(answer)
                else:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(host.archives[self.path])))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def lay_out(host, site, patch):
    """Let this process and those it starts expect the tiny archives, and find the host."""
    infos = {url: (len(data), hashlib.sha256(data).hexdigest()) for url, data in host.archives.items()}
    for url, (size, checksum) in infos.items():
        patch.setitem(Builder.url_infos, url, UrlInfo(Size(size), checksum, url.rpartition("/")[2]))
    (site / "sitecustomize.py").write_text(
        "from tensorflow_datasets.core.download.checksums import UrlInfo\n"
        "from tensorflow_datasets.core.utils import Size\n"
        "from tensorflow_datasets.object_detection.coco import Coco\n"
        f"for url, (size, checksum) in {infos!r}.items():\n"
        "    Coco.url_infos[url] = UrlInfo(Size(size), checksum, url.rpartition('/')[2])\n"
    )
    patch.syspath_prepend(site)
    for name in ("http_proxy", "HTTP_PROXY"):
        patch.setenv(name, f"http://127.0.0.1:{host.server.server_port}")
    for name in ("no_proxy", "NO_PROXY"):
        patch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A data folder prepared with the photos downloaded and their list at hand, what was told, what was asked for."""
    root, told, host = tmp_path_factory.mktemp("prepared"), [], Host()
    manual = root / "downloads" / "manual" / "image_info_test2017.zip"
    manual.parent.mkdir(parents=True)
    manual.write_bytes(host.archives[LIST])
    with pytest.MonkeyPatch.context() as patch:
        lay_out(host, tmp_path_factory.mktemp("site"), patch)
        open_coco(told.append, root)
    host.close()
    return root, told, host


@pytest.fixture
def host(tmp_path_factory, monkeypatch):
    host = Host()
    lay_out(host, tmp_path_factory.mktemp("site"), monkeypatch)
    yield host
    host.close()


def refusal(root=None, tell=lambda _: None):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        open_coco(tell, root)
    return str(caught.value)


@pytest.mark.slow
def test_the_photos_are_those_of_the_archive(prepared, monkeypatch):
    root, _, host = prepared
    monkeypatch.setenv("TFDS_DATA_DIR", str(root))
    coco = open_coco(pytest.fail)
    assert len(coco) == 6
    assert dict(map(coco.__getitem__, range(6))) == JPEGS
    assert host.asked == [PHOTOS]
    assert "tensorflow" not in sys.modules


def test_nothing_but_the_records_is_left(prepared):
    root, _, _ = prepared
    assert {path.name for path in (root / "downloads").iterdir()} == {"manual", "coco_2017_test.lock"}
    assert [path.name for path in (root / RECORDS).parent.iterdir()] == ["1.1.0"]


def test_reading_needs_no_tensorflow(prepared):
    root, _, _ = prepared
    code = f"""
import importlib.machinery, sys
find = importlib.machinery.PathFinder.find_spec
hidden = ("tensorflow", "importlib_resources", "pandas", "matplotlib")
importlib.machinery.PathFinder.find_spec = lambda name, *rest: None if name in hidden else find(name, *rest)
from wct_jax.training.coco import open_coco
from wct_jax.training.data import batches
print(next(batches(open_coco(print, {str(root)!r}), batch_size=8, crop=16, seed=0)).shape)
print(set(hidden) & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["(8, 16, 16, 3)", "set()"]
    assert not done.stderr


@pytest.mark.slow
def test_what_fails_is_told_and_gone_on_with(host, tmp_path):
    records = tmp_path / RECORDS
    downloads = tmp_path / "downloads" / "coco_2017_test"
    told = []
    # A download that would go on for ever does not keep the other's failure back.
    host.answers |= {LIST: 404, PHOTOS: None}
    text = refusal(tmp_path, told.append)
    assert text.startswith(f"cannot prepare COCO in {tmp_path}: Failed to get url {LIST}")
    assert "404" in text

    # Left behind by a process that was killed.
    (downloads / "extracted" / "incomplete.1_ZIP").mkdir()
    (records.parent / "incomplete.2_1.1.0").mkdir()
    host.answers |= {LIST: host.archives[LIST], PHOTOS: host.archives[PHOTOS][:-1000]}
    assert f"cannot prepare COCO in {tmp_path}" in refusal(tmp_path, told.append)
    unfinished = list(downloads.glob("coco/*.tmp.*"))
    assert unfinished

    host.answers = dict.fromkeys(host.answers, 404) | {PHOTOS: host.archives[PHOTOS]}
    assert len(open_coco(told.append, tmp_path)) == 6
    assert host.asked.count(LIST) == 2
    assert len(told) == 3
    assert not downloads.exists()
    assert [path.name for path in records.parent.iterdir()] == ["1.1.0"]


def test_what_will_be_downloaded_is_told(tmp_path, monkeypatch):
    def ended(command, **_):
        return subprocess.CompletedProcess(command, 2, stdout="some noise\nno network\n")

    monkeypatch.setattr(subprocess, "run", ended)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**35))
    told = []
    assert refusal(tmp_path, told.append) == (
        f"cannot prepare COCO in {tmp_path}: no network; the next try goes on with what is complete"
    )
    assert told == [
        f"preparing COCO's test images of 2017 in {tmp_path}: 6.2 GiB are to be downloaded; "
        "meanwhile they take 20.4 GiB of disk, afterwards 6.2 GiB"
    ]


def test_a_disk_too_small_is_refused_before_the_download(tmp_path, monkeypatch):
    done = tmp_path / "downloads" / "coco_2017_test" / "coco" / "a.zip"
    done.parent.mkdir(parents=True)
    with open(done, "wb") as file:
        file.truncate(2**30)  # Sparse.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=19 * 2**30))
    assert refusal(tmp_path, pytest.fail) == (
        f"preparing COCO in {tmp_path} needs 19.4 GiB of disk, and 19.0 GiB are free; "
        "set TFDS_DATA_DIR to a folder on a larger one"
    )


def test_missing_packages_are_named_with_the_command(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find(name))
    text = refusal(tmp_path)
    assert "to prepare it tensorflow must be installed: pip install 'wct_jax[prepare]'" in text
    assert "pip install '.[prepare]'" in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("code", "expected"),
    [("import os; os.kill(os.getpid(), 9)", "it ended with signal 9"), ("import os; os._exit(1)", "status 1")],
)
def test_a_builder_that_dies(tmp_path, monkeypatch, code, expected):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**40))
    (tmp_path / "sitecustomize.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    assert expected in refusal(tmp_path / "root")


def test_two_processes_do_not_prepare_at_once(tmp_path, prepared):
    lock = tmp_path / "downloads" / "coco_2017_test.lock"
    lock.parent.mkdir()
    told = []
    with open(lock, "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        def tell(text):
            told.append(text)
            shutil.copytree(prepared[0] / RECORDS, tmp_path / RECORDS)
            fcntl.flock(other, fcntl.LOCK_UN)

        assert len(open_coco(tell, tmp_path)) == 6
    assert told == [f"another process is preparing COCO in {tmp_path}; waiting for it"]


RECORD_FILE = "coco-test.array_record-00000-of-00001"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((name, content) for name in ("dataset_info.json", "features.json", RECORD_FILE) for content in (b"", b"{}")),
        *(("features.json", None), (RECORD_FILE, None)),
    ],
)
def test_damaged_records(tmp_path, prepared, name, content):
    folder = tmp_path / RECORDS
    shutil.copytree(prepared[0] / RECORDS, folder)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    sentence = rf"^cannot read {re.escape(str(folder))}: it is damaged \([^\n]+\); delete it"
    with pytest.raises(ValueError, match=sentence):
        open_coco(pytest.fail, tmp_path)[0]


def test_a_folder_that_is_not_local_or_cannot_be_made(tmp_path):
    assert refusal("gs://bucket/data").endswith("got gs://bucket/data")
    (tmp_path / "file").write_bytes(b"")
    assert refusal(tmp_path / "file") == f"cannot prepare COCO in {tmp_path / 'file'}: {os.strerror(20)}"
