"""Overview: is the fabric healthy; if not, what is the cause, where, since when, who suffers."""

from typing import Any, Final

import polars as pl
from dash import Dash, Input, Output, html, no_update
from dash import State as Given

from analyzers.views import fleet
from analyzers.views.metrics import METRICS
from dashboards.desk import Desk
from dashboards.figures import heatmap, lines
from dashboards.figures.timeaxis import TimeAxis
from dashboards.pages import parts, told
from dashboards.report import words
from dashboards.source import Source
from dashboards.state import State

PATH, NAME = "/", "Overview"
SHOWN: Final = 8  # incidents or findings listed before "all"
STRIPS: Final = ("pause", "ecn", "drops", "use")
ROLES: Final = ("all", "switches", "hosts")


def layout(_desk: Desk, source: Source, state: State) -> Any:
    """The skeleton; its contents follow, and again at every tick of the live mode."""
    body = [html.Div(id="ov-verdict")]
    found = html.Div(id="ov-found")
    strips = parts.graph({"time": "overview"}, {}, 400)
    trend = parts.card(
        "The worst port over time",
        strips,
        note="The greatest value of any port in each interval: no single spike is averaged away.",
    )
    if source.has_counters():
        body += [html.Div([found, trend], className="columns"), _fleet_card(source, state)]
    else:
        load = parts.card(
            "Load of each point", strips, note="Bits per second on the wire, by capture."
        )
        body += [html.Div([found, load], className="columns"), _points_card(source)]
    return parts.page("Overview", "What is wrong, where, since when, and who suffers.", *body)


def _fleet_card(source: Source, state: State) -> Any:
    metric = state.choice("metric", METRICS, "pause")
    tools = [
        parts.choice("metric", metric, [(m.key, m.title) for m in METRICS.values()], "what is shown"),
    ]  # fmt: skip
    order = parts.choice("order", state.choice("order", ("worst", "name"), "worst"),
                         [("worst", "worst first"), ("name", "by name")], "order")  # fmt: skip
    roles = parts.choice("roles", state.choice("roles", ROLES, "all"),
                         [(role, role) for role in ROLES], "which devices")  # fmt: skip
    at = state.number("at")
    when = parts.pick(
        "at", str(at) if at else "", [("", "worst in the range"), *_moments(source, state)], "When",
        w=210, clearable=True, placeholder="worst in the range",
    )  # fmt: skip
    return parts.card(
        "Every port",
        html.Div(
            html.Div(parts.graph({"follow": "fleet"}, {}, 200), id="ov-fleet"), className="scroll"
        ),
        html.Div(id="ov-fleet-table"),
        note=html.Span(METRICS[metric].text, id="ov-metric"),
        tools=[*tools, roles, order, when],
    )


def _moments(source: Source, state: State) -> list[tuple[str, str]]:
    known = source.known()
    times = source.moments(source.span(state), 120)
    return [(str(time), f"+{words.duration(time - known[0])}") for time in times]


def _points_card(source: Source) -> Any:
    rows = [
        {
            "point": row["point"], "path": row["path"], "packets": row["packets"], "roce": row["roce"],
            "cnp": row["cnp"], "pauses": row["pauses"], "ce": row["ce"], "faults": row["faults"],
            "speed": words.rate(row["speed_bps"]), "damage": row["damage"],
            "span": words.duration(row["last"] - row["first"]) if row["packets"] else "",
        }
        for row in source.points().to_dicts()
    ]  # fmt: skip
    columns: list[dict[str, Any]] = [
        {"field": "point", "headerName": "Point", "flex": 2},
        {"field": "span", "headerName": "Length"},
        {"field": "speed", "headerName": "Speed"},
        parts.number("packets", "Packets"),
        parts.number("roce", "RoCE"),
        parts.number("ce", "CE marks"),
        parts.number("cnp", "CNPs"),
        parts.number("pauses", "Pause frames"),
        parts.number("faults", "Unreadable"),
        {"field": "damage", "headerName": "Damage"},
        {"field": "path", "headerName": "File", "flex": 2},
    ]
    return parts.card(
        "Looked at",
        parts.grid(columns, rows),
        note="An observation point is one interface of a capture.",
    )


def register(app: Dash, desk: Desk) -> None:
    """What follows the URL and the clock."""

    @app.callback(
        Output("ov-verdict", "children"), Output("ov-found", "children"),
        Input("url", "search"), Input("tick", "n_intervals"),
    )  # fmt: skip
    def verdict(search: str | None, _tick: int | None) -> Any:
        source, state = desk.at(search)
        return told.verdict(source), _found(source, state)

    @app.callback(
        Output({"time": "overview"}, "figure"), Input("url", "search"), Input("tick", "n_intervals")
    )
    def trend(search: str | None, _tick: int | None) -> Any:
        source, state = desk.at(search)
        return _trend(source, source.span(state))

    @app.callback(
        Output("url", "href", allow_duplicate=True),
        Input("fleet", "clickData"), Given("url", "search"), prevent_initial_call=True,
    )  # fmt: skip
    def follow(clicked: dict[str, Any] | None, search: str | None) -> Any:
        source, state = desk.at(search)
        cell = (clicked or {}).get("points", [{}])[0]
        place = heatmap.place(_grid(source, state), cell.get("y"), cell.get("x"))
        return state.link("/port", device=place[0], port=place[1]) if place else no_update

    @app.callback(
        Output("ov-fleet", "children"), Output("ov-fleet-table", "children"),
        Output("ov-metric", "children"),
        Input("url", "search"), Input("tick", "n_intervals"), Given("url", "pathname"),
    )  # fmt: skip
    def ports(search: str | None, _tick: int | None, _path: str | None) -> Any:
        source, state = desk.at(search)
        return _fleet(source, state)


def _found(source: Source, state: State) -> Any:
    """Incidents ranked; where none was diagnosed, the findings."""
    incidents = source.incidents().to_dicts()
    findings = source.findings().to_dicts()
    grave = [row for row in findings if row["severity"] != "info"]
    cards = []
    if incidents:
        items = [told.incident_item(n, row, state, source) for n, row in enumerate(incidents, 1)]
        cards.append(
            parts.card("Incidents", html.Ol(items[:SHOWN], className="ranked plain"),
                       note="Findings folded to one cause each, the gravest first.")
        )  # fmt: skip
    listed = grave or findings
    if listed:
        items = [told.finding_item(n, row, state, source) for n, row in enumerate(listed, 1)]
        rest = len(findings) - min(len(items), SHOWN)
        more = parts.to(f"All findings ({len(findings)})", state.link("/incident")) if rest else ""
        title = "Findings" if grave or not incidents else "Good to know"
        cards.append(
            parts.card(title, html.Ol(items[:SHOWN], className="ranked plain"), more,
                       note="Symptoms, each with its proof.")
        )  # fmt: skip
    return cards or parts.card("Findings", parts.empty("Nothing was found."))


def _trend(source: Source, span: tuple[int, int]) -> dict[str, Any]:
    axis = TimeAxis(*span)
    if source.has_counters():
        drawn = []
        for key in STRIPS:
            metric, rows = METRICS[key], source.trend(key, span)
            drawn.append(
                lines.Strip(
                    metric.title, metric.unit, [("worst port", rows.with_columns(key=pl.lit("")))]
                )
            )
        return lines.strips(axis, drawn)
    return lines.strips(axis, [
        lines.Strip(name, "bit/s", [(name, rows)]) for name, rows in source.loads(span)
    ])  # fmt: skip


def _fleet(source: Source, state: State) -> tuple[Any, Any, str]:
    metric = METRICS[state.choice("metric", METRICS, "pause")]
    values, grid = _values(source, state), _grid(source, state)
    if grid.is_empty():
        return (
            parts.empty("No port reports this.", "Choose another metric or time range."),
            None,
            metric.text,
        )
    figure = heatmap.heatmap(grid, metric)
    picture = parts.graph("fleet", figure, heatmap.height(grid.height))
    rows = values.sort("value", descending=True, nulls_last=True).head(parts.ROWS_BEHIND)
    table = [
        {**row, "at": words.clock(row["ts"]), "href": state.link("/port", device=row["device"], port=row["port"])}
        for row in rows.to_dicts()
    ]  # fmt: skip
    columns = [
        parts.linked("device", "Device"), parts.linked("port", "Port"),
        parts.number("value", f"{metric.title} ({metric.unit})",
                     valueFormatter={"function": "params.value == null ? '' : d3.format('.4~g')(params.value)"}),
        {"field": "at", "headerName": "Time (UTC)"},
    ]  # fmt: skip
    export = state.link("/export/ports", metric=metric.key, at=state.number("at"))
    return picture, parts.behind(table, columns, export), metric.text


def _values(source: Source, state: State) -> pl.DataFrame:
    """The value of each port that is shown."""
    metric = state.choice("metric", METRICS, "pause")
    values = source.worst(metric, source.span(state), state.number("at"))
    return _of_role(source, values, state.choice("roles", ROLES, "all"))


def _grid(source: Source, state: State) -> pl.DataFrame:
    """The rows of the heatmap in the order in which they are drawn."""
    grid = fleet.grid(_values(source, state))
    if state.choice("order", ("worst", "name"), "worst") == "worst":
        return grid.sort("worst", descending=True, nulls_last=True, maintain_order=True)
    return grid


def _of_role(source: Source, values: pl.DataFrame, roles: str) -> pl.DataFrame:
    """Only hosts or only switches; all where the topology is not known."""
    if roles == "all" or source.fabric is None:
        return values
    hosts = set(source.fabric.named("host"))
    inside = pl.col("device").is_in(hosts)
    return values.filter(inside if roles == "hosts" else ~inside)
