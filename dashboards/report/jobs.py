"""What the collectives of a run came to, one row per communicator and kind of operation."""

from typing import Any

import polars as pl
from rich.table import Table
from rich.text import Text

from analyzers.tables import Tables
from dashboards.report import words

Row = dict[str, Any]
MOST = 12  # rows shown at a terminal


def gather(tables: Tables) -> list[Row]:
    """Rows, those that moved most bytes first; times in ns, medians over the operations."""
    took = (pl.col("end") - pl.col("start")).sum().clip(1)
    late = pl.col("late").filter(pl.col("late") != "")
    rows = (
        tables.collectives.group_by("communicator", "kind", "algorithm")
        .agg(
            pl.col("ranks").max(),
            pl.col("members").first(),
            operations=pl.len(),
            start=pl.col("start").min(),
            end=pl.col("end").max(),
            bytes=pl.col("bytes").median().cast(pl.Int64),
            measured_bytes=pl.col("measured_bytes").sum(),
            expected_bytes=pl.when((pl.col("expected_bytes") >= 0).all()).then(
                pl.col("expected_bytes").sum()
            ),
            busbw_bps=pl.col("busbw_bps").median(),
            period_ns=pl.col("period_ns").filter(pl.col("period_ns") >= 0).median(),
            **{
                f"{cause}_share": pl.col(f"{cause}_wait_ns").sum() / took
                for cause in ("network", "sender", "receiver")
            },
            late=late.mode().sort().first(),
            late_times=late.len(),
            confidence=pl.col("confidence").min(),
            evidence=pl.col("evidence").first(),
            missing=pl.col("missing").first(),
        )
        .sort(-pl.col("measured_bytes"), "communicator", "kind")
        .collect()
    )
    return [
        {name: None if value != value else value for name, value in row.items()}
        for row in rows.to_dicts()
    ]


def table(rows: list[Row]) -> Table:
    """The rows for a terminal."""
    grid = Table(title="Collectives", title_justify="left", title_style="bold", box=None)
    for name in ("communicator", "operation"):
        grid.add_column(name, overflow="fold")
    for name in ("ranks", "times", "size", "busbw", "network", "sender", "receiver"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("late", overflow="fold")
    for row in rows[:MOST]:
        kind = row["kind"].replace("_", "-")
        shares = [
            f"{row[f'{cause}_share'] * 100:.0f} %" for cause in ("network", "sender", "receiver")
        ]
        late = f"{row['late']} ({row['late_times']} times)" if row["late"] else ""
        cells = [
            words.clean(row["communicator"]), f"{kind} {row['algorithm']}", str(row["ranks"]),
            str(row["operations"]), words.size(row["bytes"]),
            words.rate(round(row["busbw_bps"])) if row["busbw_bps"] else "", *shares,
            words.clean(late),
        ]  # fmt: skip
        grid.add_row(*map(Text, cells))
    if len(rows) > MOST:
        grid.add_row(Text(f"and {len(rows) - MOST} more", "dim"))
    return grid
