"""Memory and cores under containers, quotas and limits, on file trees like those of Linux."""

import math
import os
import subprocess
import sys

import pytest

from wct_jax.system.machine import usable_cores, usable_memory

PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
GB = 10**9


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Write the files of a machine with 16 GB and 8 cores whose process has 1 GB: `cgroup`, mounts, and other files."""

    def make(cgroup="", mounts=(), files=(), available=12 * GB):
        monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PHYS_PAGES": 16 * GB // PAGE, "SC_PAGE_SIZE": PAGE}[name])
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
        lines = [
            f"{30 + i} 24 0:{i} {top} {at} rw,nosuid shared:{i} - {rest}" for i, (top, at, rest) in enumerate(mounts)
        ]
        everything = {
            "proc/self/cgroup": cgroup,
            "proc/self/mountinfo": "\n".join(["24 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw", *lines]) + "\n",
            "proc/self/statm": f"{2 * GB // PAGE} {GB // PAGE} 10 10 0 {GB // PAGE} 0\n",
            "proc/meminfo": f"MemTotal: {16 * GB // 1024} kB\nMemAvailable:   {available // 1024} kB\n",
            **dict(files),
        }
        for name, text in everything.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return make


def about(value):
    return pytest.approx(value, abs=2 * PAGE + 2048)


V1 = ("/sys/fs/cgroup/memory", "cgroup cgroup rw,memory")
V2 = ("/sys/fs/cgroup", "cgroup2 cgroup rw,nsdelegate")


def test_a_machine_without_limits(machine):
    root = machine()
    assert usable_memory(root) == (about(16 * GB), about(13 * GB))
    assert usable_cores(root) == 8


def test_where_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sysconf", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert usable_memory(tmp_path) == (math.inf, math.inf)
    assert usable_cores(tmp_path) == os.cpu_count()


def below(folder, files):
    return {f"{folder}/{name}": text for name, text in files.items()}


@pytest.mark.parametrize(
    ("cgroup", "mount", "files"),
    [
        # A container of version 2, in a namespace of its own: its path is the root.
        ("0::/\n", ("/", *V2), {"memory.max": "3000000000\n"}),
        # Without a namespace of its own.
        ("0::/a/b\n", ("/", *V2), {"a/b/memory.max": "3000000000\n"}),
        # The limit of a group above, which is the least.
        ("0::/a/b\n", ("/", *V2), {"a/memory.max": "3000000000", "a/b/memory.max": "5000000000"}),
        # Throttled from there.
        ("0::/a\n", ("/", *V2), {"a/memory.high": "3000000000", "a/memory.max": "max"}),
        # Docker, version 1: the host's path, with only the part below it mounted.
        ("5:cpuset:/\n4:memory:/docker/f00\n", ("/docker/f00", *V1), {"memory/memory.limit_in_bytes": "3000000000\n"}),
        # A group that was made in the container.
        ("4:memory:/docker/f00/inner\n", ("/docker/f00", *V1), {"memory/inner/memory.limit_in_bytes": "3000000000\n"}),
        # The mount shows another part of the tree.
        ("4:cpu,memory:/../x\n", ("/y", *V1), {"memory/memory.limit_in_bytes": "3000000000\n"}),
        # Both versions at once, and a name with a blank and a colon.
        (
            "4:memory:/a b:c\n0::/\n",
            ("/", "/sys/fs/cgroup/mem\\040ory", "cgroup cgroup rw,memory"),
            {"mem ory/a b:c/memory.limit_in_bytes": "3000000000\n"},
        ),
    ],
)
def test_memory_of_a_cgroup(machine, cgroup, mount, files):
    assert usable_memory(machine(cgroup, [mount], below("sys/fs/cgroup", files))) == (3 * GB, 3 * GB)


@pytest.mark.parametrize("text", ["max", "9223372036854771712", "", "-1.5e", "\x00"])
def test_a_cgroup_without_a_limit(machine, text):
    files = {"sys/fs/cgroup/memory.max": text, "sys/fs/cgroup/memory.current": "junk"}
    assert usable_memory(machine("0::/\n", [("/", *V2)], files)).most == about(16 * GB)


@pytest.mark.parametrize(
    ("mount", "limit", "used", "cache"),
    [
        (V2, "memory.max", "memory.current", "inactive_file"),
        (V1, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_what_others_of_the_cgroup_have(machine, mount, limit, used, cache):
    # 6 GB are used: 1 GB is our own and 2 GB are a cache.
    files = {limit: f"{8 * GB}", used: f"{6 * GB}", "memory.stat": f"anon 5\n{cache} {2 * GB}\n"}
    root = machine("0::/\n4:memory:/\n", [("/", *mount)], below(mount[0].lstrip("/"), files))
    assert usable_memory(root) == (8 * GB, about(5 * GB))


def test_memory_that_others_have(machine):
    assert usable_memory(machine(available=2 * GB)) == (about(16 * GB), about(3 * GB))


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_limits_of_the_process(name):
    code = (
        "import resource; from wct_jax.system.machine import usable_memory; "
        f"resource.setrlimit(resource.{name}, (10**9, resource.RLIM_INFINITY)); print(usable_memory().most)"
    )
    most = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert 5 * 10**8 < most <= 10**9


def quota(time):
    return {"cpu/x/cpu.cfs_quota_us": time, "cpu/x/cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(
    ("cgroup", "mount", "files", "cores"),
    [
        ("0::/a\n", V2, {"a/cpu.max": "150000 100000\n"}, 2),
        ("0::/a\n", V2, {"a/cpu.max": "1000 100000\n"}, 1),
        ("0::/a\n", V2, {"a/cpu.max": "max 100000\n"}, 8),
        ("0::/a/b\n", V2, {"a/cpu.max": "300000 100000\n"}, 3),
        ("0::/a\n", V2, {"a/cpu.max": "junk\n"}, 8),
        ("3:cpu,cpuacct:/x\n", ("/sys/fs/cgroup/cpu", "cgroup cgroup rw,cpu,cpuacct"), quota("400000"), 4),
        ("3:cpu:/x\n", ("/sys/fs/cgroup/cpu", "cgroup cgroup rw,cpu"), quota("-1"), 8),
    ],
)
def test_cores(machine, cgroup, mount, files, cores):
    assert usable_cores(machine(cgroup, [("/", *mount)], below("sys/fs/cgroup", files))) == cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity to set")
def test_cores_that_the_process_is_bound_to():
    code = (
        "import os; from wct_jax.system.machine import usable_cores; "
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); print(usable_cores())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
