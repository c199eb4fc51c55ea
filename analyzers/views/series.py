"""Time series for a picture: honest gaps, and few points without losing a spike.

A frame here has a time column, one or more key columns and one value column. A gap is a row whose
value is null: a picture ends its line there instead of drawing through what nobody measured.
"""

from typing import Final

import polars as pl

GAP_INTERVALS: Final = 2.5  # this many usual intervals without a reading are a gap, one lost is not


def with_gaps(rows: pl.DataFrame, keys: list[str], time: str = "ts") -> pl.DataFrame:
    """Add a row of nulls where readings of a key stay away for longer than usual.

    Usual is the median interval of the key. ``rows`` may have any further columns; the added row lies
    one nanosecond after the last reading before the gap.
    """
    if rows.is_empty():
        return rows
    ordered = rows.sort(*keys, time)
    step = pl.col(time).shift(-1).over(keys) - pl.col(time)
    held = ordered.with_columns(_step=step).with_columns(_usual=pl.col("_step").median().over(keys))
    holes = held.filter(pl.col("_step") > pl.col("_usual") * GAP_INTERVALS).select(
        *keys, (pl.col(time) + 1).alias(time)
    )
    return pl.concat([ordered, holes], how="diagonal").sort(*keys, time)


def thin(
    rows: pl.DataFrame, keys: list[str], span: tuple[int, int], buckets: int, time: str = "ts"
) -> pl.DataFrame:
    """At most about three rows per key and bucket: the least, the greatest, and a gap if there is one.

    ``rows`` has ``keys``, the time column and ``value``. The rows kept are rows that were there, at
    their own times, so a spike of a single sample keeps its height and its moment.
    """
    start, end = span
    if rows.height <= 2 * buckets:
        return rows.sort(*keys, time)
    bucket = (pl.col(time) - start) * buckets // max(end - start, 1)
    ordered = rows.sort(*keys, time).with_columns(_bucket=bucket).with_row_index("_row")
    value, row = pl.col("value"), pl.col("_row")
    kept = (
        ordered.group_by(*keys, "_bucket")
        .agg(
            low=row.filter(value == value.min()).first(),
            high=row.filter(value == value.max()).first(),
            gap=row.filter(value.is_null()).first(),
        )
        .select(pl.concat_list("low", "high", "gap").explode().alias("_row"))
        .drop_nulls()
        .unique()
    )
    return ordered.join(kept, on="_row", how="semi").sort("_row").drop("_row", "_bucket")
