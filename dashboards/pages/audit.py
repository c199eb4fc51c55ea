"""Audit: what bites in the configuration, why, and the repair."""

from typing import Any

import dash_mantine_components as dmc
from dash import Dash, html

from dashboards.desk import Desk
from dashboards.pages import parts
from dashboards.report import words
from dashboards.source import Source
from dashboards.state import State

PATH, NAME = "/audit", "Audit"


def layout(_desk: Desk, source: Source, state: State) -> Any:
    """All findings of the checks as cards for what is grave, as a table for all."""
    title, subtitle = (
        "Audit",
        "Configuration findings: PFC, ECN, classes, buffers, cabling; each with its repair.",
    )
    inventory = source.inventory
    if inventory is None:
        hint = "Give config_db.json, LLDP or topology files; docs/topology.md lists what is read."
        return parts.page(
            title, subtitle, parts.card("Findings", parts.empty("No configuration is known.", hint))
        )
    rows = source.audit().to_dicts()
    counts = {
        name: sum(row["severity"] == name for row in rows)
        for name in ("critical", "warning", "info")
    }
    summary = html.Div(
        [html.Span([html.B(f"{n}"), f" {name}"]) for name, n in counts.items()]
        + [html.Span([html.B(f"{len(inventory.qos):,}"), " ports with settings"]),
           html.Span([html.B(f"{len(inventory.fabric.wiring().links):,}"), " links"])],
        className="counts",
    )  # fmt: skip
    export = dmc.Group([html.A("CSV", href=state.link("/export/audit", **{"as": "csv"}), download=""),
                        html.A("Parquet", href=state.link("/export/audit", **{"as": "parquet"}), download="")])  # fmt: skip
    items = [_item(n, row, state) for n, row in enumerate(rows[:100], 1)]
    body = (
        html.Ol(items, className="ranked plain")
        if items
        else parts.empty("Nothing to complain about.")
    )
    more = f"The first 100 of {len(rows)}; the export has all." if len(rows) > 100 else ""
    sources = ", ".join(f"{source.path} ({source.kind})" for source in inventory.sources[:8])
    return parts.page(
        title, subtitle, parts.card("Looked at", summary, note=words.clean(sources)),
        parts.card("Findings", body, note=more, tools=export),
    )  # fmt: skip


def _item(rank: int, row: dict[str, Any], state: State) -> html.Li:
    place = f"{row['device']} port {row['port']}" if row["port"] else row["device"]
    where = (
        parts.to(words.clean(place), state.link("/port", device=row["device"], port=row["port"]))
        if row["port"]
        else words.clean(place)
    )
    return html.Li(
        [html.Span(str(rank), className="rank"), html.Span(row["severity"], className=f"severity {row['severity']}"),
         html.Div([html.Div(words.clean(row["summary"]), className="what"),
                   html.Div([words.kind(row["kind"]), " · ", where] if place else words.kind(row["kind"]), className="meta"),
                   html.Div(["Repair: ", words.clean(row["advice"])], className="meta") if row["advice"] else None])]
    )  # fmt: skip


def register(app: Dash, desk: Desk) -> None:
    """Nothing moves on this page."""
