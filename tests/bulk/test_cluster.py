"""A cluster of several nodes on this machine, which loses nodes, workers, the driver and single photos' readers."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wct_jax.bulk.address import place_of

ray = pytest.importorskip("ray")
pq = pytest.importorskip("pyarrow.parquet")
# Ray forks this process, in which other tests may have started JAX.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")]

COUNT = 300
ROOT = Path(__file__).resolve().parents[2]
LOOK = ["--style", ROOT / "examples" / "waves.jpg", "--method", "cascade", "--layers", "relu2_1", "relu1_1"]


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Small photos in two folders."""
    folder, rng = tmp_path_factory.mktemp("collection"), np.random.default_rng(0)
    with Image.open(ROOT / "examples" / "content.jpg") as photo:
        for number in range(COUNT):
            size = [(128, 96), (96, 128)][number % 2]
            left, top = rng.integers(0, 300, 2)
            path = folder / f"d{number % 3}" / f"{number:03}.jpg"
            path.parent.mkdir(exist_ok=True)
            photo.crop((left, top, left + size[0], top + size[1])).save(path)
    return folder


@pytest.fixture(scope="module")
def expected(collection, command, tmp_path_factory):
    """What the command line makes of them, by the photo's name."""
    out = tmp_path_factory.mktemp("expected")
    status, _, said = command("stylize", "--content", collection, *LOOK, "--output", out)
    assert status == 0, said
    return by_photo(out)


def by_photo(folder):
    """The results in a folder by the photo's name; none may be half written."""
    return {path.name.partition("__")[0]: path.read_bytes() for path in folder.rglob("*.png") if path.name[0] != "."}


@pytest.fixture
def cluster(monkeypatch):
    """A head without cores, so that it does not paint, and three nodes with one each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
    named = {"object_store_memory": 10**8}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **named})
    cluster.nodes = [cluster.add_node(num_cpus=1, **named) for _ in range(3)]
    cluster.grow = lambda: cluster.add_node(num_cpus=1, **named)
    yield cluster
    cluster.shutdown()


class Watch:
    """Looks again and again at which results there are, and how often each has been made."""

    def __init__(self, folder):
        self._folder, self.files = folder, defaultdict(set)

    def look(self):
        for path in self._folder.rglob("*.png"):
            with contextlib.suppress(FileNotFoundError):
                if not path.name.startswith("."):
                    self.files[path.name].add(path.stat().st_ino)
        return len(self.files)

    def until(self, count, process):
        while self.look() < count:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)

    def finish(self, process):
        while process.poll() is None:
            self.look()
            time.sleep(0.02)
        self.look()
        return process.returncode, *process.communicate()

    @property
    def again(self):
        return sum(len(made) - 1 for made in self.files.values())


def test_a_node_is_lost_and_another_comes(cluster, command, collection, expected, tmp_path):
    out = tmp_path / "out"
    process = command("bulk", collection, *LOOK, "--output", out, "--address", cluster.address, wait=False)
    watch = Watch(out)
    watch.until(COUNT // 3, process)
    cluster.remove_node(cluster.nodes[0], allow_graceful=False)
    cluster.grow()
    status, told, said = watch.finish(process)
    assert (status, said) == (0, "")
    assert f"{COUNT} photos: {COUNT} done, 0 skipped since they were there, 0 failed; " in told
    assert by_photo(out) == expected
    # A worker has two photos in hand.
    assert watch.again <= 2
    rows = pq.read_table(io.BytesIO(place_of(out).read("manifest.parquet"))).to_pylist()
    assert sorted(row["source"] for row in rows if row["status"] == "done") == sorted(
        path.relative_to(collection).as_posix() for path in collection.rglob("*.jpg")
    )


def test_the_driver_is_killed_and_started_again(cluster, command, collection, expected, tmp_path):
    out = tmp_path / "out"
    arguments = ["bulk", collection, *LOOK, "--output", out, "--address", cluster.address]
    process = command(*arguments, wait=False)
    watch = Watch(out)
    watch.until(COUNT // 2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    status, told, said = watch.finish(command(*arguments, wait=False))
    assert (status, said) == (0, "")
    skipped = int(told.partition(" done, ")[2].partition(" ")[0])
    assert skipped >= COUNT // 2
    assert f"{COUNT - skipped} done, {skipped} skipped since they were there, 0 failed" in told
    assert by_photo(out) == expected
    assert watch.again <= 2 * 3
    assert not [path for path in out.rglob(".*") if path.name != ".wct_jax.lock"]
    rows = pq.read_table(io.BytesIO(place_of(out).read("manifest.parquet"))).to_pylist()
    assert [row["status"] for row in rows] == ["done"] * COUNT


def test_workers_are_killed(cluster, command, collection, expected, tmp_path):
    out = tmp_path / "out"
    process = command("bulk", collection, *LOOK, "--output", out, "--address", cluster.address, wait=False)
    watch = Watch(out)
    for part in (1, 2, 3):
        watch.until(part * COUNT // 5, process)
        listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
        raylets = {node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()}
        rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
        workers = [int(row[0]) for row in rows if int(row[1]) in raylets and "MapWorker" in row[2]]
        assert workers
        os.kill(workers[0], signal.SIGKILL)
    status, told, said = watch.finish(process)
    assert (status, said) == (0, ""), told
    assert by_photo(out) == expected
    assert watch.again <= 2 * 3


def test_a_file_that_ends_its_reader_is_listed(command, collection, tmp_path):
    """A module that Python loads as each process starts plays a decoder that crashes.

    It aborts, because a signal to the process may reach another thread, and leave this one time to finish the photo.
    """
    (tmp_path / "deadly").mkdir()
    (tmp_path / "photos").mkdir()
    for path in sorted(collection.rglob("*.jpg"))[:12]:
        (tmp_path / "photos" / path.name).write_bytes(path.read_bytes())
    deadly = sorted((tmp_path / "photos").iterdir())[5]
    (tmp_path / "deadly" / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def hook(event, arguments):\n"
        f"    if event == 'open' and str(arguments[0]).endswith({deadly.name!r}) and is_painting():\n"
        "        os.abort()\n"
        "def is_painting():\n"
        "    frame = sys._getframe()\n"
        "    while frame and frame.f_code.co_name != '_painted':\n"
        "        frame = frame.f_back\n"
        "    return frame is not None\n"
        "sys.addaudithook(hook)\n"
    )
    paths = os.pathsep.join([str(tmp_path / "deadly"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    arguments = [
        "bulk",
        tmp_path / "photos",
        *LOOK,
        "--output",
        tmp_path / "out",
        "--workers",
        "1",
        "--address",
        "local",
    ]
    status, told, said = command(*arguments, PYTHONPATH=paths)
    assert status == 1, said
    assert "12 photos: 11 done, 0 skipped since they were there, 1 failed; " in told
    assert said.splitlines()[0] == (
        f"wct-jax bulk: cannot paint {deadly}: the process that works on it ends each time, by a fault of a decoder or "
        "for lack of memory"
    )


def test_a_bucket_is_repainted_into_another(command, collection, expected, store):
    for path in collection.rglob("*.jpg"):
        if path.parent.name == "d0":
            store.client.upload_file(str(path), "box", f"photos/{path.relative_to(collection).as_posix()}")
    store.client.create_bucket(Bucket="results")
    addresses = [store.address("box/photos"), *LOOK, "--output", store.address("results/painted")]
    status, told, said = command("bulk", *addresses, "--workers", 2)
    assert (status, said) == (0, "")
    assert f"{COUNT // 3} photos: {COUNT // 3} done" in told
    place = place_of(store.address("results/painted"))
    names = place.names()
    assert len(names) == COUNT // 3 + 1
    for name in names - {"manifest.parquet"}:
        assert name.startswith("d0/")
        assert place.read(name) == expected[name.partition("/")[2].partition("__")[0]]
    status, told, _ = command("bulk", *addresses)
    assert (status, f"0 done, {COUNT // 3} skipped" in told) == (0, True)
    status, told, said = command("bulk", addresses[0], *LOOK, "--output", store.address("nobox/painted"))
    assert (status, told) == (2, "")
    assert said == ("wct-jax bulk: error: cannot write s3://nobox/painted/manifest.parquet: there is no such bucket\n")


def test_a_full_disk_ends_the_run_in_a_sentence(command, collection, tmp_path):
    (tmp_path / "small").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", tmp_path / "small"], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        flags = ["--style", LOOK[1], "--output", tmp_path / "small" / "out", "--workers", "1"]
        status, told, said = command("bulk", collection, *flags)
        assert (status, told) == (2, ""), said
        assert "error: stopped, since results cannot be written: cannot write " in said
        assert said.endswith("No space left on device\n")
        results = by_photo(tmp_path / "small")
        assert 5 < len(results) < COUNT
        for content in results.values():
            with Image.open(io.BytesIO(content)) as image:
                image.load()
    finally:
        subprocess.run(["umount", tmp_path / "small"], check=True)


def test_anybody_can_map_batches(collection, expected, monkeypatch):
    """In a process of its own, since Ray stays in the one that it was started in."""
    code = (
        "import glob, sys, ray, wct_jax\n"
        "from wct_jax import Options\n"
        "ray.init('local', num_cpus=1, include_dashboard=False, log_to_driver=False)\n"
        "files = sorted(glob.glob(sys.argv[1] + '/d0/*.jpg'))[:6]\n"
        "ds = ray.data.from_items([{'source': file, 'id': n} for n, file in enumerate(files)])\n"
        "named = {'style': sys.argv[2], 'options': Options(method='cascade', layers=('relu2_1', 'relu1_1'))}\n"
        "pool = ray.data.ActorPoolStrategy(size=1)\n"
        "ds = ds.map_batches(wct_jax.bulk.Painter, fn_constructor_kwargs=named, batch_size=4, compute=pool)\n"
        "for row in ds.sort('id').take_all():\n"
        "    print(row['id'], row['status'], row['painted'].hex())\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, collection, LOOK[1]],
        capture_output=True,
        text=True,
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)},
    )
    rows = [line.split() for line in process.stdout.splitlines()]
    assert [row[:2] for row in rows] == [[str(number), "done"] for number in range(6)], process.stderr
    assert [bytes.fromhex(row[2]) for row in rows] == [expected[f"{3 * number:03}"] for number in range(6)]
