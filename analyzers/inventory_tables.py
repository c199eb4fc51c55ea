"""A fabric's description as the tables LINKS, QOS and RANKS."""

from collections.abc import Iterable
from typing import Any

import polars as pl

from analyzers.frames import schema
from fabric.inventory import Inventory
from fabric.schema import LINKS, QOS, RANKS, Table


def inventory_tables(inventory: Inventory) -> dict[str, pl.LazyFrame]:
    """The three tables under their names in lower case, as :func:`analyzers.tables.tables` takes them."""
    rows: tuple[tuple[Table, Iterable[tuple[Any, ...]]], ...] = (
        (LINKS, inventory.fabric.link_rows()),
        (QOS, inventory.qos.rows()),
        (RANKS, inventory.fabric.rank_rows()),
    )
    return {table.name.lower(): _frame(table, given).lazy() for table, given in rows}


def _frame(table: Table, rows: Iterable[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=schema(table), orient="row")
