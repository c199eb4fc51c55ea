"""Packets were sent again although they were not lost, or for a reason the capture does not show.

Spurious: the receiver asked (NAK), but the original came after all, so reordering and not loss made
it ask, and the resend wasted the link. Unexplained: the sender repeats packets with neither a NAK nor
a silence that a timer would need (IBTA 9.7.6). The latter is wrong where the NAK itself was not
captured, and where a second mirror copy of a packet could not be told from a resend.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("events",)
EVENTS = ("retransmission",)
ADVICE = {
    "spurious_retransmission": "Stop the reordering (one path per queue pair) or let the NICs "
    "accept packets out of order.",
    "unexplained_retransmission": "Capture both directions at the sender, to see what it was asked.",
}


@dataclass(frozen=True)
class Knobs:
    """When needless resends are worth a finding."""

    least: int = field(
        default=1, metadata=common.because("packets", "A lossless path repeats nothing.")
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind spurious_retransmission and unexplained_retransmission."""
    spurious = pl.col("verdict") == "spurious"
    kind = (
        pl.when(spurious)
        .then(pl.lit("spurious_retransmission"))
        .otherwise(pl.lit("unexplained_retransmission"))
    )
    value = pl.col("resent").sum().cast(pl.Float64).alias("value")
    rows = common.events(tables, *EVENTS).with_columns(kind=kind)
    explained = pl.col("kind") == "spurious_retransmission"
    return common.findings(
        common.told(rows, "point", "kind", extra=(value,)).filter(pl.col("value") >= knobs.least),
        __name__,
        ADVICE,
        severity=pl.lit("warning"),
        limit=pl.lit(knobs.least),
        unit=pl.lit("packets"),
        confidence=pl.when(explained).then(0.95).otherwise(0.5),
        missing=pl.when(explained)
        .then(pl.lit(""))
        .otherwise(pl.lit("what made the sender resend")),
        summary=pl.format(
            "{} sent again in {} of {}, {}",
            common.count(pl.col("value"), "packet"),
            common.count(pl.col("events"), "run"),
            common.count(pl.col("flows"), "queue pair"),
            pl.when(explained)
            .then(pl.lit("although the originals arrived late and were not lost"))
            .otherwise(pl.lit("with neither a NAK nor a silence before")),
        ),
    )
