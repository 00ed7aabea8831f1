"""Printing a benchmark's figures and its machine."""

import importlib.metadata
import os
import platform
import time
from pathlib import Path


def print_table(rows):
    """Print dictionaries with the same keys as Markdown."""
    if not rows:
        return
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        cells = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()]
        print(f"| {' | '.join(cells)} |")
    print(flush=True)


def machine():
    """Processor, cores, version of JAX and date."""
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(": ")[1] for line in lines if line.startswith("model name")), cpu)
    jax = importlib.metadata.version("jax")
    return f"{cpu}, {os.cpu_count()} cores, JAX {jax}, {time.strftime('%Y-%m-%d')}"
