"""Care of the store: small files into sorted large ones, old days away, damage found and mended.

Compaction takes files of one day that commits left behind, whose ``batch`` follow each other, and puts
the same rows back as one file in the order of device, port and counter: what is asked for then lies in
few blocks. It works by rows, not by files, in one commit that is refused when anything among those rows
changed meanwhile: killed at any point it has done all or nothing, beside any number of writers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable

from analyzers.store import DAY, TABLES, Store, collect, stored

ROWS: Final = 2_000_000  # of a compacted file: half a gigabyte while it is sorted
LEAST: Final = 16  # files worth the trouble on a day that still grows
KEEP_HOURS: Final = 1  # readers of an older version have so long


@dataclass(frozen=True)
class Retention:
    """What may stay: days back from the newest one, and bytes of all tables together; 0 without limit."""

    days: int = 0
    bytes: int = 0


class Lost(NamedTuple):
    """Rows that were in a file that cannot be read: of which recorder, first and last segment."""

    recorder: str
    first: int
    last: int


class _Run(NamedTuple):
    """Neighbouring small files of a day."""

    day: str
    first: int  # batch
    last: int
    files: int


def files(table: DeltaTable) -> pl.DataFrame:
    """Active files: path, day, rows, bytes, first and last batch, segments and recorders in them."""
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    blank = {"long": pl.Int64(), "string": pl.String()}
    wanted = {
        "path": ("path", blank["string"]),
        "day": (f"partition.{DAY}", blank["string"]),
        "rows": ("num_records", blank["long"]),
        "bytes": ("size_bytes", blank["long"]),
        "first": ("min.batch", blank["long"]),
        "last": ("max.batch", blank["long"]),
        "first_segment": ("min.segment", blank["long"]),
        "last_segment": ("max.segment", blank["long"]),
        "first_recorder": ("min.recorder", blank["string"]),
        "last_recorder": ("max.recorder", blank["string"]),
    }
    return actions.select(
        (pl.col(source) if source in actions.columns else pl.lit(None)).cast(kind).alias(name)
        for name, (source, kind) in wanted.items()
    )


def compact(store: Store, name: str = "counters", *, rows: int = ROWS, least: int = LEAST) -> int:
    """Merge small files; how many were merged. OSError as for :meth:`Store.overwrite`."""
    merged = 0
    for run in list(_runs(files(store.table(name)), rows, least)):
        where = f"{DAY} = '{run.day}' AND batch >= {run.first} AND batch <= {run.last}"

        def same_rows(table: DeltaTable, run: _Run = run) -> pl.DataFrame:
            chosen = (pl.col(DAY) == run.day) & pl.col("batch").is_between(run.first, run.last)
            return collect(pl.scan_delta(table).filter(chosen).select(list(stored(name))))

        store.overwrite(name, same_rows, where)
        merged += run.files
    return merged


def _runs(found: pl.DataFrame, rows: int, least: int) -> Iterator[_Run]:
    """Neighbours to merge; on days before the newest one any two are worth it."""
    newest = found["day"].max()
    small = found.filter(pl.col("rows") < rows // 2, pl.col("first").is_not_null()).sort(
        "day", "first"
    )
    for (day,), of_day in small.partition_by("day", as_dict=True, maintain_order=True).items():
        group: list[tuple[int, int, int]] = []
        wanted = least if day == newest else 2
        for first, last, count in of_day.select("first", "last", "rows").iter_rows():
            if group and sum(n for _, _, n in group) + count > rows:
                yield from _run(str(day), group, 2)
                group = []
            group.append((first, last, count))
        yield from _run(str(day), group, wanted)


def _run(day: str, group: list[tuple[int, int, int]], least: int) -> Iterator[_Run]:
    if len(group) >= least:
        yield _Run(day, min(g[0] for g in group), max(g[1] for g in group), len(group))


def clean(store: Store, name: str = "counters", hours: int = KEEP_HOURS) -> int:
    """Drop the log and the files that nobody may need any more; how many files.

    Files that a killed writer left outside the log go too, except with ``hours`` 0: then one just
    written and not yet committed would go with them.
    """
    table = store.table(name)
    table.create_checkpoint()
    table.cleanup_metadata()
    gone = table.vacuum(
        retention_hours=hours, dry_run=False, enforce_retention_duration=False, full=hours > 0
    )
    return len(gone)


def tend(store: Store, keep: Retention | None = None) -> None:
    """Everything a store needs now and then, every few minutes: all of the below, for all tables."""
    for name in TABLES:
        compact(store, name)
    thin_series(store)
    retain(store, keep or Retention())
    for name in TABLES:
        clean(store, name)


def thin_series(store: Store) -> int:
    """Drop what SERIES says more than once: every start of a committer tells all it learns; how many rows."""
    key = ["device", "port", "object", "index", "counter"]

    def once(table: DeltaTable) -> pl.DataFrame:
        found = collect(pl.scan_delta(table)).sort("batch")
        return found.unique(key, keep="last").select(list(stored("series")))

    height = int(files(store.table("series"))["rows"].sum())
    if height <= 2 * once(store.table("series")).height:
        return 0
    return height - store.overwrite("series", once, "segment >= 0")


def retain(store: Store, keep: Retention) -> list[str]:
    """Delete the oldest days beyond ``keep``; the days that went.

    Files go with the next :func:`clean`. The newest day always stays. SERIES is small and stays whole.
    """
    names = [name for name in TABLES if name != "series"]
    found = pl.concat([files(store.table(name)).select("day", "bytes") for name in names])
    by_day = found.group_by("day").agg(pl.col("bytes").sum()).sort("day", descending=True)
    gone = []
    total = 0
    for number, (day, size) in enumerate(by_day.iter_rows()):
        total += size
        newest = by_day["day"][0]
        old = keep.days and day <= _days_before(newest, keep.days)
        if number and (old or (keep.bytes and total > keep.bytes)):
            gone.append(str(day))
    for day in gone:
        for name in names:
            store.overwrite(name, lambda _, n=name: _nothing(n), f"{DAY} = '{day}'")
    return gone


def _nothing(name: str) -> pl.DataFrame:
    return pl.DataFrame(schema=stored(name))


def _days_before(day: str, days: int) -> str:
    when = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    return (when - timedelta(days=days)).strftime("%Y-%m-%d")


def damaged(store: Store, name: str = "counters") -> pl.DataFrame:
    """Active files that are not there or not whole (local folders only), as :func:`files`."""
    found = files(store.table(name))
    if store.folder is None:
        return found.clear()
    home = store.folder / name
    whole = [
        _size(home / unquote(path)) == size
        for path, size in found.select("path", "bytes").iter_rows()
    ]
    return found.filter(~pl.Series(whole, dtype=pl.Boolean))


def repair(store: Store, name: str = "counters") -> list[Lost]:
    """Take files that cannot be read out of a table; which rows are lost until they are decoded again.

    A file of several recorders names each with the whole range of its segments.
    """
    bad = damaged(store, name)
    if not bad.height:
        return []
    assert store.folder
    for path in bad["path"]:
        (store.folder / name / unquote(path)).unlink(missing_ok=True)
    store.table(name).repair()
    lost = set()
    for row in bad.iter_rows(named=True):
        for recorder in {row["first_recorder"], row["last_recorder"]} - {None}:
            lost.add(Lost(recorder, row["first_segment"], row["last_segment"]))
    return sorted(lost)


def sizes(store: Store) -> Mapping[str, tuple[int, int, int]]:
    """Files, rows and bytes of each table."""
    found = {name: files(store.table(name)) for name in TABLES}
    return {n: (f.height, int(f["rows"].sum()), int(f["bytes"].sum())) for n, f in found.items()}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
