"""Pieces that every page is built of. Text in them is escaped by React, as all of Dash's children are."""

from collections.abc import Iterable, Sequence
from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import dcc, html

from dashboards.figures.palette import SEVERITY
from dashboards.report import words

Child = Any  # a Dash component, text, or a list of both
ROWS_BEHIND = 500  # of the table behind a picture; an export holds them all


def page(title: str, subtitle: Child, *body: Child) -> html.Div:
    """A page: its heading, a line below it, its contents."""
    head = html.Div([html.H1(title), html.P(subtitle, className="sub")], className="page-head")
    return html.Div([head, *body], className="page")


def card(
    title: str, *body: Child, note: Child = "", tools: Child = None, **more: Any
) -> html.Section:
    """A framed part of a page with a heading; ``tools`` stand at its right."""
    head = html.Div(
        [
            html.Div([html.H2(title), html.P(note, className="note")]),
            html.Div(tools, className="tools"),
        ],
        className="card-head",
    )
    return html.Section([head, *body], className="card", **more)


def badge(severity: str) -> dmc.Badge:
    """A severity, told by word and colour."""
    return dmc.Badge(
        words.kind(severity),
        color=SEVERITY.get(severity, "gray"),
        variant="light",
        radius="sm",
        size="sm",
    )


def to(text: Child, href: str, **more: Any) -> dcc.Link:
    """A link inside the dashboard; nothing is loaded anew."""
    return dcc.Link(text, href=href, **more)


def facts(pairs: Iterable[tuple[str, Child]]) -> html.Dl:
    """Names and values below each other; empty values are left out."""
    rows = [(name, value) for name, value in pairs if value not in (None, "", [])]
    return html.Dl([part for name, value in rows for part in (html.Dt(name), html.Dd(value))])


def empty(text: str, hint: Child = "") -> html.Div:
    """Why there is nothing here, and what would change it."""
    return html.Div([html.P(text), html.P(hint, className="note")], className="empty")


def problem(text: str) -> dmc.Alert:
    """Something could not be done; one line."""
    return dmc.Alert(words.clean(text), color="red", title="This cannot be shown")


def graph(
    name: str | dict[str, str], figure: dict[str, Any], height: int, **more: Any
) -> dcc.Graph:
    """A picture; ``name`` of the form {"time": x} makes a drag along its time axis the page's range."""
    return dcc.Graph(
        id=name, figure=figure, className="graph", style={"height": f"{height}px"},
        config={"displaylogo": False, "displayModeBar": False, "scrollZoom": False, "doubleClick": False},
        **more,
    )  # fmt: skip


def choice(
    name: str, value: str, options: Sequence[tuple[str, str]], label: str
) -> dmc.SegmentedControl:
    """Few choices side by side, kept in the URL under ``name``; the first is the default."""
    return dmc.SegmentedControl(
        id={"param": name}, value=value, size="xs",
        data=[{"value": key, "label": text} for key, text in options], **{"aria-label": label},
    )  # fmt: skip


def pick(
    name: str, value: str, options: Sequence[tuple[str, str]], label: str, **more: Any
) -> dmc.Select:
    """One of many choices, kept in the URL under ``name``."""
    return dmc.Select(
        id={"param": name}, value=value or None, size="xs", label=label, searchable=True,
        data=[{"value": key, "label": text} for key, text in options], **more,
    )  # fmt: skip


def grid(
    columns: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    *,
    height: int | None = None,
    **more: Any,
) -> dag.AgGrid:
    """A table with sorting and filters in the browser; for as many rows as a page may carry."""
    options = {
        "theme": {"function": "themeQuartz.withPart(colorSchemeVariable)"},
        "domLayout": "autoHeight" if height is None else "normal",
        "suppressCellFocus": False, "enableCellTextSelection": True, "headerHeight": 34,
        "rowHeight": 32, "suppressMenuHide": True, "animateRows": False,
        **more.pop("options", {}),
    }  # fmt: skip
    return dag.AgGrid(
        columnDefs=columns, rowData=rows, columnSize=more.pop("columnSize", "responsiveSizeToFit"),
        defaultColDef={"sortable": True, "filter": True, "resizable": True, "minWidth": 70,
                       "wrapHeaderText": False, **more.pop("default", {})},
        dashGridOptions=options, className="grid",
        style={"height": None if height is None else f"{height}px"}, **more,
    )  # fmt: skip


def linked(field: str, header: str, href: str = "href", **more: Any) -> dict[str, Any]:
    """A column whose cells are links to the address in column ``href`` of the row."""
    return {"field": field, "headerName": header, "cellRenderer": "PageLink",
            "cellRendererParams": {"href": href}, **more}  # fmt: skip


def number(field: str, header: str, **more: Any) -> dict[str, Any]:
    """A column of numbers, right-aligned with thousands apart."""
    return {
        "field": field, "headerName": header, "type": "rightAligned", "filter": "agNumberColumnFilter",
        "valueFormatter": {"function": "params.value == null ? '' : d3.format(',')(params.value)"}, **more,
    }  # fmt: skip


def behind(
    rows: Sequence[dict[str, Any]], columns: list[dict[str, Any]], export: str = ""
) -> html.Details:
    """The table behind a picture, and where to get all of it."""
    shown = list(rows[:ROWS_BEHIND])
    said = (
        "Table"
        if len(shown) == len(rows)
        else f"Table (first {len(shown):,} of {len(rows):,} rows)"
    )
    tools: list[Child] = []
    if export:
        tools = [html.Span("all rows: "), html.A("CSV", href=f"{export}&as=csv", download=""), " ",
                 html.A("Parquet", href=f"{export}&as=parquet", download="")]  # fmt: skip
    body = [html.P(tools, className="note")] if tools else []
    if shown:
        body.append(grid(columns, shown, height=min(320, 40 + 32 * len(shown))))
    return html.Details([html.Summary(said), *body], className="behind")
