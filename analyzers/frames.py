"""Polars side of the tables that :mod:`fabric.schema` declares."""

from typing import Final

import polars as pl

from fabric.schema import Kind, Table

TYPES: Final[dict[Kind, pl.DataType]] = {
    "i64": pl.Int64(),
    "i32": pl.Int32(),
    "u64": pl.UInt64(),
    "u32": pl.UInt32(),
    "u16": pl.UInt16(),
    "u8": pl.UInt8(),
    "f64": pl.Float64(),
    "bool": pl.Boolean(),
    "str": pl.String(),
    "list[str]": pl.List(pl.String),
    "list[i64]": pl.List(pl.Int64),
}


def schema(table: Table) -> pl.Schema:
    """The Polars schema of a declared table."""
    return pl.Schema({column.name: TYPES[column.kind] for column in table.columns})


def empty(table: Table) -> pl.DataFrame:
    """No rows, the right schema: what a table that nobody collected looks like."""
    return pl.DataFrame(schema=schema(table))


def conform(frame: pl.LazyFrame, table: Table) -> pl.LazyFrame:
    """Check that ``frame`` has exactly the columns of ``table``, in any order, and order them."""
    return frame.match_to_schema(schema(table))
