"""Bits per second on the wire at each observation point, from FLOW_WINDOWS."""

import polars as pl

from analyzers.tables import Tables

SECOND_NS = 1_000_000_000


def point_loads(
    tables: Tables, span: tuple[int, int], bins: int = 300, most: int = 6
) -> list[tuple[str, pl.DataFrame]]:
    """The busiest points and their load (ts, value in bit/s) in bins of equal width.

    A window of FLOW_WINDOWS that is wider than a bin is spread over the bins it covers; a bin that no
    flow reached is zero, because a capture shows silence as well as traffic.
    """
    start, end = span
    windows = (
        tables.flow_windows.filter(
            pl.col("start") < end, pl.col("start") + pl.col("width_ns") > start
        )
        .join(tables.flows.select("flow", "point"), on="flow")
        .group_by("point", "start", "width_ns")
        .agg(pl.col("bytes").sum())
        .collect(engine="streaming")
    )
    if windows.is_empty():
        return []
    narrowest = int(windows["width_ns"].min())  # type: ignore[arg-type]
    width = max((end - start) // bins, narrowest, 1)
    count = -(-(end - start) // width)
    first = ((pl.col("start") - start) // width).clip(0, count - 1)
    last = ((pl.col("start") + pl.col("width_ns") - 1 - start) // width).clip(0, count - 1)
    spread = (
        windows.with_columns(bin=pl.int_ranges(first, last + 1))
        .with_columns(bytes=pl.col("bytes") / pl.col("bin").list.len())
        .explode("bin")
        .group_by("point", "bin")
        .agg(pl.col("bytes").sum())
    )
    ranked = (
        spread.group_by("point")
        .agg(pl.col("bytes").sum())
        .sort("bytes", "point", descending=[True, False])
    )
    every = pl.DataFrame({"bin": range(count)}, schema={"bin": pl.Int64})
    found = []
    for point in ranked["point"].head(most):
        rows = every.join(spread.filter(pl.col("point") == point), on="bin", how="left").sort("bin")
        value = pl.col("bytes").fill_null(0) * 8 * SECOND_NS / width
        found.append((str(point), rows.select(ts=start + (pl.col("bin") + 1) * width, value=value)))
    return found
