"""One port holds a priority of its peer without letting go: nothing drains behind it any more.

A sender of XOFF frames that refreshes them before they expire (65,535 quanta of 512 bit times, IEEE
802.3 31B.2) stops its peer's egress for that priority for as long as it likes; queues behind fill and
pause their own feeders. A storm is a hold of at least 99 percent over at least 10 ms by one
originator, who is named; the port that counts the frames is the victim. A receiver under real load
releases in between and shows as pause pressure. A capture that ends during a hold proves less, and
the link speed decides what a quantum lasts.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("pauses",)
ADVICE = {
    "pfc_storm": "Go to the originator named here, a NIC or host in most cases: look for a stalled "
    "receive pipeline, reset it, and check that a PFC watchdog guards the port.",
}
COVERS = {"pfc_storm": ("pause_pressure", "pauses")}
# Between the expiry of one XOFF and a refresh that came late the port may send a few frames.
GAP_NS = 100 * common.US


@dataclass(frozen=True)
class Knobs:
    """What a storm is."""

    duty: float = field(
        default=0.99,
        metadata=common.because(
            "share", "Switch watchdogs took the same value after false alarms at 80 percent."
        ),
    )
    hold_ns: int = field(
        default=10 * common.MS,
        metadata=common.because(
            "ns", "No burst fills a buffer that long; watchdogs wait ten times longer."
        ),
    )
    cut_ns: int = field(
        default=common.MS,
        metadata=common.because(
            "ns",
            "A hold still open when the capture ends: three times the longest single XOFF "
            "at 100 Gb/s.",
        ),
    )


def _holds(tables: Tables, knobs: Knobs) -> pl.LazyFrame:
    """Holds without a pause of their own, long and dense enough: length, value (duty), cut, released."""
    keys = ("point", "sender", "priority")
    before = pl.col("end").cum_max().shift(1)
    run = (pl.col("start") - before > GAP_NS).fill_null(value=True).cum_sum()
    return (
        tables.pauses.filter(pl.col("priority") >= 0, pl.col("kind") == "observed")
        .with_columns(run=run.over(keys, order_by="start"))
        .group_by(*keys, "run")
        .agg(
            pl.col("start").min(),
            pl.col("end").max(),
            pl.col("paused_ns", "frames").sum(),
            pl.col("held_device", "held_port").first(),
            cut=(pl.col("end_reason") == "end_of_capture").any(),
            released=(pl.col("end_reason") == "xon").sum(),
            proof=pl.concat_list("first_frame", "last_frame").sort_by("start").head(4),
        )
        .with_columns(length=pl.col("end") - pl.col("start"))
        .with_columns(value=pl.col("paused_ns") / pl.col("length"))
        .filter(
            pl.col("value") >= knobs.duty,
            (pl.col("length") >= knobs.hold_ns)
            | (pl.col("cut") & (pl.col("length") >= knobs.cut_ns)),
        )
        .join(tables.points.select("point", "speed_source"), on="point", how="left")
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind pfc_storm, one per hold of a sender and priority."""
    whole = pl.col("length") >= knobs.hold_ns
    guessed = ~pl.col("speed_source").is_in(["given", "topology"])
    return common.findings(
        _holds(tables, knobs),
        __name__,
        ADVICE,
        **common.place("sender"),
        kind=pl.lit("pfc_storm"),
        severity=pl.when(whole).then(pl.lit("critical")).otherwise(pl.lit("warning")),
        subject=pl.format("{} holds priority {}", "sender", "priority"),
        limit=pl.lit(knobs.duty),
        unit=pl.lit("share"),
        lost_ns=pl.col("paused_ns"),
        confidence=pl.when(~whole)
        .then(0.6)
        .when(pl.col("released") > 0)
        .then(0.85)
        .otherwise(0.97),
        frames=pl.col("proof").list.eval(pl.element().explode()).list.unique().list.sort(),
        missing=pl.when(~whole)
        .then(pl.lit("a longer capture: it ends during the hold"))
        .when(guessed)
        .then(pl.lit("the link speed, which sets the length of a quantum"))
        .otherwise(pl.lit("")),
        summary=pl.format(
            "{} held priority {} of {} for {} ({} of it) with {}, released {}",
            "sender",
            "priority",
            pl.when(pl.col("held_device") == "")
            .then(pl.lit("its peer"))
            .otherwise(pl.format("{}:{}", "held_device", "held_port")),
            common.duration(pl.col("length")),
            common.percent(pl.col("value")),
            common.count(pl.col("frames"), "pause frame"),
            common.count(pl.col("released"), "time", "times"),
        ),
    )
