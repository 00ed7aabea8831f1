"""MATLAB 5 files (`.mat`): numbers, text, cells and structs; everything else is stepped over.

The format is that of "MAT-File Format",
https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf. SciPy reads it too, but a damaged byte can make
it crash the interpreter or fill the memory.
"""

import struct
import zlib
from collections.abc import Collection, Iterator
from math import prod
from pathlib import Path

import numpy as np

from wct_jax.convert.checkpoint import CheckpointError

_MATRIX, _COMPRESSED = 14, 15
_TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
# MATLAB stores whole-numbered values as the smallest integers that hold them; the class is what they are.
_NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}


def read_matlab(path: Path, names: Collection[str]) -> dict[str, object]:
    """Read variables of a MATLAB 5 file.

    Args:
        path: The file.
        names: The variables to read; the others are stepped over.

    Returns:
        Those of them that are there: arrays, strings, lists for cells (column by column), dicts for structs and
        lists of dicts for arrays of structs, None for what is none of these.

    Raises:
        CheckpointError: The file is damaged. Damaged files raise other errors too.
    """
    content = path.read_bytes()
    reader = _Reader(">" if content[126:128] == b"MI" else "<")
    found = {}
    for kind, data in reader.elements(memoryview(content)[128:]):
        if kind == _COMPRESSED:
            # Weights hardly can be compressed: more than this would be made to fill the memory.
            stream = zlib.decompressobj()
            data = memoryview(stream.decompress(data, 16 * len(content)))
            if not stream.eof:
                raise CheckpointError("it is damaged: a compressed variable does not end")
            kind, data = next(reader.elements(data))
        if kind == _MATRIX:
            name, value = reader.matrix(data, names)
            if name in names:
                found[name] = value
    return found


class _Reader:
    def __init__(self, byteorder: str) -> None:
        self._byteorder = byteorder

    def elements(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Split data into its elements: (type, content)."""
        while data:
            kind, length = struct.unpack(f"{self._byteorder}II", data[:8])
            start, end = 8, 8 + length
            padded = end if kind == _COMPRESSED else end + -end % 8
            if kind >> 16:
                # A short element has its length in the upper half of the first word, and the content in the second.
                kind, length = kind & 0xFFFF, kind >> 16
                start, end, padded = 4, 4 + length, 8
            if end > len(data) or end > padded:
                raise CheckpointError("it is cut short or damaged: an element is longer than what holds it")
            yield kind, data[start:end]
            data = data[padded:]

    def matrix(self, data: memoryview, names: Collection[str] | None = None) -> tuple[str, object]:
        """Read the array that is the content of an element: (name, value), no value if the name is not in `names`."""
        if not data:
            return "", np.zeros((0, 0))
        (_, flags), (_, dimensions), (_, name), *rest = self.elements(data)
        shape = np.frombuffer(dimensions, f"{self._byteorder}i4").tolist()
        title = bytes(name).decode("latin-1")
        if names is not None and title not in names:
            return title, None
        kind = struct.unpack(f"{self._byteorder}I", flags[:4])[0] & 0xFF
        if kind == _CELL:
            return title, self._values(rest, prod(shape))
        if kind == _STRUCT:
            return title, self._structs(rest, prod(shape))
        if kind == _CHAR:
            return title, self._text(*rest[0])
        if kind in _NUMBERS:
            stored, content = rest[0]
            array = np.frombuffer(content, self._byteorder + _STORED[stored])
            return title, array.reshape(shape, order="F").astype(_NUMBERS[kind], copy=False)
        return title, None

    def _values(self, elements: list[tuple[int, memoryview]], count: int) -> list[object]:
        if len(elements) != count or any(kind != _MATRIX for kind, _ in elements):
            raise CheckpointError(f"it is damaged: a cell or struct has {len(elements)} values, expected {count}")
        return [self.matrix(data)[1] for _, data in elements]

    def _structs(self, elements: list[tuple[int, memoryview]], count: int) -> dict | list[dict]:
        (_, length), (_, names), *rest = elements
        width = int.from_bytes(length, "little" if self._byteorder == "<" else "big")
        fields = [bytes(names[start : start + width]).partition(b"\0")[0] for start in range(0, len(names), width)]
        if not fields:
            # Structs without fields take no bytes, so that a damaged count of them would be believed.
            count = min(count, 1)
        values = iter(self._values(rest, count * len(fields)))
        structs = [{field.decode("latin-1"): next(values) for field in fields} for _ in range(count)]
        return structs[0] if count == 1 else structs

    def _text(self, kind: int, content: memoryview) -> str:
        encoding = _TEXT[kind]
        if encoding in ("utf-16", "utf-32"):
            encoding += "-le" if self._byteorder == "<" else "-be"
        return bytes(content).decode(encoding)
