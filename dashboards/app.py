"""The Dash application: the frame around the pages, the page a URL asks for, errors in one line.

Everything a page shows follows from its URL, so every view can be linked. A control with the id
``{"param": name}`` writes its value into the URL; a picture with the id ``{"time": name}`` makes what
is selected along its time axis the time range. A page is built anew only when the URL was changed by
something else than its own controls.
"""

import logging
from types import ModuleType
from typing import Any, Final

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, callback_context, dcc, html, no_update, set_props
from dash import ClientsideFunction as Browser
from dash.exceptions import PreventUpdate

from dashboards.desk import Desk
from dashboards.pages import (
    audit,
    captures,
    collectives,
    collectors,
    fabric,
    flows,
    incident,
    overview,
    port,
)
from dashboards.pages.parts import problem, to
from dashboards.report import words
from dashboards.state import State as Asked
from dashboards.state import read

PAGES: Final[tuple[ModuleType, ...]] = (
    overview, fabric, flows, collectives, captures, audit, collectors, incident, port,
)  # fmt: skip
TICK_MS: Final = 3000
PRESETS: Final = ((300, "5 min"), (900, "15 min"), (3600, "1 h"), (21600, "6 h"), (86400, "24 h"))
LOG = logging.getLogger("fabric.dashboard")


def create(desk: Desk, pages: tuple[ModuleType, ...] = PAGES) -> Dash:
    """The application on a desk of sources; not yet guarded or served."""
    app = Dash(
        "dashboards.app", assets_folder="assets", title="fabric", update_title="",  # the title stays as it is while a callback runs

        suppress_callback_exceptions=True, on_error=_failed, add_log_handler=False,
        serve_locally=True, enable_mcp=False,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )  # fmt: skip
    app.layout = _frame
    _routes(app, desk, pages)
    _browser(app)
    for page in pages:
        page.register(app, desk)
    return app


def _failed(error: Exception) -> Any:
    """What went wrong goes to the top of the page in one line, everything else stays as it is."""
    expected = isinstance(error, ValueError | OSError | LookupError)
    if not expected:
        LOG.error("callback failed", exc_info=error)
    set_props("notice", {"children": problem(_one_line(error, expected=expected))})
    return no_update


def _one_line(error: Exception, *, expected: bool) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return (text or type(error).__name__) if expected else "internal error; the server's log has it"


def _frame() -> dmc.MantineProvider:
    """The frame: header, navigation, the place of the page."""
    controls = [
        _range_control(),
        dmc.Button("Live", id="live", size="xs", variant="default", **{"aria-pressed": "false"}),
        dmc.Button("Light / dark", id="theme-toggle", size="xs", variant="subtle", color="gray"),
    ]
    return dmc.MantineProvider(
        id="mantine",
        theme={"primaryColor": "blue", "defaultRadius": "sm",
               "fontFamily": 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'},
        children=[
            dcc.Location(id="url", refresh="callback-nav"),
            dcc.Store(id="own"),
            dcc.Store(id="scheme", storage_type="local"),
            dcc.Store(id="sink"),
            dcc.Interval(id="tick", interval=TICK_MS, disabled=True),
            html.A("Skip to the page", href="#page", className="skip"),
            html.Header(
                [html.A("fabric", href="/", className="brand"), html.Div(id="where", className="where"),
                 html.Div(controls, className="controls")],
                className="top",
            ),
            html.Div(
                [html.Nav(id="nav", className="nav"),
                 html.Main([html.Div(id="notice"), html.Div(id="page")])],
                className="body",
            ),
        ],
    )  # fmt: skip


def _range_control() -> dmc.Popover:
    """Choose the time range: whole, a preset, or from and to."""
    presets = [
        dmc.Button(label, id={"preset": seconds}, size="compact-xs", variant="default")
        for seconds, label in PRESETS
    ]
    body = dmc.Stack(
        [
            dmc.TextInput(id="range-from", label="From (UTC, ISO 8601 or ns)", size="xs"),
            dmc.TextInput(id="range-to", label="To", size="xs"),
            dmc.Group([dmc.Button("Apply", id="range-apply", size="xs"),
                       dmc.Button("Everything", id="range-whole", size="xs", variant="default")]),
            dmc.Text("Last ...", size="xs", c="dimmed"),
            dmc.Group(presets, gap=4),
            dmc.Text("Or drag along the time axis of any picture.", size="xs", c="dimmed"),
        ],
        gap="xs",
    )  # fmt: skip
    return dmc.Popover(
        [dmc.PopoverTarget(dmc.Button("Time range", id="range", size="xs", variant="default")),
         dmc.PopoverDropdown(body)],
        width=330, position="bottom-end", trapFocus=True, withArrow=True,
    )  # fmt: skip


def _routes(app: Dash, desk: Desk, pages: tuple[ModuleType, ...]) -> None:
    """The page of a URL, and what the frame says about it."""
    by_path = {page.PATH: page for page in pages}

    @app.callback(
        Output("page", "children"), Output("notice", "children"),
        Input("url", "pathname"), Input("url", "search"), State("own", "data"),
    )  # fmt: skip
    def show(path: str | None, search: str | None, own: str | None) -> Any:
        touched = {prop.partition(".")[2] for prop in callback_context.triggered_prop_ids}
        if touched == {"search"} and search == own:
            raise PreventUpdate
        page = by_path.get(path or "/")
        if page is None:
            return problem(f"there is no page {path}"), None
        try:
            source, state = desk.at(search)
            source.reader.version()  # a store that has gone says so here
            return page.layout(desk, source, state), None
        except (ValueError, OSError, LookupError) as error:
            return problem(_one_line(error, expected=True)), None

    @app.callback(
        Output("nav", "children"), Output("where", "children"), Output("range", "children"),
        Output("live", "children"), Output("live", "variant"), Output("live", "disabled"),
        Input("url", "pathname"), Input("url", "search"), Input("tick", "n_intervals"),
    )  # fmt: skip
    def frame(path: str | None, search: str | None, _tick: int | None) -> Any:
        state = read(search)
        links = [
            to(page.NAME, state.link(page.PATH), className="here" if path == page.PATH else "")
            for page in pages
            if page.NAME
        ]
        try:
            source = desk.source(state)
            where, span = _where(source), _range_text(source, state)
            live = source.reader.live
        except (ValueError, OSError, LookupError) as error:
            where, span, live = [_one_line(error, expected=True)], "Time range", False
        return (
            links, where, span, "Pause" if state.live else "Live",
            "filled" if state.live else "default", not live,
        )  # fmt: skip


def _where(source: Any) -> list[Any]:
    kinds = {"captures": "captures", "result": "analysed", "run": "run", "store": "store"}
    return [html.Span(f"{kinds.get(source.reader.kind, '')} "), html.B(words.clean(source.title))]


def _range_text(source: Any, state: Asked) -> str:
    known = source.known()
    if known == (0, 0):
        return "Time range: none"
    start, end = source.span(state)
    if (start, end) == known:
        return f"All: {words.clock(start)[:19]} + {words.duration(end - start)}"
    if state.last_ns is not None or not state.bounded:
        return f"Last {words.duration(end - start)}"
    return f"+{words.duration(start - known[0])} for {words.duration(end - start)}"


def _browser(app: Dash) -> None:
    """What the browser does by itself; the code is in assets/fabric.js."""
    connect: Any = app.clientside_callback  # published without types
    connect(
        Browser("fabric", "params"),
        Output("url", "search"), Output("own", "data"),
        Input({"param": ALL}, "value"), State("url", "search"), prevent_initial_call=True,
    )  # fmt: skip
    connect(
        Browser("fabric", "zoom"),
        Output("url", "search", allow_duplicate=True), Output("own", "data", allow_duplicate=True),
        Input({"time": ALL}, "relayoutData"), State({"time": ALL}, "figure"), State("url", "search"),
        prevent_initial_call=True,
    )  # fmt: skip
    connect(
        Browser("fabric", "range"),
        Output("url", "search", allow_duplicate=True), Output("own", "data", allow_duplicate=True),
        Input("range-apply", "n_clicks"), Input("range-whole", "n_clicks"),
        Input({"preset": ALL}, "n_clicks"), State("range-from", "value"), State("range-to", "value"),
        State("url", "search"), prevent_initial_call=True,
    )  # fmt: skip
    connect(
        Browser("fabric", "live"),
        Output("url", "search", allow_duplicate=True), Output("own", "data", allow_duplicate=True),
        Input("live", "n_clicks"), State("url", "search"), prevent_initial_call=True,
    )  # fmt: skip
    connect(Browser("fabric", "ticking"), Output("tick", "disabled"), Input("url", "search"))
    connect(
        Browser("fabric", "theme"),
        Output("mantine", "forceColorScheme"), Output("scheme", "data"),
        Input("theme-toggle", "n_clicks"), Input("scheme", "data"),
    )  # fmt: skip
    connect(
        Browser("fabric", "follow"), Output("sink", "data"), Input({"follow": ALL}, "clickData")
    )
