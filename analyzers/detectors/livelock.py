"""The link carries the same bytes again and again: busy, but little of it is progress.

Go-back-N sends everything behind a lost packet once more, so at large windows a small loss turns into
a large share of repeated bytes; with go-back-0 a loss per message lets no message finish at all. Told
is the share of payload that was new. Mirror copies are not counted as repeats; resends that happen
beyond this point (a tap upstream of a loss sees them all, one downstream only the survivors) make the
true share lower than seen.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("flows",)
ADVICE = {
    "retransmission_waste": "Remove the loss that causes the resends first; selective repeat on "
    "the NICs limits what a loss costs.",
}


@dataclass(frozen=True)
class Knobs:
    """When repeated bytes are waste worth telling."""

    useful_share: float = field(
        default=0.9,
        metadata=common.because(
            "share", "A tenth of the link spent on repeats is felt by every collective.", "less"
        ),
    )
    least_resent: int = field(
        default=100,
        metadata=common.because("packets", "A short flow with one resend is no livelock."),
    )
    critical_share: float = field(
        default=0.5,
        metadata=common.because("share", "Below one half, most work is repeated.", "none"),
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind retransmission_waste, one per address pair at a point."""
    useful = pl.col("unique_bytes").sum() / pl.col("payload_bytes").sum()
    rows = (
        tables.flows.filter(pl.col("resent") > 0)
        .group_by("point", "src", "dst")
        .agg(
            pl.col("first").min().alias("start"),
            pl.col("last").max().alias("end"),
            pl.col("resent").sum(),
            (pl.col("payload_bytes").sum() - pl.col("unique_bytes").sum()).alias("wasted"),
            useful.alias("value"),
            pl.len().alias("flows"),
        )
        .filter(
            pl.col("value") < knobs.useful_share,
            pl.col("resent") >= knobs.least_resent,
        )
    )
    return common.findings(
        rows,
        __name__,
        ADVICE,
        kind=pl.lit("retransmission_waste"),
        severity=pl.when(pl.col("value") < knobs.critical_share)
        .then(pl.lit("critical"))
        .otherwise(pl.lit("warning")),
        subject=pl.format("{} → {}", "src", "dst"),
        limit=pl.lit(knobs.useful_share),
        unit=pl.lit("share"),
        confidence=pl.lit(0.95),
        summary=pl.format(
            "only {} of the payload was new: {} sent again, {} wasted in {}",
            common.percent(pl.col("value")),
            common.count(pl.col("resent"), "packet"),
            common.size(pl.col("wasted")),
            common.count(pl.col("flows"), "queue pair"),
        ),
    )
