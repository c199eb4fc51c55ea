"""One incident, or one finding, from its cause to its proof; without a name, the list of all findings."""

from typing import Any

import dash_mantine_components as dmc
import polars as pl
from dash import Dash, Input, Output, html

from analyzers.views.metrics import METRICS
from dashboards.desk import Desk
from dashboards.figures import layout as drawing
from dashboards.figures import lines, topology
from dashboards.figures.palette import MARK
from dashboards.figures.timeaxis import TimeAxis
from dashboards.pages import parts, review, told
from dashboards.report import words
from dashboards.source import Source
from dashboards.state import State

PATH, NAME = "/incident", ""
Row = dict[str, Any]
STRIPS = ("pause", "holds", "queue", "ecn", "use")
BARS = 12  # victims shown at once


def layout(desk: Desk, source: Source, state: State) -> Any:
    """The page for ``?id=`` (an incident), ``?finding=``, or the list of findings."""
    if name := state.text("id"):
        rows = source.incidents().filter(pl.col("id") == name).to_dicts()
        return (
            _incident(desk, source, state, rows[0]) if rows else _missing("incident", name, state)
        )
    if name := state.text("finding"):
        rows = source.findings().filter(pl.col("id") == name).to_dicts()
        return _finding(source, state, rows[0]) if rows else _missing("finding", name, state)
    return _all(source, state)


def _missing(kind: str, name: str, state: State) -> Any:
    return parts.page(
        f"No such {kind}", f"{words.clean(name)} is not known here; it may have been folded into another.",
        parts.to("Back to the overview", state.link("/")),
    )  # fmt: skip


def register(app: Dash, desk: Desk) -> None:
    """The strips follow the time range; the review follows what is pressed."""

    @app.callback(
        Output({"time": "incident"}, "figure"), Input("url", "search"), Input("url", "pathname")
    )
    def strips(search: str | None, _path: str | None) -> Any:
        source, state = desk.at(search)
        device, port = state.text("device"), state.text("port")
        rows = source.incidents().filter(pl.col("id") == state.text("id")).to_dicts()
        if rows and rows[0]["roots"]:
            device, port = _place(rows[0]["roots"][0])
        elif not rows:
            rows = source.findings().filter(pl.col("id") == state.text("finding")).to_dicts()
            device, port = (rows[0]["device"], rows[0]["port"]) if rows else (device, port)
        return _strips(source, state, rows[0] if rows else None, device, port)

    review.register(app, desk)


# -- one incident ------------------------------------------------------------------------------------


def _incident(desk: Desk, source: Source, state: State, row: Row) -> Any:
    begin = source.known()[0]
    device, port = _place(row["roots"][0]) if row["roots"] else ("", "")
    found = source.findings().filter(pl.col("id").is_in(row["findings"])).sort("start").to_dicts()
    where = [
        html.Span([parts.to(told.place_words(root), _port_link(state, root)), " "])
        for root in row["roots"]
    ]
    said = parts.facts(
        [
            ("Cause", f"{words.kind(row['cls'])} ({row['scope']})"),
            ("Where", where),
            ("Since", words.span(row["start"], row["end"], begin).replace("capture", "record")),
            ("Time", f"{words.clock(row['start'])} UTC"),
            ("Sure", f"{row['confidence'] * 100:.0f} %, from {words.clean(row['tier'])}"),
            ("Lost", f"{words.duration(row['lost_ns'])} in sum" if row["lost_ns"] else ""),
            ("Not seen", words.clean("; ".join(row["missing"]))),
            (
                "Suffers",
                words.count(len(row["victims"]), "victim") if row["victims"] else "nobody seen",
            ),
        ]
    )
    left = [
        parts.card("What it is", said),
        parts.card("What now", html.P(words.clean(row["advice"] or "no advice"))),
        _list_card("How we know", row["evidence"], "The argument, from what was measured."),
        _list_card("What else it could have been, and why not", row["alternatives"]),
        review.card(desk, source, row),
        _victims(row, state),
    ]
    if row["contributors"]:
        left.append(_list_card("Contributors", row["contributors"], "Who adds to it."))
    right = (
        [_tree_card(source, row), _strips_card(device, port)]
        if device
        else [_tree_card(source, row)]
    )
    return parts.page(
        told.incident_sentence(row).capitalize() if not device else told.incident_sentence(row),
        [html.Span("over " if row["id"] in source.over() else "open ", className="severity critical"), html.Code(row["id"]), " · ",
         html.A("Export as HTML", href=state.link("/export/incident", id=row["id"]), download="")],
        html.Div([html.Div(left), html.Div(right)], className="columns"),
        _evidence(found, state, source) if found else None,
    )  # fmt: skip


def _place(text: str) -> tuple[str, str]:
    """Device and port of ``device:port:priority`` or ``device:port``."""
    device, _, rest = text.partition(":")  # the port's own name may hold colons
    port, colon, last = rest.rpartition(":")
    return (device, port) if colon and last.lstrip("-").isdigit() else (device, rest)


def _port_link(state: State, root: str) -> str:
    device, port = _place(root)
    return state.link("/port", device=device, port=port)


def _tree_card(source: Source, row: Row) -> Any:
    """The pause tree on the neighbourhood of the roots."""
    fabric = source.fabric
    edges = [_edge(text) for text in row["tree"]]
    known = [edge for edge in edges if edge]
    rows = [{"edge": words.clean(text)} for text in row["tree"]]
    table = (
        parts.behind(rows, [{"field": "edge", "headerName": "who holds whom"}]) if rows else None
    )
    title = "Where it spreads"
    if fabric is None:
        return parts.card(title, parts.empty("No topology is known."), table)
    roots = [_place(root)[0] for root in row["roots"]]
    on_tree = {device for a, b in known for device in (a, b)}
    near = drawing.neighbourhood(fabric, on_tree | set(roots), row["start"])
    if not near:
        return parts.card(title, parts.empty("None of its places is in the topology."), table)
    drawn = drawing.draw(fabric, row["start"], only=near)
    classes = dict.fromkeys(on_tree, "held") | dict.fromkeys(roots, "root")
    picture = topology.picture(
        "tree", topology.marked(topology.elements(drawn), classes, known), 340
    )
    legend = html.Div(
        [html.Span([html.I(style={"background": topology.ROOT}), "root"]),
         html.Span([html.I(style={"background": topology.HELD}), "holds its neighbour back (arrow: from who holds to who is held)"])],
        className="legend",
    )  # fmt: skip
    return parts.card(title, picture, legend, table)


def _edge(text: str) -> tuple[str, str] | None:
    """Who holds and who is held, of ``held ← holder``; None for anything else."""
    held, arrow, holder = text.partition(" ← ")
    return (_place(holder)[0], _place(held)[0]) if arrow else None


def _victims(row: Row, state: State) -> Any:
    """Who suffers, longest first, as bars where the time is known."""
    known = [(name, lost) for name, lost in map(_lost, row["victims"]) if lost is not None]
    if not known:
        return _list_card("Who suffers", row["victims"], "Victims of this incident.")
    known.sort(key=lambda item: -item[1])
    top = known[0][1] or 1
    bars = [
        part
        for name, lost in known
        for part in (html.Div(parts.to(words.clean(name), _port_link(state, name))),
                     html.Div(className="bar", style={"width": f"{100 * lost / top:.1f}%"}),
                     html.Div(f"{lost:.3g} ms", className="num"))
    ]  # fmt: skip
    first, rest = bars[: 3 * BARS], bars[3 * BARS :]
    more = html.Details(
        [html.Summary(f"and {len(rest) // 3} more"), html.Div(rest, className="bars")],
        className="behind",
    )
    body = [html.Div(first, className="bars"), more if rest else None]
    return parts.card("Who suffers", *body, note="Time for which each was held because of it.")


def _lost(text: str) -> tuple[str, float | None]:
    """Name and milliseconds of ``name 1.5 ms`` or ``name (1.5 ms)``."""
    head, _, unit = text.replace("(", " ").replace(")", "").rstrip().rpartition(" ")
    name, _, amount = head.strip().rpartition(" ")
    try:
        return (name.rstrip(" ,:"), float(amount)) if unit == "ms" else (text, None)
    except ValueError:
        return text, None


def _list_card(title: str, texts: list[str], note: str = "") -> Any:
    body = (
        html.Ul([html.Li(words.clean(text)) for text in texts])
        if texts
        else parts.empty("None is known.")
    )
    return parts.card(title, body, note=note)


def _evidence(found: list[Row], state: State, source: Source) -> Any:
    begin = source.known()[0]
    items = [
        html.Li(
            [html.Div(f"+{words.duration(row['start'] - begin)} · {words.kind(row['kind'])} · {row['evidence']}", className="when"),
             parts.to(words.clean(row["summary"]), state.link("/incident", finding=row["id"]))],
            className=row["severity"],
        )
        for row in found
    ]  # fmt: skip
    body = (
        html.Ul(items, className="timeline")
        if items
        else parts.empty("Its findings are not kept here.")
    )
    return parts.card("Findings behind it", body, note="In the order of time.")


# -- one finding -------------------------------------------------------------------------------------


def _finding(source: Source, state: State, row: Row) -> Any:
    begin = source.known()[0]
    frames = [
        html.Span(
            [
                parts.to(
                    str(frame),
                    state.link("/flows", flow=row["flow"], point=row["point"], frame=frame),
                ),
                " ",
            ]
        )
        for frame in row["frames"]
    ]
    measured = ""
    if row["value"] is not None and row["unit"]:
        measured = f"{row['value']:.4g} {row['unit']}"
        measured += f" (limit {row['limit']:.4g})" if row["limit"] is not None else ""
    said = parts.facts(
        [
            ("Kind", words.kind(row["kind"])),
            ("Who", words.clean(row["subject"])),
            ("Where", f"seen at {row['point']}" if row["point"] else ""),
            ("Port", parts.to(f"{row['device']} port {row['port']}", state.link("/port", device=row["device"], port=row["port"])) if row["port"] else ""),
            ("Since", words.span(row["start"], row["end"], begin).replace("capture", "record")),
            ("Time", f"{words.clock(row['start'])} UTC"),
            ("Measured", measured),
            ("Lost", words.duration(row["lost_ns"]) + " in sum" if row["lost_ns"] else ""),
            ("Sure", f"{row['confidence'] * 100:.0f} %, {row['evidence']}"),
            ("Not seen", words.clean(row["missing"])),
            ("Proof", html.Span(["frames ", *frames]) if frames else ""),
            ("Flow", parts.to("sequence numbers over time", state.link("/flows", flow=row["flow"])) if row["flow"] is not None else ""),
        ]
    )  # fmt: skip
    body = [
        parts.card("What was seen", said),
        parts.card("What now", html.P(words.clean(row["advice"]))),
    ]
    if row["device"] and row["port"] and source.has_counters():
        body.append(_strips_card(row["device"], row["port"]))
    head = [
        html.Span(row["severity"], className=f"severity {row['severity']}"),
        " ",
        html.Code(row["id"]),
    ]
    return parts.page(words.clean(row["summary"]), head, *body)


def _strips_card(device: str, port: str) -> Any:
    return parts.card(f"{device} port {port} over time", parts.graph({"time": "incident"}, {}, 430),
                      note="Shaded: the time in question.")  # fmt: skip


def _strips(source: Source, state: State, row: Row | None, device: str, port: str) -> Any:
    span = source.span(state)
    drawn = []
    for key in STRIPS:
        rows = source.port(key, device, port, span)
        drawn.append(lines.Strip(METRICS[key].title, METRICS[key].unit, [(key, rows)]))
    marks = [(row["start"], row["end"], MARK["critical"])] if row else []
    return lines.strips(TimeAxis(*span), drawn, marks)


# -- all findings ------------------------------------------------------------------------------------


def _all(source: Source, state: State) -> Any:
    begin = source.known()[0]
    rows = [
        {"severity": row["severity"], "kind": words.kind(row["kind"]), "summary": words.clean(row["summary"]),
         "subject": words.clean(row["subject"]), "start": f"+{words.duration(row['start'] - begin)}",
         "lost": row["lost_ns"] / 1e6, "sure": round(row["confidence"] * 100), "evidence": row["evidence"],
         "href": state.link("/incident", finding=row["id"])}
        for row in source.findings().to_dicts()
    ]  # fmt: skip
    columns = [
        {"field": "severity", "headerName": "Severity", "cellRenderer": "Severity", "width": 96},
        {"field": "kind", "headerName": "Symptom", "width": 150},
        parts.linked("summary", "What was seen", flex=3, minWidth=340, wrapText=True, autoHeight=True),
        {"field": "subject", "headerName": "About", "flex": 2, "wrapText": True},
        {"field": "start", "headerName": "From", "width": 96, "sortable": False},
        parts.number("lost", "Lost (ms)", width=92, valueFormatter={"function": "params.value ? d3.format('.3~g')(params.value) : ''"}),
        parts.number("sure", "Sure (%)", width=84),
        {"field": "evidence", "headerName": "Evidence", "width": 96},
    ]  # fmt: skip
    table = parts.grid(columns, rows, height=620)
    export = dmc.Group([html.A("CSV", href=state.link("/export/findings", **{"as": "csv"}), download=""),
                        html.A("Parquet", href=state.link("/export/findings", **{"as": "parquet"}), download="")])  # fmt: skip
    return parts.page("All findings", "Symptoms, the gravest first; each leads to its proof.",
                      parts.card(f"{len(rows)} findings", table, tools=export))  # fmt: skip
