"""A process that serves the methods of one object, so that several programs can take turns and none shares memory."""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from memory import megabytes

# No JAX and no PyTorch here: both sides import this file, and the peers' Python need not have JAX.

HERE = Path(__file__).parent
PEERS = {
    "eager": ["torch"],
    "channels_last": ["torch"],
    "compiled": ["torch"],
    "onnxruntime": ["torch", "onnx", "onnxruntime"],
    "openvino": ["torch", "openvino"],
    "openvino_bf16": ["torch", "openvino"],
}
# By default glibc returns large blocks to the kernel when they are freed, and every new tensor faults its pages in
# again: eager PyTorch then takes 1.2 to 1.7 times as long.
_KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}


class Reply(NamedTuple):
    """What a method returned, the seconds it took, and the peak memory of the process so far in MB."""

    result: Any
    seconds: float
    peak: float


class Worker:
    """`script`, which calls `serve`, run by a Python of its own and given `job` as keyword arguments.

    Calling the worker with the name of a method returns its `Reply`.
    """

    def __init__(self, script, job, python=sys.executable):
        paths = filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH")))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        if job.get("kind", "eager") != "eager":
            environment |= _KEEP_FREED_MEMORY
        command = [python, HERE / script]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._send(job)

    def __call__(self, method):
        """Call a method and wait for it."""
        self._send(method)
        try:
            return Reply(*pickle.load(self._process.stdout))
        except EOFError:
            sys.exit(f"{self._process.args[1].name} ended with status {self._process.wait()}")

    def _send(self, message):
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()

    def end(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


def serve(make):
    """Make an object of the job on standard input, and answer calls of its methods until the input ends."""
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Libraries print.
    served = make(**pickle.load(requests))
    while True:
        try:
            method = pickle.load(requests)
        except EOFError:
            return
        began = time.perf_counter()
        result = getattr(served, method)()
        pickle.dump(Reply(result, time.perf_counter() - began, megabytes("VmHWM")), replies)
        replies.flush()


def installed(peers, python):
    """The peers whose packages that Python has, and the versions of these; other peers are named on standard output."""
    code = "import importlib.metadata as m; print(*(f'{d.name} {d.version}' for d in m.distributions()), sep='\\n')"
    lines = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.splitlines()
    versions = dict(line.split() for line in lines)
    found = [peer for peer in peers if set(PEERS[peer]) <= set(versions)]
    for peer in peers:
        if peer not in found:
            print(f"{peer} is skipped; to install it: {python} -m pip install {' '.join(PEERS[peer])}")
    packages = {name: versions[name] for peer in found for name in PEERS[peer]}
    print(", ".join(f"{name} {version}" for name, version in packages.items()) or "no peers", flush=True)
    return found, packages
