"""Films of a collection, repainted as wholes."""

from pathlib import PurePosixPath

from wct_jax.bulk.photos import Photo, Photos
from wct_jax.bulk.place import Place
from wct_jax.studio.request import Request
from wct_jax.studio.session import Session
from wct_jax.system.scratch import scratch_folder


def repaint_film(
    session: Session, photos: Photos, photo: Photo, request: Request, target: Place, name: str
) -> tuple[int, int]:
    """Repaint a film on a copy beside the worker, and send the result.

    Returns:
        The result's width and height.

    Raises:
        ValueError: It cannot be read, painted or written, or the extra `video` is not installed.
    """
    from wct_jax.video.files.film import open_film
    from wct_jax.video.repainting import stylize_video

    place, source = photos.parted(photo)
    with scratch_folder() as folder:
        copy = folder / "source" / PurePosixPath(source).name
        copy.parent.mkdir()
        result = folder / "result" / PurePosixPath(name).name
        result.parent.mkdir()
        place.fetch(source, copy)
        maps = {each: getattr(request, each) for each in ("alpha_map", "strength", "structure")}
        stylize_video(session, copy, result, request.look, request.options, **maps)
        with open_film(result) as film:
            size = film.width, film.height
        target.send(result, name)
    return size
