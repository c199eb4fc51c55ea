"""Pause frames were captured: who sent them, for which priority, and how long they held.

PFC frames (IEEE 802.1Qbb, format in IEEE 802.3 31D) live on one link and are eaten by the first MAC,
so most captures hold none; where there are any, the hold is the union of the spans they ask for, cut
by XON and by expiry. A few short holds are a lossless fabric at work. Without the link's speed the
length of a quantum is inferred, and the held time with it.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("pauses",)
ADVICE = {"pauses": "Nothing by itself; see whether it coincides with what the flows suffered."}


@dataclass(frozen=True)
class Knobs:
    """When pauses are worth a line."""

    least_frames: int = field(
        default=1, metadata=common.because("packets", "Pause frames in a capture are rare news.")
    )


def _held(tables: Tables, knobs: Knobs) -> pl.LazyFrame:
    """Holds summed by sender and priority."""
    span = (pl.col("last") - pl.col("first")).alias("span")
    reasons = {
        reason: (pl.col("end_reason") == reason).sum()
        for reason in ("xon", "expiry", "end_of_capture")
    }
    return (
        tables.pauses.filter(pl.col("priority") >= 0, pl.col("kind") != "inferred")
        .group_by("point", "sender", "priority", evidence="kind")
        .agg(
            pl.col("start").min(),
            pl.col("end").max(),
            pl.col("frames").sum(),
            # without a speed nobody knows: the sum of unknown times is no zero
            paused_ns=pl.when(pl.col("paused_ns").count() > 0).then(pl.col("paused_ns").sum()),
            longest=pl.col("paused_ns").max(),
            episodes=pl.len(),
            proof=pl.col("first_frame").sort_by("start").head(common.FRAMES),
            **reasons,
        )
        .filter(pl.col("frames") >= knobs.least_frames)
        .join(tables.points.select("point", "speed_source", span), on="point", how="left")
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind pauses, severity info, one per sender and priority."""
    guessed = ~pl.col("speed_source").is_in(["given", "topology"])
    return common.findings(
        _held(tables, knobs),
        __name__,
        ADVICE,
        **common.place("sender"),
        kind=pl.lit("pauses"),
        severity=pl.lit("info"),
        subject=pl.format("{} holds priority {}", "sender", "priority"),
        value=pl.col("paused_ns"),
        unit=pl.lit("ns"),
        lost_ns=pl.col("paused_ns"),
        frames=pl.col("proof"),
        missing=pl.when(guessed).then(pl.lit("the link speed")).otherwise(pl.lit("")),
        summary=pl.format(
            "{} by {}, {} in all, {} at most; {} ended by XON, {} by expiry, {} open at the end",
            common.count(pl.col("episodes"), "hold"),
            common.count(pl.col("frames"), "pause frame"),
            common.duration(pl.col("paused_ns")).fill_null("for a time only the speed can tell"),
            common.duration(pl.col("longest")).fill_null("-"),
            "xon",
            "expiry",
            "end_of_capture",
        ),
    )
