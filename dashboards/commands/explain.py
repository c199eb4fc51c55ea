"""``fabric explain``: the whole argument of one incident."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import polars as pl


def explain(
    incident: Annotated[
        str, typer.Argument(metavar="INCIDENT", help="Its id, the beginning of it, or its number.")
    ],
    path: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="What fabric analyze --out wrote, or a run's folder."),
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Say why an incident is what it is called: readings and limits, what else it could be, what is missing.

    Exit status: 0, or 2 where there is no such incident.

    Example: fabric explain 1 runs/storm
    """
    import json

    from dashboards.commands.interrupt import interruptible

    interruptible()
    rows, begin = _incidents(path)
    number, row = _chosen(incident, rows, path)
    if as_json:
        typer.echo(json.dumps(row, ensure_ascii=False))
        return 0
    from rich.console import Console

    from dashboards.report.terminal import incident as shown

    console = Console(soft_wrap=False) if sys.stdout.isatty() else Console(width=120)
    console.print(shown(number, row, begin, whole=True))
    return 0


def _incidents(path: Path) -> tuple[list[dict[str, Any]], int]:
    """INCIDENTS of a folder in their order, and the time from which moments are counted."""
    from dashboards import readers

    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder")
    if readers.is_result(path):
        kept = readers.result(path).given
        return kept.incidents.collect().to_dicts(), _begin(kept.counters, kept.points)
    if readers.is_run(path):
        from analyzers.diagnosis.whole import incidents

        run = readers.run(path)
        fabric = run.description.fabric if run.description else None
        found = incidents(run.given, run.given.findings.collect(), fabric)
        return found.to_dicts(), _begin(run.given.counters, run.given.points)
    raise ValueError(f"{path}: neither a result of fabric analyze --out nor a run with counters")


def _begin(counters: "pl.LazyFrame", points: "pl.LazyFrame") -> int:
    import polars as pl

    first = [
        frame.select(pl.col(name).min()).collect().item()
        for frame, name in ((counters, "ts"), (points, "first"))
    ]
    return min((moment for moment in first if moment is not None), default=0)


def _chosen(wanted: str, rows: list[dict[str, Any]], path: Path) -> tuple[int, dict[str, Any]]:
    """Number and row of the incident; ValueError in one line where there is none or several."""
    if not rows:
        raise ValueError(f"{path}: no incidents there")
    if wanted.isascii() and wanted.isdigit() and 0 < int(wanted) <= len(rows):
        return int(wanted), rows[int(wanted) - 1]
    found = [n for n, row in enumerate(rows, 1) if row["id"].startswith(wanted)]
    exact = [n for n in found if rows[n - 1]["id"] == wanted]
    if len(exact or found) != 1:
        known = ", ".join(row["id"] for row in rows[:8])
        what = "several incidents begin with" if found else "no incident is named"
        raise ValueError(f"{what} {wanted}; there are {known}")
    number = (exact or found)[0]
    return number, rows[number - 1]
