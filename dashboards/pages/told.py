"""Verdict, incidents and findings in words, the same on every page."""

from typing import Any

from dash import html

from dashboards.pages import parts
from dashboards.report import words
from dashboards.source import Source
from dashboards.state import State

Row = dict[str, Any]


def verdict(source: Source) -> Any:
    """The one line that answers whether the fabric is healthy, and how much was looked at."""
    incidents, findings = source.incidents().to_dicts(), source.findings().to_dicts()
    grave = [row for row in findings if row["severity"] != "info"]
    over = source.over()
    current = [row for row in incidents if row["id"] not in over]
    if current:
        level, said = "critical", incident_sentence(current[0])
    elif grave:
        level, said = grave[0]["severity"], grave[0]["summary"]
    elif source.known() == (0, 0):
        level, said = "info", "nothing to judge yet: no reading and no packet"
    elif incidents:
        level, said = "healthy", f"nothing is wrong now; over is {incident_sentence(incidents[0])}"
    else:
        level, said = "healthy", "nothing wrong was seen"
    found = [words.count(len(current), "open incident")] if incidents else []
    if over:
        found.append(f"{len(over)} over")
    if grave or not incidents:
        found.append(words.count(len(grave), "finding") + " above information")
    if source.has_counters():
        found.append(f"a reading every {words.duration(source.interval_ns())}")
    points = source.points()
    if points.height:
        found.append(
            f"{words.count(points.height, 'capture point')}, {int(points['roce'].sum()):,} RoCE packets"
        )
    return html.Div(
        [html.Span(level, className="word"),
         html.Div([html.Div(words.clean(said), className="said"), html.Div(" · ".join(found), className="more")])],
        className=f"verdict {level}", role="status",
    )  # fmt: skip


def incident_sentence(row: Row) -> str:
    """Class and first root of an incident."""
    where = row["roots"][0] if row["roots"] else "an unknown place"
    return f"{words.kind(row['cls'])} at {place_words(where)}"


def place_words(text: str) -> str:
    """``leaf0:3:3`` as ``leaf0 port 3, priority 3``; anything else as it is."""
    head, _, last = text.rpartition(":")
    device, colon, port = head.partition(":")
    if colon and last.lstrip("-").isdigit():
        return f"{device} port {port}" + (f", priority {last}" if last not in ("-1", "") else "")
    device, colon, port = text.partition(":")
    return f"{device} port {port}" if colon else text


def incident_item(rank: int, row: Row, state: State, source: Source) -> html.Li:
    """An incident in the ranked list."""
    begin = source.known()[0]
    when = words.span(row["start"], row["end"], begin)
    said = [when, f"{row['confidence'] * 100:.0f} % sure"]
    if row["victims"]:
        said.append(words.count(len(row["victims"]), "victim"))
    what = parts.to(words.clean(incident_sentence(row)), state.link("/incident", id=row["id"]))
    over = row["id"] in source.over()
    mark = html.Span(
        "over" if over else "open", className="severity" if over else "severity critical"
    )
    return _item(rank, mark, what, " · ".join(said))


def finding_item(rank: int, row: Row, state: State, source: Source) -> html.Li:
    """A finding in the ranked list."""
    begin = source.known()[0]
    when = words.span(row["start"], row["end"], begin)
    said = [words.kind(row["kind"]), when]
    if row["lost_ns"]:
        said.append(f"{words.duration(row['lost_ns'])} lost in sum")
    what = parts.to(words.clean(row["summary"]), state.link("/incident", finding=row["id"]))
    severity = html.Span(row["severity"], className=f"severity {row['severity']}")
    return _item(rank, severity, what, " · ".join(said))


def _item(rank: int, severity: Any, what: Any, meta: str) -> html.Li:
    return html.Li(
        [html.Span(str(rank), className="rank"), severity,
         html.Div([html.Div(what, className="what"), html.Div(words.clean(meta), className="meta")])]
    )  # fmt: skip
