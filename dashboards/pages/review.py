"""What people do with an incident: acknowledge it, note something, close it."""

from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, ctx, html, no_update
from flask import g, has_request_context

from dashboards.desk import Desk
from dashboards.pages import parts
from dashboards.report import words
from dashboards.source import Source

LONGEST_NOTE = 2000
DONE = {"acknowledge": "acknowledged", "note": "noted", "close": "closed", "reopen": "opened again"}


def card(desk: Desk, source: Source, row: dict[str, Any]) -> Any:
    """The state of an incident and the buttons that change it."""
    return parts.card("Review", html.Div(_body(desk, source, row["id"]), id="review"),
                      dmc.Textarea(id="review-note", placeholder="A note for whoever looks next", size="xs",
                                   autosize=True, minRows=1, maxRows=6, mt=8,
                                   **{"aria-label": "note"}),
                      dmc.Group([_button("acknowledge", "Acknowledge", "filled"), _button("note", "Add note"),
                                 _button("close", "Close"), _button("reopen", "Open again")], gap=6, mt=8))  # fmt: skip


def _button(action: str, label: str, variant: str = "default") -> dmc.Button:
    return dmc.Button(label, id={"review": action}, size="xs", variant=variant)


def _body(desk: Desk, source: Source, incident: str) -> Any:
    entries = desk.reviews.entries(source, incident)
    state = desk.reviews.state(source, incident)
    items = [
        html.Li([html.Div(f"{words.clock(e.ts)[:19]} UTC · {words.clean(e.user or 'somebody')} · {DONE.get(e.action, e.action)}", className="when"),
                 words.clean(e.text)])
        for e in entries
    ]  # fmt: skip
    return [html.P([html.B(state)]), html.Ul(items, className="timeline") if items else None]


def register(app: Dash, desk: Desk) -> None:
    """Buttons write an entry and show the list anew."""

    @app.callback(
        Output("review", "children"), Output("review-note", "value"),
        Input({"review": "acknowledge"}, "n_clicks"), Input({"review": "note"}, "n_clicks"),
        Input({"review": "close"}, "n_clicks"), Input({"review": "reopen"}, "n_clicks"),
        State("review-note", "value"), State("url", "search"), prevent_initial_call=True,
    )  # fmt: skip
    def press(*given: Any) -> Any:
        *clicks, note, search = given
        if not any(clicks) or not isinstance(ctx.triggered_id, dict):
            return no_update, no_update
        source, state = desk.at(search)
        incident, action = state.text("id"), str(ctx.triggered_id["review"])
        text = (note or "").strip()[:LONGEST_NOTE]
        if action == "note" and not text:
            raise ValueError("write the note first")
        if incident not in set(source.incidents()["id"]):
            raise ValueError(f"no such incident: {incident}")
        user = getattr(g, "user", "") if has_request_context() else ""
        desk.reviews.add(source, incident, action, user, text)
        return _body(desk, source, incident), ""
