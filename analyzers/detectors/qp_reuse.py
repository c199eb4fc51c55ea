"""A queue pair number began another life, or fell silent for longer than its numbering can bridge.

PSNs have 24 bits (IBTA 9.2.3): a queue pair at line rate runs through all of them within seconds, so
after a long silence, or a jump that the link could not have carried, packets before and after cannot
be compared. Reuse is normal when jobs restart; statistics start afresh and nothing is guessed across
it. A jump by chance close to the old number would go unnoticed (1.2e-4).
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("events",)
EVENTS = ("qpn_reuse", "hole")
ADVICE = {
    "qpn_reuse": "Expected when jobs restart; otherwise see why connections are rebuilt.",
    "silence": "Nothing to do: questions open across the silence stay open.",
}


@dataclass(frozen=True)
class Knobs:
    """When a new life is worth a line."""

    least: int = field(
        default=1, metadata=common.because("events", "It limits what can be said about the flow.")
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind qpn_reuse and silence, severity info."""
    rows = common.events(tables, *EVENTS).with_columns(pl.col("kind").replace({"hole": "silence"}))
    value = pl.len().cast(pl.Float64).alias("value")
    return common.findings(
        common.told(rows, "point", "kind", extra=(value,)).filter(pl.col("value") >= knobs.least),
        __name__,
        ADVICE,
        severity=pl.lit("info"),
        limit=pl.lit(knobs.least),
        unit=pl.lit("events"),
        lost_ns=pl.lit(0),
        confidence=pl.lit(0.9),
        summary=pl.format(
            "{} in {}: {}",
            common.count(pl.col("value"), "time", "times"),
            common.count(pl.col("flows"), "queue pair"),
            pl.when(pl.col("kind") == "qpn_reuse")
            .then(pl.lit("the number was taken into use again, and counting starts afresh"))
            .otherwise(pl.lit("a silence longer than the packet numbers can bridge")),
        ),
    )
