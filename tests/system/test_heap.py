import platform
import subprocess
import sys

import pytest

from wct_jax.system.heap import trim_heap

ARENAS = """
import threading
from wct_jax.system.heap import share_heap

share_heap()
wait = threading.Barrier(9)
threads = [threading.Thread(target=lambda: (bytearray(100_000), wait.wait(), wait.wait())) for _ in range(8)]
for thread in threads:
    thread.start()
wait.wait()
import ctypes
ctypes.CDLL(None).malloc_stats()
wait.wait()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no arenas")
def test_threads_share_two_heaps():
    done = subprocess.run([sys.executable, "-c", ARENAS], check=True, capture_output=True, text=True)
    assert 1 <= done.stderr.count("Arena ") <= 2


def test_trimming_is_harmless():
    trim_heap()
