"""A collective waited for one of its ranks: it sent late, or it was late to receive.

The critical path of an operation (:mod:`analyzers.collectives.waits`) shows a host that had what it
needed, its data and the receiver's clear-to-send where there is one, and did not send: it was computing,
loading data, writing a checkpoint. Or it shows a sender that was ready and a receiver whose clear-to-send
was late, or that refused with receiver-not-ready NAKs: no buffers posted. Either way the network cannot
be blamed, which is worth knowing before looking for a fault in it. Wrong where another tenant held the
NIC; stages of a pipeline, which compute by design, are left out.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.topology import Fabric

NEEDS = ("collectives",)
ADVICE = {
    "sender_late": "Look at this rank's host, not at the network: its step of computing, its input, "
    "its clocks. The other ranks only wait for it.",
    "receiver_late": "Look at the receiver's host: it was not ready to take data that was ready to "
    "go. The network carried the rest at its usual speed.",
}
WORDS = {"sender_late": "sent late", "receiver_late": "kept its senders waiting"}


@dataclass(frozen=True)
class Knobs:
    """When a wait is worth a finding."""

    share: float = field(
        default=0.15,
        metadata=common.because("share", "Of the operations' time: less is ordinary skew."),
    )
    least_ns: int = field(
        default=20 * common.US,
        metadata=common.because("ns", "In one operation: a scheduler's tick is no straggler."),
    )
    often: int = field(
        default=3,
        metadata=common.because(
            "operations", "And half of all: the same rank again and again is no chance.", "none"
        ),
    )


def _late(tables: Tables) -> pl.LazyFrame:
    """One row per communicator, late host and kind: its operations and what they waited for it."""
    sender, receiver = pl.col("sender_wait_ns"), pl.col("receiver_wait_ns")
    kind = (
        pl.when(sender >= receiver).then(pl.lit("sender_late")).otherwise(pl.lit("receiver_late"))
    )
    waited = pl.max_horizontal(sender, receiver)
    operation = pl.col("kind").str.replace_all("_", "-")
    rows = tables.collectives.with_columns(
        took=pl.col("end") - pl.col("start"), operation=operation, waited=waited
    )
    every = rows.group_by("communicator", "operation").agg(of=pl.len())
    return (
        rows.filter(pl.col("late") != "", waited > 0, waited >= pl.col("network_wait_ns"))
        .with_columns(kind=kind)
        .group_by("communicator", "operation", "late", "kind")
        .agg(
            pl.col("late_rank").max(),
            pl.col("start").min(),
            pl.col("end").max(),
            pl.col("confidence").min(),
            pl.col("evidence").min(),
            times=pl.len(),
            lost_ns=pl.col("waited").sum(),
            longest_ns=pl.col("waited").max(),
            share=pl.col("waited").sum() / pl.col("took").sum().clip(1),
        )
        .join(every, on=["communicator", "operation"])
    )


def _with_place(rows: pl.LazyFrame, fabric: Fabric | None) -> pl.LazyFrame:
    """Add device and port of the late address, empty where the fabric does not know it."""
    known = [
        (address, *nic.port) for nic in (fabric.nics if fabric else ()) for address in nic.addresses
    ]
    names = {"late": pl.String, "device": pl.String, "port": pl.String}
    places = pl.LazyFrame(known, schema=names, orient="row").unique("late", maintain_order=True)
    return rows.join(places, on="late", how="left").with_columns(
        pl.col("device", "port").fill_null("")
    )


def detect(tables: Tables, fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kinds sender_late and receiver_late, one per communicator and host."""
    rows = _late(tables).filter(
        pl.col("share") >= knobs.share, pl.col("longest_ns") >= knobs.least_ns
    )
    rank = pl.when(pl.col("late_rank") >= 0).then(pl.format(" (rank {})", "late_rank"))
    who = pl.format("{}{}", "late", rank.otherwise(pl.lit("")))
    often = (pl.col("times") >= knobs.often) & (2 * pl.col("times") >= pl.col("of"))
    return common.findings(
        _with_place(rows, fabric),
        __name__,
        ADVICE,
        severity=pl.when(often).then(pl.lit("warning")).otherwise(pl.lit("info")),
        point=pl.col("communicator"),
        subject=who,
        value=pl.col("share"),
        limit=pl.lit(knobs.share),
        unit=pl.lit("share"),
        confidence=pl.min_horizontal(
            pl.when(often).then(0.95).otherwise(0.8), pl.col("confidence") + 0.2
        ),
        missing=pl.when(pl.col("evidence") == "job").then(pl.lit("")).otherwise(pl.lit("job data")),
        summary=pl.format(
            "{} {} in {} of {} {} operations of {}: {} of their time, {} at most",
            who,
            pl.col("kind").replace_strict(WORDS, return_dtype=pl.String),
            "times",
            "of",
            "operation",
            "communicator",
            common.percent(pl.col("share")),
            common.duration(pl.col("longest_ns")),
        ),
    )
