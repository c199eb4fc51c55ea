"""Flows: queue pairs of any number, one of them over time, its frames, one frame to its last field."""

from pathlib import Path
from typing import Any, Final

import dash_ag_grid as dag
import dash_mantine_components as dmc
import polars as pl
from dash import Dash, Input, Output, html
from dash import State as Given

from analyzers.capture.source import Tap
from analyzers.views.flows import flow_page
from dashboards.commands.dissect import dissect
from dashboards.desk import Desk
from dashboards.figures import psn
from dashboards.pages import gridquery, parts
from dashboards.report import words
from dashboards.source import Source
from dashboards.state import State
from fabric.codes import Service

PATH, NAME = "/flows", "Flows"
PAGE_ROWS: Final = 100
HEIGHT: Final = 620


def layout(_desk: Desk, source: Source, state: State) -> Any:
    """All flows, or the one of ``?flow=``."""
    flow = state.number("flow")
    if flow is not None:
        return _one(source, state, flow)
    if source.tables.flows.head(1).collect().is_empty():
        hint = "Flows come from captures: fabric dashboard FILES, a run with taps, or the page of captures."
        return parts.page(
            "Flows",
            "Queue pairs, direction by direction.",
            parts.card("Flows", parts.empty("No packet was captured.", hint)),
        )
    export = dmc.Group([html.A("CSV", href=state.link("/export/flows", **{"as": "csv"}), download=""),
                        html.A("Parquet", href=state.link("/export/flows", **{"as": "parquet"}), download="")])  # fmt: skip
    grid = dag.AgGrid(
        id="flows", rowModelType="infinite", columnDefs=_columns(), className="grid",
        defaultColDef={"sortable": True, "filter": True, "resizable": True, "minWidth": 84,
                       "filterParams": {"maxNumConditions": 2, "defaultJoinOperator": "AND", "numAlwaysVisibleConditions": 1}},
        dashGridOptions={
            "theme": {"function": "themeQuartz.withPart(colorSchemeVariable)"}, "cacheBlockSize": PAGE_ROWS,
            "maxBlocksInCache": 20, "rowHeight": 30, "headerHeight": 34, "multiSortKey": "ctrl",
        },
        style={"height": f"{HEIGHT}px"},
    )  # fmt: skip
    return parts.page(
        "Flows", "One row is one direction of a queue pair seen at a point; the row leads to its sequence numbers.",
        parts.card("Flows", grid, note=html.Span(id="flows-count"), tools=export),
    )  # fmt: skip


def _columns() -> list[dict[str, Any]]:
    def text(field: str, header: str, **more: Any) -> dict[str, Any]:
        return {"field": field, "headerName": header, "filter": "agTextColumnFilter", **more}

    def scaled(field: str, header: str, scale: float, form: str = ",.3~f") -> dict[str, Any]:
        """The filter counts in the unit of the table, so the unit stays and only the digits are grouped."""
        shown = f"params.value == null ? '' : d3.format('{form}')(params.value / {scale:g})"
        return parts.number(field, header, valueFormatter={"function": shown}, width=124)

    return [
        parts.linked("flow", "Flow", filter="agNumberColumnFilter", width=110, pinned="left"),
        text("src", "From", width=150), text("dst", "To", width=150),
        parts.number("qpn", "QPN", width=100, valueFormatter={"function": "params.value == null ? '' : '0x' + params.value.toString(16)"}),
        text("point", "Point", width=150),
        parts.number("packets", "Packets", width=104),
        scaled("payload_bytes", "Payload (bytes)", 1, ",.0f"),
        scaled("rate_bps", "Rate (bit/s)", 1, ".3~s"),
        parts.number("resent", "Resent", width=96), parts.number("ce", "CE marks", width=100),
        parts.number("cnp", "CNPs", width=90), parts.number("naks", "NAKs", width=90),
        parts.number("rnr_naks", "RNR", width=84),
        scaled("rtt_p50_ns", "RTT p50 (ns)", 1, ",.0f"), scaled("rtt_p99_ns", "RTT p99 (ns)", 1, ",.0f"),
        scaled("rtt_max_ns", "RTT max (ns)", 1, ",.0f"),
        scaled("duration_ns", "Lasted (ns)", 1, ",.0f"),
        parts.number("messages", "Messages", width=100), parts.number("sport", "Source port", width=104),
        parts.number("dscp", "DSCP", width=84), text("recovery", "Recovery", width=110),
    ]  # fmt: skip


def register(app: Dash, desk: Desk) -> None:
    """Pages of the grid, and what belongs to one flow."""

    @app.callback(
        Output("flows", "getRowsResponse"), Output("flows-count", "children"),
        Input("flows", "getRowsRequest"), Given("url", "search"),
    )  # fmt: skip
    def rows(asked: dict[str, Any] | None, search: str | None) -> Any:
        if not asked:
            return {"rowData": [], "rowCount": None}, ""
        source, state = desk.at(search)
        first = max(int(asked.get("startRow") or 0), 0)
        count = min(max(int(asked.get("endRow") or PAGE_ROWS) - first, 1), 1000)
        known = source.known()
        span = source.span(state)
        page = flow_page(
            source.tables.flows, None if span == known else span,
            gridquery.conditions(asked.get("filterModel")), gridquery.order(asked.get("sortModel")),
            first, count,
        )  # fmt: skip
        shown = [
            {**row, "href": state.link(PATH, flow=row["flow"])} for row in page.rows.to_dicts()
        ]
        return {
            "rowData": shown,
            "rowCount": page.total,
        }, f"{page.total:,} flows fit the filters and the time range."

    @app.callback(
        Output({"time": "psn"}, "figure"), Output({"time": "rates"}, "figure"),
        Input("url", "search"), Input("url", "pathname"),
    )  # fmt: skip
    def pictures(search: str | None, _page: str | None) -> Any:
        source, state = desk.at(search)
        found = source.sequence(state.number("flow") or 0)
        if found is None:
            raise ValueError("no such flow")
        span = _span(state, found.flow)
        return psn.figure(found, span), psn.rates(found, span)

    @app.callback(Output("dissected", "children"), Input("url", "search"), Input("url", "pathname"))
    def frame(search: str | None, _page: str | None) -> Any:
        source, state = desk.at(search)
        return _dissection(source, state)


def _span(state: State, flow: dict[str, Any]) -> tuple[int, int]:
    first, last = int(flow["first"]), int(flow["last"])
    start, end = state.span((first, max(last, first + 1)))
    margin = max((end - start) // 50, 1)
    return start - margin, end + margin


def _one(source: Source, state: State, flow: int) -> Any:
    found = source.sequence(flow)
    if found is None:
        return parts.page(
            "No such flow",
            f"Flow {flow} is not in this analysis.",
            parts.to("All flows", state.link(PATH)),
        )
    row: dict[str, Any] = found.flow
    service = (
        Service(row["service"]).name if row["service"] in set(Service) else str(row["service"])
    )
    said = parts.facts(
        [
            ("From", row["src"]), ("To", f"{row['dst']}, queue pair {row['qpn']:#x}"),
            ("Seen at", row["point"]), ("Service", service),
            ("Time", f"{words.clock(row['first'])} UTC, for {words.duration(row['last'] - row['first'])}"),
            ("Carried", f"{row['packets']:,} packets, {words.size(row['payload_bytes'])} payload, {words.count(row['messages'], 'message')}"),
            ("Resent", f"{row['resent']:,} packets" if row["resent"] else "none"),
            ("Marked", f"{row['ce']:,} of {row['ect']:,} packets"),
            ("Round trip", f"median {words.duration(row['rtt_p50_ns'])}, 99 % {words.duration(row['rtt_p99_ns'])}, longest {words.duration(row['rtt_max_ns'])}" if row["rtt_samples"] else "none measured"),
            ("Other way", parts.to(f"flow {row['peer_flow']}", state.link(PATH, flow=row["peer_flow"])) if row["peer_flow"] is not None else "not paired"),
        ]
    )  # fmt: skip
    export = state.link("/export/events", flow=flow)
    return parts.page(
        f"{words.clean(row['src'])} → {words.clean(row['dst'])}, queue pair {row['qpn']:#x}",
        [html.Code(f"flow {flow}"), " · ", parts.to("all flows", state.link(PATH))],
        parts.card("Sequence numbers over time", parts.graph({"time": "psn"}, {}, 420),
                   note="Lines: messages, from first PSN to last. Marks: what happened, at the PSN concerned. Shaded: a pause was in force at the point."),
        html.Div(id="dissected"),
        html.Div(
            [parts.card("Rate, round trip, marks", parts.graph({"time": "rates"}, {}, 430)),
             html.Div([parts.card("The flow", said), parts.card("Frames", _frame_picker(state))])],
            className="columns",
        ),
        parts.card("What happened", _events(found.events, state, row), note=f"{found.events.height:,} events; a frame number leads to its bytes.",
                   tools=[html.A("CSV", href=f"{export}&as=csv", download=""), html.A("Parquet", href=f"{export}&as=parquet", download="")]),
    )  # fmt: skip


def _frame_picker(state: State) -> Any:
    return dmc.NumberInput(
        id={"param": "frame"}, label="Dissect the frame of this number", min=1, size="xs", w=240, debounce=600,
        value=state.number("frame") or "", description="As tshark reads it; counted from 1 in the capture file.",
    )  # fmt: skip


def _events(events: pl.DataFrame, state: State, row: dict[str, Any]) -> Any:
    if events.is_empty():
        return parts.empty("Nothing but packets in order.")
    begin, flow = int(row["first"]), row["flow"]
    shown = [
        {"at": words.duration(event["ts"] - begin), "kind": words.kind(event["kind"]), "verdict": words.kind(event["verdict"]),
         "psn": event["psn"], "psns": event["psns"], "lost": (event["delay_ns"] or 0) / 1000, "proof": words.clean(event["proof"]),
         "frame": event["frame"], "href": state.link(PATH, flow=flow, frame=event["frame"]),
         "resend": event["resend_frame"], "resend_href": state.link(PATH, flow=flow, frame=event["resend_frame"])}
        for event in events.head(2000).to_dicts()
    ]  # fmt: skip
    columns: list[dict[str, Any]] = [
        {"field": "at", "headerName": "After the first packet", "width": 130, "sortable": False},
        {"field": "kind", "headerName": "What", "width": 130}, {"field": "verdict", "headerName": "Verdict", "width": 150},
        parts.number("psn", "PSN", width=100), parts.number("psns", "Packets", width=92),
        parts.number("lost", "Time lost (µs)", width=120, valueFormatter={"function": "params.value ? d3.format('.3~f')(params.value) : ''"}),
        parts.linked("frame", "Frame", width=92), parts.linked("resend", "Resent in", "resend_href", width=100),
        {"field": "proof", "headerName": "Proof", "flex": 1, "minWidth": 260, "wrapText": True, "autoHeight": True},
    ]  # fmt: skip
    return parts.grid(columns, shown, height=min(480, 44 + 60 * len(shown)))


def _dissection(source: Source, state: State) -> Any:
    """One frame of the capture behind the flow's point, dissected by tshark in another process."""
    frame, flow = state.number("frame"), state.number("flow")
    if frame is None or flow is None:
        return None
    found = source.sequence(flow)
    if found is None:
        raise ValueError("no such flow")
    rows = source.points().filter(pl.col("point") == found.flow["point"])
    title = f"Frame {frame}"
    try:
        path = str(rows["path"][0])
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: is not there any more, or is a set of rotated files")
        text = dissect(path, Tap(path, (path,)), frame)
    except (OSError, ValueError) as error:
        return parts.card(
            title, parts.empty(words.clean(error), "The capture must still lie where it was read.")
        )
    where = f"of {rows['path'][0]}"
    return parts.card(
        title, html.Pre(_printable(text), className="dissection"), note=words.clean(where)
    )


def _printable(text: str) -> str:
    """Lines stay lines; other control characters become visible."""
    return "\n".join(words.clean(line) for line in text.splitlines())
