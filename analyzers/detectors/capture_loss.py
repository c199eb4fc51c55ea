"""The capture lost packets that the network delivered: what follows from missing packets is weaker.

The receiver acknowledged packets that the tap never saw, and nobody sent them again, so they were
delivered and only the capture missed them (IBTA 9.7.5.1: an ACK covers all packets before it). A
mirror session loses most where the link is busiest, which is exactly when one looks. It is wrong
where packets of one queue pair take two links and only one of them is tapped: nothing is lost then,
the point simply does not see everything.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("events",)
EVENTS = ("capture_loss",)
ADVICE = {
    "capture_loss": "Treat missing packets at this point with care; capture with a smaller snap "
    "length, a larger buffer, or a tap instead of a mirror port.",
}


@dataclass(frozen=True)
class Knobs:
    """When capture loss is told, and when it spoils the rest."""

    least: int = field(
        default=1, metadata=common.because("packets", "Any capture loss weakens loss verdicts.")
    )
    warning_share: float = field(
        default=0.01,
        metadata=common.because(
            "share", "Above one percent, counts and places of loss are not to be trusted.", "none"
        ),
    )
    warning_least: int = field(
        default=100,
        metadata=common.because("packets", "A share of a handful of packets says little.", "none"),
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind capture_loss."""
    value = pl.col("psns").sum().cast(pl.Float64).alias("value")
    share = pl.col("value") / (pl.col("value") + pl.col("packets"))
    rows = common.told(common.events(tables, *EVENTS), "point", "kind", extra=(value,))
    return common.findings(
        rows.filter(pl.col("value") >= knobs.least),
        __name__,
        ADVICE,
        severity=pl.when(share >= knobs.warning_share, pl.col("value") >= knobs.warning_least)
        .then(pl.lit("warning"))
        .otherwise(pl.lit("info")),
        limit=pl.lit(knobs.least),
        unit=pl.lit("packets"),
        lost_ns=pl.lit(0),
        summary=pl.format(
            "{} ({}) acknowledged by the receiver but not in the capture, in {}",
            common.count(pl.col("value"), "packet"),
            common.percent(share),
            common.count(pl.col("flows"), "queue pair"),
        ),
    )
