"""Packets are missing and the capture cannot say whether the network or the tap lost them.

A gap in the packet sequence numbers is a loss only when the receiver asks for the packet (NAK) and a
capture loss only when it acknowledges it; a gap with neither stays open. Where the tap lost packets
of its own, resent packets that fill a gap prove nothing about the place either. It says too much at
the edges of a capture: what was on its way when capturing ended is open by nature.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("events",)
EVENTS = ("loss", "gap")
ADVICE = {
    "loss_undetermined": "Capture again without capture loss: shorter snap length, larger buffer, "
    "or a hardware tap.",
    "gap": "Capture longer and in both directions, to see whether the packets were asked for again.",
}


@dataclass(frozen=True)
class Knobs:
    """When open questions are worth a line."""

    least: int = field(
        default=1, metadata=common.because("packets", "Every open question is counted.")
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind loss_undetermined and gap, severity info."""
    kinds = {"loss": "loss_undetermined", "gap": "gap"}
    rows = (
        common.events(tables, *EVENTS)
        .filter(pl.col("verdict") == "undetermined")
        .with_columns(pl.col("kind").replace(kinds))
    )
    value = pl.col("psns").sum().cast(pl.Float64).alias("value")
    lossy = pl.col("kind") == "loss_undetermined"
    return common.findings(
        common.told(rows, "point", "kind", extra=(value,)).filter(pl.col("value") >= knobs.least),
        __name__,
        ADVICE,
        severity=pl.lit("info"),
        limit=pl.lit(knobs.least),
        unit=pl.lit("packets"),
        confidence=pl.lit(0.5),
        missing=pl.when(lossy)
        .then(pl.lit("a capture without losses of its own"))
        .otherwise(pl.lit("an acknowledgement or NAK that covers the gap")),
        summary=pl.format(
            "{} missing in {}; {}",
            common.count(pl.col("value"), "packet"),
            common.count(pl.col("flows"), "queue pair"),
            pl.when(lossy)
            .then(pl.lit("they were sent again, but the capture itself lost packets"))
            .otherwise(pl.lit("nothing captured says whether they arrived")),
        ),
    )
