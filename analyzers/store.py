"""The store: Delta Lake tables of what was decoded, in a folder or an object store.

``counters`` holds COUNTERS, and so ``quality``, ``logs`` and ``series``, each with four more columns:
``day`` (UTC, by which the table is partitioned), ``recorder`` and ``segment`` (where a row was
recorded), ``batch`` (the commit that brought it: what compaction works by).

A commit carries the transaction (recorder, segment) of each segment in it. One that is already there
adds nothing; of two that race one is refused. So a committer may be killed at any point and start
over. Deltalake writes no fsync: on a local disk every commit is followed by one for the files it
added and for the log, before the caller may forget the segments.

Delta has no unsigned or nanosecond types, and other readers know no string views: columns are Int64,
Int32 and plain strings. No column refers to a file, so files can be rewritten at any time; readers of
an older version have an hour.
"""

import os
import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import polars as pl
from arro3.core import DataType, Table
from arro3.core import Field as ArrowField
from arro3.core import Schema as ArrowSchema
from deltalake import (
    CommitProperties,
    DeltaTable,
    Field,
    PostCommitHookProperties,
    Schema,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.schema import PrimitiveType

from analyzers.frames import empty
from fabric import schema

DAY: Final = "day"
PLACED: Final = {"recorder": pl.String(), "segment": pl.Int64(), "batch": pl.Int64()}
TABLES: Final = {
    "counters": schema.COUNTERS,
    "quality": schema.QUALITY,
    "logs": schema.LOGS,
    "series": schema.SERIES,
}
ORDER: Final = {
    "counters": ("device", "port", "object", "index", "counter", "ts"),
    "quality": ("device", "kind", "ts"),
    "logs": ("device", "source", "ts"),
    "series": ("device", "port", "object", "index", "counter"),
}
DELTA_TYPES: Final[dict[Any, str]] = {pl.Int64: "long", pl.Int32: "integer", pl.String: "string"}
ARROW_TYPES: Final[dict[Any, Any]] = {
    pl.Int64: DataType.int64(),
    pl.Int32: DataType.int32(),
    pl.String: DataType.string(),
}
# The default keeps 30 days of log, and listing it makes every append slower.
SETTINGS: Final[dict[str, str | None]] = {
    "delta.logRetentionDuration": "interval 1 hours",
    "delta.deletedFileRetentionDuration": "interval 1 hours",
    "delta.checkpointInterval": "100",
}
WRITER: Final = WriterProperties(
    compression="ZSTD", compression_level=1, max_row_group_size=1 << 16
)
HOOKS: Final = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=True)
ATTEMPTS: Final = 8  # at a commit that others overtake
FAR_NS: Final = 30 * 86_400 * 1_000_000_000  # a clock so far off does not choose the day
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")


class Store:
    """Tables under one address; every process and thread has its own ``Store``.

    ``where`` is a folder or a URL (``s3://bucket/path``); ``options`` go to the object store. OSError
    where it cannot be reached or created; without ``create`` a table that is not there is one too.
    """

    def __init__(
        self, where: str | Path, options: Mapping[str, str] | None = None, *, create: bool = True
    ) -> None:
        self.where = str(where)
        self.create = create
        self.options = dict(options or {})
        self.folder = None if "://" in self.where else Path(self.where)
        self._tables: dict[str, DeltaTable] = {}

    def table(self, name: str) -> DeltaTable:
        """A table as it is now; created where it is not there."""
        if name in self._tables:
            self._tables[name].update_incremental()
        else:
            self._tables[name] = self._open(name)
        return self._tables[name]

    def _open(self, name: str) -> DeltaTable:
        address = f"{self.where.rstrip('/')}/{name}"
        try:
            try:
                return DeltaTable(address, storage_options=self.options or None)
            except TableNotFoundError as error:
                if not self.create:
                    raise FileNotFoundError(f"{address}: no store here") from error
                if self.folder:
                    (self.folder / name).mkdir(parents=True, exist_ok=True)
                return DeltaTable.create(
                    address,
                    schema=_delta_schema(name),
                    mode="ignore",  # another process may have been faster
                    partition_by=[DAY],
                    configuration=SETTINGS,
                    storage_options=self.options or None,
                )
        except DeltaError as error:
            raise OSError(f"{address}: {_line(error)}") from error

    def last(self, recorder: str, name: str = "counters") -> int:
        """The highest segment of a recorder that is committed; -1 none."""
        found = self.table(name).transaction_version(recorder)
        return -1 if found is None else found

    def append(self, name: str, frame: pl.DataFrame, commits: Mapping[str, int]) -> bool:
        """Add rows that have ``recorder`` and ``segment``, up to the segments in ``commits``.

        False where these transactions were there already: nothing is added then. OSError where it
        cannot be written.
        """
        check_names(commits)
        for _ in range(ATTEMPTS):
            table = self.table(name)
            there = {r: table.transaction_version(r) for r in commits}
            if any(n is not None and n >= commits[r] for r, n in there.items()):
                return False
            try:
                write_deltalake(
                    table,
                    to_arrow(name, placed(name, frame)),
                    mode="append",
                    writer_properties=WRITER,
                    commit_properties=CommitProperties(
                        app_transactions=[Transaction(r, s) for r, s in commits.items()]
                    ),
                    post_commithook_properties=HOOKS,
                )
            except CommitFailedError:
                self._tables.pop(name, None)
                continue
            except (DeltaError, OSError) as error:
                self._tables.pop(name, None)
                raise OSError(f"{self.where}/{name}: {_line(error)}") from error
            self.sync(name)
            return True
        raise OSError(f"{self.where}/{name}: overtaken {ATTEMPTS} times by other writers")

    def replace(
        self, name: str, frame: pl.DataFrame, recorder: str, segments: tuple[int, int]
    ) -> None:
        """Put ``frame`` in the place of all rows of a recorder's segments (first, last).

        Segments that are not committed yet are refused: their commit would come on top. ValueError
        then, OSError as for :meth:`append`.
        """
        check_names([recorder])
        first, last = segments
        if last > self.last(recorder, name):
            raise ValueError(f"segment {last} of {recorder} is not committed to {name} yet")
        where = f"recorder = '{recorder}' AND segment >= {first} AND segment <= {last}"
        self.overwrite(name, lambda _: frame, where)

    def overwrite(self, name: str, make: Any, where: str) -> int:
        """Put the frame that ``make(table)`` returns in the place of the rows ``where``; its height.

        Done again from the start when somebody else added or removed such rows meanwhile.
        """
        for attempt in range(ATTEMPTS):
            table = self.table(name)
            try:
                frame = make(table)
                if frame.height:
                    write_deltalake(
                        table,
                        to_arrow(name, placed(name, frame)),
                        mode="overwrite",
                        predicate=where,
                        writer_properties=WRITER,
                        post_commithook_properties=HOOKS,
                    )
                else:
                    table.delete(where, writer_properties=WRITER, post_commithook_properties=HOOKS)
            except CommitFailedError:
                self._tables.pop(name, None)
                time.sleep(0.01 * 2**attempt)
                continue
            except (DeltaError, OSError) as error:
                self._tables.pop(name, None)
                raise OSError(f"{self.where}/{name}: {_line(error)}") from error
            self.sync(name)
            return int(frame.height)
        raise OSError(f"{self.where}/{name}: overtaken {ATTEMPTS} times by other writers")

    def scan(
        self, name: str = "counters", start_ns: int | None = None, end_ns: int | None = None
    ) -> pl.LazyFrame:
        """Rows with start_ns <= ts < end_ns, with the columns of the declared table only.

        In no particular order. Add filters on device and port before collecting: they decide what is
        read at all. Use :func:`collect` to run it.
        """
        rows = pl.scan_delta(self.table(name))
        if start_ns is not None:
            rows = rows.filter(pl.col("ts") >= start_ns, pl.col(DAY) >= day_text(start_ns - FAR_NS))
        if end_ns is not None:
            rows = rows.filter(pl.col("ts") < end_ns, pl.col(DAY) <= day_text(end_ns + FAR_NS))
        return rows.select(TABLES[name].names)

    def sync(self, name: str) -> None:
        """Put the newest commit and the files it added on the disk (local folders only)."""
        if self.folder is None:
            return
        home, table = self.folder / name, self._tables[name]
        entry = home / "_delta_log" / f"{table.version():020d}.json"
        try:
            lines = entry.read_bytes().splitlines()
        except FileNotFoundError:
            lines = []  # cleaned up already: a checkpoint holds it
        added = [home / unquote(file) for line in lines if (file := _added(line))]
        folders = {path.parent for path in added} | {home, home / "_delta_log"}
        for path in [*added, entry, *sorted(folders)]:
            if path.exists():
                _fsync(path)


def collect(rows: pl.LazyFrame) -> pl.DataFrame:
    """Run a query; OSError where a file of the table cannot be read.

    Polars panics on a data file cut short by a power failure, with what is no ``Exception``.
    """
    try:
        return rows.collect()
    except pl.exceptions.PolarsError as error:
        raise OSError(f"the store is damaged: {_line(error)}") from error
    except pl.exceptions.PanicException as error:
        raise OSError(f"the store is damaged: {_line(error)}") from error


def placed(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Rows with their day and batch, in the order that makes them quick to find.

    The day is that of ``ts``, or that of ``seen`` where the device's clock is far off.
    """
    if "batch" not in frame.columns:
        frame = frame.with_columns(batch=pl.lit(time.time_ns() // 1_000, pl.Int64))
    if DAY not in frame.columns:
        if "ts" in frame.columns:
            far = (pl.col("ts") - pl.col("seen")).abs() > FAR_NS
            when = pl.when(far | (pl.col("ts") <= 0)).then("seen").otherwise("ts")
        else:
            when = pl.lit(time.time_ns())
        frame = frame.with_columns(when.cast(pl.Datetime("ns")).dt.strftime("%Y-%m-%d").alias(DAY))
    return ordered(frame.select(list(stored(name))), ORDER[name])


def ordered(frame: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    """Rows sorted by ``columns``: the few different names once, the many rows by their number.

    Two and a half times quicker than sorting the rows by their texts.
    """
    *key, last = columns
    numbers = frame.select(key).unique().sort(key).with_row_index("order")
    placed_rows = frame.join(numbers, on=key, how="left", maintain_order="left")
    return placed_rows.sort("order", last, maintain_order=True).drop("order")


def stored(name: str) -> dict[str, pl.DataType]:
    """Columns of a stored table."""
    return {**empty(TABLES[name]).schema, **PLACED, DAY: pl.String()}


def to_arrow(name: str, frame: pl.DataFrame) -> Table:
    """The frame in types that every reader of Delta knows."""
    fields = [ArrowField(n, ARROW_TYPES[type(kind)]) for n, kind in stored(name).items()]
    made = Table.from_arrow(frame)
    columns = [made[field.name].cast(field.type) for field in fields]
    return Table.from_arrays(columns, schema=ArrowSchema(fields))


def day_text(ns: int) -> str:
    """The day of a time, UTC; the first or last possible where there is none."""
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1_000)).strftime(
            "%Y-%m-%d"
        )
    except OverflowError:
        return "0001-01-01" if ns < 0 else "9999-12-31"


def check_names(recorders: Iterable[str]) -> None:
    """Recorders stand in predicates and file names: nothing but plain characters."""
    for recorder in recorders:
        if not _NAME.fullmatch(recorder):
            raise ValueError(f"recorder {recorder!r}: letters, digits, '_', '.', '-'")


def _delta_schema(name: str) -> Schema:
    return Schema(
        [Field(n, PrimitiveType(DELTA_TYPES[type(kind)])) for n, kind in stored(name).items()]
    )


def _added(line: bytes) -> str:
    """Path of the file that a line of the log adds."""
    import json

    if not line.startswith(b'{"add"'):
        return ""
    return str(json.loads(line)["add"]["path"])


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
