"""Captures: choose files from the roots or upload them, analyse as a job, open the result."""

from typing import Any

import dash_mantine_components as dmc
from dash import ALL, ClientsideFunction, Dash, Input, Output, ctx, dcc, html, no_update
from dash import State as Given
from flask import g, has_request_context

from dashboards.commands import values
from dashboards.desk import Desk
from dashboards.pages import parts
from dashboards.report import words
from dashboards.serving.jobs import ENDED, Job
from dashboards.source import Source
from dashboards.state import State

PATH, NAME = "/captures", "Captures"
POLL_MS = 700
MOST_FILES = 200  # of one analysis


def layout(desk: Desk, _source: Source, _state: State) -> Any:
    """Upload, choice of files, jobs."""
    limit: Any = {"data-limit": str(desk.places.upload_bytes)}
    box = html.Div(
        [dmc.Button("Choose files", id="upload-choose", size="xs", variant="default"),
         html.P("or drop captures here: pcap or pcapng, plain or in gzip, zstd, xz, bz2", className="note"),
         html.P(f"up to {words.size(desk.places.upload_bytes)} each; they stay on this server", className="note")],
        id="upload-box", className="drop", **limit,
    )  # fmt: skip
    columns: list[dict[str, Any]] = [
        {"field": "path", "headerName": "File", "flex": 3},
        {"field": "root", "headerName": "In", "flex": 1},
        parts.number("size", "Size (bytes)", width=140),
        {"field": "changed", "headerName": "Changed (UTC)", "width": 180},
    ]
    files = parts.grid(
        columns, [], height=360, id="captures-files",
        options={"rowSelection": {"mode": "multiRow", "enableClickSelection": True}},
    )  # fmt: skip
    run = html.Div(
        [dmc.TextInput(id="captures-speed", label="Link speed, if known", placeholder="400G", size="xs", w=160),
         dmc.Button("Analyse the chosen files", id="captures-start", size="xs")],
        className="tools", style={"marginTop": "10px"},
    )  # fmt: skip
    return parts.page(
        "Captures", "Files in, findings out; the analysis runs in a process of its own.",
        html.Div(
            [html.Div([parts.card("Files", files, run, note="From the roots named at the start, and what was uploaded.")]),
             html.Div([parts.card("Upload", box, html.Ul(id="upload-list", className="plain")),
                       parts.card("Analyses", html.Div(id="jobs"))])],
            className="columns",
        ),
        dcc.Store(id="captures-changed"), dcc.Store(id="upload-sink"),
        dcc.Interval(id="jobs-tick", interval=POLL_MS),
    )  # fmt: skip


def _rows(desk: Desk) -> list[dict[str, Any]]:
    return [
        {"id": f"{number}/{file.path}", "path": file.path, "root": desk.places.all[number].name,
         "size": file.size, "changed": words.clock(file.changed)[:19]}
        for number in range(len(desk.places.all))
        for file in desk.places.files(number)
    ]  # fmt: skip


def register(app: Dash, desk: Desk) -> None:
    """Listing, start, progress, cancel."""
    connect: Any = app.clientside_callback  # published without types
    connect(
        ClientsideFunction("upload", "choose"), Output("upload-sink", "data"),
        Input("upload-choose", "n_clicks"), prevent_initial_call=True,
    )  # fmt: skip

    @app.callback(
        Output("captures-files", "rowData"),
        Input("captures-changed", "data"),
        Input("url", "pathname"),
    )
    def files(_changed: Any, _page: Any) -> Any:
        return _rows(desk)

    @app.callback(
        Output("captures-start", "children"),
        Input("captures-start", "n_clicks"), Given("captures-files", "selectedRows"),
        Given("captures-speed", "value"), prevent_initial_call=True,
    )  # fmt: skip
    def start(clicks: int | None, chosen: list[dict[str, Any]] | None, speed: str | None) -> Any:
        if not clicks:
            return no_update
        names = [str(row.get("id", "")) for row in chosen or []]
        if not names:
            raise ValueError("choose one or more files first")
        if len(names) > MOST_FILES:
            raise ValueError(f"at most {MOST_FILES} files in one analysis")
        paths = [
            str(desk.places.resolve(int(root or "0"), path))
            for root, _, path in (n.partition("/") for n in names)
        ]
        options = {"speed_bps": values.speed(speed)} if speed and speed.strip() else {}
        user = getattr(g, "user", "") if has_request_context() else ""
        desk.jobs.start(paths, options, user)
        return no_update

    @app.callback(
        Output("jobs", "children"), Input("jobs-tick", "n_intervals"),
        Input({"cancel": ALL}, "n_clicks"), Input({"remove": ALL}, "n_clicks"),
    )  # fmt: skip
    def jobs(_tick: Any, _cancel: Any, _remove: Any) -> Any:
        pressed = ctx.triggered_id
        if isinstance(pressed, dict) and ctx.triggered[0]["value"]:
            if identity := pressed.get("cancel"):
                desk.jobs.cancel(str(identity))
            elif identity := pressed.get("remove"):
                desk.jobs.remove(str(identity))
        return [_job(job) for job in desk.jobs.all()[:20]] or parts.empty("None yet.")


def _job(job: Job) -> Any:
    name = words.joined([path.rpartition("/")[2] for path in job.paths])
    said = job.state
    tool: Any = dmc.Button("Cancel", id={"cancel": job.id}, size="compact-xs", variant="default")
    bar = None
    if job.state == "running":
        share = job.done / job.total if job.total else 0.0
        said = (
            f"{words.size(job.done)} of {words.size(job.total)} read" if job.total else "starting"
        )
        bar = html.Progress(value=str(share), max="1")
    if job.state in ENDED:
        tool = dmc.Button(
            "Delete", id={"remove": job.id}, size="compact-xs", variant="subtle", color="gray"
        )
        said = f"{job.state} in {words.duration(job.ended - job.created)}"
    if job.error:
        said = f"{job.state}: {job.error}"
    title = (
        parts.to(words.clean(name), f"/?src={job.id}") if job.state == "done" else words.clean(name)
    )
    when = f"{words.clock(job.created)[:19]} UTC{' by ' + job.user if job.user else ''}"
    return html.Div(
        [html.Div([html.Div(title, className="what"), tool], className="job-head"), bar,
         html.Div(f"{words.clean(said)} · {words.clean(when)}", className="note")],
        className="job",
    )  # fmt: skip
