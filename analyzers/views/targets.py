"""How well each device is observed: when it was last heard, how often it reads, what was wrong."""

import polars as pl

from analyzers.tables import Tables
from analyzers.telemetry.rates import rates


def targets(tables: Tables) -> pl.DataFrame:
    """One row per device of COUNTERS.

    Columns: device, ports, counters (distinct names), readings, first, last (ns, the device's clock),
    lag_ns (its last reading behind the newest of all), interval_ns (median), skew_ns (median of our
    clock less the device's).
    """
    moments = (
        tables.counters.group_by("device", "ts")
        .agg(readings=pl.len(), seen=pl.col("seen").max())
        .sort("device", "ts")
    )
    clocks = moments.group_by("device", maintain_order=True).agg(
        readings=pl.col("readings").sum(),
        first=pl.col("ts").min(),
        last=pl.col("ts").max(),
        interval_ns=pl.col("ts").diff().median().cast(pl.Int64),
        skew_ns=(pl.col("seen") - pl.col("ts")).median().cast(pl.Int64),
    )
    kinds = tables.counters.group_by("device").agg(
        ports=pl.col("port").n_unique(), counters=pl.struct("object", "counter").n_unique()
    )
    found, sorts = pl.collect_all([clocks, kinds])
    return (
        found.join(sorts, on="device")
        .with_columns(lag_ns=pl.col("last").max() - pl.col("last"))
        .select(
            "device", "ports", "counters", "readings", "first", "last", "lag_ns", "interval_ns", "skew_ns"
        )
        .sort(pl.col("lag_ns"), "device", descending=[True, False])
    )  # fmt: skip


def quality(tables: Tables) -> pl.DataFrame:
    """What was wrong with the readings: device, kind, times, first, last, text (of the first).

    Taken from QUALITY where a collector wrote it, else worked out from the readings.
    """
    told = tables.quality.collect()
    if told.is_empty():
        told = rates(tables.counters.collect()).quality
    return (
        told.sort("ts")
        .group_by("device", "kind")
        .agg(
            times=pl.len(),
            first=pl.col("ts").min(),
            last=pl.col("ts").max(),
            text=pl.col("text").first(),
        )
        .sort("times", "device", "kind", descending=[True, False, False])
    )
