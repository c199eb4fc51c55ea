"""The flows of a collective meet on one link while its equal-cost siblings have room.

An operation ends with its slowest flow. Where several of its flows are hashed onto one uplink, that link
sets the pace and the rest of the fabric waits. Told for operations that waited for the network, with the
paths of their flows: seen by taps on links, else predicted by a hash, which is then said. Which flow to
move, or which fields to hash, is computed by replay (:mod:`analyzers.collectives.moves`). Wrong where
the prediction is: a hash that no tap confirmed is a guess, and lowers the confidence.
"""

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from analyzers.collectives.moves import Move, Rehash, Replay
from analyzers.collectives.routes import Routes
from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("collectives",)
WITH_FABRIC = {"collective_hotspot"}  # kinds that need a topology
ADVICE = {
    "collective_hotspot": "Make the move that is named, or hash the fields that are named; with more "
    "queue pairs per connection the hash has more to choose from.",
    "collective_network_wait": "Give the topology (--topology) to learn on which link it waited, and "
    "tap the uplinks of the senders' leaf.",
}
SURE = {"seen": 0.95, "only": 0.95, "verified": 0.9}
MOST_FLOWS = 4096  # of one communicator that are replayed


@dataclass(frozen=True)
class Knobs:
    """When a network wait is one, and when a link is hot."""

    share: float = field(
        default=0.2,
        metadata=common.because("share", "Of the operations' time: queues of a step are ordinary."),
    )
    least_ns: int = field(
        default=20 * common.US, metadata=common.because("ns", "In one operation, on average.")
    )
    uneven: float = field(
        default=1.25,
        metadata=common.because(
            "times",
            "Time of the flows as they are over that of an even spread: some is always lost.",
        ),
    )


def _waits(tables: Tables, knobs: Knobs) -> pl.LazyFrame:
    """One row per communicator that waited for the network."""
    wait = pl.col("network_wait_ns")
    took = (pl.col("end") - pl.col("start")).sum()
    return (
        tables.collectives.group_by("communicator", "kind")
        .agg(
            pl.col("start").min(),
            pl.col("end").max(),
            pl.col("confidence").min(),
            pl.col("ranks").max(),
            operations=pl.len(),
            lost_ns=wait.sum(),
            value=wait.sum() / took.clip(1),
            mean_ns=wait.mean(),
        )
        .filter(pl.col("value") >= knobs.share, pl.col("mean_ns") >= knobs.least_ns)
        .rename({"kind": "operation"})
        .sort("communicator", "operation")
    )


def _hot(rows: pl.DataFrame, tables: Tables, fabric: Fabric, knobs: Knobs) -> pl.DataFrame:
    """Add kind, device, port, subject, summary, advice and confidence to each row."""
    routes = Routes.of(tables, fabric)
    carried = tables.carried.join(
        tables.collectives.select("operation", "communicator", "kind"), on="operation"
    ).collect()
    said = []
    for row in rows.iter_rows(named=True):
        own = carried.filter(communicator=row["communicator"], kind=row["operation"])
        said.append(row | _about(Replay(fabric, routes.routed(own)[:MOST_FLOWS]), row, knobs))
    return pl.DataFrame(said, schema=_SCHEMA)


def _about(replay: Replay, row: dict[str, Any], knobs: Knobs) -> dict[str, Any]:
    """What the replay says about one communicator."""
    busy = {
        port: t for port, t in replay.busy().items() if replay.fabric.role(port.device) != "host"
    }
    taken, even = replay.time(), replay.even_time()
    order = [port for flow in replay.flows for port in flow.path]  # a choice shows first upstream
    hot = max(busy, key=lambda port: (busy[port], -order.index(port)), default=None)
    if hot is None or even <= 0 or taken < knobs.uneven * even:
        return _unplaced()
    there = [flow for flow in replay.flows if hot in flow.path]
    status = "unverified" if any(flow.status not in SURE for flow in there) else "verified"
    move, rehash = replay.best_move(), replay.best_hash()
    return {
        "kind": "collective_hotspot",
        "device": hot.device,
        "port": hot.port,
        "subject": f"{hot} and {len(there)} of {len(replay.flows)} flows of {row['communicator']}",
        "missing": "taps on the uplinks: the hash is a guess" if status == "unverified" else "",
        "confidence": min(SURE.get(status, 0.6), row["confidence"] + 0.2),
        "tail": f"{len(there)} of its flows share {hot}, the busiest link: its steps take "
        f"{taken / even:.1f} times as long as an even spread would{_move(move)}{_rehash(rehash)}",
    }


def _unplaced() -> dict[str, Any]:
    return {
        "kind": "collective_network_wait", "device": "", "port": "", "subject": "",
        "missing": "", "confidence": 0.8, "tail": "",
    }  # fmt: skip


def _move(move: Move | None) -> str:
    if move is None:
        return ""
    ways = "; ".join(
        f"{flow.flow.src} → {flow.flow.dst} qp 0x{flow.flow.qpn:06x} by "
        + " > ".join(str(port) for port in path[1:-1])
        for flow, path in zip(move.flows, move.paths, strict=True)
    )
    return f"; moving {ways} saves {move.saves * 100:.0f} % of a step"


def _rehash(rehash: Rehash | None) -> str:
    if rehash is None:
        return ""
    fields = ", ".join(rehash.setting.fields)
    return f"; hashing {fields} with a seed per device saves {rehash.saves * 100:.0f} %"


_SCHEMA = {
    "communicator": pl.String(), "operation": pl.String(), "start": pl.Int64(), "end": pl.Int64(),
    "confidence": pl.Float64(), "ranks": pl.Int32(), "operations": pl.UInt32(),
    "lost_ns": pl.Int64(), "value": pl.Float64(), "mean_ns": pl.Float64(), "kind": pl.String(),
    "device": pl.String(), "port": pl.String(), "subject": pl.String(), "missing": pl.String(),
    "tail": pl.String(),
}  # fmt: skip


def detect(tables: Tables, fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind collective_hotspot, or collective_network_wait where no link can be named."""
    rows = _waits(tables, knobs)
    if fabric is None:
        bare = {name: pl.lit(value) for name, value in _unplaced().items()}
        rows = rows.with_columns(**bare | {"missing": pl.lit("the topology")})
    else:
        rows = rows.map_batches(
            lambda frame: _hot(frame, tables, fabric, knobs), schema=_SCHEMA, streamable=False
        )
    hot = pl.col("kind") == "collective_hotspot"
    tail = pl.when(hot).then(pl.format("; {}", "tail")).otherwise(pl.lit(""))
    return common.findings(
        rows,
        __name__,
        ADVICE,
        severity=pl.when(hot).then(pl.lit("warning")).otherwise(pl.lit("info")),
        point=pl.col("communicator"),
        subject=pl.when(hot).then("subject").otherwise("communicator"),
        limit=pl.lit(knobs.share),
        unit=pl.lit("share"),
        summary=pl.format(
            "{} of the time of {} {} on {} ranks went to waiting for the network{}",
            common.percent(pl.col("value")),
            common.count(pl.col("operations"), "operation"),
            pl.format("({})", pl.col("operation").str.replace_all("_", "-")),
            "ranks",
            tail,
        ),
    )
