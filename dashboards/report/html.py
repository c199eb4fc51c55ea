"""The report as one HTML file that needs nothing else: no script, no font, no network.

Pictures are SVG inside the page, each with the table behind it. Text from captures is escaped
everywhere; a content security policy forbids scripts and loading on top of that.
"""

from collections.abc import Iterable, Sequence

from analyzers.tables import Tables
from dashboards.report import hosts, plots, psn, words
from dashboards.report.facts import DECIDED, Facts, Row, folded
from dashboards.report.style import CSS
from dashboards.report.svg import Figure, esc
from fabric import __version__

TABLE_ROWS = 200
MOST = 5  # arguments of a cause


def page(facts: Facts, tables: Tables) -> str:
    """The whole file as text."""
    begin = facts.begin
    end = max((row["last"] for row in facts.inputs if row["packets"]), default=begin)
    figures = [
        *psn.psn_over_time(tables, begin),
        *plots.load(tables, begin),
        *plots.pauses(tables, begin, end),
        *hosts.round_trips(tables),
        *hosts.matrix(tables),
    ]
    parts = [
        _header(facts),
        _section("Causes", (_incident(row, facts) for row in facts.incidents)),
        _section("What was seen", _findings(facts)),
        _section("Good to know", _notes(facts.notes, facts)),
        _section("Could not be decided, and why", _notes(facts.undecided, facts)),
        _section("Pictures", map(_figure, figures)),
        _section("Looked at", [_inputs(facts)]),
    ]
    return _document(f"fabric: {words.kind(facts.verdict)}", "".join(parts))


def _document(title: str, body: str) -> str:
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{esc(title)}</title><style>{CSS}</style></head>\n<body><main>{body}</main>"
        f"<footer>fabric {esc(__version__)} · one file, no network needed · times in UTC</footer>"
        "</body></html>\n"
    )


def _header(facts: Facts) -> str:
    counts = facts.counts
    tiles = [
        (f"{counts['packets']:,}", "packets"),
        (f"{counts['roce']:,}", "RoCE packets"),
        (f"{counts['flows']:,}", "flows"),
        (f"{counts['queue_pairs']:,}", "queue pairs both ways"),
        (f"{counts['messages']:,}", "messages"),
        (f"{counts['ce']:,}", "CE marks"),
        (f"{counts['pauses']:,}", "pause frames"),
    ]
    shown = "".join(f"<li><b>{number}</b> {name}</li>" for number, name in tiles)
    found = ", ".join(f"{n} {severity}" for severity, n in facts.severities.items() if n)
    since = f"Capture begins {words.clock(facts.begin)} UTC. " if facts.begin else ""
    return (
        f'<header class="{facts.verdict}"><p class="verdict">{esc(words.kind(facts.verdict))}</p>'
        f"<h1>{esc(words.named(facts.sentence, facts.names))}</h1><p>{since}{esc(found)}</p></header>"
        f'<ul class="tiles">{shown}</ul>'
    )


def _section(title: str, parts: Iterable[str]) -> str:
    body = "".join(parts)
    return f"<section><h2>{esc(title)}</h2>{body}</section>" if body else ""


def _incident(row: Row, facts: Facts) -> str:
    """A cause: where, why, who suffers, what now."""
    decided = row["confidence"] >= DECIDED
    grade = "critical" if decided else "info"
    lines = [
        ("where", ", ".join(row["roots"]) or "place unknown"),
        ("when", words.span(row["start"], row["end"], facts.begin)),
        *(("why", text) for text in row["evidence"][:MOST]),
        *(("missing", text) for text in row["missing"][:MOST]),
        ("tree", "; ".join(row["tree"])),
        ("from", ", ".join(row["contributors"])),
        ("victims", ", ".join(row["victims"])),
        ("sure", f"{row['confidence'] * 100:.0f} %, {row['tier']}"),
        ("now", row["advice"]),
    ]
    said = [(name, words.named(text, facts.names)) for name, text in lines if text]
    items = "".join(f"<dt>{name}</dt><dd>{esc(text)}</dd>" for name, text in said)
    return (
        f'<article class="{grade}"><h3><span>{"cause" if decided else "undecided"}</span> '
        f"{esc(words.kind(row['cls']))}</h3><dl>{items}</dl></article>"
    )


def _finding(row: Row, facts: Facts) -> str:
    when = words.span(row["start"], row["end"], facts.begin)
    if row["lost_ns"]:
        when += f"; {words.duration(row['lost_ns'])} lost in sum"
    sure = f"{row['confidence'] * 100:.0f} %, {row['evidence']}"
    if row["missing"]:
        sure += f"; not seen: {row['missing']}"
    lines = [
        ("who", words.named(row["subject"], facts.names)),
        ("where", f"seen at {row['point']}"),
        ("when", f"{when} ({words.clock(row['start'])})"),
        ("proof", ", ".join(f"frame {frame}" for frame in row["frames"])),
        ("sure", sure),
        ("now", row["advice"]),
    ]
    items = "".join(f"<dt>{name}</dt><dd>{esc(text)}</dd>" for name, text in lines if text)
    return (
        f'<article class="{esc(row["severity"])}"><h3><span>{esc(row["severity"])}</span> '
        f"{esc(words.kind(row['kind']))}</h3><p>{esc(words.named(row['summary'], facts.names))}</p><dl>{items}</dl></article>"
    )


def _findings(facts: Facts) -> Iterable[str]:
    """Those of a kind after the first few, one line each behind a heading."""
    shown, repeats = folded(facts.main)
    yield from (_finding(row, facts) for row in shown)
    yield from _more(repeats, facts)


def _notes(rows: list[Row], facts: Facts) -> list[str]:
    shown, repeats = folded(rows)
    return [*_lines(shown, facts), *_more(repeats, facts)]


def _more(rows: list[Row], facts: Facts) -> list[str]:
    said = f"<details><summary>{len(rows)} more of the same kinds</summary>"
    return [said, *_lines(rows, facts), "</details>"] if rows else []


def _lines(rows: list[Row], facts: Facts) -> list[str]:
    table = [
        (words.kind(row["kind"]), words.named(row["summary"], facts.names),
         words.named(row["subject"], facts.names), row["point"])
        for row in rows
    ]  # fmt: skip
    return [_table(("what", "details", "about", "point"), table)] if rows else []


def _inputs(facts: Facts) -> str:
    rows = []
    for row in facts.inputs:
        faults = [f"{number:,} {words.kind(name)}" for name, number in row["faults"].items()]
        faults += [row["damage"]] if row["damage"] else []
        dropped = f"{row['dropped']:,}" if row["dropped"] >= 0 else "unknown"
        span = words.duration(row["last"] - row["first"]) if row["packets"] else ""
        numbers = [f"{row[name]:,}" for name in ("packets", "roce", "ce", "cnp", "pauses")]
        speed = words.rate(row["speed_bps"])
        speed += f" ({row['speed_source']})" if speed != "unknown" else ""
        rows.append((row["point"], row["path"], *numbers, span, speed, dropped, ", ".join(faults)))
    head = (
        "point", "file", "packets", "RoCE", "CE", "CNP", "pauses", "span", "speed", "dropped",
        "faults",
    )  # fmt: skip
    refused = "".join(f"<li>{esc(line)}</li>" for line in facts.refused)
    return _table(head, rows) + (f"<h3>Not read</h3><ul>{refused}</ul>" if refused else "")


def _figure(figure: Figure) -> str:
    more = len(figure.rows) - TABLE_ROWS
    said = f" (first {TABLE_ROWS} of {len(figure.rows)} rows)" if more > 0 else ""
    return (
        f"<figure><h3>{esc(figure.title)}</h3>{figure.svg}"
        f"<figcaption>{esc(figure.reading)}</figcaption><details><summary>Table{said}</summary>"
        f"{_table(figure.head, figure.rows[:TABLE_ROWS])}</details></figure>"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{esc(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{esc(v)}</td>" for v in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'
