"""The capture lost packets that the network delivered: what follows from missing packets is weaker.

The receiver acknowledged packets that the tap never saw, and nobody sent them again, so they were
delivered and only the capture missed them (IBTA 9.7.5.1: an ACK covers all packets before it). A
mirror session loses most where the link is busiest, which is exactly when one looks. Where packets of
one queue pair take several links (a bond, spraying) and all are tapped, what the points saw adds up to
what was sent: told as ``spread``, nothing is lost then. Where only one of them is tapped it looks like
capture loss.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("events",)
EVENTS = ("capture_loss",)
ADVICE = {
    "capture_loss": "Treat missing packets at this point with care; capture with a smaller snap "
    "length, a larger buffer, or a tap instead of a mirror port.",
    "spread": "Nothing by itself: packets of these queue pairs take several links. Order, gaps and round "
    "trips are those of one link each.",
}
KEY = ("src", "dst", "qpn", "epoch")


@dataclass(frozen=True)
class Knobs:
    """When capture loss is told, and when it spoils the rest."""

    least: int = field(
        default=1, metadata=common.because("packets", "Any capture loss weakens loss verdicts.")
    )
    warning_share: float = field(
        default=0.01,
        metadata=common.because(
            "share", "Above one percent, counts and places of loss are not to be trusted.", "none"
        ),
    )
    whole: float = field(
        default=0.98,
        metadata=common.because(
            "share", "Of the sequence numbers: the points together saw each packet once.", "none"
        ),
    )
    warning_least: int = field(
        default=100,
        metadata=common.because("packets", "A share of a handful of packets says little.", "none"),
    )


def _spread(tables: Tables, knobs: Knobs) -> pl.LazyFrame:
    """Queue pairs whose packets several points share: KEY, points."""
    span = pl.col("span_psn").max()
    seen = pl.col("requests").sum()
    shared = seen.is_between(knobs.whole * span, (2 - knobs.whole) * span)
    return (
        tables.flows.filter(pl.col("requests") > 0)
        .group_by(KEY)
        .agg(points=pl.col("point").n_unique(), shared=shared, most=pl.col("requests").max() / span)
        .filter(pl.col("points") > 1, pl.col("shared"), pl.col("most") < knobs.whole)
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind capture_loss and spread."""
    value = pl.col("psns").sum().cast(pl.Float64).alias("value")
    share = pl.col("value") / (pl.col("value") + pl.col("packets"))
    kind = pl.when(pl.col("points").is_null()).then("kind").otherwise(pl.lit("spread"))
    events = (
        common.events(tables, *EVENTS)
        .join(_spread(tables, knobs), on=KEY, how="left", maintain_order="left")
        .with_columns(kind=kind)
    )
    rows = common.told(events, "point", "kind", extra=(value,))
    lost = pl.col("kind") == "capture_loss"
    return common.findings(
        rows.filter(pl.col("value") >= knobs.least),
        __name__,
        ADVICE,
        severity=pl.when(lost, share >= knobs.warning_share, pl.col("value") >= knobs.warning_least)
        .then(pl.lit("warning"))
        .otherwise(pl.lit("info")),
        limit=pl.lit(knobs.least),
        unit=pl.lit("packets"),
        lost_ns=pl.lit(0),
        summary=pl.format(
            "{} ({}) {}, in {}",
            common.count(pl.col("value"), "packet"),
            common.percent(share),
            pl.when(lost)
            .then(pl.lit("acknowledged by the receiver but not in the capture"))
            .otherwise(pl.lit("not seen here took other links, which are tapped too")),
            common.count(pl.col("flows"), "queue pair"),
        ),
    )
