"""Collections on Ray: beside `stylize`, the memory of thousands of photos, and where the time goes. On one machine.

    python benchmarks/bulk.py [rates] [memory] [parts] [--photos N] [--side N] [--many N] [--rounds N]

Photos are cut from `examples/content.jpg`, enlarged, at random places, `--side` x 3/4 `--side` pixels, JPEG.

`rates` repaints the same folder by `stylize` with all cores, by `bulk` with one worker of all cores, and with a worker
for each core, in turns. Seconds a photo are those between the first and the last result, by the times of the files, so
that starting does not count; before that, each has painted the folder once, so that the compiled code is kept. The
seconds of processors that this takes depend less on what else runs on the machine.

`memory` repaints `--many` small photos and samples every two seconds the bytes in Ray's object store and the resident
memory of this process, of Ray's own processes and of the workers.

`parts` times a worker's steps for one photo after another on one core: reading, decoding, painting, encoding, and
writing to a folder and to an S3-compatible server on this machine (moto, in Python: an upper bound); and what blocks
and rows cost the driver, when the workers do nothing.
"""

import argparse
import contextlib
import dataclasses
import functools
import io
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image
from table import machine, print_table

_ROOT = Path(__file__).resolve().parents[1]
_EXAMPLES = _ROOT / "examples"
_STYLE = _EXAMPLES / "waves.jpg"


def draw(folder, count, side):
    """Write photos and return their folder."""
    rng = np.random.default_rng(0)
    with Image.open(_EXAMPLES / "content.jpg") as photo:
        large = photo.resize((photo.width * side // 384, photo.height * side // 384))
    size = side, side * 3 // 4
    for number in range(count):
        left, top = (int(rng.integers(0, most - part + 1)) for most, part in zip(large.size, size, strict=True))
        path = folder / f"{number // 1000}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        large.crop((left, top, left + size[0], top + size[1])).save(path, quality=90)
    return folder


def start(*arguments):
    """Start `wct-jax` with arguments."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))}
    environment["RAY_worker_niceness"] = "0"  # Ray's workers else give way to all other processes.
    command = [sys.executable, "-m", "wct_jax", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def watch(process, out, verb):
    """Seconds, and seconds of processors in painting and in other processes, from the first result to the last."""
    samples = []
    while process.poll() is None:
        results = list(out.rglob("[!.]*.png"))
        if results:
            spent = {name: sum(map(busy, pids)) for name, pids in processes(process.pid).items()}
            samples.append((len(results), spent))
        time.sleep(0.1)
    if process.returncode:
        sys.exit(f"{process.args} ended with status {process.returncode}")
    times = sorted(path.stat().st_mtime for path in out.rglob("[!.]*.png"))
    painting = "driver" if verb == "stylize" else "workers"
    (first, before), (_, after) = samples[0], next(sample for sample in samples if sample[0] == len(times))
    count = len(times) - first
    others = sum(after[name] - before[name] for name in after if name != painting)
    return (times[-1] - times[0]) / (len(times) - 1), (after[painting] - before[painting]) / count, others / count


def rates(arguments):
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        photos = draw(Path(folder, "photos"), arguments.photos, arguments.side)
        here = ("--address", "local")
        ways = {
            "stylize, all cores": ("stylize", "--content", photos),
            "bulk, 1 worker of all cores": ("bulk", photos, *here, "--workers", 1, "--cores-per-worker", cores),
            f"bulk, {cores} workers of 1 core": ("bulk", photos, *here, "--workers", cores),
        }
        found = {name: [] for name in ways}
        for number in range(arguments.rounds + 1):
            for name, (verb, *flags) in ways.items():
                out = Path(folder, f"{name} {number}".replace(" ", "-"))
                spent = watch(start(verb, *flags, "--style", _STYLE, "--output", out), out, verb)
                print(number, name, *(f"{seconds:.3f}" for seconds in spent), flush=True)
                if number:
                    found[name].append(spent)
    base = [spent[0] for spent in found["stylize, all cores"]]
    rows = []
    for name, rounds in found.items():
        seconds, painting, others = zip(*rounds, strict=True)
        row = {"": name, "s/photo": statistics.median(seconds), "of processors, painting": statistics.median(painting)}
        row |= {"other processes": statistics.median(others)}
        ratios = [time / one for time, one in zip(seconds, base, strict=True)]
        rows.append(row | {"over stylize, same round": statistics.median(ratios)})
    return rows


def busy(pid):
    """Seconds of processors that a process has taken."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0


def resident(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    return 0


def processes(driver):
    """A process and those that it started, by what they are."""
    found = {"driver": [driver], "workers": [], "ray": []}
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    parents = {int(row[0]): (int(row[1]), row[2]) for row in (line.split(None, 2) for line in listed.splitlines()[1:])}
    for pid, (_, name) in parents.items():
        above, line = pid, []
        while above in parents and above != driver:
            line.append(above)
            above = parents[above][0]
        if above == driver and line:
            found["workers" if "MapWorker" in name else "ray"].append(pid)
    return found


def memory(arguments):
    from wct_jax.bulk.kit import Kit
    from wct_jax.bulk.repainting import stylize_bulk
    from wct_jax.painting.options import Options
    from wct_jax.studio.request import Look

    samples, done, ended = [], [0], threading.Event()

    def sample():
        import ray._private.internal_api as internal

        while not ended.wait(2):
            with contextlib.suppress(Exception):  # Before Ray has started and after its end.
                stats = internal.get_memory_info_reply(internal.get_state_from_address(None)).store_stats
                found = {name: sum(map(resident, pids)) for name, pids in processes(os.getpid()).items()}
                samples.append({"done": done[0], "store": stats.object_store_bytes_used / 2**20} | found)

    with tempfile.TemporaryDirectory() as folder:
        photos = draw(Path(folder, "photos"), arguments.many, 96)
        kit = Kit.packed("compact", [Look((_STYLE,))], Options())

        def progress(name, number, total):
            done[0] = number

        thread = threading.Thread(target=sample)
        thread.start()
        report = stylize_bulk(str(photos), str(Path(folder, "out")), kit, address="local", progress=progress)
        ended.set()
        thread.join()
    print(f"{report.done} done, {len(report.failed)} failed, {report.done / report.seconds:.1f} photos/s")
    rows = []
    for part in (0.1, 0.5, 1):
        some = [each for each in samples if (part - 0.1) * arguments.many <= each["done"] <= part * arguments.many]
        row = {"photos done, up to": int(part * arguments.many)}
        rows.append(row | {f"{name}, MB": max(each[name] for each in some) for name in samples[0] if name != "done"})
    return rows


def parts(arguments):
    os.environ["PJRT_NPROC"] = os.environ["OMP_NUM_THREADS"] = "1"
    from wct_jax.bulk.address import place_of
    from wct_jax.pictures.images import read_picture
    from wct_jax.studio.session import Session

    session = Session("compact", keep_compiled=True)
    times = {name: [] for name in ("read", "decode", "paint", "encode PNG", "encode JPEG", "write folder", "write S3")}

    def timed(name, call):
        began = time.perf_counter()
        result = call()
        times[name].append(1000 * (time.perf_counter() - began))
        return result

    with tempfile.TemporaryDirectory() as folder, bucket() as address:
        photos, out, store = draw(Path(folder), arguments.photos, arguments.side), place_of(folder), place_of(address)
        names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg"))
        for name in names:
            data = timed("read", functools.partial(out.read, name))
            picture = timed("decode", functools.partial(read_picture, io.BytesIO(data)))
            painted = timed("paint", functools.partial(session.paint, picture, _STYLE))
            painted = dataclasses.replace(painted, pixels=np.asarray(painted.pixels))
            encoded = timed("encode PNG", functools.partial(_encoded, painted, ".png"))
            timed("encode JPEG", functools.partial(_encoded, painted, ".jpg"))
            timed("write folder", functools.partial(out.write, f"{name}.png", encoded))
            timed("write S3", functools.partial(store.write, name, encoded))
    row = {"pixels": f"{arguments.side} x {arguments.side * 3 // 4}"}
    return [row | {f"{name}, ms": statistics.median(values[3:]) for name, values in times.items()} | idle()]


def _encoded(picture, suffix):
    from wct_jax.pictures.output import write_picture

    file = io.BytesIO()
    write_picture(file, picture, suffix)
    return file.getvalue()


def idle():
    """Milliseconds of the driver for a block and for a row, when the workers do nothing."""
    import pyarrow

    from wct_jax.bulk.cluster import cluster

    with cluster("local", 0) as ray:

        def nothing(batch):
            return batch

        def run(blocks, rows):
            table = pyarrow.table({"source": ["a" * 80] * rows, "target": ["a" * 120] * rows, "row": list(range(rows))})
            began = time.process_time()
            data = ray.data.from_arrow([table] * blocks).map_batches(
                nothing, batch_size=None, compute=ray.data.TaskPoolStrategy(2)
            )
            for batch in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                batch.to_pylist()
            return 1000 * (time.process_time() - began)

        run(10, 1)
        few, many, long = run(50, 1), run(550, 1), run(50, 1001)
    return {"driver, a block, ms": (many - few) / 500, "a row, ms": (long - few) / 50_000}


@contextlib.contextmanager
def bucket():
    """The address of an empty bucket of a server on this machine."""
    import boto3

    named = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(named)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    null = subprocess.DEVNULL
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=null, stderr=null)
    try:
        while server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}").create_bucket(Bucket="box")
        yield f"s3://box?endpoint_override=http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    whats = {"rates": rates, "memory": memory, "parts": parts}
    parser.add_argument("what", nargs="*", choices=[*whats, []], default=list(whats))
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--many", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(machine(), flush=True)
    for what in arguments.what:
        print_table(whats[what](arguments))


if __name__ == "__main__":
    main()
