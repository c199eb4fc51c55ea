"""Switches mark packets as having met congestion: a queue on the way to this receiver stands too high.

A switch sets the ECN field of a packet to CE (RFC 3168 section 5) with a probability that rises with
its egress queue from Kmin to Kmax and is one above it, so the share of CE packets measures how full
the queue stood. A few percent is DCQCN at work; most packets marked means that the queue stood above
Kmax and congestion control is not holding it. A mark says nothing of where it was set, and a tap
ahead of the congested switch sees none; too low a Kmin marks without congestion.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("flows",)
ADVICE = {
    "ecn_marking": "Look at the egress queues towards this receiver; the senders named first "
    "contribute most. Fewer senders at a time, or more paths, lower the queue.",
}


@dataclass(frozen=True)
class Knobs:
    """When marks are congestion, not control."""

    share: float = field(
        default=0.001,
        metadata=common.because("share", "Below one in a thousand is not worth a line."),
    )
    warning_share: float = field(
        default=0.5,
        metadata=common.because(
            "share",
            "Curves end at 1 to 80 percent below Kmax; half of all packets needs a queue above it.",
            "none",
        ),
    )
    warning_packets: int = field(
        default=200,
        metadata=common.because(
            "packets", "A queue that stood for fewer packets drained by itself.", "none"
        ),
    )


def _marked(tables: Tables, knobs: Knobs) -> pl.LazyFrame:
    """Receivers at a point with marked packets: value (share), ce, ect, flows, sources, worst.

    More than a few receivers share the queue that marks, or the path to it, and are told as one.
    """
    spans = (
        tables.flow_windows.filter(pl.col("ce") > 0)
        .group_by("flow")
        .agg(
            pl.col("start").min().alias("begin"),
            (pl.col("start") + pl.col("width_ns")).max().alias("until"),
        )
    )
    by_source = (
        tables.flows.filter(pl.col("ect") > 0)
        .join(spans, on="flow", how="left", maintain_order="none")
        .group_by("point", "dst", "src")
        .agg(
            pl.col("ce", "ect").sum(),
            pl.coalesce("begin", "first").filter(pl.col("ce") > 0).min().alias("start"),
            pl.coalesce("until", "last").filter(pl.col("ce") > 0).max().alias("end"),
            flows=(pl.col("ce") > 0).sum(),
        )
    )
    worst = pl.format("{} ({})", "src", common.percent(pl.col("ce") / pl.col("ect")))
    receivers = pl.col("dst").n_unique().over("point")
    return (
        by_source.filter(pl.col("ce").sum().over("point", "dst") > 0)
        .with_columns(
            subject=pl.when(receivers <= common.MOST)
            .then(pl.format("→ {}", "dst"))
            .otherwise(pl.format("→ {} receivers", receivers))
        )
        .group_by("point", "subject")
        .agg(
            pl.col("ce", "ect", "flows").sum(),
            pl.col("start").min(),
            pl.col("end").max(),
            worst=pl.when(pl.col("ce") > 0)
            .then(worst)
            .sort_by("ce", "src", descending=[True, False])
            .head(3)
            .str.join(", "),
            sources=pl.col("src").filter(pl.col("ce") > 0).n_unique(),
        )
        .with_columns(value=pl.col("ce") / pl.col("ect"))
        .filter(pl.col("value") >= knobs.share)
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind ecn_marking, one per receiver at a point, or one for many."""
    heavy = (pl.col("value") >= knobs.warning_share) & (pl.col("ce") >= knobs.warning_packets)
    return common.findings(
        _marked(tables, knobs),
        __name__,
        ADVICE,
        kind=pl.lit("ecn_marking"),
        severity=pl.when(heavy).then(pl.lit("warning")).otherwise(pl.lit("info")),
        limit=pl.lit(knobs.warning_share),
        unit=pl.lit("share"),
        confidence=pl.lit(0.95),
        missing=pl.lit("queue lengths of the switches"),
        summary=pl.format(
            "{} of {} marked CE, from {} in {}; most from {}",
            common.percent(pl.col("value")),
            common.count(pl.col("ect"), "packet"),
            common.count(pl.col("sources"), "sender"),
            common.count(pl.col("flows"), "queue pair"),
            "worst",
        ),
    )
