"""Universal style transfer by whitening and coloring transforms, in JAX.

Import the public names from here. The modules behind them are in rooms, each importing only from those before it:

- `checks`: what callers pass: arguments, arrays, text that is safe to print
- `system`: the machine and its files: memory, cores, whole files or none, private folders, arrays on disk
- `transform`: moments, roots of matrices, whitening and coloring, the other maps, style swap
- `pictures`: photos and masks from files to arrays and back: formats, limits, colour profiles, metadata
- `kernels`: how it is made fast: the 3x3 convolution, canvases, compilation and its cache on disk
- `networks`: encoder, decoders, painter, the model file
- `painting`: styles, regions, the cascade, the one pass, textures; in `painting.tiles`, images of any size
- `photo`: photographs in the colours of another, look-up tables
- `measures`: losses and metrics
- `baselines`: the methods of others that ours are compared with: Gatys et al., Elad and Milanfar
- `convert`: models from published weights, one module per format
- `training`: data, the loop, a run's folder, the steps that train a decoder, a painter or a student
- `studio`: jobs over many files, and what is kept from one to the next
- `evaluation`: methods compared: the judge, the run, the report and the votes
- `video`: films frame by frame, their shots, steadiness, and films written with all else that they hold
- `server`: the studio in the browser, and an HTTP API
- `bulk`: the photos of a folder or bucket, on the machines of a Ray cluster
- `cli`: the commands
"""

import functools
import importlib.util
from types import ModuleType

__version__ = "0.1.0"

# The stub has each name once, for type checkers and for here: `from HOME import NAME as NAME`. Names are resolved on
# first use (PEP 562): `from wct_jax import wct` loads jax alone, and `--help` not even that.
with open(f"{__file__}i", encoding="utf-8") as _stub:
    _HOME = {line.split()[3]: line.split()[1] for line in _stub if line.startswith("from ")}
_ROOMS = [name for name, home in _HOME.items() if home == __name__]

__all__ = sorted({*_HOME, "__version__"} - {*_ROOMS})


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, *_ROOMS]


def _member_of(room: ModuleType, name: str) -> object:
    full = f"{room.__name__}.{name}"
    if _HOME.get(name, "").startswith(f"{room.__name__}."):
        return __getattr__(name)
    if name.startswith("_") or not importlib.util.find_spec(full):
        raise AttributeError(f"module {room.__name__!r} has no attribute {name!r}")
    return importlib.import_module(full)


def _names_in(room: ModuleType) -> list[str]:
    import pkgutil  # Slower than the rest of this file.

    return [*vars(room), *(module.name for module in pkgutil.iter_modules(room.__path__))]


# Now, since a room that another import finds first would stay as it is.
for _room in (
    *_ROOMS,
    "kernels.native",
    "painting.tiles",
    "convert.containers",
    "convert.torch",
    "video.files",
    "video.live",
    "server.routes",
):
    _module = importlib.import_module(f"{__name__}.{_room}")
    # The modules in a room are imported as they are named: `wct_jax.kernels.conv`. So are its public names.
    _module.__getattr__ = functools.partial(_member_of, _module)  # type: ignore[method-assign]
    _module.__dir__ = functools.partial(_names_in, _module)  # type: ignore[method-assign]
