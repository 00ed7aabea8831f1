"""Universal style transfer by whitening and coloring transforms, in JAX."""

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wct_jax.color import preserve_color
    from wct_jax.images import read_image, write_image
    from wct_jax.maps import adain, cholesky, optimal_transport
    from wct_jax.mask import read_mask
    from wct_jax.model import Decoder, Encoder, Model
    from wct_jax.options import Options
    from wct_jax.pipeline import stylize
    from wct_jax.session import Session
    from wct_jax.style import Style, extract_style, mix_styles, white_style
    from wct_jax.style_file import load_style, save_style
    from wct_jax.swap import style_swap
    from wct_jax.texture import synthesize
    from wct_jax.tiling import extract_style_tiled, stylize_tiled
    from wct_jax.transform import Moments, merge, moments, wct, whiten, whiten_color
    from wct_jax.weights import load_model, save_model

__version__ = "0.1.0"

# Resolved on first use (PEP 562): `from wct_jax import wct` loads jax alone, and `--help` not even that.
_HOMES = {
    "color": ("preserve_color",),
    "images": ("read_image", "write_image"),
    "maps": ("adain", "cholesky", "optimal_transport"),
    "mask": ("read_mask",),
    "model": ("Decoder", "Encoder", "Model"),
    "options": ("Options",),
    "pipeline": ("stylize",),
    "session": ("Session",),
    "style": ("Style", "extract_style", "mix_styles", "white_style"),
    "style_file": ("load_style", "save_style"),
    "swap": ("style_swap",),
    "texture": ("synthesize",),
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
    "Options",
    "Session",
    "Style",
    "__version__",
    "adain",
    "cholesky",
    "extract_style",
    "extract_style_tiled",
    "load_model",
    "load_style",
    "merge",
    "mix_styles",
    "moments",
    "optimal_transport",
    "preserve_color",
    "read_image",
    "read_mask",
    "save_model",
    "save_style",
    "style_swap",
    "stylize",
    "stylize_tiled",
    "synthesize",
    "wct",
    "white_style",
    "whiten",
    "whiten_color",
    "write_image",
]


# Modules that have more to offer than these.
_MODULES = ("canvas", "conv", *_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    # `wct_jax.conv` and the other modules, without importing them first.
    if not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_MODULES]
