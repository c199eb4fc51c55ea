"""Ranks talk across rails or racks although their ring could stay on its own.

Rail-optimised fabrics give NIC n of every host a leaf of its own: traffic between equal NIC numbers takes
one hop, traffic between different ones crosses the spines. In a plain Clos the same holds for racks: a
ring over m racks needs to leave a rack only m times. Where the order of the ranks makes most steps cross,
every step queues at the uplinks. Told from the members of rings and the topology. Wrong where the
algorithm crosses on purpose (an all-to-all must, and is not told).
"""

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("collectives",)
WITH_FABRIC = {"rail_misplacement"}  # kinds that need a topology
ADVICE = {
    "rail_misplacement": "Order the ranks rack by rack (or rail by rail: NCCL_CROSS_NIC=0, GPU and NIC "
    "of one number) and start the job again.",
}


@dataclass(frozen=True)
class Knobs:
    """How much crossing is too much."""

    extra: float = field(
        default=0.25,
        metadata=common.because(
            "share", "Of a ring's steps that cross without need: one swapped rank is a nuisance."
        ),
    )


def _rows(frame: pl.DataFrame, fabric: Fabric) -> pl.DataFrame:
    """One row per ring whose members are known: how many of its steps cross, and how many must."""
    rows: list[dict[str, Any]] = []
    for row in frame.iter_rows(named=True):
        ports = [fabric.locate(address) for address in row["members"]]
        peers = [fabric.peer(port) if port else None for port in ports]
        places = [peer.device for peer in peers if peer]
        if len(places) < len(ports):
            continue
        steps = list(zip(places, [*places[1:], places[0]], strict=True))
        crossing = sum(a != b for a, b in steps)
        apart = len(set(places))
        needed = apart if apart > 1 else 0
        rails = {fabric.rail(port) for port in ports if port}
        row |= {
            "crossing": crossing, "needed": needed, "steps": len(steps),
            "unit_": "rails" if len(rails) > 1 and -1 not in rails else "racks",
            "leaf": max(set(places), key=lambda name: (places.count(name), name)),
        }  # fmt: skip
        rows.append(row)
    return pl.DataFrame(rows, schema=_SCHEMA)


_SCHEMA = {
    "communicator": pl.String(), "members": pl.List(pl.String), "start": pl.Int64(),
    "end": pl.Int64(), "operations": pl.UInt32(), "lost_ns": pl.Int64(),
    "confidence": pl.Float64(), "crossing": pl.Int64(), "needed": pl.Int64(), "steps": pl.Int64(),
    "unit_": pl.String(), "leaf": pl.String(),
}  # fmt: skip


def detect(tables: Tables, fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind rail_misplacement, one per ring; none without a topology."""
    rings = (
        tables.collectives.filter(pl.col("algorithm") == "ring", pl.col("ranks") > 2)
        .group_by("communicator", "members")
        .agg(
            pl.col("start").min(),
            pl.col("end").max(),
            operations=pl.len(),
            lost_ns=pl.col("network_wait_ns").sum(),
            confidence=pl.col("confidence").min(),
        )
        .sort("communicator", "members")
    )
    if fabric is None:
        rows = pl.LazyFrame(schema=_SCHEMA)
    else:
        rows = rings.map_batches(
            lambda frame: _rows(frame, fabric), schema=_SCHEMA, streamable=False
        )
    extra = (pl.col("crossing") - pl.col("needed")) / pl.col("steps")
    return common.findings(
        rows.with_columns(value=extra).filter(
            pl.col("value") >= knobs.extra, pl.col("crossing") > pl.col("needed")
        ),
        __name__,
        ADVICE,
        kind=pl.lit("rail_misplacement"),
        severity=pl.lit("warning"),
        point=pl.col("communicator"),
        device=pl.col("leaf"),
        subject=pl.format(
            "ring of {}: {}", "communicator", pl.col("members").list.head(8).list.join(", ")
        ),
        limit=pl.lit(knobs.extra),
        unit=pl.lit("share"),
        confidence=pl.min_horizontal(pl.lit(0.95), pl.col("confidence") + 0.2),
        summary=pl.format(
            "{} of the {} steps of this ring cross between {}, {} would do",
            "crossing",
            "steps",
            "unit_",
            "needed",
        ),
    )
