"""The receiving application had posted no buffer: the queue pair waits, and the network is innocent.

The responder answers a request it has no receive work request for with an RNR NAK that names a wait
(IBTA 9.7.5.2.8, timers in table 46); the sender must not try again before that time has passed. The
time lost is the application's. A sender that resends sooner breaks the protocol and makes it worse;
it is told apart. The wait is measured at the tap: a tap far from the sender sees it shorter or longer
by the difference of two ways.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("events",)
EVENTS = ("rnr",)
ADVICE = {
    "receiver_not_ready": "Look at the receiving process: too few receive buffers posted, or too "
    "late; its host may be busy.",
    "rnr_timer_ignored": "Check the sender's NIC firmware: it resends before the named wait is over.",
}


@dataclass(frozen=True)
class Knobs:
    """When RNR NAKs are worth a finding."""

    least: int = field(
        default=1, metadata=common.because("RNR NAKs", "Each one stops its queue pair for a while.")
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind receiver_not_ready and rnr_timer_ignored."""
    ignored = pl.col("verdict") == "timer_ignored"
    rows = common.events(tables, *EVENTS).with_columns(
        kind=pl.when(ignored)
        .then(pl.lit("rnr_timer_ignored"))
        .otherwise(pl.lit("receiver_not_ready"))
    )
    extra = (
        pl.len().cast(pl.Float64).alias("value"),
        pl.col("limit_ns").max().alias("timer"),
        (pl.col("verdict") == "no_resend").sum().alias("silent"),
    )
    return common.findings(
        common.told(rows, "point", "kind", extra=extra).filter(pl.col("value") >= knobs.least),
        __name__,
        ADVICE,
        severity=pl.lit("warning"),
        limit=pl.lit(knobs.least),
        unit=pl.lit("RNR NAKs"),
        confidence=pl.lit(0.99),
        summary=pl.format(
            "{} in {}, {} lost waiting, wait asked for up to {}{}",
            common.count(pl.col("value"), "receiver-not-ready NAK"),
            common.count(pl.col("flows"), "queue pair"),
            common.duration(pl.col("lost_ns")),
            common.duration(pl.col("timer")),
            pl.when(pl.col("kind") == "rnr_timer_ignored")
            .then(pl.lit("; the sender did not wait that long"))
            .when(pl.col("silent") > 0)
            .then(pl.format("; after {} of them nothing was sent again", "silent"))
            .otherwise(pl.lit("")),
        ),
    )
