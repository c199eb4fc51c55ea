"""Spill and Tables: what goes in comes out, in order, whatever the size of a part."""

from pathlib import Path

import polars as pl
import pytest

from analyzers.frames import empty, schema
from analyzers.spill import Spill
from analyzers.tables import NAMES, tables
from fabric.schema import EVENTS, HOST_WINDOWS, TABLES


def rows(first: int, count: int) -> pl.DataFrame:
    numbers = pl.int_range(first, first + count, eager=True)
    columns = {
        name: numbers.cast(pl.String) if kind == pl.String else numbers.cast(kind)
        for name, kind in schema(HOST_WINDOWS).items()
    }
    return pl.DataFrame(columns)


@pytest.mark.parametrize("part_bytes", [1, 3_000, 1 << 30])
def test_rows_come_back_in_order(tmp_path: Path, part_bytes: int) -> None:
    spill = Spill(tmp_path / "deep" / "er", HOST_WINDOWS, part_bytes)
    for first in range(0, 100, 10):
        spill.append(rows(first, 10))
    assert spill.rows == 100
    assert spill.scan().collect().equals(rows(0, 100))
    assert pl.concat(spill.frames()).equals(rows(0, 100))
    parts = spill.parts(to_disk=True)
    assert spill.scan().collect().equals(rows(0, 100))
    assert parts == sorted(tmp_path.rglob("*.parquet"))
    assert (len(parts) == 10) == (part_bytes == 1)


def test_small_tables_touch_no_file(tmp_path: Path) -> None:
    spill = Spill(tmp_path, HOST_WINDOWS)
    spill.append(rows(0, 3))
    assert spill.scan().collect().height == 3
    assert list(tmp_path.iterdir()) == []


def test_nothing_written_is_an_empty_table(tmp_path: Path) -> None:
    spill = Spill(tmp_path, EVENTS)
    spill.append(empty(EVENTS))
    assert spill.parts(to_disk=True) == []
    assert spill.scan().collect().equals(empty(EVENTS))


def test_a_wrong_frame_is_refused(tmp_path: Path) -> None:
    spill = Spill(tmp_path, HOST_WINDOWS)
    with pytest.raises(ValueError, match="HOST_WINDOWS: columns differ"):
        spill.append(rows(0, 1).with_columns(pl.col("ce").cast(pl.Int32)))


def test_every_declared_table_is_there() -> None:
    assert tuple(table.name.lower() for table in TABLES) == NAMES
    everything = tables({"host_windows": rows(0, 2).lazy()})
    assert everything.host_windows.collect().height == 2
    for table in TABLES:
        frame = getattr(everything, table.name.lower())
        assert frame.collect_schema() == schema(table)


def test_an_undeclared_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no such table: flaws"):
        tables({"flaws": empty(EVENTS).lazy()})
    with pytest.raises(pl.exceptions.SchemaError):
        tables({"flows": empty(EVENTS).lazy()}).flows.collect()
