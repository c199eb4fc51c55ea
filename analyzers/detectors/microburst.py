"""The link was full for moments although its average load is low: queues that no slow counter shows.

A burst at line rate of a few tens or hundreds of microseconds fills a buffer long before a counter
that is read every second moves. Told where short time bins towards one receiver come close to the
line rate while the average over the capture stays low. Collectives are bursty by nature, so this is
information: it matters where marks or pauses coincide.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("host_windows",)
ADVICE = {"microburst": "Compare with marks and pauses at the same time before acting on it."}


@dataclass(frozen=True)
class Knobs:
    """What a burst is."""

    burst: float = field(
        default=0.9,
        metadata=common.because("share", "Nine tenths of the line rate in a short bin."),
    )
    mean: float = field(
        default=0.3,
        metadata=common.because("share", "A link busier than this is loaded, not bursty.", "less"),
    )
    least_ns: int = field(
        default=10 * common.MS,
        metadata=common.because("ns", "An average over less than this is itself a burst."),
    )


def _bursts(tables: Tables, knobs: Knobs) -> pl.LazyFrame:
    """Receivers at a point with full bins on a link that is idle on average."""
    load = pl.col("bytes") * (8.0 * common.SECOND) / pl.col("width_ns") / pl.col("speed_bps")
    span = pl.col("last") - pl.col("first")
    points = tables.points.filter(pl.col("speed_bps") > 0, span >= knobs.least_ns).select(
        "point", "speed_bps", "speed_source", span=span
    )
    total = tables.traffic.group_by("point", "dst").agg(total=pl.col("bytes").sum())
    return (
        tables.host_windows.join(points, on="point", how="inner")
        .with_columns(load=load)
        .filter(pl.col("load") >= knobs.burst)
        .group_by("point", "dst", "span", "speed_bps", "speed_source")
        .agg(
            pl.col("start").min(),
            (pl.col("start") + pl.col("width_ns")).max().alias("end"),
            pl.col("width_ns").sum().alias("full_ns"),
            pl.col("ce").sum(),
            value=pl.col("load").max(),
            bins=pl.len(),
        )
        .join(total, on=["point", "dst"], how="inner")
        .with_columns(
            mean=pl.col("total") * (8.0 * common.SECOND) / pl.col("span") / pl.col("speed_bps")
        )
        .filter(pl.col("mean") <= knobs.mean)
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind microburst, severity info, one per receiver at a point."""
    return common.findings(
        _bursts(tables, knobs),
        __name__,
        ADVICE,
        kind=pl.lit("microburst"),
        severity=pl.lit("info"),
        subject=pl.format("→ {}", "dst"),
        limit=pl.lit(knobs.burst),
        unit=pl.lit("share of the line rate"),
        confidence=pl.when(pl.col("speed_source").is_in(["given", "topology"]))
        .then(0.9)
        .otherwise(0.6),
        missing=pl.lit("queue length of the last switch"),
        summary=pl.format(
            "{} of {} on average, but full for {} in {}; {} marked CE in them",
            common.percent(pl.col("mean")),
            common.rate(pl.col("speed_bps")),
            common.duration(pl.col("full_ns")),
            common.count(pl.col("bins"), "time bin"),
            common.count(pl.col("ce"), "packet"),
        ),
    )
