"""MATLAB 5 files (`.mat`): numbers, text, cells and structs; everything else is skipped.

See "MAT-File Format", https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf. SciPy reads it too, but a
damaged byte can make it crash the interpreter or fill the memory.
"""

import struct
import zlib
from collections.abc import Collection, Iterator
from itertools import islice
from math import prod
from pathlib import Path

import numpy as np

from wct_jax.convert.checkpoint import CheckpointError
from wct_jax.convert.containers.budget import Budget
from wct_jax.convert.containers.mapped import map_file

_MATRIX, _COMPRESSED = 14, 15
# Bytes at the beginning of a variable that include its name, which has at most 63 characters.
_BEGINNING = 1024
# A convolution's kernel has four. The product of millions would take forever.
_MOST_DIMENSIONS = 32
_TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
# MATLAB stores whole numbers as the smallest integers that hold them; the class gives their real type.
_NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}


def read_matlab(path: Path, names: Collection[str]) -> dict[str, object]:
    """Read those variables of a MATLAB 5 file that are in `names`; damaged files raise errors of many kinds.

    Returns:
        Name to array, string, list for a cell (column by column), dict for a struct, list of dicts for an array of
        structs, or None for anything else.
    """
    budget = Budget(path)
    content = memoryview(map_file(path))
    reader = _Reader(">" if bytes(content[126:128]) == b"MI" else "<", budget)
    found = {}
    for kind, data in reader.elements(content[128:]):
        if kind == _COMPRESSED:
            beginning = zlib.decompressobj().decompress(data[:_BEGINNING], _BEGINNING)
            if reader.name(memoryview(beginning)[8:]) not in names:
                continue
            kind, data = reader.unpacked(data, beginning)
        if kind == _MATRIX and (name := reader.name(data)) in names:
            found[name] = reader.matrix(data)
    return found


class _Reader:
    def __init__(self, byteorder: str, budget: Budget) -> None:
        self._byteorder, self._budget = byteorder, budget

    def elements(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Split data into its elements: (type, content)."""
        while data:
            self._budget.meet()
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

    def unpacked(self, data: memoryview, beginning: bytes) -> tuple[int, memoryview]:
        """Unpack a compressed element, given its unpacked beginning: (type, content)."""
        kind, length = struct.unpack(f"{self._byteorder}II", beginning[:8])
        self._budget.spend(length, "a compressed variable does not end, or")
        content = zlib.decompressobj().decompress(data, 8 + length)
        if len(content) < 8 + length:
            raise CheckpointError("it is damaged: a compressed variable does not end")
        return kind, memoryview(content)[8:]

    def name(self, data: memoryview) -> str:
        """Read the name of the array that an element holds."""
        *_, (_, name) = islice(self.elements(data), 3)
        return bytes(name).decode("latin-1")

    def matrix(self, data: memoryview) -> object:
        """Read the array that an element holds."""
        if not data:
            return np.zeros((0, 0))
        (_, flags), (_, dimensions), _, *rest = self.elements(data)
        shape = np.frombuffer(dimensions, f"{self._byteorder}i4").tolist()
        if len(shape) > _MOST_DIMENSIONS:
            raise CheckpointError(f"it is damaged: an array has {len(shape)} dimensions")
        kind = struct.unpack(f"{self._byteorder}I", flags[:4])[0] & 0xFF
        if kind == _CELL:
            return self._values(rest, prod(shape))
        if kind == _STRUCT:
            return self._structs(rest, prod(shape))
        if kind == _CHAR:
            return self._text(*rest[0])
        if kind in _NUMBERS:
            stored, content = rest[0]
            array = np.frombuffer(content, self._byteorder + _STORED[stored])
            number = np.dtype(_NUMBERS[kind])
            if number.itemsize > array.itemsize:
                self._budget.spend(array.size * number.itemsize, "an array of small numbers")
            return array.reshape(shape, order="F").astype(number, copy=False)
        return None

    def _values(self, elements: list[tuple[int, memoryview]], count: int) -> list[object]:
        if len(elements) != count or any(kind != _MATRIX for kind, _ in elements):
            raise CheckpointError(f"it is damaged: a cell or struct has {len(elements)} values, expected {count}")
        return [self.matrix(data) for _, data in elements]

    def _structs(self, elements: list[tuple[int, memoryview]], count: int) -> dict | list[dict]:
        (_, length), (_, names), *rest = elements
        width = int.from_bytes(length, "little" if self._byteorder == "<" else "big")
        fields = [bytes(names[start : start + width]).partition(b"\0")[0] for start in range(0, len(names), width)]
        if not fields:
            # Structs without fields take no bytes, so nothing else bounds a damaged count.
            count = min(count, 1)
        values = iter(self._values(rest, count * len(fields)))
        structs = [{field.decode("latin-1"): next(values) for field in fields} for _ in range(count)]
        return structs[0] if count == 1 else structs

    def _text(self, kind: int, content: memoryview) -> str:
        encoding = _TEXT[kind]
        if encoding in ("utf-16", "utf-32"):
            encoding += "-le" if self._byteorder == "<" else "-be"
        return bytes(content).decode(encoding)
