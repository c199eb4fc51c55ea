"""Fabric: the map, its links coloured by what happened on them at any moment."""

from collections.abc import Sequence
from typing import Any, Final

import dash_mantine_components as dmc
import polars as pl
from dash import ClientsideFunction as Browser
from dash import Dash, Input, Output, dcc, html
from dash import State as Given

from analyzers.views import fleet
from analyzers.views.metrics import METRICS
from dashboards.desk import Desk
from dashboards.figures import layout as drawing
from dashboards.figures import topology
from dashboards.figures.palette import SCALE
from dashboards.pages import parts
from dashboards.report import words
from dashboards.source import Source
from dashboards.state import State
from fabric.cables import Port
from fabric.topology import Fabric

PATH, NAME = "/fabric", "Fabric"
MOMENTS: Final = 120
DETAIL: Final = (("", "auto"), ("all", "hosts"), ("switches", "switches"), ("pods", "pods"))
PATHS: Final = 64  # of equal cost that are drawn


def layout(_desk: Desk, source: Source, state: State) -> Any:
    """The map with its controls; without a topology, why there is none."""
    if source.fabric is None:
        hint = "Give a run with topology.json, or a store whose collectors know LLDP or a topology file."
        return parts.page(
            "Fabric",
            "What is cabled to what.",
            parts.card("Map", parts.empty("No topology is known.", hint)),
        )
    metric = state.choice("metric", METRICS, "pause")
    tools = [
        parts.choice(
            "metric", metric, [(m.key, m.title) for m in METRICS.values()], "colour of the links"
        ),
        parts.choice("detail", state.text("detail"), DETAIL, "how much is drawn"),
    ]
    slider = html.Div(
        [dmc.Button("Play", id="map-play", size="compact-xs", variant="default"),
         html.Div(dmc.Slider(id="map-time", min=0, max=1, step=1, value=0, size="sm", label=None, **{"aria-label": "moment"}), style={"flex": "1"}),
         html.Span("", id="map-when", className="mono")],
        style={"display": "flex", "gap": "14px", "alignItems": "center", "margin": "10px 4px"},
    )  # fmt: skip
    places = _places(source.fabric)
    route = html.Div(
        [parts.pick("path_from", state.text("path_from"), places, "Path from", w=190, clearable=True),
         parts.pick("path_to", state.text("path_to"), places, "to", w=190, clearable=True),
         html.Span(id="map-path", className="note", style={"alignSelf": "center"})],
        className="tools",
    )  # fmt: skip
    return parts.page(
        "Fabric", _summary(source.fabric),
        parts.card(
            "Map", html.Div(id="map-box"), slider, route,
            dcc.Store(id="map-values"), dcc.Store(id="map-sink"),
            dcc.Interval(id="map-beat", interval=350, disabled=True),
            note=html.Span(id="map-note"), tools=tools,
        ),
        html.Div(id="map-picked"),
    )  # fmt: skip


def _summary(fabric: Fabric) -> str:
    roles: dict[str, int] = {}
    for device in fabric.devices.values():
        roles[device.role] = roles.get(device.role, 0) + 1
    many = {"leaf": "leaves", "switch": "switches", "ocs": "optical circuit switches"}
    told = ", ".join(words.count(n, role, many.get(role)) for role, n in sorted(roles.items()))
    return f"{told}; {words.count(len(fabric.wiring().links), 'link')}."


def _places(fabric: Fabric) -> list[tuple[str, str]]:
    names = sorted(fabric.named("host") or tuple(fabric.devices), key=drawing.natural)
    return [(name, name) for name in names[:5000]]


def _drawn(source: Source, state: State) -> drawing.Map:
    assert source.fabric is not None
    return drawing.draw(source.fabric, None, state.text("detail"), state.names("open"))


def register(app: Dash, desk: Desk) -> None:
    """The drawing, its colours over time, what is picked, and a path."""

    @app.callback(
        Output("map-box", "children"), Output("map-values", "data"), Output("map-time", "max"),
        Output("map-time", "value"), Output("map-note", "children"), Output("map-path", "children"),
        Input("url", "search"), Input("url", "pathname"),
    )  # fmt: skip
    def draw(search: str | None, _page: str | None) -> Any:
        # Of inputs that only other callbacks write, Dash asks nothing at first: hence the path.
        source, state = desk.at(search)
        if source.fabric is None:
            return None, None, 1, 0, "", ""
        drawn = _drawn(source, state)
        elements = topology.elements(drawn)
        marked, said = _path(source.fabric, state, drawn)
        picture = topology.picture("map", topology.marked(elements, marked), 560)
        values = _values(source, state, drawn)
        last = max(len(values["times"]) - 1, 1)
        worst = values.pop("worst")
        legend = html.Div(
            [_legend(values["unit"], values["top"]), _note(drawn)], className="legend"
        )
        return [picture, legend], values, last, worst, METRICS[values["metric"]].text, said

    @app.callback(
        Output("map-picked", "children"),
        Input("map", "tapNodeData"), Input("map", "tapEdgeData"), Given("url", "search"),
        prevent_initial_call=True,
    )  # fmt: skip
    def pick(node: dict[str, Any] | None, edge: dict[str, Any] | None, search: str | None) -> Any:
        from dash import ctx

        source, state = desk.at(search)
        if source.fabric is None:
            return None
        if any(prop.endswith("tapEdgeData") for prop in ctx.triggered_prop_ids):
            return _picked_edge(source, state, str((edge or {}).get("id")))
        return _picked_node(source, state, str((node or {}).get("id")))

    app_browser: Any = app.clientside_callback  # published without types
    app_browser(
        Browser("map", "paint"), Output("map-when", "children"),
        Input("map-time", "value"), Input("map-values", "data"), Input("map-box", "children"),
    )  # fmt: skip
    app_browser(
        Browser("map", "beat"), Output("map-sink", "data"),
        Input("map-beat", "n_intervals"), Given("map-time", "value"), Given("map-time", "max"),
        prevent_initial_call=True,
    )  # fmt: skip
    app_browser(
        Browser("map", "play"), Output("map-beat", "disabled"), Output("map-play", "children"),
        Input("map-play", "n_clicks"), Given("map-beat", "disabled"), prevent_initial_call=True,
    )  # fmt: skip


def _note(drawn: drawing.Map) -> html.Span:
    many = f"{len(drawn.nodes)} nodes drawn, detail: {drawn.detail}"
    rest = f"; {drawn.left_out} devices left out" if drawn.left_out else ""
    return html.Span(f"{many}{rest}. Click a group to open it, a device or a link for details.")


def _values(source: Source, state: State, drawn: drawing.Map) -> dict[str, Any]:
    """For the browser: a value per edge and moment, and where the worst moment is."""
    metric = METRICS[state.choice("metric", METRICS, "pause")]
    groups = pl.DataFrame(
        [(device, port, edge.key) for edge in drawn.edges for device, port in topology.ends(edge)],
        schema={"device": pl.String, "port": pl.String, "group": pl.String}, orient="row",
    )  # fmt: skip
    known = source.known()
    times = source.moments(source.span(state), MOMENTS) if source.has_counters() else []
    rows = source.metric(metric.key, source.span(state)) if times else pl.DataFrame()
    names, table = fleet.by_moment(rows, groups, times) if times else ([], [])
    present = [value for row in table for value in row if value is not None]
    top = metric.full or max(present, default=0.0) or 1.0
    sums = [sum(row[n] or 0 for row in table) for n in range(len(times))]
    return {
        "metric": metric.key, "unit": metric.unit, "top": top, "edges": names,
        "table": [[None if v is None else round(v / top, 4) for v in row] for row in table],
        "times": [f"+{words.duration(time - known[0])}" for time in times],
        "worst": sums.index(max(sums)) if sums else 0,
    }  # fmt: skip


def _legend(unit: str, top: float) -> html.Span:
    stops = ", ".join(f"{colour} {at * 100:g}%" for at, colour in SCALE)
    most = f"{top * 100:.0f} %" if unit == "share" else f"{top:,.3g} {unit}"
    bar = html.I(
        style={"background": f"linear-gradient(90deg, {stops})", "width": "120px", "height": "8px"}
    )
    return html.Span(["0 ", bar, most, " (dashed: nothing read)"])


def _path(fabric: Fabric, state: State, drawn: drawing.Map) -> tuple[dict[str, str], str]:
    """Edges of all equal-cost paths between two devices, and how many there are."""
    source, to = state.text("path_from"), state.text("path_to")
    if not source or not to:
        return {}, ""
    if source not in fabric.devices or to not in fabric.devices:
        raise ValueError(f"no such device: {source if source not in fabric.devices else to}")
    paths = fabric.equal_cost_paths(source, to)
    used = fabric.ports_on_paths(source, to)
    on = {(port.device, port.port) for port in used}
    marked = {edge.key: "path" for edge in drawn.edges if on & set(topology.ends(edge))}
    return marked, f"{words.count(len(paths), 'equal-cost path')}, {len(used)} egress ports"


def _picked_node(source: Source, state: State, key: str) -> Any:
    """A group opens; a device shows its ports."""
    fabric = source.fabric
    assert fabric is not None
    if key not in fabric.devices:
        opened = (
            [*state.names("open"), key]
            if key not in state.names("open")
            else list(state.names("open"))
        )
        link = state.link(PATH, **{**_own(state), "open": ",".join(opened)})
        return parts.card(
            words.clean(key), parts.to("Open this group", link), note="A group of devices."
        )
    device = fabric.devices[key]
    ports = [(port, fabric.peer(port), fabric.link(port)) for port in fabric.ports(key)]
    return parts.card(
        f"{key}", _ports_table(source, state, ports), note=f"{device.role} {device.pod}".strip()
    )


def _picked_edge(source: Source, state: State, key: str) -> Any:
    edge = next((edge for edge in _drawn(source, state).edges if edge.key == key), None)
    if edge is None or source.fabric is None:
        return None
    rows = [(link.a, link.b, link) for link in edge.links]
    title = words.count(len(rows), "link")
    return parts.card(
        f"{title} between {words.clean(edge.a)} and {words.clean(edge.b)}",
        _ports_table(source, state, rows),
    )


def _own(state: State) -> dict[str, str]:
    return {name: state.text(name) for name in ("metric", "detail", "path_from", "path_to")}


def _ports_table(
    source: Source, state: State, rows: Sequence[tuple[Port, Port | None, Any]]
) -> Any:
    worst: dict[str, dict[tuple[str, str], float]] = {}
    span = source.span(state)
    for key in ("pause", "ecn", "drops", "use") if source.has_counters() else ():
        values = source.worst(key, span)
        worst[key] = {(d, p): v for d, p, v in values.select("device", "port", "value").iter_rows()}
    shown = [
        {"port": str(port), "peer": str(peer or ""), "speed": words.rate(link.speed_bps) if link else "",
         "length": None if link is None or link.length_m != link.length_m else round(link.length_m, 1),
         "href": state.link("/port", device=port.device, port=port.port),
         "peer_href": state.link("/port", device=peer.device, port=peer.port) if peer else "",
         **{key: values.get((port.device, port.port)) for key, values in worst.items()}}
        for port, peer, link in rows
    ]  # fmt: skip
    columns = [
        parts.linked("port", "Port", flex=1), parts.linked("peer", "Peer", "peer_href", flex=1),
        {"field": "speed", "headerName": "Speed"}, parts.number("length", "Length (m)"),
    ]  # fmt: skip
    for key in worst:
        form = "'.1%'" if METRICS[key].unit == "share" else "'.3~s'"
        unit = "" if METRICS[key].unit == "share" else f" ({METRICS[key].unit})"
        columns.append(
            parts.number(key, f"worst {METRICS[key].title}{unit}",
                         valueFormatter={"function": f"params.value == null ? '' : d3.format({form})(params.value)"})
        )  # fmt: skip
    return parts.grid(columns, shown, height=min(360, 44 + 32 * max(len(shown), 1)))
