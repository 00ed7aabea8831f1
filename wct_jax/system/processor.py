"""The processor: its model, its instructions, its cores."""

import contextlib
import os
import platform
import subprocess
import sys
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# Its lines that name model and instructions, on x86, ARM, RISC-V and others. The rest changes all the time.
_TELLING = {
    *("vendor_id", "cpu family", "model", "model name", "stepping", "flags"),
    *("cpu implementer", "cpu architecture", "cpu variant", "cpu part", "features"),
    *("isa", "uarch", "cpu", "machine"),
}


def processor() -> str:
    """Describe the processor's model and instructions, as far as the system tells them.

    Not the host name: containers on one machine have different ones, and unequal machines may share one.
    """
    about = [platform.machine()]
    with contextlib.suppress(OSError, ValueError):
        first, _, _ = _CPUINFO.read_text(errors="replace").partition("\n\n")
        about += sorted(line for line in first.splitlines() if line.partition(":")[0].strip().lower() in _TELLING)
    if len(about) == 1:
        about.append(_brand() if sys.platform == "darwin" else platform.processor())
    return " ".join(" ".join(about).split())


def cores() -> int:
    """The number of cores this process may run on, among which XLA divides the work when it compiles."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _brand() -> str:
    command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return ""
