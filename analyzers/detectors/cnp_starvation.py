"""Packets arrive marked, and the receiver never tells the senders: congestion control has no effect.

Every CE mark that reaches a receiver should bring back a CNP (IBTA A17.9.3), subject to pacing; where
the notification point is switched off, or its CNPs are lost, senders keep their rate until PFC stops
them. Asked only where the responses of a marked flow came past the tap and its receiver sent no CNP
to anybody here. Between switches CNPs may take another path than the ACKs beside which they would be
expected, so only a tap that sees one host alone is certain; notification may be off on purpose.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("flows",)
ADVICE = {
    "cnp_starvation": "Check that ECN notification (NP) is enabled on the receiver's NIC for this "
    "priority, and that CNPs have a priority of their own that is not congested.",
}


@dataclass(frozen=True)
class Knobs:
    """When the absence of notifications is a fault."""

    least_marks: int = field(
        default=50,
        metadata=common.because("packets", "Fewer marks may all fall into one pacing interval."),
    )
    least_ns: int = field(
        default=200 * common.US,
        metadata=common.because(
            "ns", "Four times the 50 us that the DCQCN paper waits between two CNPs."
        ),
    )


def _starving(tables: Tables, knobs: Knobs) -> pl.LazyFrame:
    """Receivers at a point with marks and without a CNP: value (marks), flows, senders, touched."""
    flows = tables.flows
    notifiers = (
        flows.filter(pl.col("cnp") > 0).select("point", dst="src").unique()
    ).with_columns(notifies=pl.lit(True))  # fmt: skip
    here = flows.select("point", "src", "dst")
    hosts = pl.concat(
        [here.select("point", host="src"), here.select("point", host="dst").filter(pl.lit(True))]
    )
    seen = hosts.group_by("point", dst="host").agg(touched=pl.len())
    total = flows.group_by("point").agg(flows_here=pl.len())
    return (
        flows.filter(pl.col("ce") > 0, pl.col("peer_flow").is_not_null())
        .group_by("point", "dst")
        .agg(
            pl.col("first").min().alias("start"),
            pl.col("last").max().alias("end"),
            pl.col("ce").sum().alias("value"),
            flows=pl.len(),
            senders=pl.col("src").n_unique(),
        )
        .filter(
            pl.col("value") >= knobs.least_marks,
            pl.col("end") - pl.col("start") >= knobs.least_ns,
        )
        .join(notifiers, on=["point", "dst"], how="left", maintain_order="none")
        .filter(pl.col("notifies").is_null())
        .join(seen, on=["point", "dst"], how="left", maintain_order="none")
        .join(total, on="point", how="left", maintain_order="none")
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind cnp_starvation, one per receiver at a point."""
    alone = pl.col("touched") == pl.col("flows_here")
    return common.findings(
        _starving(tables, knobs),
        __name__,
        ADVICE,
        kind=pl.lit("cnp_starvation"),
        severity=pl.when(alone).then(pl.lit("warning")).otherwise(pl.lit("info")),
        subject=pl.format("{} as receiver", "dst"),
        limit=pl.lit(knobs.least_marks),
        unit=pl.lit("packets"),
        confidence=pl.when(alone).then(0.9).otherwise(0.4),
        missing=pl.when(alone)
        .then(pl.lit("the receiver's notification settings"))
        .otherwise(pl.lit("a capture at the receiver: CNPs may take another path")),
        summary=pl.format(
            "{} marked CE in {} from {}, and no congestion notification came back",
            common.count(pl.col("value"), "packet"),
            common.count(pl.col("flows"), "queue pair"),
            common.count(pl.col("senders"), "sender"),
        ),
    )
