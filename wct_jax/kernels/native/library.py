"""The native library: found beside this file, loaded once, its functions known to XLA by their names."""

import ctypes
import functools
import hashlib
import os
import sys
from pathlib import Path

_FOLDER = Path(__file__).parent
_PATH = _FOLDER / ("libwct_jax.dylib" if sys.platform == "darwin" else "libwct_jax.so")
_TARGETS = [
    f"wct_{name}"
    for name in ("convolve", "convolve_both", "image_gradient", "kernel_gradient", "moments", "map_pixels")
]


def instructions() -> str | None:
    """Name the instructions whose native code JAX can call.

    The environment variable WCT_JAX_NATIVE chooses: 0 for none, or one of the names below; by default, the best that
    the processor has.

    Returns:
        "x86-64-v4", "x86-64-v3", "x86-64-v2" or "arm64"; None if everything is to be done by XLA.

    Raises:
        ValueError: The processor has no such instructions as WCT_JAX_NATIVE names.
    """
    return _load()[0]


def reason() -> str:
    """Say why `instructions` is None; empty if it is not."""
    return _load()[1]


def identity() -> str:
    """Tell apart the native code that executables may call: its instructions and the digest of the library."""
    chosen = instructions()
    return f"{chosen} {hashlib.sha256(_PATH.read_bytes()).hexdigest()}" if chosen else "none"


@functools.cache
def _load() -> tuple[str | None, str]:
    wanted = os.environ.get("WCT_JAX_NATIVE") or "1"
    if wanted == "0":
        return None, "WCT_JAX_NATIVE is 0"
    if not _PATH.exists():
        return None, "it was not built (no C++ compiler, or it failed: pip install -v says more)"
    try:
        library = ctypes.CDLL(str(_PATH))
        library.wct_instructions.restype = library.wct_sources.restype = ctypes.c_char_p
        library.wct_use.restype = ctypes.c_bool
        targets = {name: getattr(library, name) for name in _TARGETS}
        built_from = library.wct_sources().decode()
    except (OSError, AttributeError) as error:
        return None, f"it cannot be loaded: {error}"
    # Only a checkout has them. They may be newer than the library, and disagree with it about arguments.
    sources = sorted(path for path in _FOLDER.iterdir() if path.suffix in (".cc", ".h"))
    if sources and hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest() != built_from:
        return None, "its sources have changed since it was built: pip install it again"
    if wanted != "1" and not library.wct_use(wanted.encode()):
        raise ValueError(
            f"expected WCT_JAX_NATIVE to be 0, 1 or instructions that this processor has, such as "
            f"{library.wct_instructions().decode()}, got {wanted!r}"
        )

    import jax  # Only now, since nothing above needs it.

    try:
        # Without a backend JAX would only note the functions, and fail to start one if XLA refuses any of them.
        jax.devices("cpu")
        for name, target in targets.items():
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(target), platform="cpu", api_version=1)
    except Exception as error:  # Of types that are not public.
        return None, f"JAX does not take it: {' '.join(str(error).split())}"
    return library.wct_instructions().decode(), ""
