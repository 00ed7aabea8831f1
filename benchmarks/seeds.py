"""Small valid files of every kind that the program reads, for `fuzz.py` to damage."""

import importlib.util
from pathlib import Path

import numpy as np
from networks import random_model
from PIL import Image

from wct_jax import extract_style, load_model, save_style
from wct_jax.networks.model_file import save_model

_ROOT = Path(__file__).resolve().parents[1]


def write_seeds(kind: str, folder: Path) -> list[Path]:
    """Write small valid files of a kind into a new folder."""
    folder.mkdir()
    if kind in ("models", "styles"):
        write_model(folder / "model.safetensors")
        if kind == "models":
            return [folder / "model.safetensors"]
        picture = np.random.default_rng(0).random((20, 24, 3), np.float32)
        save_style(folder / "style.safetensors", extract_style(load_model(folder / "model.safetensors"), picture))
        return [folder / "style.safetensors"]
    if kind == "checkpoints":
        path = _ROOT / "tests" / "convert" / "conftest.py"
        spec = importlib.util.spec_from_file_location("checkpoints", path)
        assert spec is not None and spec.loader is not None  # noqa: PT018 - for the type checker
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return list(module.write_valid_files(folder).values())
    return _pictures(folder)


def write_model(path: Path) -> None:
    """Write a model of two levels and a few channels."""
    save_model(path, random_model((4, 6), ("relu1_1", "relu2_1")))


def _pictures(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (23, 31, 3), np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (23, 31)).astype(np.uint16))
    grey, palette, clear = colours.convert("L"), colours.convert("P"), colours.convert("RGBA")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a photo"
    cases = [
        *((colours, "png", {}), (palette, "png", {}), (clear, "png", {}), (deep, "png", {}), (grey, "png", {})),
        (colours, "png", {"save_all": True, "append_images": [colours] * 3}),
        *((colours, "jpg", {"exif": exif}), (grey, "jpg", {"progressive": True}), (colours.convert("CMYK"), "jpg", {})),
        *((colours, "webp", {}), (clear, "webp", {"lossless": True}), (colours, "gif", {})),
        (palette, "gif", {"save_all": True, "append_images": [grey] * 5}),
        *((colours, "tif", {}), (colours, "tif", {"compression": "tiff_lzw"}), (deep, "tif", {})),
        *((colours, "tif", {"compression": "jpeg"}), (grey, "tif", {"save_all": True, "append_images": [grey]})),
        *((colours, suffix, {}) for suffix in ("bmp", "ppm", "jp2", "tga", "avif")),
    ]
    paths = []
    for number, (image, suffix, options) in enumerate(cases):
        try:
            image.save(folder / f"{number}.{suffix}", **options)
        except (OSError, KeyError):  # This Pillow was built without the format.
            continue
        paths.append(folder / f"{number}.{suffix}")
    return paths
