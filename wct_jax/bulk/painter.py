"""The worker of a collection: a session that paints the photos of a batch and never raises for one of them."""

import contextlib
import dataclasses
import io
import os
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from wct_jax.bulk.address import parted, place_of
from wct_jax.bulk.attempts import MOST, Counting
from wct_jax.bulk.kit import Kit
from wct_jax.bulk.photos import Photo, Photos
from wct_jax.bulk.place import Place
from wct_jax.painting.options import Options
from wct_jax.pictures.output import write_picture
from wct_jax.studio.limits import Limits
from wct_jax.studio.request import Look
from wct_jax.studio.session import Session
from wct_jax.system.machine import usable_cores, usable_memory
from wct_jax.system.scratch import scratch_folder
from wct_jax.system.shortage import is_out_of_memory

DONE, FAILED = "done", "failed"


class Painter:
    """Paints batches of photos; a class for `map_batches` of Ray Data, or a function without Ray.

    Each row names a photo as `source`, a path or an address such as `s3://bucket/a.jpg`, or has its encoded bytes as
    `image`. The result is written where the row's `target` says, or without one returned as `painted`, encoded. A photo
    that cannot be painted gets the status "failed" and a sentence; nothing is raised. The batch's other columns stay.

    >>> ds.map_batches(  # doctest: +SKIP
    ...     wct_jax.bulk.Painter,
    ...     fn_constructor_kwargs={"style": "waves.jpg", "options": Options(preserve_color="luminance")},
    ...     batch_size=16,
    ...     num_gpus=1,
    ...     compute=ray.data.ActorPoolStrategy(size=8),
    ... )
    """

    def __init__(
        self,
        style: Any = None,
        options: Options = Options(),
        *,
        model: str | os.PathLike[str] = "compact",
        limits: Limits = Limits(),
        suffix: str = ".png",
        source: str | os.PathLike[str] | None = None,
        target: str | os.PathLike[str] | None = None,
        image_column: str = "image",
        cores: int | None = None,
        attempts: Counting | None = None,
    ) -> None:
        """Load the model.

        Args:
            style: The path of a picture or of a style file, a `Look`, or a sequence of these, among which a row's
                `look` chooses by number. Or a `Kit`, or Ray's reference to one, which has the next four, too.
            options: Options of the painting.
            model: The name or path of a model.
            limits: The most that this worker may take. Without `memory`, and on processors, that is its part of the
                machine's, by its cores.
            suffix: The suffix of the results, which says their format.
            source: Place in which the rows' `source` are; None for whole paths and addresses.
            target: Place in which the rows' `target` are; None for whole paths and addresses.
            image_column: The column of encoded pictures in Parquet files among the photos.
            cores: Cores to compute with; None for all. It has no effect once JAX has computed in this process.
            attempts: Counts what other workers did not get over.

        Raises:
            ValueError: The model or a style cannot be read, or they contradict the options.
        """
        if cores:
            # XLA's pool of threads, and that of NumPy's libraries where Ray has not set it.
            os.environ["PJRT_NPROC"] = str(cores)
            os.environ.setdefault("OMP_NUM_THREADS", str(cores))
        kit = _kit(style, options, model=model, limits=limits, suffix=suffix)
        scratch = contextlib.ExitStack()
        folder = scratch.enter_context(scratch_folder())
        weakref.finalize(self, scratch.close)
        name, self.kit = kit.model, kit.unpack(folder)
        limits = _share(kit.limits, cores)
        self.session = Session(self.kit.model, limits, folder=folder, keep_compiled=True)
        self.session.model_name = name  # As the command line has it, which is written into results.
        self._requests = self.kit.requests()
        self._photos = Photos(source, image_column)
        self._target = None if target is None else place_of(target)
        self._attempts = attempts
        # One reads or writes while another paints; they take the memory of so many photos.
        self._threads = 1 + min(7, cores or usable_cores())

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Paint the photos of a batch.

        Args:
            batch: Columns of equal length: `source` or `image`, and if wanted `target`, `look` and any others.

        Returns:
            The columns without `image`, and `status`, `error`, `width`, `height` and `seconds`; without `target` also
            `painted`.
        """
        columns = {name: list(values) for name, values in batch.items()}
        photos = [Photo.of(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]
        order = self._photos.ordered(photos, self.kit.options.content_size)
        begun = self._attempts("begin_block", photos[0].row) if self._attempts and photos else None
        if begun:
            made = {index: self._carefully(photos[index]) for index in order}
        else:
            if begun == 0:  # Nobody can have made their results, so there is no need to ask the store for each.
                photos = [dataclasses.replace(photo, once=False) for photo in photos]
            with ThreadPoolExecutor(self._threads) as pool:
                made = dict(zip(order, pool.map(self._paint, [photos[index] for index in order]), strict=True))
        columns.pop("image", None)
        names = ["status", "error", "width", "height", "seconds", *([] if "target" in columns else ["painted"])]
        found = {name: [made[index][name] for index in range(len(photos))] for name in names}
        return {name: _column(values) for name, values in {**columns, **found}.items()}

    def _carefully(self, photo: Photo) -> dict[str, Any]:
        """Paint one photo of a batch that ended another worker, unless it is this photo that ends them."""
        assert self._attempts
        ended = self._attempts("begin_row", photo.row)
        if ended >= MOST:
            reason = "the process that works on it ends each time, by a fault of a decoder or for lack of memory"
            return _row(FAILED, f"cannot paint {self._photos.address(photo)}: {reason}")
        result = self._paint(photo)
        self._attempts("end_row", photo.row)
        return result

    def _paint(self, photo: Photo) -> dict[str, Any]:
        began = time.perf_counter()
        try:
            row = self._painted(photo)
        except ValueError as error:
            row = _row(FAILED, str(error))
        except Exception as error:
            name = self._photos.address(photo)
            if is_out_of_memory(error):
                row = _row(FAILED, f"there is not enough memory for {name}: expected a `content_size`, such as 512")
            else:  # Whatever else decoders and drivers raise is this photo's failure, not the others'.
                row = _row(FAILED, f"cannot paint {name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return row | {"seconds": time.perf_counter() - began}

    def _destination(self, photo: Photo) -> tuple[Place | None, str]:
        if photo.target is None:
            return None, ""
        return (self._target, photo.target) if self._target else parted(photo.target)

    def _painted(self, photo: Photo) -> dict[str, Any]:
        place, name = self._destination(photo)
        # A worker that ended before it could tell may have made it.
        if place and photo.once and place.has(name):
            return _row(DONE)
        request = self._requests[photo.look]
        if photo.is_film:
            from wct_jax.bulk.film import repaint_film

            assert place
            width, height = repaint_film(self.session, self._photos, photo, request, place, name)
            return _row(DONE, width=width, height=height)
        with contextlib.closing(self._photos.read(photo)) as file:
            picture = self.session.serve(dataclasses.replace(request, photo=file))
        if not self.kit.settings:
            picture = dataclasses.replace(picture, metadata=dataclasses.replace(picture.metadata, settings=""))
        encoded = io.BytesIO()
        write_picture(encoded, picture, self.kit.suffix)
        height, width = picture.pixels.shape[:2]
        row = _row(DONE, width=width, height=height)
        if place is None:
            return row | {"painted": encoded.getvalue()}
        place.write(name, encoded.getvalue())
        return row


def _row(status: str, error: str = "", width: int = 0, height: int = 0) -> dict[str, Any]:
    return {"status": status, "error": error, "width": width, "height": height, "seconds": 0.0, "painted": b""}


def _column(values: list[Any]) -> np.ndarray:
    if any(isinstance(value, bytes | dict) for value in values):
        column = np.empty(len(values), object)
        column[:] = values
        return column
    return np.asarray(values)


def _kit(style: Any, options: Options, **named: Any) -> Kit:
    if type(style).__name__ == "ObjectRef":
        import ray

        style = ray.get(style)
    if isinstance(style, Kit):
        return style
    several: Sequence[Any] = style if isinstance(style, list | tuple) else [style]
    looks = [each if isinstance(each, Look) else Look(() if each is None else (Path(each),)) for each in several]
    return Kit.packed(named.pop("model"), looks, options, **named)


def _share(limits: Limits, cores: int | None) -> Limits:
    """Limits with the memory that falls to a worker of so many cores, of which half is left to the system."""
    if limits.memory or limits.tile or not cores:
        return limits
    import jax

    if jax.default_backend() != "cpu":
        return limits
    memory = int(usable_memory().most / 2 * min(1, cores / usable_cores()))
    return dataclasses.replace(limits, memory=memory)
