"""Addresses of places."""

import functools
import os
import re

from wct_jax.bulk.folder import Folder
from wct_jax.bulk.place import Place

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")


def is_address(text: str) -> bool:
    """Whether a text has the form of an address, `scheme://...`, rather than of a path."""
    return re.match("[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def place_of(uri: str | os.PathLike[str]) -> Place:
    """The place that a path or an address stands for.

    Args:
        uri: A folder, or `s3://`, `gs://` or `abfs://` with a bucket and a prefix. pyarrow explains what may follow a
            question mark, such as `?endpoint_override=http://localhost:9000`.

    Raises:
        ValueError: The scheme is unknown, or pyarrow is not installed.
    """
    text = os.fspath(uri)
    scheme, _, rest = text.partition("://")
    if not is_address(text):
        return Folder(text)
    if scheme.lower() == "file":
        return Folder(rest)
    if scheme.lower() not in SCHEMES:
        raise ValueError(f"cannot read {text}: expected a folder or one of s3://, gs:// and abfs://, got {scheme}://")
    try:
        from wct_jax.bulk.bucket import Bucket
    except ModuleNotFoundError as error:
        raise ValueError(f"{text} needs the package {error.name}: pip install 'wct_jax[bulk]'") from None

    return Bucket(text)


def parted(address: str) -> tuple[Place, str]:
    """The place and the name that the path or address of a file stands for."""
    path, mark, query = address.partition("?") if is_address(address) else (address, "", "")
    home, _, name = path.rpartition("/")
    if not home:
        home = "/" if path.startswith("/") else "."
    return _place(f"{home}{mark}{query}"), name


_place = functools.lru_cache(64)(place_of)
