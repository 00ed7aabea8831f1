"""Parquet files with a column of encoded pictures, read a row group at a time."""

import contextlib
from collections.abc import Iterator
from typing import Any

from wct_jax.bulk.place import Place

SUFFIX = ".parquet"


def split(name: str) -> tuple[str, int | None]:
    """The file and the row that `FILE.parquet#ROW` names; no row for another name."""
    file, mark, row = name.rpartition("#")
    return (file, int(row)) if mark and file.lower().endswith(SUFFIX) and row.isdecimal() else (name, None)


def row_groups(place: Place, name: str, column: str) -> Iterator[range]:
    """The rows of each row group of a file.

    Raises:
        ValueError: It is no Parquet file, or lacks the column.
    """
    first = 0
    with _opened(place, name, column) as file:
        for number in range(file.metadata.num_row_groups):
            end = first + file.metadata.row_group(number).num_rows
            yield range(first, end)
            first = end


class RowGroup:
    """The pictures of the row group in which a row is."""

    def __init__(self, place: Place, name: str, row: int, column: str) -> None:
        """Read them."""
        from pyarrow import ArrowException

        self._file, self._first = (place.uri, name), 0
        with _opened(place, name, column) as file:
            for number in range(file.metadata.num_row_groups):
                count = file.metadata.row_group(number).num_rows
                if row < self._first + count:
                    break
                self._first += count
            else:
                raise ValueError(f"{place.address(name)} has {self._first} rows, and no row {row}")
            try:
                self._values = file.read_row_group(number, columns=[column]).column(column)
            except (ArrowException, OSError) as error:
                raise ValueError(f"cannot read {place.address(name)}: {' '.join(str(error).split())[:200]}") from None

    def has(self, place: Place, name: str, row: int) -> bool:
        """Whether a row is among them."""
        return self._file == (place.uri, name) and 0 <= row - self._first < len(self._values)

    def value(self, row: int) -> Any:
        """The value of a row."""
        return self._values[row - self._first].as_py()


@contextlib.contextmanager
def _opened(place: Place, name: str, column: str) -> Iterator[Any]:
    import pyarrow.parquet

    with place.open(name) as stream:
        try:
            # Without reading ahead in parallel: a worker has few cores.
            file = pyarrow.parquet.ParquetFile(stream, pre_buffer=False)
        except (pyarrow.ArrowException, OSError) as error:
            raise ValueError(f"cannot read {place.address(name)}: {' '.join(str(error).split())[:200]}") from None
        if column not in file.schema_arrow.names:
            names = ", ".join(file.schema_arrow.names)
            raise ValueError(f"{place.address(name)} has no column {column}: expected one of {names[:200]}")
        yield file
