"""A port is held back a good part of the time: its receiver, or something behind it, cannot keep up.

Buffers above their XOFF threshold make a switch or NIC pause one priority of its peer (IEEE 802.1Qbb)
until they have drained; that is how a lossless class works, but time held is throughput lost, and
holds spread upstream. Ten percent over 10 ms is where flows that merely share the port begin to
suffer. Many holds with little held time (flutter) keep queues short and still disturb; planned
collectives reach both for moments. Bins follow ``--window``; a capture shorter than 10 ms can only
under-report.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("pause_windows",)
ADVICE = {
    "pause_pressure": "Follow the pauses to who sends them: congestion behind that port, a slow "
    "receiver, or a link slower than its feeders.",
    "pause_flutter": "Check the XOFF and XON thresholds of the sender of the pauses: they lie too "
    "close together or too low.",
}

COVERS = {"pause_pressure": ("pauses",), "pause_flutter": ("pauses",)}


@dataclass(frozen=True)
class Knobs:
    """When pauses cost too much."""

    duty: float = field(
        default=0.10,
        metadata=common.because("share", "A tenth of the line rate is gone for everybody."),
    )
    window_ns: int = field(
        default=10 * common.MS,
        metadata=common.because(
            "ns", "Longer than a burst, shorter than a step of a training job.", "none"
        ),
    )
    flutter_per_s: float = field(
        default=1000.0,
        metadata=common.because("XOFF per second", "One per millisecond is oscillation, not load."),
    )
    flutter_duty: float = field(
        default=0.10,
        metadata=common.because(
            "share", "With more held time it is pressure, not flutter.", "less"
        ),
    )


def _held(tables: Tables, knobs: Knobs) -> pl.LazyFrame:
    """Senders and priorities above a limit in some window, with the worst of it."""
    keys = ("point", "sender", "priority")
    over = pl.max_horizontal(pl.lit(knobs.window_ns), pl.col("width_ns"))
    window = f"{knobs.window_ns}i"
    held = pl.col("paused_ns").rolling_sum_by("start", window_size=window) / over
    turns = pl.col("transitions").rolling_sum_by("start", window_size=window) / over * common.SECOND
    pressed = pl.col("held") >= knobs.duty
    flutters = (pl.col("held") < knobs.flutter_duty) & (pl.col("turns") > knobs.flutter_per_s)
    bins = (
        tables.pause_windows.filter(pl.col("priority") >= 0)
        .sort("start")
        .with_columns(held=held.over(keys), turns=turns.over(keys))
    )
    mine = {
        "pause_pressure": (pressed, pl.col("held"), knobs.duty, "share"),
        "pause_flutter": (flutters, pl.col("turns"), knobs.flutter_per_s, "XOFF per second"),
    }
    return pl.concat(
        [
            bins.filter(condition)
            .group_by(keys)
            .agg(
                pl.col("start").min(),
                (pl.col("start") + pl.col("width_ns")).max().alias("end"),
                # of the bins, and at least what the worst window held
                pl.max_horizontal(
                    pl.col("paused_ns").sum(), (pl.col("held") * over).max().cast(pl.Int64)
                ).alias("paused_ns"),
                pl.col("transitions").sum(),
                pl.col("held", "turns").max(),
                value=measure.max(),
                limit=pl.lit(limit),
                unit=pl.lit(unit),
                kind=pl.lit(kind),
            )
            for kind, (condition, measure, limit, unit) in mine.items()
        ]
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind pause_pressure and pause_flutter, one per sender and priority."""
    return common.findings(
        _held(tables, knobs),
        __name__,
        ADVICE,
        **common.place("sender"),
        severity=pl.lit("warning"),
        subject=pl.format("{} holds priority {}", "sender", "priority"),
        lost_ns=pl.col("paused_ns"),
        confidence=pl.lit(0.95),
        missing=pl.lit("queue occupancy of the port that pauses"),
        summary=pl.format(
            "{} held priority {} of its peer up to {} of {}, {} XOFF per second, {} in all",
            "sender",
            "priority",
            common.percent(pl.col("held")),
            common.duration(pl.lit(knobs.window_ns)),
            pl.col("turns").round(0).cast(pl.Int64),
            common.duration(pl.col("paused_ns")),
        ),
    )
