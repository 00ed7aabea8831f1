"""Batches for training: threads make endless uint8 crops of a source of encoded photos."""

import contextlib
import functools
import io
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import grain
import numpy as np
from grain.experimental import ZipMapDataset
from PIL import Image

from wct_jax.pictures.images import PathLike, load_image, open_image, read_image
from wct_jax.pictures.pixels import show_hidden, to_srgb, upright
from wct_jax.pictures.scan import scan
from wct_jax.training.progress import duration


class Source(Protocol):
    """A sequence of encoded photos, each with its name and its bytes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[str, bytes]: ...


class Folder:
    """The photos in a folder, or of a pattern, that can be decoded.

    Each photo is decoded once, at the start, so that none stops a training that has run for hours.

    Attributes:
        paths: Paths of the photos.
        skipped: Sentences on the files that are left out or passed over.
    """

    def __init__(self, root: PathLike, tell: Callable[[str], None] | None = None) -> None:
        """Find the photos and decode them.

        Args:
            root: Folder or pattern.
            tell: Function called with a sentence on how long decoding takes, if that is long.

        Raises:
            ValueError: The folder is missing, is no folder, or holds no photo that can be read.
        """
        _silence_pillow()
        found, skipped = scan(root)
        complaints: list[str | None] = []
        began, told = time.monotonic(), False
        with ThreadPoolExecutor(8) as threads:
            for complaint in threads.map(functools.partial(_complaint, large=threading.Lock()), found):
                complaints.append(complaint)
                spent = time.monotonic() - began
                if tell and not told and spent > _SOON:
                    left = duration(spent * (len(found) / len(complaints) - 1))
                    tell(f"decoding the {len(found)} photos of {root} once, to find damaged ones: {left} left")
                    told = True
        self.paths = [path for path, complaint in zip(found, complaints, strict=True) if complaint is None]
        unreadable = [complaint for complaint in complaints if complaint is not None]
        if not self.paths:
            raise ValueError(f"no photo in {root} can be read, {len(unreadable)} cannot: {unreadable[0]}")
        self.skipped = unreadable + skipped

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, bytes]:
        path = self.paths[index]
        try:
            return str(path), path.read_bytes()
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror}") from None


def batches(
    source: Source,
    styles: Source | None = None,
    *,
    batch_size: int,
    crop: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
) -> grain.DatasetIterator:
    """Shuffled random crops of a source's photos, without end, each beside a crop of a style if there are styles.

    A crop is a square at a uniform place in the photo, mirrored half of the time. Its side is log-uniform between
    `crop` and the photo's shorter side, so that every scale from the photo's own pixels to the whole view is equally
    frequent, however large the photo. It is then resized to `crop`; a smaller photo is enlarged.

    A crop depends only on the seed and on its number in the stream. The photos are shuffled anew in each epoch, then
    cropped, and only then dealt to the processes in turn, which together get the crops of a single process. The
    iterator's state, `{"next_index": n}`, counts batches, and is the same for any number of threads.

    Args:
        source: Photos to crop.
        styles: Pictures whose crops are styles, three for each crop of a photo that is one; None for photos alone.
        batch_size: Number of crops in a batch, over all processes.
        crop: Side of a crop in pixels.
        seed: Seed from 0 to 2**32 - 1.
        process_index: Index of this process.
        process_count: Number of processes that share a batch.
        threads: Number of batches made at the same time.

    Returns:
        An iterator of uint8 `[batch_size / process_count, crop, crop, 3]` in 0..255, or with styles
        `[batch_size / process_count, 2, crop, crop, 3]`, with `get_state` and `set_state`. It raises a ValueError that
        names the photo if one turns out to be damaged or gone.

    Raises:
        ValueError: The processes cannot share a batch evenly.
    """
    if batch_size % process_count:
        raise ValueError(f"a batch of {batch_size} cannot be shared evenly by {process_count} processes")
    _silence_pillow()

    def crops_of(source: Source, seed: int) -> grain.MapDataset:
        pictures = grain.MapDataset.source(source).seed(seed).shuffle().repeat()
        return pictures.random_map(functools.partial(_crop, size=crop))

    crops = crops_of(source, seed)
    if styles is not None:
        # Seeds of their own, or a photo would often take its own style.
        looks = [crops_of(styles, (seed + 1) % 2**32), crops_of(source, (seed + 2) % 2**32)]
        looks = grain.MapDataset.mix(looks, weights=_PAINTINGS_AND_PHOTOS)
        crops = ZipMapDataset([crops, looks]).map(np.stack)
    # There is no remainder to drop, but otherwise Grain rounds the endless length up, past what an index holds.
    own = crops[process_index::process_count].batch(batch_size // process_count, drop_remainder=True)
    # Grain would read 500 batches ahead, and finishes those that it has started when the program ends.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    return iter(own.to_iter_dataset(options))


_PAINTINGS_AND_PHOTOS = (3, 1)


def centre_crops(folder: Folder, side: int) -> Iterator[tuple[Path, np.ndarray]]:
    """The middle of each photo, for validation.

    Args:
        folder: Photos to crop.
        side: Largest number of rows and of columns to keep; a smaller photo stays whole.

    Yields:
        The photo's path and its sRGB colours, float32 `[H, W, 3]` in 0..1, with H and W at most `side`.

    Raises:
        ValueError: A photo is damaged or gone.
    """
    for path in folder.paths:
        pixels = read_image(path)
        top, left = (max(0, length - side) // 2 for length in pixels.shape[:2])
        yield path, pixels[top : top + side, left : left + side]


def _silence_pillow() -> None:
    # Pillow warns of large pictures and of sloppy EXIF. Filters belong to the process: if several threads set and reset
    # them, they would come back in the wrong order.
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _complaint(path: Path, large: threading.Lock) -> str | None:
    """Why a photo cannot be decoded, or None if it can; the lock `large` lets one large photo at a time through."""
    try:
        with open(path, "rb") as file:
            image = open_image(file, path)
            plain = _is_plain(image)
            bytes_ = os.fstat(file.fileno()).st_size + image.width * image.height * (4 if plain else _BYTES_A_PIXEL)
            if bytes_ > _MOST_BYTES:
                return (
                    f"{path}, {image.width} x {image.height} pixels, takes {bytes_ / 2**30:.1f} GiB to decode: "
                    f"expected at most {_MOST_BYTES / 2**30:.0f} GiB for a photo to train on"
                )
            with large if bytes_ > _LARGE else contextlib.nullcontext():
                # This reads all of a JPEG, too, at an eighth of its size.
                image.draft(None, (1, 1))
                load_image(image, path)
                to_srgb(image.crop((0, 0, 1, 1)))
    except OSError as error:
        return f"cannot read {path}: {error.strerror or error}"
    except MemoryError:
        return f"cannot read {path}: there is not enough memory for its pixels"
    except ValueError as error:
        return str(error)
    return None


_SOON = 3.0  # Seconds of decoding after which it is announced.
# A photo may take so much while it is decoded, two at a time. Pillow has four bytes for a pixel, and the colours of
# pictures with an alpha channel or more than 8 bits are computed in floats.
_MOST_BYTES = 2**31
_BYTES_A_PIXEL = 48
_LARGE = 2**27


def _is_plain(image: Image.Image) -> bool:
    """Whether a crop can be taken before the colours are converted: 8 bits, and no transparency."""
    return image.mode in ("L", "RGB", "CMYK") and not image.has_transparency_data


def _crop(photo: tuple[str, bytes], rng: np.random.Generator, *, size: int) -> np.ndarray:
    name, data = photo
    image = open_image(io.BytesIO(data), name)
    short = min(image.size)
    low = min(short, size)
    side = low * (short / low) ** rng.random()
    # A JPEG can be decoded at a half, a quarter or an eighth of its size for a fraction of the time.
    image.draft(None, (int(image.width * size / side), int(image.height * size / side)))
    orientation = load_image(image, name)
    if not _is_plain(image):
        pixels, alpha = to_srgb(image)
        if alpha is not None:
            show_hidden(pixels, alpha)
        image = Image.fromarray(_to_bytes(pixels))

    side = round(side * min(image.size) / short)
    left, top = (int(rng.integers(length - side + 1)) for length in image.size)
    box = (left, top, left + side, top + side)
    square = image.resize((size, size), Image.Resampling.LANCZOS, box)
    # Its place is uniform whichever way the picture has to be turned.
    pixels = upright(to_srgb(square)[0], orientation)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return _to_bytes(pixels)


def _to_bytes(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels * 255).astype(np.uint8)
