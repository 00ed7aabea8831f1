"""The manifest of a target: a row for each result, in a Parquet file beside them."""

import io
import time
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wct_jax.bulk.place import Place

NAME = "manifest.parquet"
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("source", "style", "target", "status", "error", "settings")),
        *((name, pa.int32()) for name in ("width", "height")),
        ("seconds", pa.float64()),
        # When the photo that the result was made of was written, in nanoseconds since 1970.
        ("modified", pa.int64()),
    ]
)


class Manifest:
    """The rows of all runs into a target, by the result's name; written now and then, since a run may be killed."""

    def __init__(self, place: Place, note: Any) -> None:
        """Read the manifest of a target, if it has one."""
        self._place, self._next = place, 0.0
        self.rows: dict[str, dict[str, Any]] = {}
        try:
            if place.has(NAME):
                table = pq.read_table(io.BytesIO(place.read(NAME)), schema=_SCHEMA)
                self.rows = {row["target"]: row for row in table.to_pylist()}
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            note(f"{place.address(NAME)} is damaged, and made anew from the results there: {reason}")

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows, in place of older ones of the same results, and write if the last time is long enough ago."""
        self.rows |= {row["target"]: {name: row.get(name) for name in _SCHEMA.names} for row in rows}
        if time.monotonic() >= self._next:
            self.write()

    def write(self) -> None:
        """Write all rows.

        Raises:
            ValueError: They cannot be written.
        """
        began, buffer = time.monotonic(), io.BytesIO()
        pq.write_table(pa.Table.from_pylist(sorted(self.rows.values(), key=_order), schema=_SCHEMA), buffer)
        self._place.write(NAME, buffer.getvalue())
        # A long one less often: it may take a fiftieth of the time.
        self._next = time.monotonic() + max(30, 50 * (time.monotonic() - began))


def _order(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["source"], row["target"]
