"""Batches for training: a source of encoded photos becomes endless uint8 crops, in threads."""

import functools
import io
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import grain
import numpy as np
from PIL import Image

from wct_jax.images import PICTURE_SUFFIXES, PathLike, load_image, open_image, read_image
from wct_jax.pixels import show_hidden, to_srgb, upright


class Source(Protocol):
    """What `batches` reads: encoded photos by their number."""

    def __len__(self) -> int:
        """How many photos there are."""

    def __getitem__(self, index: int) -> tuple[str, bytes]:
        """The name and the encoded bytes of a photo."""


class Folder:
    """The photos under a folder and its subfolders, by their suffix, sorted by path.

    Hidden files and folders, and links to folders, are passed over. Each photo's header is read once, at the start.

    Attributes:
        paths: The photos.
        unreadable: A sentence on each file that has a photo's suffix and cannot be opened; these are left out.
    """

    def __init__(self, root: PathLike) -> None:
        """Find the photos.

        Args:
            root: The folder.

        Raises:
            ValueError: It is missing, no folder, or holds no photo that can be read.
        """
        if not os.path.isdir(root):
            wrong = "it is not a folder" if os.path.exists(root) else "there is no such folder"
            raise ValueError(f"cannot read the photos in {root}: {wrong}")
        _silence_pillow()
        failures: list[OSError] = []
        found, others = [], 0
        for folder, subfolders, files in os.walk(root, onerror=failures.append):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            for name in files:
                if name.lower().endswith(PICTURE_SUFFIXES) and not name.startswith("."):
                    found.append(Path(folder, name))
                else:
                    others += 1
        found.sort(key=lambda path: path.parts)
        with ThreadPoolExecutor(8) as threads:
            complaints = list(threads.map(_complaint, found))
        self.paths = [path for path, complaint in zip(found, complaints, strict=True) if complaint is None]
        self.unreadable = [f"cannot read {failure.filename}: {failure.strerror}" for failure in failures]
        self.unreadable += [complaint for complaint in complaints if complaint is not None]
        if not self.paths and self.unreadable:
            raise ValueError(f"no photo in {root} can be read, {len(self.unreadable)} cannot: {self.unreadable[0]}")
        if not self.paths:
            raise ValueError(
                f"there is no photo in {root}: of {others} files in it none is named as one "
                f"({', '.join(PICTURE_SUFFIXES)})"
            )

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
    *,
    batch_size: int,
    crop: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
) -> grain.DatasetIterator:
    """Shuffled random crops of a source's photos, without end.

    A crop is a square, mirrored half of the time, at a uniform place in the photo. Its side is log-uniform between
    `crop` and the photo's shorter side, so that every scale from the photo's own pixels to the whole view is as
    frequent as another, however large the photo; it is then resized to `crop`. A photo smaller than that is enlarged.

    Crops depend on the seed and on their number in the stream alone. The photos are shuffled anew in each epoch,
    then cropped, and only then dealt to the processes in turn: together they have the crops of a single process.
    The iterator's state, `{"next_index": n}`, counts batches, and holds for any number of threads.

    Args:
        source: The photos.
        batch_size: Crops in a batch, over all processes.
        crop: The side of a crop.
        seed: From 0 to 2**32 - 1.
        process_index: Which process this is.
        process_count: How many processes share a batch.
        threads: How many batches are made at the same time.

    Returns:
        An iterator of uint8 `[batch_size / process_count, crop, crop, 3]` in 0..255, with `get_state` and
        `set_state`. It raises a ValueError with the photo's name where one turns out to be damaged or gone.

    Raises:
        ValueError: The processes cannot share a batch evenly.
    """
    if batch_size % process_count:
        raise ValueError(f"a batch of {batch_size} cannot be shared evenly by {process_count} processes")
    _silence_pillow()
    photos = grain.MapDataset.source(source).seed(seed).shuffle().repeat()
    crops = photos.random_map(functools.partial(_crop, size=crop))
    # There is no remainder to drop, but without this Grain would round the endless length up, past what an index holds.
    own = crops[process_index::process_count].batch(batch_size // process_count, drop_remainder=True)
    # Grain would keep 500 batches; what is started is also finished when the program ends.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    return iter(own.to_iter_dataset(options))


def centre_crops(folder: Folder, side: int) -> Iterator[tuple[Path, np.ndarray]]:
    """The middle of each photo, for validation.

    Args:
        folder: The photos.
        side: The most rows and columns to keep; a smaller photo stays whole.

    Yields:
        The photo's path, and sRGB colours, float32 `[H, W, 3]` in 0..1, with H and W at most `side`.

    Raises:
        ValueError: A photo is damaged or gone.
    """
    for path in folder.paths:
        pixels = read_image(path)
        top, left = (max(0, length - side) // 2 for length in pixels.shape[:2])
        yield path, pixels[top : top + side, left : left + side]


def _silence_pillow() -> None:
    # It warns of large pictures and of sloppy EXIF. Filters belong to the process: set and reset by each of several
    # threads they would come back in the wrong order.
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _complaint(path: Path) -> str | None:
    """Why a photo cannot be opened, or None if it can."""
    try:
        with open(path, "rb") as file:
            open_image(file, path)
    except OSError as error:
        return f"cannot read {path}: {error.strerror}"
    except ValueError as error:
        return str(error)
    return None


def _crop(photo: tuple[str, bytes], rng: np.random.Generator, *, size: int) -> np.ndarray:
    name, data = photo
    image = open_image(io.BytesIO(data), name)
    short = min(image.size)
    low = min(short, size)
    side = low * (short / low) ** rng.random()
    # A JPEG can be decoded at a half, a quarter or an eighth of its size for a fraction of the time.
    image.draft(None, (int(image.width * size / side), int(image.height * size / side)))
    orientation = load_image(image, name)
    if image.mode not in ("L", "RGB", "CMYK") or image.has_transparency_data:
        # What these show is known of the whole picture alone.
        pixels, alpha = to_srgb(image)
        if alpha is not None:
            show_hidden(pixels, alpha)
        image = Image.fromarray(_to_bytes(pixels))

    side = round(side * min(image.size) / short)
    left, top = (int(rng.integers(length - side + 1)) for length in image.size)
    box = (left, top, left + side, top + side)
    square = image.resize((size, size), Image.Resampling.LANCZOS, box)
    # It lies at a uniform place whichever way the picture has to be turned.
    pixels = upright(to_srgb(square)[0], orientation)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return _to_bytes(pixels)


def _to_bytes(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels * 255).astype(np.uint8)
