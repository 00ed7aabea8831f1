"""Films: painted from and to files in a private folder, beside the pictures that others wait for."""

import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wct_jax.server.jobs import Result
from wct_jax.server.order import Order
from wct_jax.server.refusal import Refused
from wct_jax.server.uploads import Upload
from wct_jax.studio.progress import Progress

if TYPE_CHECKING:
    from wct_jax.studio.session import Session

# Containers that hold their frames themselves. FFmpeg would also read lists that name other files, or servers.
_CONTAINERS = {
    rb"....ftyp(?!avi[fs]|hei|hev|mif1|msf1)": ".mp4",
    rb"....(moov|mdat|wide|free|skip)": ".mov",
    rb"\x1aE\xdf\xa3": ".mkv",
    rb"RIFF....AVI ": ".avi",
    rb"GIF8[79]a": ".gif",
}


def suffix_of(film: Upload) -> str:
    """The suffix of a film's kind.

    Raises:
        Refused: It is of no kind that we read.
    """
    for signature, suffix in _CONTAINERS.items():
        if re.match(signature, film.data, re.DOTALL):
            return suffix
    raise Refused(415, f"{film.name} is no film that can be read: expected MP4, MOV, MKV, WebM, AVI or GIF")


def paint_film(
    order: Order,
    steady: float | None,
    flow: bool,
    folder: Path,
    pixels: int,
    session: "Session",
    progress: Progress,
    cancel: Callable[[], bool],
) -> Result:
    """Paint a film.

    Args:
        order: The order, whose content is the film.
        steady: Seconds over which the statistics are an average; None for those of each shot.
        flow: Whether the paint follows the motion.
        folder: A private folder.
        pixels: The most pixels of a frame.
        session: The session that paints.
        progress: Told the progress.
        cancel: Asked whether to stop.

    Raises:
        ValueError: It cannot be read or painted.
        Cancelled: `cancel` returned True.
    """
    from wct_jax.video.brush import Steadiness
    from wct_jax.video.files.film import open_film
    from wct_jax.video.repainting import stylize_video

    start, film = time.perf_counter(), order.content
    assert isinstance(film, Upload)
    home = Path(tempfile.mkdtemp(dir=folder))
    source, target = home / f"film{suffix_of(film)}", home / "painted.mp4"
    try:
        source.write_bytes(film.data)
        request = order.request()
        with open_film(source) as opened:
            if opened.width * opened.height > pixels:
                raise Refused(413, f"{film.name} has {opened.width} x {opened.height} pixels: expected fewer")
        stylize_video(
            session,
            source,
            target,
            request.look,
            request.options,
            steadiness=Steadiness(steady, flow),
            alpha_map=request.alpha_map,
            strength=request.strength,
            structure=request.structure,
            progress=progress,
            cancel=cancel,
        )
        source.unlink()
        with open_film(target) as opened:
            size = opened.width, opened.height
    except BaseException as error:
        shutil.rmtree(home, ignore_errors=True)
        if isinstance(error, ValueError):
            raise ValueError(str(error).replace(str(source), film.name).replace(str(target), order.name)) from None
        raise
    seconds = time.perf_counter() - start
    return Result(target, "video/mp4", *size, seconds, lambda: shutil.rmtree(home, ignore_errors=True))
