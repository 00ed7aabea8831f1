"""Adobe's .cube files of look-up tables: Adobe, "Cube LUT Specification", version 1.0, 2013."""

import math
import os
import re

import numpy as np

from wct_jax.checks.arguments import as_path, check_kind
from wct_jax.checks.printable import printable
from wct_jax.photo.lut import Lut
from wct_jax.system.atomic import atomic_write

SUFFIX = ".cube"
_MOST = {"LUT_1D_SIZE": 65536, "LUT_3D_SIZE": 256}
# The largest table has 256³ lines of about 30 bytes.
_MOST_BYTES = 2**30
_KEYWORDS = ("TITLE", "DOMAIN_MIN", "DOMAIN_MAX", *_MOST)


def write_lut(path: str | os.PathLike[str], lut: Lut) -> None:
    """Write a table to a .cube file, whole or not at all.

    Args:
        path: Path of the file; an existing one is replaced.
        lut: The table, with as many points along each side.

    Raises:
        ValueError: The sides differ in length, or the file cannot be written.
    """
    path, lut = as_path("path", path), check_kind("lut", lut, Lut, "fit_lut or read_lut")
    table = np.asarray(lut.table)
    if len(set(table.shape[:-1])) > 1:
        raise ValueError(f"a .cube file has as many points along each side, got {table.shape[:-1]}")
    lines = [f'TITLE "{lut.title}"'] if lut.title else []
    lines.append(f"LUT_{'1' if table.ndim == 2 else '3'}D_SIZE {len(table)}")
    for name, end in zip(("DOMAIN_MIN", "DOMAIN_MAX"), lut.domain, strict=True):
        lines.append(" ".join([name, *(f"{value:g}" for value in end)]))
    # Red changes fastest.
    rows = table.transpose(2, 1, 0, 3).reshape(-1, 3) if table.ndim == 4 else table
    lines += [f"{red:.6f} {green:.6f} {blue:.6f}" for red, green, blue in rows.tolist()]
    with atomic_write(path) as scratch:
        scratch.write_text("\n".join(lines) + "\n", encoding="ascii", errors="replace")


def read_lut(path: str | os.PathLike[str]) -> Lut:
    """Read a table of one or three dimensions from a .cube file.

    Raises:
        ValueError: There is no such file, or it is no .cube file, cut short or damaged.
    """
    path = as_path("path", path)
    try:
        if os.path.getsize(path) > _MOST_BYTES:
            raise ValueError(f"cannot read {path}: it is too large for a .cube file")
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file]
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from None
    header: dict[str, str] = {}
    first = 0
    for first, line in enumerate([*lines, "0"]):  # noqa: B007
        if re.match(r"[-+.\d]", line):
            break
        if line and not line.startswith("#"):
            name, _, value = line.partition(" ")
            if name not in _KEYWORDS or name in header:
                expected = "each keyword once" if name in header else f"keywords {', '.join(_KEYWORDS)}"
                raise ValueError(f"{path} is no .cube file: expected {expected}, got {printable(name, 40)!r}")
            header[name] = value.strip()
    sizes = [name for name in _MOST if name in header]
    if len(sizes) != 1:
        got = " and ".join(sizes) or "neither"
        raise ValueError(f"{path} is no .cube file: expected either LUT_1D_SIZE or LUT_3D_SIZE, got {got}")
    size, text = 0, header[sizes[0]]
    if re.fullmatch(r"\d{1,6}", text):
        size = int(text)
    if not 2 <= size <= _MOST[sizes[0]]:
        raise ValueError(f"{path} has {sizes[0]} {printable(text, 40)}, expected 2 to {_MOST[sizes[0]]}")
    low, high = (
        _triple(path, name, header.get(name, f"{end} {end} {end}"))
        for end, name in enumerate(("DOMAIN_MIN", "DOMAIN_MAX"))
    )
    if not all(a < b for a, b in zip(low, high, strict=True)):
        raise ValueError(f"{path} has a domain from {low} to {high}, expected the second to be larger")
    rows = [line for line in lines[first:] if line and not line.startswith("#")]
    shape = (size,) if sizes[0] == "LUT_1D_SIZE" else (size,) * 3
    if len(rows) != math.prod(shape):
        raise ValueError(f"{path} is cut short or damaged: expected {math.prod(shape)} colours, got {len(rows)}")
    table = np.asarray([_triple(path, "a colour", row) for row in rows], np.float32).reshape(*shape[::-1], 3)
    title = header.get("TITLE", "").strip('"')
    return Lut(table if len(shape) == 1 else table.transpose(2, 1, 0, 3).copy(), (low, high), title)


def _triple(path: str | os.PathLike[str], name: str, text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = map(float, text.split())
        if not all(map(math.isfinite, (red, green, blue))):
            raise ValueError
    except ValueError:
        raise ValueError(f"{path} has {name} {printable(text, 60)!r}, expected three numbers") from None
    return red, green, blue
