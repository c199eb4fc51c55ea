"""Packets of a queue pair overtook each other: it crosses more than one path, or the path changed.

A packet arrived after one with a higher PSN, sooner than a resend could have come, and nobody had
asked for it. Per-flow ECMP keeps a queue pair on one path, so overtaking means a route change, an
adaptive-routing port or a broken bundle; a go-back-N receiver answers with a NAK and all is sent
again (IBTA 9.7.5.2.8). Harmless where packets are sprayed and the NIC accepts any order: told as
information where the acknowledgements were seen and nothing was sent again, or where the fabric is
declared to spray or to route by load and no harm was seen. A mirror port that
gathers several queues can itself disturb the order.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("events",)
EVENTS = ("reorder",)
ADVICE = {
    "reordering": "Look for a route or bundle change, adaptive routing or packet spraying on the "
    "path; where it is wanted, the NICs must accept packets out of order.",
}


@dataclass(frozen=True)
class Knobs:
    """When overtaking is worth a finding."""

    least: int = field(
        default=1, metadata=common.because("packets", "One path cannot reorder even once.")
    )
    least_extent: int = field(
        default=1, metadata=common.because("packets", "Any displacement breaks go-back-N.")
    )


def detect(tables: Tables, fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind reordering; where packets are sprayed, overtaking alone is information."""
    wanted = pl.lit(fabric is not None and fabric.routing != "ecmp")
    late = pl.col("kind") == "reorder"
    spurious = (pl.col("verdict") == "spurious").any().over("src", "dst", "qpn", "epoch")
    extra = (
        pl.len().cast(pl.Float64).alias("value"),
        pl.col("extent").max(),
        pl.col("delay_ns").max().alias("lateness"),
        pl.col("harm").any(),
        pl.col("peer_flow").is_null().any().alias("one_sided"),
    )
    rows = (
        common.events(tables, *EVENTS, "retransmission")
        .with_columns(harm=spurious)
        .filter(late)
        .with_columns(kind=pl.lit("reordering"))
    )
    return common.findings(
        common.told(rows, "point", "kind", extra=extra).filter(
            pl.col("value") >= knobs.least, pl.col("extent") >= knobs.least_extent
        ),
        __name__,
        ADVICE,
        severity=pl.when(pl.col("harm") | (pl.col("one_sided") & ~wanted))
        .then(pl.lit("warning"))
        .otherwise(pl.lit("info")),
        limit=pl.lit(knobs.least),
        unit=pl.lit("packets"),
        lost_ns=pl.lit(0),
        confidence=pl.when("one_sided").then(0.8).otherwise(0.95),
        missing=pl.when("one_sided").then(pl.lit("the responses")).otherwise(pl.lit("")),
        summary=pl.format(
            "{} arrived late in {}, displaced by up to {}, late by up to {}; {}",
            common.count(pl.col("value"), "packet"),
            common.count(pl.col("flows"), "queue pair"),
            common.count(pl.col("extent"), "packet"),
            common.duration(pl.col("lateness")),
            pl.when("harm")
            .then(pl.lit("receivers asked for packets that were only late"))
            .when(wanted)
            .then(pl.lit("the fabric is declared to spread packets over its paths"))
            .when("one_sided")
            .then(pl.lit("whether it did harm was not captured"))
            .otherwise(pl.lit("nothing was sent again for it")),
        ),
    )
