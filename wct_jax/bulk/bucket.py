"""The part of an object store below a prefix, by pyarrow."""

import collections
import contextlib
import errno
import os
import random
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import pyarrow.fs

from wct_jax.bulk.place import Entry
from wct_jax.pictures.scan import is_passed_over

_T = TypeVar("_T")
_TRIES = 6
_CHUNK = 2**23
_S3_OPTIONS = ("access_key", "secret_key", "region", "scheme", "endpoint_override")

# How the stores' libraries say what no second try mends, and how we say it.
_FINAL = (
    (r"NO_SUCH_BUCKET|NoSuchBucket|ContainerNotFound|bucket does not exist", "there is no such bucket"),
    (
        r"INVALID_ACCESS_KEY_ID|InvalidAccessKeyId|INVALID_CLIENT_TOKEN_ID|SIGNATURE_DOES_NOT_MATCH|"
        r"SignatureDoesNotMatch|UNRECOGNIZED_CLIENT|InvalidClientTokenId|AuthFailure|AuthenticationFailed|\b401\b|"
        r"invalid_grant|UNAUTHENTICATED",
        "the store refuses the credentials",
    ),
    (
        r"ACCESS_DENIED|AccessDenied|Forbidden|PERMISSION_DENIED|AuthorizationPermissionMismatch|"
        r"HTTP response code 403",
        "the store does not permit it to these credentials",
    ),
    (r"HTTP response code 404|Path does not exist|NoSuchKey|NO_SUCH_KEY", "there is no such file"),
)
_SILENT = r"[Cc]ouldn't connect|NETWORK_CONNECTION|curlCode|[Cc]onnection refused|resolve host|timed? ?out"


class Bucket:
    """A prefix of a bucket. Credentials come from the environment of the process, as the store's own tools take them.

    Sent to another process it connects there again.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        parts = urlsplit(uri)
        self._query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self._scheme, self._container = parts.scheme, parts.netloc
        self._root = PurePosixPath(parts.netloc.partition("@")[0], parts.path.lstrip("/"))
        if not parts.netloc:
            raise ValueError(f"expected a bucket, as in {parts.scheme}://BUCKET/PREFIX, got {uri}")
        self._connected: Any = None

    def __reduce__(self) -> Any:
        return Bucket, (self.uri,)

    @property
    def _system(self) -> pyarrow.fs.FileSystem:
        if self._connected is None:
            self._connected = self._sure("connect to", "", self._connect)
        return self._connected

    def _connect(self) -> pyarrow.fs.FileSystem:
        if self._scheme != "s3":
            system, path = pyarrow.fs.FileSystem.from_uri(self.uri)
            self._root = PurePosixPath(path)
            return system
        named = {name: self._query[name] for name in _S3_OPTIONS if name in self._query}
        endpoint = named.get("endpoint_override") or os.environ.get("AWS_ENDPOINT_URL")
        if endpoint:
            scheme, _, rest = endpoint.rpartition("://")
            named |= {"endpoint_override": rest.rstrip("/"), "scheme": named.get("scheme", scheme or "https")}
        elif not (named.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
            named["region"] = pyarrow.fs.resolve_s3_region(self._container)
        patience = pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=4)
        # Small files are one put; larger ones appear when their last part has come.
        return pyarrow.fs.S3FileSystem(
            retry_strategy=patience, connect_timeout=10, request_timeout=60, allow_delayed_open=True, **named
        )

    def address(self, name: str) -> str:
        home = self.uri.partition("?")[0].rstrip("/")
        return f"{home}/{name}" if name else home

    def entries(self, suffixes: Sequence[str]) -> tuple[list[Entry], list[str]]:
        found, others = [], collections.Counter[str]()
        for entry in self._sure("list", "", self._list):
            if any(map(is_passed_over, entry.name.split("/"))):
                continue
            suffix = os.path.splitext(entry.name)[1].lower()
            if suffix in suffixes:
                found.append(entry)
            elif not entry.name.endswith("/"):
                others[suffix if re.fullmatch(r"\.[a-z0-9_+-]{1,12}", suffix) else "of other names"] += 1
        if not found:
            raise ValueError(
                f"there is no picture in {self.address('')}: of {others.total()} files none is named as one"
            )
        counts = ", ".join(f"{number} {suffix}" for suffix, number in sorted(others.items()))
        skipped = [f"not named as pictures, and passed over in {self.address('')}: {counts}"] if others else []
        return sorted(found, key=lambda entry: entry.name.split("/")), skipped

    def names(self) -> set[str]:
        return {entry.name for entry in self._sure("list", "", lambda: self._list(missing=True))}

    def _list(self, missing: bool = False) -> list[Entry]:
        system, root = self._system, str(self._root)
        selector = pyarrow.fs.FileSelector(root, recursive=True, allow_not_found=missing)
        return [
            Entry(info.path[len(root) + 1 :], info.size or 0, info.mtime_ns or 0)
            for info in system.get_file_info(selector)
            if info.type == pyarrow.fs.FileType.File
        ]

    def read(self, name: str, most: int | None = None) -> bytes:
        def read() -> bytes:
            with self._system.open_input_file(self._path(name)) as file:
                return bytes(file.read(most))

        return self._sure("read", name, read)

    def open(self, name: str) -> Any:
        return self._sure("read", name, lambda: self._system.open_input_file(self._path(name)))

    def has(self, name: str) -> bool:
        info = self._sure("read", name, lambda: self._system.get_file_info(self._path(name)))
        return bool(info.type == pyarrow.fs.FileType.File)

    def write(self, name: str, content: bytes) -> None:
        def write() -> None:
            with self._system.open_output_stream(self._path(name)) as stream:
                stream.write(content)

        self._sure("write", name, write)

    def fetch(self, name: str, path: Path) -> None:
        def fetch() -> None:
            with self._system.open_input_file(self._path(name)) as file, open(path, "wb") as copy:
                while chunk := file.read(_CHUNK):
                    copy.write(chunk)

        self._sure("read", name, fetch)

    def send(self, path: Path, name: str) -> None:
        def send() -> None:
            # The file is mapped, so that the one write that makes it whole takes no memory.
            with pyarrow.memory_map(str(path)) as file, self._system.open_output_stream(self._path(name)) as stream:
                stream.write(file.read_buffer())

        self._sure("write", name, send)

    def alone(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()  # Two runs at once write the same files, each whole.

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _sure(self, verb: str, name: str, call: Callable[[], _T]) -> _T:
        """Call, again after a while where the store is busy or silent, and say in one sentence why that did not do."""
        for number in range(1, _TRIES + 1):
            try:
                return call()
            except (OSError, pyarrow.ArrowException) as error:
                final = error.errno in (errno.ENOENT, errno.ENOSPC) if isinstance(error, OSError) else True
                reason = next((said for pattern, said in _FINAL if re.search(pattern, str(error))), "")
                if final or reason or number == _TRIES:
                    raise ValueError(f"cannot {verb} {self.address(name)}: {reason or _short(error)}") from None
            # Each worker waits for a time of its own, so that they do not all come back at once.
            time.sleep(min(20, 0.25 * 2**number) * random.uniform(0.5, 1))
        raise AssertionError


def _short(error: Exception) -> str:
    if re.search(_SILENT, str(error)):
        return "the store does not answer"
    return " ".join(str(error).split())[:300] or type(error).__name__
