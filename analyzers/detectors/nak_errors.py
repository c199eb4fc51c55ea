"""A responder refused a request for good: the queue pair is dead, and its job with it.

Invalid request, remote access error and remote operational error (IBTA table 46, codes 1 to 3) are no
congestion signals: the responder's queue pair goes to the error state and nothing sent later is
executed. The cause is a program or a memory registration, seldom the network. It is wrong only where
a damaged packet carried the NAK; the ICRC check (--icrc) would show that.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("events",)
EVENTS = ("nak",)
ADVICE = {
    "fatal_nak": "Look at the two programs: wrong or expired remote key, address outside the "
    "registration, message longer than the receive buffer, or a failed adapter.",
}


@dataclass(frozen=True)
class Knobs:
    """When a refusal is worth a finding."""

    least: int = field(
        default=1, metadata=common.because("NAKs", "The first one ends the queue pair.")
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind fatal_nak."""
    rows = common.events(tables, *EVENTS).with_columns(kind=pl.lit("fatal_nak"))
    value = pl.len().cast(pl.Float64).alias("value")
    told = common.told(rows, "point", "kind", "verdict", extra=(value,))
    return common.findings(
        told.filter(pl.col("value") >= knobs.least),
        __name__,
        ADVICE,
        severity=pl.lit("critical"),
        limit=pl.lit(knobs.least),
        unit=pl.lit("NAKs"),
        confidence=pl.lit(0.99),
        summary=pl.format(
            "{} of kind {} in {}: the responder refused and the connection is broken",
            common.count(pl.col("value"), "NAK"),
            pl.col("verdict").str.replace_all("_", " "),
            common.count(pl.col("flows"), "queue pair"),
        ),
    )
