"""Which clock a device's readings are measured by: its own, unless it was set while we listened.

A device's clock says when a value was taken; ours says when it arrived, which is later and less even.
A constant difference does no harm to rates and is only said. A step does: behind a step backwards old
and new readings stand among each other, behind one forwards an interval is far too long. Late arrivals
look alike (a buffer sent after an outage), but they bring *smaller* counts, or many in a burst; then
the device's clock is right.
"""

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class ClockKnobs:
    """Limits, each with its reason."""

    skew_ns: int = 2_000_000_000  # a network and a collector together stay far below
    step_ns: int = 50_000_000  # smaller steps spoil no rate worth looking at
    burst: float = 0.5  # of the usual interval: readings that follow faster were buffered


def stepped(rows: pl.DataFrame, knobs: ClockKnobs) -> pl.DataFrame:
    """Devices whose clock was set: ``device``, ``step_ns`` (the largest, with its sign).

    ``rows`` has s, device, cumulative, ts, seen and value, a row a reading.
    """
    behind = pl.col("seen") - pl.col("ts")
    uneven = (
        rows.group_by("device")
        .agg(spread=behind.max() - behind.min())
        .filter(pl.col("spread") >= knobs.step_ns)
    )
    ordered = (
        rows.filter("cumulative")
        .join(uneven, on="device", how="semi")
        .sort("s", "seen", "ts")
        .with_columns(
            d_ts=pl.col("ts").diff().over("s"),
            d_seen=pl.col("seen").diff().over("s"),
            d_value=pl.col("value").diff().over("s"),
            behind=pl.col("seen") - pl.col("ts"),
            was_behind=(pl.col("seen") - pl.col("ts")).shift(1).over("s"),
            usual=pl.col("ts").diff().abs().median().over("s"),
        )
    )
    even = pl.col("d_seen") >= pl.col("usual") * knobs.burst
    back = (pl.col("d_ts") < 0) & (pl.col("d_seen") > 0)
    far = pl.col("d_ts") > pl.col("d_seen") + knobs.skew_ns
    # Into the right time, or beyond it.
    ends = (pl.col("behind").abs() <= knobs.skew_ns) & (pl.col("was_behind") > knobs.skew_ns)
    ahead = (pl.col("behind") < -knobs.skew_ns) & (pl.col("was_behind") >= -knobs.skew_ns)
    return (
        ordered.with_columns(
            up=back & (pl.col("d_value") > 0),
            down=back & (pl.col("d_value") < 0),
            forward=far & even & (ends | ahead),
            step=pl.col("d_ts") - pl.col("d_seen"),
        )
        .group_by("device")
        .agg(
            pl.col("up", "down", "forward").sum(),
            step_ns=pl.col("step").filter(pl.col("up") | pl.col("forward")).sort_by(
                pl.col("step").filter(pl.col("up") | pl.col("forward")).abs()
            ).last(),
        )
        .filter((pl.col("up") > pl.col("down")) | ((pl.col("forward") > 0) & (pl.col("down") == 0)))
        .select("device", "step_ns")
    )  # fmt: skip


def skewed(rows: pl.DataFrame, knobs: ClockKnobs) -> pl.DataFrame:
    """Devices whose clock differs from ours: ``device``, ``ts``, ``seen``, ``skew_ns`` (theirs - ours)."""
    return (
        rows.group_by("device")
        .agg(
            skew_ns=(pl.col("ts") - pl.col("seen")).median().round().cast(pl.Int64),
            ts=pl.col("ts").max(),
            seen=pl.col("seen").max(),
        )
        .filter(pl.col("skew_ns").abs() > knobs.skew_ns)
    )
