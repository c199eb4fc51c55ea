"""``fabric analyze``: captures in, ranked findings out."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from analyzers.collectives.job import Job
    from analyzers.tables import Tables
    from dashboards.readers import Fixed
    from dashboards.report.facts import Facts
    from fabric.inventory import Inventory

LARGE_BYTES = 256 << 20  # takes a process about as long as another takes to start
UNHEALTHY = 1
FAILED = 2


def analyze(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Captures (pcap, pcapng, compressed or not), folders, globs, - for standard input. "
            "NAME=PATH names the point at which it was taken. Or the folder of one run: counters, "
            "topology and captures together.",
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (docs/json.md).")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report to hand on: one HTML file.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep report.json and all tables (Parquet).")
    ] = None,
    speed: Annotated[
        list[str] | None,
        typer.Option(metavar="[POINT=]400G", help="Speed of the links, or of one point's link."),
    ] = None,
    topology: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="What describes the fabric (docs/topology.md): names ports and hosts, and their speeds. "
            "A capture is at the port that its name says, like leaf0_5.pcap or leaf0:5=PATH.",
        ),
    ] = None,
    job: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="What a job left behind (docs/collectives.md): NCCL or HCCL logs, topology XML, "
            "Inspector, flight recorder as JSON, Chakra traces, or a folder of them.",
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=0, help="Points read at a time; 0: one per processor where the files are large."
        ),
    ] = 0,
    window: Annotated[str, typer.Option(help="Width of the time bins.")] = "1ms",
    icrc: Annotated[bool, typer.Option("--icrc", help="Check the invariant CRCs.")] = False,
    packets: Annotated[
        bool, typer.Option("--packets", help="Keep a row per packet (with --out).")
    ] = False,
    all_notes: Annotated[
        bool, typer.Option("--all", help="Show all information, not ten.")
    ] = False,
) -> int:
    """Find what was wrong on the wire: loss, pauses, congestion, timeouts, each with its proof.

    Exit status: 0 healthy or information only, 1 a warning or worse, 2 nothing could be read.

    Example: fabric analyze captures/*.pcapng --speed 400G --html report.html
    """
    from analyzers.detectors import run_detectors
    from analyzers.diagnosis.whole import incidents
    from analyzers.inventory_tables import inventory_tables
    from analyzers.pipeline import Options
    from analyzers.pipeline import analyze as read
    from analyzers.places import Places
    from dashboards import readers
    from dashboards.commands import values
    from dashboards.commands.interrupt import interruptible
    from dashboards.commands.keep import keep
    from dashboards.report import facts as report

    interruptible()

    if html and not html.parent.is_dir():  # said before the work, not after
        raise FileNotFoundError(f"{html.parent}: no such folder")
    everywhere, single = values.speeds(speed or [])
    window_ns = values.duration(window, "--window")
    inventory = _inventory(topology)
    options = Options(
        job=_job(job), speed_bps=everywhere, speeds=single, window_ns=window_ns, jobs=jobs or _jobs(paths), icrc=icrc,
        packets=packets, places=Places.of(inventory.fabric, inventory.qos) if inventory else None,
    )  # fmt: skip
    if len(paths) == 1 and (folder := _run(paths[0])):
        seen = readers.run(folder, options=options, inventory=inventory)
        return _analyze_run(seen, html, out, as_json=as_json, all_notes=all_notes)
    with _bar() as progress, read(paths, options, progress) as run:
        fabric = inventory.fabric if inventory else None
        given = replace(run.tables, **inventory_tables(inventory)) if inventory else run.tables
        findings = run_detectors(given, fabric)
        causes = incidents(given, findings, fabric)
        facts = report.gather(given, findings, run.refused, run.skipped, fabric, causes)
        if not facts.inputs:
            return _nothing(facts)
        if html:
            _write_html(html, facts, given)
        if out:
            keep(out, facts, replace(given, incidents=causes.lazy()), findings)
    _print(facts, as_json=as_json, all_notes=all_notes)
    return UNHEALTHY if facts.main or facts.decided else 0


def _run(path: str) -> Path | None:
    """The folder of a run with counters: simulated, labelled, or recorded; None for captures."""
    from dashboards.readers import is_run

    folder = Path(path)
    return folder if folder.is_dir() and is_run(folder) else None


def _analyze_run(
    seen: "Fixed", html: Path | None, out: Path | None, *, as_json: bool, all_notes: bool
) -> int:
    """Counters, topology and the captures of taps in one folder."""
    from analyzers.diagnosis.whole import incidents
    from dashboards.commands.keep import keep
    from dashboards.report import facts as report

    fabric = seen.description.fabric if seen.description else None
    if fabric is None and seen.held is None:
        raise ValueError(
            f"{seen.title}: counters without a topology.json say nothing of who holds whom"
        )
    findings = seen.given.findings.collect()
    causes = incidents(seen.given, findings, fabric)
    facts = report.gather(seen.given, findings, seen.refused, 0, fabric, causes)
    if html:
        _write_html(html, facts, seen.given)
    if out:
        keep(out, facts, replace(seen.given, incidents=causes.lazy()), findings)
    _print(facts, as_json=as_json, all_notes=all_notes)
    return UNHEALTHY if facts.main or facts.decided else 0


def _job(paths: list[Path] | None) -> "Job | None":
    """The data of the job, if any; what of it was passed over is said."""
    from analyzers.collectives.job import load
    from dashboards.report.words import clean

    if not paths:
        return None
    job = load(paths)
    for note in job.notes:
        sys.stderr.write(f"fabric: {clean(note)}\n")
    return job


def _inventory(paths: list[Path] | None) -> "Inventory | None":
    """The fabric that the user described, if any."""
    from fabric.inventory import load

    return load(paths) if paths else None


def _jobs(paths: list[str]) -> int:
    """One process where the files are small: another takes longer to start than to read them."""
    total = 0
    for path in paths:
        name = Path(path if Path(path).exists() else path.partition("=")[2] or path)
        files = (Path(folder, file) for folder, _, names in os.walk(name) for file in names)
        for file in chain([name], files):
            total += file.stat().st_size if file.is_file() else 0
            if total >= LARGE_BYTES:
                return 0
    return 1


def _nothing(facts: "Facts") -> int:
    """No input could be read: one line each says why."""
    from dashboards.report.words import clean

    for line in facts.refused or ("nothing to read",):
        sys.stderr.write(f"fabric: {clean(line)}\n")
    return FAILED


def _print(facts: "Facts", *, as_json: bool, all_notes: bool) -> None:
    if as_json:
        from dashboards.report import json

        sys.stdout.write(json.as_text(facts) + "\n")
        return
    from rich.console import Console

    from dashboards.report import terminal

    console = Console(soft_wrap=False) if sys.stdout.isatty() else Console(width=120)
    terminal.show(facts, console, all_notes=all_notes)


def _write_html(path: Path, facts: "Facts", tables: "Tables") -> None:
    from dashboards.commands.files import write_text
    from dashboards.report.html import page

    write_text(path, page(facts, tables))


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None] | None]:
    """Give a progress bar of bytes where somebody watches; nothing otherwise."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total or None)
