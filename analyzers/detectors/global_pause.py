"""A link uses 802.3x PAUSE: every class stops at once, notifications and acknowledgements included.

A PAUSE frame (IEEE 802.3 31B, opcode 1) stops all traffic of the peer, while a lossless fabric wants
only the lossless priority stopped (PFC, opcode 0x101). With CNPs and ACKs held as well, congestion
control reacts late and holds spread to traffic that did nothing. Deliberate on some small fabrics
without priorities.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("pauses",)
ADVICE = {
    "global_pause": "Switch link-level flow control off on both ends and enable PFC for the "
    "lossless priority instead.",
}


@dataclass(frozen=True)
class Knobs:
    """When a global pause is worth a finding."""

    least_frames: int = field(
        default=1, metadata=common.because("packets", "One shows that it is switched on.")
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind global_pause, one per sender; a warning where RoCE runs on the link."""
    rows = (
        tables.pauses.filter(pl.col("priority") == -1)
        .group_by("point", "sender")
        .agg(
            pl.col("start").min(),
            pl.col("end").max(),
            pl.col("paused_ns", "frames").sum(),
            proof=pl.col("first_frame").sort_by("start").head(common.FRAMES),
        )
        .filter(pl.col("frames") >= knobs.least_frames)
        .join(tables.points.select("point", "roce"), on="point", how="left")
    )
    return common.findings(
        rows,
        __name__,
        ADVICE,
        **common.place("sender"),
        kind=pl.lit("global_pause"),
        severity=pl.when(pl.col("roce") > 0).then(pl.lit("warning")).otherwise(pl.lit("info")),
        subject=pl.format("{} holds all priorities", "sender"),
        value=pl.col("frames"),
        limit=pl.lit(knobs.least_frames),
        unit=pl.lit("packets"),
        lost_ns=pl.col("paused_ns"),
        frames=pl.col("proof"),
        summary=pl.format(
            "{} stopped everything its peer sends, by {}, for {} in all",
            "sender",
            common.count(pl.col("frames"), "PAUSE frame"),
            common.duration(pl.col("paused_ns")),
        ),
    )
