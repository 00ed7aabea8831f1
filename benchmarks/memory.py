"""The memory of a process, as Linux counts it."""

from pathlib import Path


def megabytes(field, process="self"):
    """A field of a process's status in MB: "VmRSS", what it has, or "VmHWM", the most that it had."""
    # Not by getrusage, whose peak begins with the memory of the parent process.
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) * 1024 / 1e6
