"""Several senders fill one receiver's link at the same moment: the last switch must queue or pause.

When N senders start towards one host within a round trip, their sum exceeds the host's link and the
egress queue of the last switch absorbs the rest, marks it, then pauses the feeders. Told where three
or more sources meet in a time bin and their sum is above the line rate, or fills the line while most
packets are marked (behind the last switch the line rate is all one can see). An exchange that the
receiver returns to its senders in kind is a planned collective, and a burst that ends before senders
could react is what buffers are for: both are information only.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("host_windows",)
ADVICE = {
    "incast": "Stagger the senders, or lower their windows; check that marking starts early "
    "enough on the last switch. The senders are in the traffic matrix.",
}


@dataclass(frozen=True)
class Knobs:
    """What an incast is."""

    sources: int = field(
        default=3, metadata=common.because("senders", "Two flows that meet are contention.")
    )
    line_share: float = field(
        default=0.9,
        metadata=common.because("share", "A marked queue is only full where the line is busy."),
    )
    above: float = field(
        default=1.05,
        metadata=common.because("share", "Clearly above the line rate, bin edges considered."),
    )
    ce_share: float = field(
        default=0.5,
        metadata=common.because("share", "Most packets marked: the queue stands above Kmax."),
    )
    reaction_ns: int = field(
        default=60 * common.US,
        metadata=common.because(
            "ns",
            "Marks, a CNP interval of 50 us and a round trip pass before senders can slow down: a "
            "shorter burst is what buffers are for.",
            "none",
        ),
    )
    returned: float = field(
        default=0.5,
        metadata=common.because(
            "share", "A receiver that sends half as much back takes part in an exchange.", "none"
        ),
    )


def _returned(tables: Tables) -> pl.LazyFrame:
    """Per receiver at a point: the share of what came that went back to the same senders."""
    pairs = tables.traffic.select("point", "src", "dst", "payload_bytes")
    back = pairs.select("point", src="dst", dst="src", back="payload_bytes")
    both = pl.min_horizontal("payload_bytes", pl.col("back").fill_null(0))
    return (
        pairs.join(back, on=["point", "src", "dst"], how="left")
        .group_by("point", "dst")
        .agg(back=both.sum() / pl.col("payload_bytes").sum())
    )


def _bursts(tables: Tables, knobs: Knobs) -> pl.LazyFrame:
    """Receivers at a point in bins that three or more sources overfill, with what went back."""
    load = pl.col("bytes") * (8.0 * common.SECOND) / pl.col("width_ns") / pl.col("speed_bps")
    marked = pl.col("ce") / pl.col("packets")
    full = (pl.col("load") > knobs.above) | (
        (pl.col("load") >= knobs.line_share) & (marked >= knobs.ce_share)
    )
    return (
        tables.host_windows.filter(pl.col("sources") >= knobs.sources)
        .join(tables.points.select("point", "speed_bps", "speed_source"), on="point")
        .filter(pl.col("speed_bps") > 0)
        .with_columns(load=load)
        .filter(full)
        .group_by("point", "dst", "speed_source", "speed_bps")
        .agg(
            pl.col("start").min(),
            (pl.col("start") + pl.col("width_ns")).max().alias("end"),
            pl.col("bytes", "ce", "packets", "width_ns").sum(),
            pl.col("sources", "flows").max(),
            value=pl.col("load").max(),
        )
        .join(_returned(tables), on=["point", "dst"], how="left")
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind incast, one per receiver at a point."""
    planned = pl.col("back") >= knobs.returned
    short = pl.col("width_ns") < knobs.reaction_ns
    return common.findings(
        _bursts(tables, knobs),
        __name__,
        ADVICE,
        kind=pl.lit("incast"),
        severity=pl.when(planned | short).then(pl.lit("info")).otherwise(pl.lit("warning")),
        subject=pl.format("→ {}", "dst"),
        limit=pl.lit(1.0),
        unit=pl.lit("share of the line rate"),
        confidence=pl.when(planned).then(0.5).otherwise(0.9),
        missing=pl.when(pl.col("speed_source").is_in(["given", "topology"]))
        .then(pl.lit("queue length of the last switch"))
        .otherwise(pl.lit("the link speed; queue length of the last switch")),
        summary=pl.format(
            "up to {} in {} filled {} of the line rate ({}) for {} in all, {} marked CE{}",
            common.count(pl.col("sources"), "sender"),
            common.count(pl.col("flows"), "flow"),
            common.percent(pl.col("value")),
            common.rate(pl.col("speed_bps")),
            common.duration(pl.col("width_ns")),
            common.percent(pl.col("ce") / pl.col("packets")),
            pl.when(planned)
            .then(pl.lit("; it sends as much back, as an all-to-all does"))
            .otherwise(pl.lit("")),
        ),
    )
