"""Downloading a published file, with resumption and verification."""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_TRIES = 5
_CHUNK = 1 << 18


class Asset(NamedTuple):
    """A published file: its address and the MD5 checksum, in hexadecimal, that its publisher states."""

    url: str
    md5: str


# Address and checksum from keras.applications.vgg19.
KERAS_VGG19 = Asset(
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "253f8cb515780f3b799900260a226db6",
)


def download(asset: Asset, target: Path, report: Callable[[int, int | None], None], *, pause: float = 1.0) -> None:
    """Download a file, verify it, and only then give it its name.

    The bytes received so far stay beside the target as `.part`. When a connection breaks, the download resumes there,
    up to four times in this call and again in the next one.

    Args:
        asset: The file to download.
        target: The path to store it at; its directory is created.
        report: A function called with the bytes received so far and the total, None while that is unknown.
        pause: Seconds before the first retry, doubled for each further one.

    Raises:
        ValueError: The server refuses, the connection keeps breaking, the checksum is wrong, or the disk is full.
    """
    part = target.with_name(target.name + ".part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _fetch(asset, part, report, pause)
        with part.open("rb") as file:
            md5 = hashlib.file_digest(file, "md5").hexdigest()
        if md5 != asset.md5:
            part.unlink()
            raise ValueError(
                f"{asset.url} gave a file with the checksum {md5}, expected {asset.md5}: it was removed, try again"
            )
        part.replace(target)
    except OSError as error:
        raise ValueError(f"cannot write {part}: {error.strerror or error}") from error


def _fetch(asset: Asset, part: Path, report: Callable[[int, int | None], None], pause: float) -> None:
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        try:
            if _continue(asset, part, report):
                return
            broke = "the connection closed early"
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise ValueError(f"{asset.url} answers {error.code} {error.reason}") from error
            broke = f"the server answers {error.code} {error.reason}"
        except urllib.error.URLError as error:
            broke = str(error.reason)
        except (OSError, http.client.HTTPException) as error:  # TLS, network or timeout.
            broke = str(error) or type(error).__name__
    kept = ", what has come so far is kept" if part.exists() else ""
    raise ValueError(f"{asset.url} could not be fetched ({broke}): try again{kept}")


def _continue(asset: Asset, part: Path, report: Callable[[int, int | None], None]) -> bool:
    """Resume the download; True when the server has no more to give."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(asset.url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return True  # Complete, or too long: the checksum tells.
        raise
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0  # The server does not resume: start over.
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        report(have, total)
        if not have:
            _write(part, "wb", b"")
        while chunk := response.read(_CHUNK):
            _write(part, "ab", chunk)
            have += len(chunk)
            report(have, total)
    return total is None or have >= total


def _write(part: Path, mode: str, chunk: bytes) -> None:
    # Raise a ValueError here, since an OSError would pass for a network error and be retried.
    try:
        with part.open(mode) as file:
            file.write(chunk)
    except OSError as error:
        raise ValueError(f"cannot write {part}: {error.strerror or error}") from error
