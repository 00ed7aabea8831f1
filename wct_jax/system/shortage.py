"""Lack of memory, as the errors of all libraries report it."""

import errno
import re

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
