"""Only one direction of queue pairs was captured here: several questions cannot be answered.

Acknowledgements tell what arrived, when, and what was asked for again; without them neither the round
trip, nor the place of a loss, nor the cause of a timeout can be known, and a gap stays open. Between
switches the two directions usually take different links, so one tap there is one-sided by nature.
Queue pairs whose directions were both captured but could not be matched are told apart: too few
acknowledgements, or several candidates alike.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.codes import Service
from fabric.topology import Fabric

NEEDS = ("flows",)
ADVICE = {
    "one_sided": "Tap both directions, best at the host; otherwise read missing verdicts as "
    "unknown, not as healthy.",
    "unpaired": "Capture longer: pairing needs acknowledgements that fit one queue pair only.",
}


@dataclass(frozen=True)
class Knobs:
    """When blindness is worth a line."""

    least: int = field(
        default=1, metadata=common.because("flows", "Each one is a verdict that is missing.")
    )


def _one_sided(tables: Tables, knobs: Knobs) -> pl.LazyFrame:
    """Flows with requests and without their other direction, counted by point and kind."""
    reliable = pl.col("service").is_in([int(Service.RC), int(Service.XRC)])
    asking = tables.flows.filter(reliable, pl.col("requests") > 0)
    back = tables.flows.filter(reliable, pl.col("responses") > 0).select(
        "point", src="dst", dst="src", answered=pl.lit(value=True)
    )
    return (
        asking.join(back.unique(), on=["point", "src", "dst"], how="left")
        .with_columns(
            kind=pl.when(pl.col("answered").is_null())
            .then(pl.lit("one_sided"))
            .otherwise(pl.lit("unpaired")),
            all=pl.len().over("point"),
        )
        .filter(pl.col("peer_flow").is_null())
        .group_by("point", "kind", "all")
        .agg(
            pl.col("first").min().alias("start"),
            pl.col("last").max().alias("end"),
            value=pl.len(),
        )
        .filter(pl.col("value") >= knobs.least)
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind one_sided and unpaired, severity info, one of each per point."""
    alone = pl.col("kind") == "one_sided"
    return common.findings(
        _one_sided(tables, knobs),
        __name__,
        ADVICE,
        severity=pl.lit("info"),
        subject=pl.col("point"),
        limit=pl.lit(knobs.least),
        unit=pl.lit("flows"),
        missing=pl.when(alone)
        .then(pl.lit("the other direction"))
        .otherwise(pl.lit("acknowledgements that fit one queue pair only")),
        summary=pl.format(
            "{} of {} with requests: {}",
            pl.col("value"),
            common.count(pl.col("all"), "flow"),
            pl.when(alone)
            .then(
                pl.lit(
                    "nothing came back past this point, so round trips, places of loss and causes "
                    "of timeouts stay unknown"
                )
            )
            .otherwise(pl.lit("responses were captured but could not be matched to them")),
        ),
    )
