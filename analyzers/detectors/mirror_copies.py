"""The same packets were captured more than once: counted once here, but the capture is larger than life.

A switch that mirrors both directions of a port, or two mirror sessions into one collector, delivers a
packet twice; two taps on one path see it once each. Copies are recognised within a point by equal
sequence number and IP identification, between points by equal sums over all packets of a flow, and
never taken for retransmissions. With a constant IP identification a copy is told from a resend by its
distance in time only.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("flows",)
ADVICE = {
    "mirror_copies": "Mirror one direction only to halve the load on the collector.",
    "several_points": "Nothing to do: each point is judged by itself, and losses are counted once.",
}


@dataclass(frozen=True)
class Knobs:
    """When copies are worth a line."""

    least: int = field(
        default=1, metadata=common.because("packets", "The reader should know of any.")
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind mirror_copies (per point) and several_points (per set of points)."""
    span = (pl.col("first").min().alias("start"), pl.col("last").max().alias("end"))
    copies = (
        tables.flows.filter(pl.col("copies") > 0)
        .group_by("point")
        .agg(*span, pl.col("copies").sum().alias("value"), flows=pl.len())
        .with_columns(kind=pl.lit("mirror_copies"), subject=pl.col("point"))
    )
    same = (
        tables.flows.group_by("src", "dst", "qpn", "packets", "fingerprint")
        .agg(*span, pl.col("point").unique().sort().str.join(", ").alias("subject"),
             pl.col("point").min(), points=pl.col("point").n_unique())
        .filter(pl.col("points") > 1)
        .group_by("subject", "point")
        .agg(pl.col("start").min(), pl.col("end").max(), flows=pl.len(),
             value=pl.col("packets").sum())
        .with_columns(kind=pl.lit("several_points"))
    )  # fmt: skip
    columns = ("kind", "point", "subject", "start", "end", "value", "flows")
    rows = pl.concat([copies.select(columns), same.select(columns)])
    return common.findings(
        rows.filter(pl.col("value") >= knobs.least),
        __name__,
        ADVICE,
        severity=pl.lit("info"),
        limit=pl.lit(knobs.least),
        unit=pl.lit("packets"),
        confidence=pl.lit(0.95),
        summary=pl.format(
            "{} of {} {}",
            common.count(pl.col("value"), "packet"),
            common.count(pl.col("flows"), "flow"),
            pl.when(pl.col("kind") == "mirror_copies")
            .then(pl.lit("captured more than once at this point; copies are not counted"))
            .otherwise(pl.format("seen alike at {}", "subject")),
        ),
    )
