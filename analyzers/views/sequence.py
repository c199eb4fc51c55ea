"""One flow over time: sequence numbers unwrapped, what happened to them, rate and round trips."""

from typing import Final, NamedTuple

import polars as pl

from analyzers.tables import Tables
from fabric.codes import PSN_BITS, PSN_MASK

MOST_MESSAGES: Final = 200_000  # read of one flow; a picture shows far fewer
MOST_EVENTS: Final = 20_000


class Sequence(NamedTuple):
    """A flow and what belongs to it, in the order of time; ``u`` is the PSN counted through wraps."""

    flow: dict[str, object]
    messages: pl.DataFrame  # MESSAGES and u
    events: pl.DataFrame  # EVENTS and u
    windows: pl.DataFrame  # FLOW_WINDOWS
    cnps: pl.DataFrame  # CNPS about this flow: carried by it or slowing it
    pauses: pl.DataFrame  # PAUSES of the flow's point


def unwrap(rows: pl.DataFrame, column: str, clock: str, base: int) -> pl.DataFrame:
    """Add ``u``: PSNs of ``column`` counted from ``base`` through wraps, in the order of ``clock``."""
    half = 1 << (PSN_BITS - 1)
    psn = pl.col(column).cast(pl.Int64)
    step = ((psn - psn.shift(1, fill_value=base) + half) & PSN_MASK) - half
    return rows.sort(clock).with_columns(u=step.cum_sum())


def sequence(tables: Tables, flow: int) -> Sequence | None:
    """Everything about a flow of FLOWS; None where there is no such flow."""
    mine = pl.col("flow") == flow
    found = tables.flows.filter(mine).collect()
    if found.is_empty():
        return None
    row = found.row(0, named=True)
    point, base = pl.col("point") == row["point"], int(row["first_psn"] or 0)
    messages, events, windows, cnps, pauses = pl.collect_all(
        [
            tables.messages.filter(mine).sort("start").head(MOST_MESSAGES),
            tables.events.filter(mine).sort("ts").head(MOST_EVENTS),
            tables.flow_windows.filter(mine).sort("start"),
            tables.cnps.filter(mine | (pl.col("peer_flow") == flow)).sort("ts").head(MOST_EVENTS),
            tables.pauses.filter(
                point, pl.col("end") >= row["first"], pl.col("start") <= row["last"]
            ).sort("start").head(MOST_EVENTS),
        ]
    )  # fmt: skip
    return Sequence(
        row,
        unwrap(messages, "first_psn", "start", base),
        unwrap(events, "psn", "ts", base),
        windows,
        cnps,
        pauses,
    )
