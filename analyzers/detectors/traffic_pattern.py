"""Who talks to whom has the shape of a collective: ring, tree, all-to-all, many to one.

A ring AllReduce gives every member one neighbour it sends to and one it receives from; a tree gives
edges in both directions without a cycle; an all-to-all gives every pair; a gather many senders and
one receiver. Read from the payload between addresses over all points together, after leaving out
edges that carry almost nothing beside the greatest of the same host (acknowledgements, flow-control
writes). One tap on a host's link shows only that host's part of the shape, and says so by its name:
a chain may be a ring, a star an all-to-all.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.collectives.shape import components, shape
from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("traffic",)
ADVICE = {"traffic_pattern": "Compare with what the job should do; members missing here are news."}


@dataclass(frozen=True)
class Knobs:
    """What counts as an edge and as a group."""

    edge_share: float = field(
        default=0.25,
        metadata=common.because(
            "share", "Of the host's greatest edge: flow-control writes stay well below.", "none"
        ),
    )
    members: int = field(
        default=3, metadata=common.because("hosts", "Two hosts that talk have no shape.")
    )


def _groups(traffic: pl.DataFrame, members: int) -> pl.DataFrame:
    edges = list(zip(traffic["src"].to_list(), traffic["dst"].to_list(), strict=True))
    rows = []
    for group in components(edges):
        hosts = sorted({host for edge in group for host in edge})
        if len(hosts) < members:
            continue
        part = traffic.filter(pl.col("src").is_in(hosts))
        rows.append(
            {
                "shape": shape(group),
                "hosts": hosts,
                "edges": len(group),
                "start": part["first"].min(),
                "end": part["last"].max(),
                "bytes": part["bytes"].sum(),
                "point": part["point"].min(),
            }
        )
    return pl.DataFrame(rows, schema=_GROUPS)


_GROUPS = {
    "shape": pl.String(),
    "hosts": pl.List(pl.String),
    "edges": pl.Int64(),
    "start": pl.Int64(),
    "end": pl.Int64(),
    "bytes": pl.Int64(),
    "point": pl.String(),
}


def _edges(tables: Tables, share: float) -> pl.LazyFrame:
    """Address pairs over all points together, without the faint ones; bytes are payload."""
    greatest = pl.max_horizontal(
        pl.col("bytes").max().over("src"), pl.col("bytes").max().over("dst")
    )
    return (
        tables.traffic.filter(pl.col("payload_bytes") > 0)
        .group_by("src", "dst")
        .agg(
            pl.col("payload_bytes").max().alias("bytes"),
            pl.col("first").min(),
            pl.col("last").max(),
            pl.col("point").min(),
        )
        .filter(pl.col("bytes") >= share * greatest)
        .sort("src", "dst")
    )


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind traffic_pattern, severity info, one per connected group of hosts."""
    rows = _edges(tables, knobs.edge_share).map_batches(
        lambda frame: _groups(frame, knobs.members), schema=_GROUPS, streamable=False
    )
    names = pl.col("hosts").list.head(8).list.join(", ")
    number = pl.col("hosts").list.len()
    more = pl.when(number > 8).then(pl.format(" and {} more", number - 8)).otherwise(pl.lit(""))
    return common.findings(
        rows,
        __name__,
        ADVICE,
        kind=pl.lit("traffic_pattern"),
        severity=pl.lit("info"),
        subject=pl.format("{} of {}", pl.col("shape"), common.count(number, "host")),
        value=number,
        limit=pl.lit(knobs.members),
        unit=pl.lit("hosts"),
        confidence=pl.when(pl.col("shape").is_in(["ring", "tree", "all_to_all", "many_to_one"]))
        .then(0.9)
        .otherwise(0.5),
        missing=pl.when(pl.col("shape").is_in(["chain", "star", "mesh"]))
        .then(pl.lit("taps at the other hosts"))
        .otherwise(pl.lit("")),
        summary=pl.format(
            "{} over {} edges, {} of payload: {}{}",
            pl.col("shape").str.replace_all("_", " "),
            "edges",
            common.size(pl.col("bytes")),
            names,
            more,
        ),
    )
