"""Who uses the link: the address pairs that sent most bytes past this point.

Bytes are counted from the IP length with Ethernet framing, preamble and gap included, so that the sum
compares with the line rate. It says what is there, not what is wrong; a point that mirrors several
links can exceed the speed of one.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("traffic",)
ADVICE = {"top_talkers": "Nothing by itself: it shows who to look at first."}


@dataclass(frozen=True)
class Knobs:
    """How much is worth a line."""

    least_bytes: int = field(
        default=1, metadata=common.because("bytes", "Any RoCE traffic has a greatest sender.")
    )
    top: int = field(
        default=3, metadata=common.because("pairs", "What a reader takes in at a glance.", "none")
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind top_talkers, severity info, one per point."""
    pair = pl.format("{} → {} ({})", "src", "dst", common.percent(pl.col("bytes") / pl.col("all")))
    rows = (
        tables.traffic.with_columns(all=pl.col("bytes").sum().over("point"))
        .group_by("point")
        .agg(
            pl.col("first").min().alias("start"),
            pl.col("last").max().alias("end"),
            value=pl.col("bytes").sum(),
            pairs=pl.len(),
            names=pair.sort_by("bytes", "src", "dst", descending=[True, False, False])
            .head(knobs.top)
            .str.join(", "),
        )
        .filter(pl.col("value") >= knobs.least_bytes)
        .join(tables.points.select("point", "speed_bps"), on="point", how="left")
        .with_columns(span=pl.col("end") - pl.col("start"))
    )
    bps = pl.col("value") * (8.0 * common.SECOND) / pl.col("span")
    return common.findings(
        rows,
        __name__,
        ADVICE,
        kind=pl.lit("top_talkers"),
        severity=pl.lit("info"),
        subject=pl.col("point"),
        unit=pl.lit("bytes"),
        summary=pl.format(
            "{} between {}{}; most: {}",
            common.size(pl.col("value")),
            common.count(pl.col("pairs"), "address pair"),
            pl.when(pl.col("span") > 0)
            .then(pl.format(", {} on average", common.rate(bps)))
            .otherwise(pl.lit("")),
            "names",
        ),
    )
