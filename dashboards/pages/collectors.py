"""Collectors: which device reports, how late, and how far its readings can be trusted."""

from typing import Any

import polars as pl
from dash import Dash, Input, Output, html

from dashboards.desk import Desk
from dashboards.pages import parts
from dashboards.report import words
from dashboards.source import Source
from dashboards.state import State

PATH, NAME = "/collectors", "Collectors"
LATE_INTERVALS = 3  # a device that is so many of its own intervals behind has stopped for now


def layout(_desk: Desk, source: Source, _state: State) -> Any:
    """Targets and the quality of what they say; both follow the clock."""
    title, subtitle = "Collectors", "State, lag and data quality of every device that reports."
    if not source.has_counters():
        hint = "Counters come from fabric collect, or from a simulated run."
        return parts.page(
            title, subtitle, parts.card("Targets", parts.empty("No counter was collected.", hint))
        )
    return parts.page(title, subtitle, html.Div(id="collectors"))


def register(app: Dash, desk: Desk) -> None:
    """Both tables are asked for again at every tick."""

    @app.callback(
        Output("collectors", "children"), Input("url", "search"), Input("tick", "n_intervals")
    )
    def show(search: str | None, _tick: int | None) -> Any:
        source, state = desk.at(search)
        return [_sources(source), _targets(source, state), _quality(source)]


def _targets(source: Source, state: State) -> Any:
    begin = source.known()[0]
    rows = []
    for row in source.targets().to_dicts():
        interval = row["interval_ns"] or 0
        late = interval > 0 and row["lag_ns"] > LATE_INTERVALS * interval
        rows.append(
            {"device": row["device"], "state": "silent" if late else "reporting", "href": state.link("/port", device=row["device"]),
             "ports": row["ports"], "counters": row["counters"], "readings": row["readings"],
             "last": f"+{words.duration(row['last'] - begin)}", "lag": row["lag_ns"] / 1e9, "interval": interval / 1e9,
             "skew": (row["skew_ns"] or 0) / 1e9}
        )  # fmt: skip
    seconds = {"function": "params.value == null ? '' : d3.format('.4~g')(params.value)"}
    columns: list[dict[str, Any]] = [
        parts.linked("device", "Device", flex=1), {"field": "state", "headerName": "State", "width": 110},
        parts.number("ports", "Ports", width=90), parts.number("counters", "Counters", width=110),
        parts.number("readings", "Readings", width=120),
        {"field": "last", "headerName": "Last reading", "width": 130, "sortable": False},
        parts.number("lag", "Behind the newest (s)", valueFormatter=seconds),
        parts.number("interval", "Interval (s)", valueFormatter=seconds),
        parts.number("skew", "Our clock ahead (s)", valueFormatter=seconds),
    ]  # fmt: skip
    silent = sum(row["state"] == "silent" for row in rows)
    note = f"{words.count(len(rows), 'device')}, {silent} silent for more than {LATE_INTERVALS} of their own intervals."
    return parts.card(
        "Targets", parts.grid(columns, rows, height=min(560, 44 + 32 * len(rows))), note=note
    )


def _sources(source: Source) -> Any:
    """What the collecting processes say of themselves, where the source knows any."""
    rows = source.health()
    if not rows:
        return None
    columns: list[dict[str, Any]] = [
        {"field": "name", "headerName": "Source", "flex": 1}, {"field": "kind", "headerName": "Kind", "width": 120},
        {"field": "address", "headerName": "Address", "flex": 1}, {"field": "state", "headerName": "State", "width": 120},
        parts.number("messages", "Messages"), parts.number("bytes", "Bytes"), parts.number("faults", "Faults"),
        {"field": "error", "headerName": "Last error", "flex": 2},
    ]  # fmt: skip
    return parts.card(
        "Connections", parts.grid(columns, rows, height=min(360, 44 + 32 * len(rows)))
    )


def _quality(source: Source) -> Any:
    found = source.quality()
    if found.is_empty():
        return parts.card("Data quality", parts.empty("Nothing was wrong with the readings."))
    begin = source.known()[0]
    rows = [
        {"device": row["device"], "kind": words.kind(row["kind"]), "times": row["times"],
         "first": f"+{words.duration(row['first'] - begin)}", "last": f"+{words.duration(row['last'] - begin)}",
         "text": words.clean(row["text"])}
        for row in found.head(500).to_dicts()
    ]  # fmt: skip
    columns: list[dict[str, Any]] = [
        {"field": "device", "headerName": "Device", "flex": 1}, {"field": "kind", "headerName": "What", "width": 140},
        parts.number("times", "Times", width=100), {"field": "first", "headerName": "First", "width": 120, "sortable": False},
        {"field": "last", "headerName": "Last", "width": 120, "sortable": False}, {"field": "text", "headerName": "Example", "flex": 3},
    ]  # fmt: skip
    total = int(found.select(pl.col("times").sum()).item())
    return parts.card(
        "Data quality",
        parts.grid(columns, rows, height=min(420, 44 + 32 * len(rows))),
        note=f"{total:,} remarks",
    )
