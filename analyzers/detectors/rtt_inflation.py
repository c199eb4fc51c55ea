"""Round trips took many times as long as they can: packets stood in queues, or were held by pauses.

The round trip from a packet to the ACK that covers it is measured at the tap (Karn's rule: resent
packets do not count) and held against the least seen between the same two addresses. Queues and
pauses on either way add to it; a healthy fabric stays near its minimum. A receiver that is slow to
acknowledge, software RDMA above all, inflates it without any queue; a tap near the receiver sees only
the short half of the path.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("flow_windows",)
ADVICE = {
    "rtt_inflation": "Compare with marks and pauses of the same time: with them it is queueing, "
    "without them look at the receiving host.",
}


@dataclass(frozen=True)
class Knobs:
    """When a round trip is inflated."""

    factor: float = field(
        default=8.0,
        metadata=common.because(
            "times the least", "Path triggers in the literature fire at two to four times the most."
        ),
    )
    least_ns: int = field(
        default=100 * common.US,
        metadata=common.because("ns", "Below this, timestamps and NIC batching account for it."),
    )
    least_samples: int = field(
        default=32, metadata=common.because("round trips", "A single late ACK proves nothing.")
    )
    warning_share: float = field(
        default=0.25,
        metadata=common.because(
            "share", "A quarter of the time bins slow is more than one burst.", "none"
        ),
    )


def _slow(tables: Tables, knobs: Knobs) -> pl.LazyFrame:
    """Address pairs at a point with slow bins: samples, total, longest, share, value (factor)."""
    mean = pl.col("rtt_sum_ns") / pl.col("rtt_count")
    base = (
        tables.flows.filter(pl.col("rtt_samples") > 0)
        .with_columns(base=pl.col("rtt_min_ns").min().over("point", "src", "dst"))
        .select("flow", "point", "src", "dst", "base")
    )
    slow = (pl.col("mean") >= knobs.factor * pl.col("base")) & (
        pl.col("mean") - pl.col("base") >= knobs.least_ns
    )
    return (
        tables.flow_windows.filter(pl.col("rtt_count") > 0)
        .join(base, on="flow", maintain_order="none")
        .with_columns(mean=mean)
        .group_by("point", "src", "dst")
        .agg(
            pl.col("start").filter(slow).min(),
            (pl.col("start") + pl.col("width_ns")).filter(slow).max().alias("end"),
            pl.col("base").min(),
            samples=pl.col("rtt_count").filter(slow).sum(),
            total=pl.col("rtt_sum_ns").filter(slow).sum(),
            longest=pl.col("rtt_max_ns").filter(slow).max(),
            share=slow.mean(),
        )
        .filter(pl.col("samples") >= knobs.least_samples)
        .with_columns(value=pl.col("total") / pl.col("samples") / pl.col("base"))
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind rtt_inflation, one per address pair at a point."""
    return common.findings(
        _slow(tables, knobs),
        __name__,
        ADVICE,
        kind=pl.lit("rtt_inflation"),
        severity=pl.when(pl.col("share") >= knobs.warning_share)
        .then(pl.lit("warning"))
        .otherwise(pl.lit("info")),
        subject=pl.format("{} → {}", "src", "dst"),
        limit=pl.lit(knobs.factor),
        unit=pl.lit("times the least"),
        confidence=pl.lit(0.8),
        missing=pl.lit("one-way delays: which of the two ways was slow"),
        summary=pl.format(
            "round trips of {} on average where {} is possible, up to {}, in {} of the time bins",
            common.duration(pl.col("total") / pl.col("samples")),
            common.duration(pl.col("base")),
            common.duration(pl.col("longest")),
            common.percent(pl.col("share")),
        ),
    )
