"""Memory and cores that this process may use: containers, quotas and limits leave it less than the machine has."""

import contextlib
import errno
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from wct_jax.system.processor import cores

_ROOT = Path("/")


class Memory(NamedTuple):
    """Memory in bytes that this process can have, including what it already has."""

    most: float  # in any case
    free: float  # beside the processes that run now


def usable_memory(root: Path = _ROOT) -> Memory:
    """The machine's memory as far as cgroups (versions 1 and 2) and `ulimit -v` or `-d` allow, from files at `root`."""
    page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    physical = os.sysconf("SC_PHYS_PAGES") * page if page else math.inf
    numbers = (_read(root / "proc/self/statm") or "0 0 0 0 0 0").split()
    size, own, data = (int(numbers[i]) * page for i in (0, 1, 5))
    most, free = [physical], [own + _field(root / "proc/meminfo", "MemAvailable:") * 1024]
    # Address space that is reserved but never used counts against the limit.
    most += [_limit("RLIMIT_AS") - max(0, size - own), _limit("RLIMIT_DATA") - max(0, data - own)]
    for group in _groups(root, "memory"):
        for limit, used, cache in _FILES_OF_MEMORY:
            most.append(_number(group / limit))
            others = _number(group / used) - _field(group / "memory.stat", cache, 0) - own
            if others < math.inf:
                free.append(most[-1] - max(0, others))
    return Memory(max(0, min(most)), max(0, min(*most, *free)))


def usable_cores(root: Path = _ROOT) -> int:
    """Cores that this process may keep busy: those it is bound to, or fewer if its cgroup has a quota of time."""
    quotas = [float(cores())]
    for group in _groups(root, "cpu"):
        period = _number(group / "cpu.cfs_period_us")
        quota, _, of = (_read(group / "cpu.max") or "").partition(" ")
        pairs = [(_number(group / "cpu.cfs_quota_us"), period), (_parse(quota), _parse(of))]
        quotas += [time / of for time, of in pairs if 0 < time < math.inf and 0 < of < math.inf]
    return max(1, math.ceil(min(quotas)))


# How JAX, its libraries and CUDA's report a lack of memory in a RuntimeError, Python that of a thread's stack, and the
# loader of shared libraries in an ImportError. LLVM aborts the process instead.
_OUT_OF_MEMORY = re.compile(
    r"RESOURCE_EXHAUSTED|\bout of memory\b|\bbad_alloc\b|cannot allocate memory|failed to allocate|_ALLOC_FAILED"
    r"|can't start new thread",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error reports a lack of memory, of the machine or of a device."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # Not a ValueError, whose sentence may quote any words.
    by_words = isinstance(error, RuntimeError | ImportError) and _OUT_OF_MEMORY.search(str(error))
    return isinstance(error, MemoryError) or bool(by_words)


# Limit, use, and the part of the use that is a cache of files, which the system drops when memory is needed.
_FILES_OF_MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.high", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the cgroups that this process is in, each followed by its visible parents."""
    own: dict[str, str] = {}
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, names, path = line.split(":", 2)
        own |= dict.fromkeys(names.split(","), path)
    for line in (_read(root / "proc/self/mountinfo") or "").splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        name = controller if kind == "cgroup" and controller in options.split(",") else ""
        if kind not in ("cgroup", "cgroup2") or (kind == "cgroup" and not name) or name not in own:
            continue
        top, mount = (_unescape(field) for field in fields.split(" ")[3:5])
        # In a container the path can be the host's, while only the part below `top` is mounted.
        path = os.path.relpath(own[name], top)
        inner = () if path.startswith("..") or "/.." in own[name] else Path(path).parts
        for depth in range(len(inner), -1, -1):
            yield root.joinpath(mount.lstrip("/"), *inner[:depth])


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _limit(name: str) -> float:
    with contextlib.suppress(ImportError):  # Windows has none.
        import resource

        soft, _ = resource.getrlimit(getattr(resource, name))
        return math.inf if soft == resource.RLIM_INFINITY else soft
    return math.inf


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def _number(path: Path) -> float:
    return _parse(_read(path) or "")


def _parse(text: str) -> float:
    return float(text) if re.fullmatch(r"-?[0-9]+", text) else math.inf


def _field(path: Path, name: str, default: float = math.inf) -> float:
    match = re.search(rf"^{name}\s+([0-9]+)", _read(path) or "", re.MULTILINE)
    return float(match[1]) if match else default
