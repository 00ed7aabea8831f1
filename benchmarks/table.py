"""What the figures of a benchmark are printed with."""

import importlib.metadata
import os
import platform
import time
from pathlib import Path


def print_table(rows):
    """Markdown of dictionaries with the same keys."""
    if not rows:
        return
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print(
            "| "
            + " | ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values())
            + " |"
        )
    print(flush=True)


def machine():
    """Processor, cores, versions and date."""
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(": ")[1] for line in lines if line.startswith("model name")), cpu)
    installed = {each.name: each.version for each in importlib.metadata.distributions()}
    versions = [f"{name} {installed[name]}" for name in ("jax", "torch") if name in installed]
    return f"{cpu}, {os.cpu_count()} cores, {', '.join(versions)}, {time.strftime('%Y-%m-%d')}"
