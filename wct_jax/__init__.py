"""Universal style transfer by whitening and coloring transforms, in JAX."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wct_jax.images import read_image, write_image
    from wct_jax.model import Decoder, Encoder, Model
    from wct_jax.pipeline import stylize
    from wct_jax.style import Style, extract_style
    from wct_jax.tiling import extract_style_tiled, stylize_tiled
    from wct_jax.transform import Moments, merge, moments, wct, whiten, whiten_color
    from wct_jax.weights import load_model, save_model

__version__ = "0.1.0"

# Resolved on first use (PEP 562): `from wct_jax import wct` loads jax alone, and `--help` not even that.
_HOMES = {
    "images": ("read_image", "write_image"),
    "model": ("Decoder", "Encoder", "Model"),
    "pipeline": ("stylize",),
    "style": ("Style", "extract_style"),
    "tiling": ("extract_style_tiled", "stylize_tiled"),
    "transform": ("Moments", "merge", "moments", "wct", "whiten", "whiten_color"),
    "weights": ("load_model", "save_model"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Decoder",
    "Encoder",
    "Model",
    "Moments",
    "Style",
    "__version__",
    "extract_style",
    "extract_style_tiled",
    "load_model",
    "merge",
    "moments",
    "read_image",
    "save_model",
    "stylize",
    "stylize_tiled",
    "wct",
    "whiten",
    "whiten_color",
    "write_image",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
