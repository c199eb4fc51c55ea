"""A priority of a sender stops and goes on again as if it were held, where no pause frame can be seen.

PFC frames live on one link and are eaten by the first MAC, so a tap elsewhere, a mirror port and a host's
own capture show only what a hold does: all flows of one priority stop in the middle of their messages,
together, while another priority of the same sender goes on. It is an inference: a scheduler that starves
the priority, or a NIC that stops one class for reasons of its own, look the same. Bins follow
``--window``: holds shorter than that are not seen at all.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("pauses",)
ADVICE = {
    "pause_inferred": "Read the pause counters of the sender's port and of the switch port it is cabled to, "
    "or tap that link: only they can tell whether it was held, and by whom.",
}


@dataclass(frozen=True)
class Knobs:
    """When a silence is worth saying, and when it is a warning."""

    least_ns: int = field(
        default=common.MS,
        metadata=common.because("ns", "Of silence in all; less is one bin of the finest kind."),
    )
    long_ns: int = field(
        default=10 * common.MS,
        metadata=common.because("ns", "In one go: no burst fills a buffer that long.", "none"),
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind pause_inferred, one per sender and priority, where no pause was captured."""
    blind = tables.points.filter(pl.col("pauses") == 0).select("point")
    rows = (
        tables.pauses.filter(pl.col("kind") == "inferred")
        .join(blind, on="point", how="semi")
        .group_by("point", "held_device", "held_port", "priority")
        .agg(
            pl.col("start").min(),
            pl.col("end").max(),
            pl.col("paused_ns").sum(),
            longest=pl.col("paused_ns").max(),
            times=pl.len(),
        )
        .filter(pl.col("paused_ns") >= knobs.least_ns)
    )
    long = pl.col("longest") >= knobs.long_ns
    return common.findings(
        rows,
        __name__,
        ADVICE,
        kind=pl.lit("pause_inferred"),
        severity=pl.when(long).then(pl.lit("warning")).otherwise(pl.lit("info")),
        subject=pl.format("{} priority {}", "held_device", "priority"),
        device=pl.when(pl.col("held_port") == "").then(pl.lit("")).otherwise("held_device"),
        port=pl.col("held_port"),
        value=pl.col("longest"),
        limit=pl.lit(knobs.long_ns),
        unit=pl.lit("ns"),
        lost_ns=pl.col("paused_ns"),
        confidence=pl.lit(0.6),
        evidence=pl.lit("inferred"),
        missing=pl.lit("pause frames or pause counters of the sender's link"),
        summary=pl.format(
            "{} fell silent on priority {} in the middle of its messages while another priority went on: "
            "{}, {} in all, {} at most",
            "held_device",
            "priority",
            common.count(pl.col("times"), "time"),
            common.duration(pl.col("paused_ns")),
            common.duration(pl.col("longest")),
        ),
    )
