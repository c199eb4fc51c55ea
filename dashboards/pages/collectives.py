"""Collectives: what the job was doing, how fast, and who held whom up."""

from typing import Any

import polars as pl
from dash import Dash, Input, Output

from dashboards.desk import Desk
from dashboards.figures import gantt
from dashboards.pages import parts
from dashboards.report import words
from dashboards.source import Source
from dashboards.state import State

PATH, NAME = "/collectives", "Collectives"
MOST = 2000


def layout(_desk: Desk, source: Source, state: State) -> Any:
    """The time axis, operations, stalls and who carried them."""
    title, subtitle = (
        "Collectives",
        "Operations of the job, their bus bandwidth, and what each waited for.",
    )
    found = source.operations()
    if found.is_empty():
        hint = "They are recognised from the messages of captured flows; a job's logs name them."
        return parts.page(
            title,
            subtitle,
            parts.card("Operations", parts.empty("No operation was recognised.", hint)),
        )
    height = 120 + 34 * min(found["communicator"].n_unique(), 20)
    return parts.page(
        title, subtitle,
        parts.card("Over time", parts.graph({"time": "collectives"}, {}, height),
                   note="A bar is an operation; its colours are the parts of its critical path. A light bar that ends early: the rest was not seen."),
        parts.card("Operations", _operations(found, state), note=f"{found.height:,} operations; ledger: bytes expected and measured."),
        parts.card("Stalls", _stalls(source), note="Waits on the critical path, the longest first, and who was late."),
        parts.card("Hot links", _carried(source, state), note="Which flows carried the operations, the most bytes first."),
    )  # fmt: skip


def register(app: Dash, desk: Desk) -> None:
    """The picture follows the time range."""

    @app.callback(
        Output({"time": "collectives"}, "figure"), Input("url", "search"), Input("url", "pathname")
    )
    def picture(search: str | None, _page: str | None) -> Any:
        source, state = desk.at(search)
        return gantt.figure(source.operations(), source.span(state))


def _operations(found: pl.DataFrame, _state: State) -> Any:
    rows = [
        {"number": row["operation"], "communicator": words.clean(row["communicator"]), "kind": words.kind(row["kind"]), "algorithm": row["algorithm"],
         "ranks": row["ranks"], "bytes": row["bytes"], "took": (row["end"] - row["start"]) / 1e3, "busbw": row["busbw_bps"] / 1e9,
         "network": row["network_wait_ns"] / 1e3, "sender": row["sender_wait_ns"] / 1e3, "receiver": row["receiver_wait_ns"] / 1e3,
         "skew": row["skew_ns"] / 1e3, "late": row["late"], "expected": row["expected_bytes"] if row["expected_bytes"] >= 0 else None,
         "measured": row["measured_bytes"], "resent": row["resent_bytes"], "sure": round(row["confidence"] * 100), "evidence": row["evidence"]}
        for row in found.head(MOST).to_dicts()
    ]  # fmt: skip
    short = {"function": "params.value == null ? '' : d3.format(',.3~f')(params.value)"}
    columns: list[dict[str, Any]] = [
        parts.number("number", "No.", width=76), {"field": "communicator", "headerName": "Communicator", "width": 150},
        {"field": "kind", "headerName": "Kind", "width": 130}, {"field": "algorithm", "headerName": "Algorithm", "width": 110},
        parts.number("ranks", "Ranks", width=84), parts.number("bytes", "Bytes", width=120),
        parts.number("took", "Took (µs)", valueFormatter=short, width=110),
        parts.number("busbw", "Bus bandwidth (Gb/s)", valueFormatter=short, width=150),
        parts.number("network", "Network wait (µs)", valueFormatter=short, width=140),
        parts.number("sender", "Sender wait (µs)", valueFormatter=short, width=140),
        parts.number("receiver", "Receiver wait (µs)", valueFormatter=short, width=146),
        parts.number("skew", "Skew (µs)", valueFormatter=short, width=104),
        {"field": "late", "headerName": "Straggler", "width": 130},
        parts.number("expected", "Expected (bytes)", width=140), parts.number("measured", "Measured (bytes)", width=140),
        parts.number("resent", "Resent (bytes)", width=120), parts.number("sure", "Sure (%)", width=90),
        {"field": "evidence", "headerName": "Told by", "width": 100},
    ]  # fmt: skip
    return parts.grid(columns, rows, height=min(420, 44 + 32 * len(rows)), columnSize=None)


def _stalls(source: Source) -> Any:
    begin = source.known()[0]
    found = source.tables.stalls.with_columns(lasted=pl.col("end") - pl.col("start"))
    rows = [
        {"operation": row["operation"], "at": f"+{words.duration(row['start'] - begin)}", "lasted": row["lasted"] / 1e3,
         "cause": row["cause"], "late": row["late"], "waits": row["waits"], "clear": row["clear_to_send"], "bytes": row["bytes"]}
        for row in found.sort("lasted", descending=True).head(500).collect().to_dicts()
    ]  # fmt: skip
    if not rows:
        return parts.empty("Nobody waited long enough to matter.")
    columns: list[dict[str, Any]] = [
        parts.number("operation", "Operation", width=110), {"field": "at", "headerName": "At", "width": 110, "sortable": False},
        parts.number("lasted", "Lasted (µs)", width=120), {"field": "cause", "headerName": "Who was late", "width": 120},
        {"field": "late", "headerName": "Late", "flex": 1}, {"field": "waits", "headerName": "Waited", "flex": 1},
        {"field": "clear", "headerName": "Clear to send", "width": 130}, parts.number("bytes", "Message (bytes)"),
    ]  # fmt: skip
    return parts.grid(columns, rows, height=min(360, 44 + 32 * len(rows)))


def _carried(source: Source, state: State) -> Any:
    rows = [
        {**row, "href": state.link("/flows", flow=row["flow"])}
        for row in source.tables.carried.group_by("flow", "src", "dst", "qpn")
        .agg(pl.col("bytes").sum(), operations=pl.col("operation").n_unique())
        .sort("bytes", "flow", descending=[True, False]).head(300).collect().to_dicts()
    ]  # fmt: skip
    columns: list[dict[str, Any]] = [
        parts.linked("flow", "Flow", width=110), {"field": "src", "headerName": "From", "flex": 1},
        {"field": "dst", "headerName": "To", "flex": 1}, parts.number("bytes", "Bytes"), parts.number("operations", "Operations"),
    ]  # fmt: skip
    return parts.grid(columns, rows, height=min(360, 44 + 32 * max(len(rows), 1)))
