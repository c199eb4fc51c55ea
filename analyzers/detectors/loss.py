"""Packets of a queue pair were lost on the way: somewhere the lossless fabric is not lossless.

A packet that never passes the tap but is asked for by a NAK (IBTA 9.7.5.2.8) and sent again was lost
upstream of it; one that passed and is asked for was lost downstream; where two taps disagree, it was
lost between them. Go-back-N sends everything behind the loss again, so one lost packet costs a round
trip and up to a window of bytes. A capture that loses packets itself can make a downstream loss look
like an upstream one: such events are told by the detector ``undecided``, and capture loss at a point
lowers the confidence here.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("events",)
EVENTS = ("loss",)
ADVICE = {
    "loss_upstream": "Look between the sender and this tap: FEC and CRC errors, headroom drops, "
    "PFC watchdog drops.",
    "loss_downstream": "Look between this tap and the receiver, its NIC included: FEC and CRC "
    "errors, headroom drops, PFC watchdog drops.",
    "loss_between": "The drop lies between the two taps: FEC and CRC errors, headroom drops, PFC "
    "watchdog drops on that segment.",
}


@dataclass(frozen=True)
class Knobs:
    """When lost packets are worth a finding."""

    least: int = field(
        default=1,
        metadata=common.because("packets", "A lossless class loses nothing: one is too many."),
    )
    critical_share: float = field(
        default=0.01,
        metadata=common.because(
            "share", "Go-back-N goodput collapses towards one percent of loss.", "none"
        ),
    )
    critical_least: int = field(
        default=10,
        metadata=common.because("packets", "A share of a handful of packets says little.", "none"),
    )


def _placed(tables: Tables) -> pl.LazyFrame:
    """Lost packets, each told once, with the kind of finding and ``where`` in words."""
    upstream, downstream = pl.col("place") == "upstream", pl.col("place") == "downstream"
    return (
        common.events(tables, *EVENTS)
        .filter(pl.col("verdict") == "lost")
        .with_columns(
            kind=pl.when(upstream)
            .then(pl.lit("loss_upstream"))
            .when(downstream)
            .then(pl.lit("loss_downstream"))
            .otherwise(pl.lit("loss_between")),
            where=pl.when(upstream | downstream)
            .then(pl.format("{} of {}", "place", "point"))
            .otherwise("place"),
        )
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind loss_upstream, loss_downstream, loss_between."""
    capture_loss = pl.col("kind") == "capture_loss"
    doubtful = tables.events.filter(capture_loss).select("point", doubt=pl.lit(True)).unique()
    sums = (pl.col("psns").sum().cast(pl.Float64).alias("value"), pl.col("resent").sum())
    lost = pl.col("value")
    rows = (
        common.told(_placed(tables), "point", "kind", "where", extra=sums)
        .filter(lost >= knobs.least)
        .join(doubtful, on="point", how="left", maintain_order="none")
    )
    return common.findings(
        rows,
        __name__,
        ADVICE,
        severity=pl.when(
            lost >= knobs.critical_share * pl.col("packets"), lost >= knobs.critical_least
        )
        .then(pl.lit("critical"))
        .otherwise(pl.lit("warning")),
        limit=pl.lit(knobs.least),
        unit=pl.lit("packets"),
        confidence=pl.when(pl.col("doubt").is_null()).then(0.97).otherwise(0.7),
        summary=pl.format(
            "{} lost {} in {}; {} sent again, {} lost waiting",
            common.count(lost, "packet"),
            "where",
            common.count(pl.col("flows"), "queue pair"),
            common.count(pl.col("resent"), "packet"),
            common.duration(pl.col("lost_ns")),
        ),
    )
