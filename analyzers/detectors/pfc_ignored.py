"""A port goes on sending a priority that its peer has paused: the peer's headroom is what it fills.

A port must stop a held priority within the response time of IEEE 802.3 31B.3.7 after the XOFF; the peer
keeps headroom for just that, for the frame under way and for the cable. What comes later overflows it,
and frames of a lossless class are dropped. A NIC with PFC off, or on for another priority, or a DSCP that
the two ends map to different priorities does this. The priority of untagged frames is read from the DSCP
by the class selector (DSCP / 8), which a fabric may map otherwise; a cable longer than 300 m, and a
capture that joins several links of a switched (not routed) network, look the same.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("pause_breaches",)
ADVICE = {
    "pfc_ignored": "On the port named here check that PFC is enabled for this priority, that both ends "
    "trust the same field (DSCP or PCP) and map it alike, and that the other end's headroom drops "
    "nothing.",
}


@dataclass(frozen=True)
class Knobs:
    """When frames after an XOFF are no accident."""

    packets: int = field(
        default=3,
        metadata=common.because(
            "packets", "One or two frames may have been further on than the allowance thinks."
        ),
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind pfc_ignored, one per port that went on, port that asked, and priority."""
    rows = (
        tables.pause_breaches.group_by("point", "sender", "held", "priority")
        .agg(
            pl.col("start").min(),
            pl.col("last").max().alias("end"),
            pl.col("packets", "bytes").sum(),
            pl.col("tagged").all(),
            src=pl.col("src").sort_by("first", "first_frame").first(),
            sources=pl.col("src").n_unique(),
            holds=pl.len(),
            over=(pl.col("last") - pl.col("start")).max(),
            proof=pl.concat_list("first_frame", "last_frame")
            .sort_by("first", "first_frame")
            .head(4),
        )
        .filter(pl.col("packets") >= knobs.packets)
        .join(tables.points.select("point", "speed_source"), on="point", how="left")
    )
    known = pl.col("speed_source").is_in(["given", "topology"])
    one = pl.col("held") != ""
    who = pl.when(one).then("held").otherwise(pl.lit("the other end of the link"))
    bare = one & pl.col("held").str.contains(common.MAC)
    address = (
        pl.when(bare & (pl.col("sources") == 1))
        .then(pl.format(" ({})", "src"))
        .otherwise(pl.lit(""))
    )
    what = (
        pl.when(pl.col("priority") < 0)
        .then(pl.lit("everything"))
        .otherwise(pl.format("priority {}", "priority"))
    )
    return common.findings(
        rows,
        __name__,
        ADVICE,
        **common.place("held"),
        kind=pl.lit("pfc_ignored"),
        severity=pl.lit("critical"),
        subject=pl.format("{}{} held by {}", who, address, "sender"),
        value=pl.col("packets"),
        limit=pl.lit(knobs.packets),
        unit=pl.lit("packets"),
        confidence=pl.when(one & known & pl.col("tagged"))
        .then(0.97)
        .when(one)
        .then(0.9)
        .otherwise(0.7),
        missing=pl.when(~pl.col("tagged") & (pl.col("priority") >= 0))
        .then(pl.lit("the port's map from DSCP to priority"))
        .when(known)
        .then(pl.lit(""))
        .otherwise(pl.lit("the link speed")),
        frames=pl.col("proof").list.eval(pl.element().explode()).list.unique().list.sort(),
        summary=pl.format(
            "{} went on with {} after {} had paused it: {}, {}, up to {} after the XOFF, in {}",
            who,
            what,
            "sender",
            common.count(pl.col("packets"), "frame"),
            common.size(pl.col("bytes")),
            common.duration(pl.col("over")),
            common.count(pl.col("holds"), "hold"),
        ),
    )
