"""Findings on a fabric's description (audit, topology check): for a terminal and as one JSON object."""

import json
import math
from collections import Counter
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from dashboards.report.words import clean
from fabric import __version__

SCHEMA_VERSION: Final = 1
STYLES = {"critical": "bold white on red", "warning": "black on yellow", "info": "cyan"}
SHOWN = 20  # findings printed unless all are asked for
Row = dict[str, Any]


def status(rows: list[Row]) -> int:
    """Exit status: 1 where a finding is a warning or worse."""
    return int(any(row["severity"] != "info" for row in rows))


def as_text(rows: list[Row], sources: list[dict[str, str]], extra: dict[str, Any]) -> str:
    """One JSON object: schema_version, generator, sources, summary, findings."""
    counts = Counter(row["severity"] for row in rows)
    whole = {
        "schema_version": SCHEMA_VERSION,
        "generator": f"fabric {__version__}",
        "sources": sources,
        "summary": {**extra, "findings": {name: counts[name] for name in STYLES}},
        "findings": [{key: _plain(value) for key, value in row.items()} for row in rows],
    }
    return json.dumps(whole, ensure_ascii=False, allow_nan=False, indent=2)


def _plain(value: object) -> object:
    """NaN and infinity are null: JSON has neither."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show(rows: list[Row], headline: str, console: Console, *, everything: bool = False) -> None:
    """Print what was looked at, then the findings with reason and repair."""
    console.print(Text(clean(headline), "bold"))
    shown = rows if everything else rows[:SHOWN]
    for row in shown:
        line = Text(f"{row['severity']:8}", STYLES[row["severity"]])
        line.append(f" {row['kind']}: ", "bold")
        line.append(clean(row["summary"]))
        console.print(line)
        if row["advice"]:
            console.print(Padding(Text(clean(row["advice"]), "dim"), (0, 0, 0, 9)))
    if len(rows) > len(shown):
        console.print(Text(f"... and {len(rows) - len(shown)} more (--all shows them)", "dim"))
    counts = Counter(row["severity"] for row in rows)
    totals = ", ".join(f"{counts[name]} {name}" for name in STYLES if counts[name])
    console.print(Text(totals or "nothing to complain about", "bold"))
