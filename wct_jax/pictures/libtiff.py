"""Silencing libtiff, which Pillow lets print on standard error."""

import contextlib
import ctypes
import functools
import re


@functools.cache
def silence_libtiff() -> None:
    """Stop libtiff from printing about damaged files; Pillow raises whatever matters."""
    # Redirecting standard error would also swallow what other threads print. On systems that do not list a process's
    # libraries here, libtiff keeps printing.
    with contextlib.suppress(OSError, AttributeError, ImportError):
        from PIL import _imaging  # noqa: F401 - loads libtiff

        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            paths = set(re.findall(r"/\S*/libtiff[-.]\S*", maps.read()))
        for path in paths:
            library = ctypes.CDLL(path)
            for setter in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
                setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
                setter(None)
