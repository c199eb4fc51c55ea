"""A queue pair stood still until a timer ran out: its whole collective waited with it.

When the last packets before a pause, or their ACK, are lost, no later packet makes the receiver ask
for them, and the sender learns of it only by its local ACK timeout (IBTA 9.7.6.1.3): 4.096 us times
2^t, 67 ms to several seconds by usual settings. What the receiver says after the resend tells which
was lost: an ACK beyond what was repeated means only the ACK was lost. With a single packet
outstanding the two look the same and the verdict stays open; an application that merely pauses sends
nothing again and is not told here.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("events",)
EVENTS = ("timeout",)
ADVICE = {
    "tail_loss": "Find the drop on the path of the data; until then a shorter ACK timeout limits "
    "the stall.",
    "ack_loss": "Find the drop on the path of the acknowledgements, which may differ from that of "
    "the data.",
    "timeout": "Capture at sender and receiver at once, to see whether data or ACK were lost.",
}
KINDS = {"tail_loss": "tail_loss", "ack_lost": "ack_loss"}


@dataclass(frozen=True)
class Knobs:
    """When a timeout is worth a finding, and when it is critical."""

    least: int = field(
        default=1, metadata=common.because("timeouts", "Each one stalls its queue pair.")
    )
    critical_ns: int = field(
        default=common.SECOND,
        metadata=common.because(
            "ns", "A second of silence is longer than any step of a training job.", "none"
        ),
    )


def _placed(tables: Tables) -> pl.LazyFrame:
    """Timeouts with their kind and ``where`` the loss lies, in words."""
    place = (
        pl.when(pl.col("place") == "upstream")
        .then(pl.format(" upstream of {}", "point"))
        .when(pl.col("place") == "downstream")
        .then(pl.format(" downstream of {}", "point"))
        .when(pl.col("place").str.starts_with("between"))
        .then(pl.format(" {}", "place"))
        .when(pl.col("place").is_in(["sender", "receiver"]))
        .then(pl.format(" between {} and the {}", "point", "place"))
        .otherwise(pl.lit(""))
    )
    return common.events(tables, *EVENTS).with_columns(
        kind=pl.col("verdict").replace_strict(KINDS, default="timeout", return_dtype=pl.String),
        where=place,
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind tail_loss, ack_loss and timeout (undetermined)."""
    extra = (
        pl.len().cast(pl.Float64).alias("value"),
        pl.col("delay_ns").max().alias("longest"),
        pl.col("resent").sum(),
    )
    known = pl.col("kind") != "timeout"
    return common.findings(
        common.told(_placed(tables), "point", "kind", "where", extra=extra).filter(
            pl.col("value") >= knobs.least
        ),
        __name__,
        ADVICE,
        severity=pl.when(pl.col("longest") >= knobs.critical_ns)
        .then(pl.lit("critical"))
        .otherwise(pl.lit("warning")),
        limit=pl.lit(knobs.least),
        unit=pl.lit("timeouts"),
        confidence=pl.when(known).then(0.95).otherwise(0.6),
        missing=pl.when(known).then(pl.lit("")).otherwise(pl.lit("the fate of the single packet")),
        summary=pl.format(
            "{} in {}: {}{}; silent for up to {}, {} sent again",
            common.count(pl.col("value"), "timeout"),
            common.count(pl.col("flows"), "queue pair"),
            pl.col("kind").replace_strict(
                {"tail_loss": "the last packets were lost", "ack_loss": "the ACK was lost"},
                default="data or ACK were lost",
                return_dtype=pl.String,
            ),
            "where",
            common.duration(pl.col("longest")),
            common.count(pl.col("resent"), "packet"),
        ),
    )
