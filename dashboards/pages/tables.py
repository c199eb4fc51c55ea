"""The tables behind the pictures, whole, as an export asks for them."""

from collections.abc import Callable
from typing import Final

import polars as pl

from analyzers.views.metrics import METRICS
from dashboards.source import Source
from dashboards.state import State


def _within(
    frame: pl.LazyFrame, source: Source, state: State, start: str, end: str
) -> pl.LazyFrame:
    low, high = source.span(state)
    return frame.filter(pl.col(end) >= low, pl.col(start) <= high)


def ports(source: Source, state: State) -> pl.LazyFrame:
    """A metric per port, as the heatmap shows it."""
    metric = state.choice("metric", METRICS, "pause")
    values = source.worst(metric, source.span(state), state.number("at"))
    return values.sort("value", descending=True, nulls_last=True).lazy()


def readings(source: Source, state: State) -> pl.LazyFrame:
    """Every reading of a port with its rate."""
    span = source.span(state)
    return source.readings(state.text("device"), state.text("port"), span).lazy()


def flows(source: Source, state: State) -> pl.LazyFrame:
    """FLOWS that were active in the time range."""
    return _within(source.tables.flows, source, state, "first", "last")


def events(source: Source, state: State) -> pl.LazyFrame:
    """EVENTS of a flow, or all in the time range."""
    flow = state.number("flow")
    rows = _within(source.tables.events, source, state, "ts", "end")
    return rows if flow is None else rows.filter(pl.col("flow") == flow)


TABLES: Final[dict[str, Callable[[Source, State], pl.LazyFrame]]] = {
    "ports": ports,
    "readings": readings,
    "flows": flows,
    "events": events,
    "findings": lambda source, _: source.findings().lazy(),
    "incidents": lambda source, _: source.incidents().lazy(),
    "audit": lambda source, _: source.audit().lazy(),
    "links": lambda source, _: source.links().lazy(),
    "points": lambda source, _: source.points().lazy(),
}
