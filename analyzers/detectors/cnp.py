"""Receivers tell senders to slow down, and why they did so: marks, NAKs, or nothing that was captured.

A receiver that gets a CE-marked packet answers with a congestion notification packet (IBTA A17.9.3),
at most one per pacing interval and queue pair, pair of hosts or port, as its NIC decides; the sender
cuts its rate at each. Some NICs send one with every NAK too, so a CNP is no proof of congestion: one
that follows a mark is told apart from one that follows a NAK. A tap ahead of the marking switch sees
CNPs without marks, so unexplained ones are information only.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("cnps",)
ADVICE = {
    "cnp_ecn": "Congestion control is at work; see the marked flows for where.",
    "cnp_nak": "Find the loss or reordering: the NIC slows the sender down for it as well.",
    "cnp_unexplained": "Capture at the receiver, behind the switch that marks, to see the cause.",
}


@dataclass(frozen=True)
class Knobs:
    """When notifications are worth a line."""

    least: int = field(default=1, metadata=common.because("packets", "Each one cuts a rate."))


def _per_flow(tables: Tables) -> pl.LazyFrame:
    """CNPs folded by flow and cause, shaped like rows of ``common.events``."""
    per_flow = tables.cnps.group_by("point", "flow", "cause").agg(
        ts=pl.col("ts").min(),
        end=pl.col("ts").max(),
        cnps=pl.len(),
        frame=pl.col("frame").min(),
        proof_frames=pl.col("frame").sort_by("ts", "frame").head(common.FRAMES),
        gap=pl.col("since_cnp_ns").min(),
        psn=pl.lit(0),
        delay_ns=pl.lit(0),
    )
    ends = tables.flows.select("flow", "src", "dst", "qpn", "packets")
    return per_flow.join(ends, on="flow", how="left", maintain_order="none").with_columns(
        kind=pl.format("cnp_{}", "cause")
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind cnp_ecn, cnp_nak and cnp_unexplained, severity info."""
    extra = (pl.col("cnps").sum().cast(pl.Float64).alias("value"), pl.col("gap").min())
    paced = (
        pl.when(pl.col("gap").is_not_null())
        .then(pl.format(", never closer than {} in one queue pair", common.duration(pl.col("gap"))))
        .otherwise(pl.lit(""))
    )
    told = common.told(_per_flow(tables), "point", "kind", extra=extra)
    return common.findings(
        told.filter(pl.col("value") >= knobs.least),
        __name__,
        ADVICE,
        severity=pl.lit("info"),
        limit=pl.lit(knobs.least),
        unit=pl.lit("packets"),
        confidence=pl.when(pl.col("kind") == "cnp_unexplained").then(0.5).otherwise(0.95),
        missing=pl.when(pl.col("kind") == "cnp_unexplained")
        .then(pl.lit("what the receiver saw before it sent them"))
        .otherwise(pl.lit("")),
        summary=pl.format(
            "{} to {}, {}{}",
            common.count(pl.col("value"), "congestion notification"),
            common.count(pl.col("flows"), "queue pair"),
            pl.col("kind").replace_strict(
                {
                    "cnp_ecn": "after packets marked CE",
                    "cnp_nak": "after NAKs, not after marks",
                },
                default="with no mark or NAK captured before them",
                return_dtype=pl.String,
            ),
            paced,
        ),
    )
