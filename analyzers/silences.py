"""Inferred pauses: a priority of a sender falls silent in the middle of its messages, others go on.

Hosts and mirror ports usually show no PFC frames, so a hold leaves only its effect: every flow of one
priority of a sender stops at once, in the middle of a message, for whole time bins, while another
priority of that sender goes on. A loss stops one flow, congestion control slows one after the other, a
sender that has nothing to send ends its messages first, and a stalled host stops all priorities. At least
two flows to two destinations must have stopped, and none of them because of a timeout or a receiver that
was not ready.

What is inferred is a row of PAUSES of kind ``inferred``: who asked for the hold is not known, the time is
that of whole FLOW_WINDOWS bins, so true by one bin at each end.
"""

import polars as pl

from analyzers.frames import empty, schema
from fabric.schema import PAUSES

LEAST_FLOWS = 2
LEAST_PEERS = 2
KEYS = ("point", "src", "class")
WRITES = (0, 1)  # MESSAGES.operation: SEND and WRITE, whose payload goes the way of the flow
WAITS = ("timeout", "rnr")


def silences(
    flows: pl.LazyFrame, windows: pl.LazyFrame, messages: pl.LazyFrame, events: pl.LazyFrame
) -> pl.DataFrame:
    """PAUSES rows of kind inferred, from the other tables of one input."""
    classed = flows.select(
        "flow", "point", "src", "dst", "payload_bytes",
        pl.when(pl.col("priority") >= 0)
        .then("priority")
        .otherwise(pl.col("dscp").cast(pl.Int32) // 8)
        .alias("class"),
    )  # fmt: skip
    several = pl.col("class").n_unique().over("point", "src") > 1
    known = classed.filter(several).collect()
    if known.is_empty():  # one priority per sender: nothing to compare with
        return empty(PAUSES)
    bins = (
        windows.join(known.lazy(), on="flow", how="semi")
        .select("flow", "start", end=pl.col("start") + pl.col("width_ns"))
        .collect()
    )
    gaps = _stopped(_gaps(bins, "flow"), messages, events)
    held = _gaps(bins.join(known, on="flow"), *KEYS)
    return _rows(held, gaps.join(known, on="flow"), bins.join(known, on="flow"))


def _gaps(bins: pl.DataFrame, *keys: str) -> pl.DataFrame:
    """Spans without a bin between two bins of the same ``keys``: gap_start, gap_end."""
    before = pl.col("end").cum_max().shift(1).over(keys)
    return (
        bins.sort("start")
        .with_columns(gap_start=before)
        .filter(pl.col("start") > pl.col("gap_start"))
        .select(*keys, "gap_start", gap_end="start")
        .sort("gap_start")
    )


def _stopped(gaps: pl.DataFrame, messages: pl.LazyFrame, events: pl.LazyFrame) -> pl.DataFrame:
    """Gaps inside a message, that no timer explains."""
    wanted = pl.col("operation").is_in(WRITES)
    long = (
        messages.filter(wanted)
        .join(gaps.lazy(), on="flow", how="semi")
        .select("flow", "start", "end")
        .sort("start")
        .collect()
    )
    inside = gaps.join_asof(
        long,
        left_on="gap_start",
        right_on="start",
        by="flow",
        strategy="backward",
        check_sortedness=False,  # both are sorted
    ).filter(pl.col("end") >= pl.col("gap_end"))
    delay = pl.col("delay_ns").fill_null(0)
    waits = (
        events.filter(pl.col("kind").is_in(WAITS))
        .select(
            "flow",
            wait_start=pl.col("ts") - pl.when(pl.col("kind") == "timeout").then(delay).otherwise(0),
            wait_end=pl.col("ts") + pl.when(pl.col("kind") == "rnr").then(delay).otherwise(0),
        )
        .collect()
    )
    explained = inside.join(waits, on="flow").filter(
        pl.col("wait_start") < pl.col("gap_end"), pl.col("wait_end") > pl.col("gap_start")
    )
    left = inside.join(explained, on=["flow", "gap_start"], how="anti")
    return left.select("flow", stop="gap_start", go="gap_end")


def _rows(held: pl.DataFrame, stopped: pl.DataFrame, bins: pl.DataFrame) -> pl.DataFrame:
    """PAUSES of the spans in which a class was silent: enough flows stopped, another class went on."""
    spans = (
        stopped.sort("stop")
        # a flow that was silent before belongs to the first silence of its class that begins then
        .join_asof(
            held,
            left_on="stop",
            right_on="gap_start",
            by=list(KEYS),
            strategy="forward",
            check_sortedness=False,
        )
        .filter(pl.col("gap_end") <= pl.col("go"))
        .group_by(*KEYS, "gap_start", "gap_end")
        .agg(flows=pl.col("flow").n_unique(), peers=pl.col("dst").n_unique())
        .filter(pl.col("flows") >= LEAST_FLOWS, pl.col("peers") >= LEAST_PEERS)
        .sort("gap_start", *KEYS)
    )
    went_on = [
        some.join_asof(
            bins.filter(pl.col("class") != own)
            .select("point", "src", "start", "end")
            .sort("start"),
            left_on="gap_start",
            right_on="start",
            by=["point", "src"],
            strategy="forward",
            check_sortedness=False,
        ).filter(pl.col("end") <= pl.col("gap_end"))
        for (own,), some in spans.group_by("class", maintain_order=True)
    ]
    rows = pl.concat(went_on).sort("gap_start", *KEYS) if went_on else spans
    columns = {
        "point": pl.col("point"),
        "held_device": pl.col("src"),
        "held_port": pl.lit(""),
        "sender": pl.lit(""),
        "priority": pl.col("class"),
        "start": pl.col("gap_start"),
        "end": pl.col("gap_end"),
        "paused_ns": pl.col("gap_end") - pl.col("gap_start"),
        "end_reason": pl.lit("resumed"),
        "frames": pl.lit(0),
        "first_frame": pl.lit(0),
        "last_frame": pl.lit(0),
        "kind": pl.lit("inferred"),
    }
    return rows.select(
        columns[name].cast(kind).alias(name) for name, kind in schema(PAUSES).items()
    )
