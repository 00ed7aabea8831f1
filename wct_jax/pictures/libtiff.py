"""The part of libtiff that Pillow leaves as it is: printing on standard error."""

import contextlib
import ctypes
import functools
import re


@functools.cache
def silence_libtiff() -> None:
    """Have libtiff print nothing about damaged files; Pillow raises what matters of it."""
    # Redirecting standard error instead would lose what others print there meanwhile. Where the system has no such list
    # of a process's libraries, libtiff goes on printing.
    with contextlib.suppress(OSError, AttributeError, ImportError):
        from PIL import _imaging  # noqa: F401 - loads libtiff

        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            paths = set(re.findall(r"/\S*/libtiff[-.]\S*", maps.read()))
        for path in paths:
            library = ctypes.CDLL(path)
            for setter in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
                setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
                setter(None)
