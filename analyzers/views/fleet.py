"""The whole fabric at once: a value per port at a moment, and the fabric's worst over time."""

import polars as pl

from analyzers.views.metrics import PORT


def at_moment(rows: pl.DataFrame, moment: int, back_ns: int) -> pl.DataFrame:
    """The last value of each port at ``moment``, not older than ``back_ns``: device, port, ts, value."""
    return (
        rows.filter(pl.col("ts") <= moment, pl.col("ts") > moment - back_ns)
        .sort("ts")
        .group_by(PORT)
        .agg(pl.col("ts").last(), pl.col("value").last())
    )


def worst_in(rows: pl.DataFrame, span: tuple[int, int]) -> pl.DataFrame:
    """The greatest value of each port in a time range and when it was: device, port, ts, value."""
    worst = pl.col("value").arg_max()
    return (
        rows.filter(pl.col("ts").is_between(*span))
        .group_by(PORT)
        .agg(pl.col("ts").get(worst), pl.col("value").get(worst))
    )


def over_time(rows: pl.DataFrame, span: tuple[int, int], bins: int) -> pl.DataFrame:
    """The fabric in time bins: ts (end of the bin), value (the greatest), and whose it was: device, port.

    A bin without readings has no row.
    """
    start, end = span
    width = max((end - start) // bins, 1)
    binned = rows.filter(pl.col("ts").is_between(start, end)).with_columns(
        ts=((pl.col("ts") - start) // width).clip(0, bins - 1) * width + start + width
    )
    worst = pl.col("value").arg_max()
    return (
        binned.drop_nulls("value")
        .group_by("ts")
        .agg(
            pl.col("value").max(),
            pl.col("device").get(worst),
            pl.col("port").get(worst),
        )
        .sort("ts")
    )


def grid(values: pl.DataFrame) -> pl.DataFrame:
    """A row per device and a place per port: device, ports (list), values (list), worst.

    Devices in the order of their names with numbers counted as numbers, and ports the same way.
    """
    return (
        values.join(_ranked(values, "device"), on="device")
        .join(_ranked(values, "port"), on="port")
        .sort("_device", "_port")
        .group_by("device", maintain_order=True)
        .agg(pl.col("port", "value", "ts"), worst=pl.col("value").max())
    )


def _ranked(values: pl.DataFrame, column: str) -> pl.DataFrame:
    """Each name of a column once, with its place in the natural order: names are few, rows are many."""
    names = values.select(pl.col(column).unique())
    return names.sort(natural(column)).with_row_index(f"_{column}")


def natural(column: str) -> pl.Expr:
    """A text to sort by in which leaf2 comes before leaf10."""
    return (
        pl.col(column)
        .str.extract_all(r"\d+|\D+")
        .list.eval(
            pl.when(pl.element().str.contains(r"^\d"))
            .then(pl.element().str.zfill(12))
            .otherwise(pl.element())
        )
        .list.join("")
    )


def by_moment(
    rows: pl.DataFrame, groups: pl.DataFrame, moments: list[int]
) -> tuple[list[str], list[list[float | None]]]:
    """The greatest value of each group of ports up to each moment, since the moment before.

    ``groups`` has device, port, group; a port may be in several. Returns the groups, and for each a
    value per moment, None where nothing was read.
    """
    if not moments:
        return [], []
    cuts = pl.DataFrame({"until": moments}, schema={"until": pl.Int64}).with_row_index("place")
    placed = (
        rows.join(groups, on=PORT)
        .drop_nulls("value")
        .sort("ts")
        .join_asof(cuts.sort("until"), left_on="ts", right_on="until", strategy="forward")
        .drop_nulls("place")
        .group_by("group", "place")
        .agg(pl.col("value").max())
    )
    names = groups["group"].unique().sort().to_list()
    number = {name: n for n, name in enumerate(names)}
    table: list[list[float | None]] = [[None] * len(moments) for _ in names]
    for name, place, value in placed.select("group", "place", "value").iter_rows():
        table[number[name]][place] = value
    return names, table
