"""Finished rows leave memory here: a table grows as Parquet parts beside the run.

Rows wait in memory until a part is worth writing, so a small capture touches no file at all and a
long one holds a few megabytes per table. Parts are written as LZ4 without column statistics: on
message rows that took 50 ns of CPU per row and 26 bytes, against 70 ns and 19 bytes for Zstandard,
and nobody looks for a single row here often enough to repay statistics.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from analyzers.frames import empty, schema
from fabric.schema import Table

PART_BYTES = 8 << 20  # rows held back per table; a run has about ten tables

Part = Path | pl.DataFrame


class Spill:
    """An append-only table: ``append`` frames while the capture is read, ``scan`` them after.

    Parameters
    ----------
    folder
        Where parts are written; created with the first part. No two spills of the same table
        may share a folder.
    table
        Declaration that every frame must match exactly.
    part_bytes
        Size in memory at which waiting rows become a part.
    """

    def __init__(self, folder: Path, table: Table, part_bytes: int = PART_BYTES) -> None:
        self.folder = folder
        self.table = table
        self.rows = 0
        self._schema = schema(table)
        self._part_bytes = part_bytes
        self._waiting: list[pl.DataFrame] = []
        self._waiting_bytes = 0
        self._written: list[Path] = []

    def append(self, frame: pl.DataFrame, *, borrowed: bool = False) -> None:
        """Add the rows of ``frame``; ValueError when its schema is not the table's.

        ``borrowed`` rows, whose memory will be used for others, are written at once.
        """
        if frame.schema != self._schema:
            wrong = set(frame.schema.items()) ^ set(self._schema.items())
            raise ValueError(f"{self.table.name}: columns differ: {sorted(map(str, wrong))}")
        if frame.is_empty():
            return
        self.rows += frame.height
        self._waiting.append(frame)
        self._waiting_bytes += int(frame.estimated_size())
        if borrowed or self._waiting_bytes >= self._part_bytes:
            self.flush()

    def flush(self) -> None:
        """Write the waiting rows."""
        if self._waiting:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{self.table.name.lower()}-{len(self._written):05d}.parquet"
            rows = pl.concat(self._waiting)
            rows.write_parquet(
                path, compression="lz4", statistics=False, row_group_size=max(rows.height, 1)
            )
            self._written.append(path)
            self._waiting, self._waiting_bytes = [], 0

    def parts(self, *, to_disk: bool = False) -> list[Part]:
        """All rows so far in the order they came: files, then what waits in memory, if it may."""
        if to_disk:
            self.flush()
        return [*self._written, *self._waiting]

    def frames(self) -> Iterator[pl.DataFrame]:
        """All rows in the order they came, one part in memory at a time."""
        for path in self._written:
            yield pl.read_parquet(path, memory_map=False)
        if self._waiting:
            yield pl.concat(self._waiting)

    def scan(self) -> pl.LazyFrame:
        """All rows so far in the order they came; no rows but the schema where none came."""
        return scan_parts(self.parts(), self.table)


def scan_parts(parts: Sequence[Part], table: Table) -> pl.LazyFrame:
    """One lazy table over parts on disk and in memory, in the order given."""
    runs: list[pl.LazyFrame] = []
    paths: list[Path] = []
    for part in parts:
        if isinstance(part, Path):
            paths.append(part)
            continue
        if paths:
            runs.append(pl.scan_parquet(paths))
            paths = []
        runs.append(part.lazy())
    if paths:
        runs.append(pl.scan_parquet(paths))
    return pl.concat(runs) if runs else empty(table).lazy()
