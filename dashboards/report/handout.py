"""One incident as an HTML file to hand on: no script, no network, all text escaped."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from dashboards.report import words
from dashboards.report.style import CSS
from dashboards.report.svg import esc
from fabric import __version__

Row = dict[str, Any]


class Entry(NamedTuple):
    """What somebody said about an incident: ``ts`` in ns, ``action`` acknowledge, note, close or reopen."""

    ts: int
    user: str
    action: str
    text: str


def page(source: str, row: Row, found: Sequence[Row], entries: Sequence[Entry]) -> str:
    """The whole file: cause, place, victims, evidence, alternatives, advice, and what people said."""
    title = f"{words.kind(row['cls'])} at {', '.join(row['roots']) or 'an unknown place'}"
    said = [
        ("where", ", ".join(row["roots"])),
        ("scope", row["scope"]),
        (
            "when",
            f"{words.clock(row['start'])} UTC, for {words.duration(row['end'] - row['start'])}",
        ),
        ("sure", f"{row['confidence'] * 100:.0f} %"),
        ("not seen", "; ".join(row["missing"])),
        ("now", row["advice"]),
    ]
    items = "".join(f"<dt>{name}</dt><dd>{esc(text)}</dd>" for name, text in said if text)
    parts = [
        '<header class="critical"><p class="verdict">incident</p>',
        f"<h1>{esc(title)}</h1><p>{esc(source)} · {esc(row['id'])}</p></header>",
        f"<article><dl>{items}</dl></article>",
        _list("Who suffers", row["victims"]),
        _list("Who adds to it", row["contributors"]),
        _list("What holds what", row["tree"]),
        _list("What else it could have been", row["alternatives"]),
        _list("How we know", (f"{words.clock(r['start'])} UTC: {r['summary']} ({r['evidence']})" for r in found)),
        _list("What was said", (f"{words.clock(e.ts)[:19]} UTC {e.user}: {e.action} {e.text}" for e in entries)),
    ]  # fmt: skip
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{esc(title)}</title><style>{CSS}</style></head><body><main>{''.join(parts)}</main>"
        f"<footer>fabric {esc(__version__)} · times in UTC</footer></body></html>\n"
    )


def _list(title: str, texts: Iterable[str]) -> str:
    items = "".join(f"<li>{esc(text)}</li>" for text in texts)
    return f"<section><h2>{esc(title)}</h2><ul>{items}</ul></section>" if items else ""
