"""Results as answers."""

from pathlib import Path
from urllib.parse import quote

from fastapi import Response
from fastapi.responses import FileResponse

from wct_jax.server.jobs import Result


def answer(result: Result, name: str) -> Response:
    """A finished picture or film as an answer, with the name under which it is saved."""
    headers = {
        "X-WCT-Width": str(result.width),
        "X-WCT-Height": str(result.height),
        "X-WCT-Seconds": f"{result.seconds:.3f}",
        "Content-Disposition": disposition(name),
    }
    if isinstance(result.content, Path):
        return FileResponse(result.content, headers=headers, media_type=result.media)
    return Response(result.content, headers=headers, media_type=result.media)


def disposition(name: str) -> str:
    """The header that says how a file is called if it is saved."""
    ascii = "".join(sign if sign.isascii() and sign not in '"\\%' else "_" for sign in name)
    return f"inline; filename=\"{ascii}\"; filename*=UTF-8''{quote(name, safe='')}"
