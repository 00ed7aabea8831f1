"""Ray: started or joined without its logs and reports, and what it has to give."""

import contextlib
import logging
import os
import re
import socket
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wct_jax.system.machine import usable_cores

# Paths and styles alone go through the object store, which else takes a third of the memory.
_STORE = 2**28


@dataclass(frozen=True)
class Workers:
    """The workers of a run.

    Attributes:
        count: How many there are.
        cores: Cores of each.
        gpus: GPUs of each, 0 or 1.
    """

    count: int
    cores: int
    gpus: int


@contextlib.contextmanager
def cluster(address: str | None, shared: int) -> Iterator[Any]:
    """Join a cluster, or start one on this machine, and leave it at the end.

    Args:
        address: Ray's address of a cluster, or `local` for a new one of this machine alone; None for `RAY_ADDRESS`, or
            `local` without it.
        shared: Bytes that all workers share.

    Yields:
        The module `ray`.

    Raises:
        ValueError: Ray is not installed, or no cluster answers.
    """
    # These are read as Ray is imported.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise ValueError(f"bulk needs the package {error.name}: pip install 'wct_jax[bulk]'") from None
    _hush()
    joined = ray.is_initialized()
    if not joined:
        _start(ray, address, shared)
    try:
        yield ray
    finally:
        if not joined:
            ray.shutdown()


def _start(ray: Any, address: str | None, shared: int) -> None:
    quiet = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    where, store = address or os.environ.get("RAY_ADDRESS") or "local", _STORE + 2 * shared
    alone = {"num_cpus": usable_cores(), "include_dashboard": False, "object_store_memory": store}
    # JAX warns of processes that are forked from its threads; it is loaded here, but has none.
    warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
    # Ray prints on standard output which tasks it tries again; it has no option for that.
    if hasattr(ray._private.worker, "print_to_stdstream"):
        ray._private.worker.print_to_stdstream = lambda *what, **how: None
    try:
        if match := re.fullmatch(r"\[?([^/]+?)\]?:(\d+)", where):
            # Ray itself would wait for ever.
            socket.create_connection((match[1], int(match[2])), timeout=20).close()
        with _silent():
            # Not "auto" by default, which joins any cluster here, and loses it when the run that started it ends.
            ray.init(where, **quiet, **(alone if where == "local" else {}))
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        verb = "start" if where == "local" else "join"
        raise ValueError(f"cannot {verb} the Ray cluster {where}: {' '.join(str(error).split())[:300]}") from None


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep Ray's native code from announcing its settings on standard error."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _hush() -> None:
    """Keep Ray's logs in its files."""
    import ray.data

    for name in ("ray", "ray.data"):
        logger = logging.getLogger(name)
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and getattr(handler, "stream", None) in (
                sys.stderr,
                sys.stdout,
                None,
            ):
                handler.setLevel(logging.CRITICAL + 1)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False


def workers_of(ray: Any, count: int | None, cores: int | None) -> Workers:
    """How many workers a cluster has room for, and what each of them takes.

    Args:
        ray: The module, after it has joined the cluster.
        count: How many are wanted; None for one per GPU or, without GPUs, one per `cores`.
        cores: Cores of each; None for 1, or with GPUs up to 4.

    Raises:
        ValueError: No node has so many cores.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    largest = max((int(node.get("CPU", 0)) for node in nodes), default=0)
    with_gpu = [int(node.get("CPU", 0)) // int(node["GPU"]) for node in nodes if node.get("GPU", 0) >= 1]
    each = cores or (max(1, min(4, *with_gpu)) if gpus else 1)
    if each > largest:
        raise ValueError(f"`cores_per_worker` must be at most {largest}, what a node of the cluster has, got {each}")
    room = gpus or sum(int(node.get("CPU", 0)) // each for node in nodes)
    return Workers(count or max(1, room), each, 1 if gpus else 0)
