"""Port: every counter and rate of a port, both ends of its link side by side, its settings and findings."""

from typing import Any, Final

import polars as pl
from dash import Dash, Input, Output, html

from analyzers.views import fleet
from analyzers.views.metrics import METRICS
from dashboards.desk import Desk
from dashboards.figures import lines
from dashboards.figures.timeaxis import TimeAxis
from dashboards.pages import parts, told
from dashboards.report import words
from dashboards.source import Source
from dashboards.state import State
from fabric.cables import Port
from fabric.counters import COUNTERS

PATH, NAME = "/port", ""
STRIPS: Final = ("pause", "holds", "queue", "ecn", "drops", "use")
NOTHING: Final = pl.DataFrame(schema={"ts": pl.Int64, "value": pl.Float64})


def layout(_desk: Desk, source: Source, state: State) -> Any:
    """The page of ``?device=&port=``; without a port, those of the device; without either, a choice."""
    device, port = state.text("device"), state.text("port")
    if not device:
        return _choose(source, state)
    here = Port(device, port)
    known = (
        source.worst("use", source.span(state)).filter(pl.col("device") == device)
        if source.has_counters()
        else None
    )
    cabled = source.fabric is not None and device in source.fabric.devices
    if (known is None or known.is_empty()) and not cabled:
        return _unknown(f"No device is named {words.clean(device)} here.", state)
    if not port:
        return _choose(source, state, device)
    read = known is not None and not known.filter(pl.col("port") == port).is_empty()
    wired = cabled and source.fabric is not None and source.fabric.link(here) is not None
    if not read and not wired:
        return _unknown(f"{words.clean(device)} has no port {words.clean(port)} here.", state)
    peer = source.fabric.peer(here) if source.fabric and wired else None
    ends = [_strips_card("port", here)] + ([_strips_card("peer", peer)] if peer else [])
    findings = _findings(source, state, here)
    return parts.page(
        f"{words.clean(device)} port {words.clean(port)}", _about(source, state, here, peer),
        html.Div(ends, className="halves"),
        findings,
        parts.card("Counters", html.Div(id="port-counters"),
                   note="Every counter in the time range: first and last reading, increase, mean and highest rate."),
        html.Div([_settings(source, here), _settings(source, peer)] if peer else [_settings(source, here)], className="halves"),
    )  # fmt: skip


def _unknown(text: str, state: State) -> Any:
    return parts.page("No such port", text, parts.to("Choose another", state.link(PATH)))


def _about(source: Source, state: State, here: Port, peer: Port | None) -> Any:
    link = source.fabric.link(here) if source.fabric else None
    if peer is None or link is None:
        return "Its other end is not known."
    said = [f"{words.rate(link.speed_bps)}"]
    if link.length_m == link.length_m:
        said.append(f"{link.length_m:.3g} m")
    said += [
        f"{name} {value}"
        for name, value in (("rail", link.rail), ("plane", link.plane))
        if value >= 0
    ]
    return html.Span(
        ["Cabled to ", parts.to(f"{peer.device} port {peer.port}", state.link(PATH, device=peer.device, port=peer.port)),
         f" · {' · '.join(said)}"]
    )  # fmt: skip


def _choose(source: Source, state: State, device: str = "") -> Any:
    """A list of ports to choose from, the worst first."""
    if not source.has_counters():
        return parts.page("Ports", "No counter was collected; captures are on the page of flows.")
    values = source.worst("pause", source.span(state))
    if device:
        values = values.filter(pl.col("device") == device)
    rows = [
        {**row, "href": state.link(PATH, device=row["device"], port=row["port"])}
        for row in values.sort("value", fleet.natural("device"), fleet.natural("port"), descending=[True, False, False], nulls_last=True).to_dicts()
    ]  # fmt: skip
    columns = [
        parts.linked("device", "Device"), parts.linked("port", "Port"),
        parts.number("value", "worst share held by its peer",
                     valueFormatter={"function": "params.value == null ? '' : d3.format('.1%')(params.value)"}),
    ]  # fmt: skip
    title = f"Ports of {words.clean(device)}" if device else "Ports"
    return parts.page(
        title,
        "The most held first.",
        parts.card(f"{len(rows):,} ports", parts.grid(columns, rows, height=620)),
    )


def _strips_card(name: str, place: Port) -> Any:
    end = "this end" if name == "port" else "other end"
    return parts.card(f"{place.device} port {place.port}", parts.graph({"time": name}, {}, 520), note=f"{end}; a gap in a line is a gap in the readings")  # fmt: skip


def register(app: Dash, desk: Desk) -> None:
    """Strips of both ends and the counters follow the time range and the clock."""
    for name in ("port", "peer"):
        _strips(app, desk, name)

    @app.callback(
        Output("port-counters", "children"), Input("url", "search"), Input("tick", "n_intervals")
    )
    def counters(search: str | None, _tick: int | None) -> Any:
        source, state = desk.at(search)
        return _counters(source, state)


def _strips(app: Dash, desk: Desk, name: str) -> None:
    @app.callback(
        Output({"time": name}, "figure"), Input("url", "search"), Input("tick", "n_intervals")
    )
    def strips(search: str | None, _tick: int | None) -> Any:
        source, state = desk.at(search)
        place: Port | None = Port(state.text("device"), state.text("port"))
        if name == "peer":
            place = source.fabric.peer(place) if source.fabric and place else None
        span = source.span(state)
        drawn = []
        for key in STRIPS:
            rows = source.port(key, place.device, place.port, span) if place else NOTHING
            drawn.append(lines.Strip(METRICS[key].title, METRICS[key].unit, [(key, rows)]))
        return lines.strips(TimeAxis(*span), drawn)


def _counters(source: Source, state: State) -> Any:
    span = source.span(state)
    rows = source.counter_table(state.text("device"), state.text("port"), span)
    shown = []
    for row in rows.to_dicts():
        known = COUNTERS.get((row["object"], row["counter"]))
        unit = known.unit if known else ""
        shown.append(
            {**row, "unit": unit, "text": known.text if known else "not in the vocabulary",
             "object": row["object"] if row["index"] < 0 else f"{row['object']} {row['index']}"}
        )  # fmt: skip
    columns = [
        {"field": "object", "headerName": "Of", "width": 100},
        {"field": "counter", "headerName": "Counter", "flex": 2, "tooltipField": "text"},
        {"field": "unit", "headerName": "Unit", "width": 90},
        parts.number("first", "First"), parts.number("last", "Last"), parts.number("grown", "Increase"),
        parts.number("mean", "Mean (/s)", valueFormatter={"function": "params.value == null ? '' : d3.format('.4~s')(params.value)"}),
        parts.number("peak", "Highest (/s, or reading)", valueFormatter={"function": "params.value == null ? '' : d3.format('.4~s')(params.value)"}),
        parts.number("readings", "Readings", width=100),
        {"field": "text", "headerName": "What it says", "flex": 3},
    ]  # fmt: skip
    export = state.link("/export/readings", device=state.text("device"), port=state.text("port"))
    tools = html.P(["All readings: ", html.A("CSV", href=f"{export}&as=csv", download=""), " ",
                    html.A("Parquet", href=f"{export}&as=parquet", download="")], className="note")  # fmt: skip
    return [parts.grid(columns, shown, height=min(560, 44 + 32 * max(len(shown), 1))), tools]


def _findings(source: Source, state: State, here: Port) -> Any:
    """Incidents and findings that name this port."""
    prefix = f"{here}:"
    incidents = [
        row for row in source.incidents().to_dicts()
        if any(root == str(here) or root.startswith(prefix) for root in row["roots"])
    ]  # fmt: skip
    mine = (pl.col("device") == here.device) & (pl.col("port") == here.port)
    found = source.findings().filter(mine).to_dicts()
    items = [told.incident_item(n, row, state, source) for n, row in enumerate(incidents, 1)]
    items += [
        told.finding_item(n, row, state, source) for n, row in enumerate(found, len(items) + 1)
    ]
    if not items:
        return None
    return parts.card(
        "Incidents and findings of this port", html.Ol(items[:20], className="ranked plain")
    )


def _settings(source: Source, place: Port | None) -> Any:
    """QoS settings of a port, where the configuration is known."""
    if place is None:
        return None
    mine = (pl.col("device") == place.device) & (pl.col("port") == place.port)
    rows = source.tables.qos.filter(mine).sort("priority").collect().to_dicts()
    title = f"Configuration of {place.device} port {place.port}"
    if not rows:
        return parts.card(
            title,
            parts.empty(
                "No configuration is known.", "SONiC config_db, YAML and host dumps are read."
            ),
        )
    shown = [
        {"priority": row["priority"], "queue": row["queue"] if row["queue"] >= 0 else None,
         "pfc": "on" if row["pfc"] else "off", "ecn": "on" if row["ecn"] else "off",
         "dscp": ", ".join(map(str, row["dscp"] or [])),
         **{key: row[key] if row[key] >= 0 else None for key in ("kmin_bytes", "kmax_bytes", "xoff_bytes", "mtu_bytes")}}
        for row in rows
    ]  # fmt: skip
    columns: list[dict[str, Any]] = [
        parts.number("priority", "Priority", width=84), parts.number("queue", "Queue", width=76),
        {"field": "pfc", "headerName": "PFC", "width": 70}, {"field": "ecn", "headerName": "ECN", "width": 70},
        {"field": "dscp", "headerName": "DSCP", "flex": 1},
        parts.number("kmin_bytes", "Kmin (bytes)"), parts.number("kmax_bytes", "Kmax (bytes)"),
        parts.number("xoff_bytes", "Headroom (bytes)"), parts.number("mtu_bytes", "MTU (bytes)"),
    ]  # fmt: skip
    return parts.card(title, parts.grid(columns, shown))
