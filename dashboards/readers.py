"""Readers: the result of an analysis, kept or just made, and a simulated or labelled run."""

import json
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from analyzers.inventory_tables import inventory_tables
from analyzers.pipeline import Options, Run, analyze
from analyzers.places import Places
from analyzers.tables import NAMES, Tables, tables
from analyzers.telemetry import labelled_runs
from fabric.inventory import Inventory, load
from fabric.topology import Fabric

REPORT, RUN_FILES = "report.json", (labelled_runs.TWIN, labelled_runs.OTHERS)
TOPOLOGY = "topology.json"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Fixed:
    """Tables that do not change any more. ``held`` keeps alive what the tables read from."""

    title: str
    kind: str
    given: Tables
    description: Inventory | None = None
    refused: tuple[str, ...] = ()
    held: object = field(default=None, repr=False)
    live: bool = False

    def version(self) -> Hashable:
        """Always the same."""
        return 0

    def tables(self) -> Tables:
        """All tables."""
        return self.given

    def inventory(self) -> Inventory | None:
        """The description of the fabric, where the data came with one."""
        return self.description


def is_result(path: Path) -> bool:
    """Whether a folder was written by ``fabric analyze --out``."""
    return (path / REPORT).is_file()


def is_run(path: Path) -> bool:
    """Whether a folder is a simulated or labelled run."""
    return any((path / name).is_file() for name in RUN_FILES)


def captures(
    paths: list[str],
    options: Options,
    inventory: Inventory | None = None,
    progress: Progress | None = None,
) -> Fixed:
    """Analyse captures now; ValueError with one line per input where none could be read.

    What is known of the fabric names ports and hosts, and draws the map.
    """
    if inventory:
        options = replace(options, places=Places.of(inventory.fabric, inventory.qos))
    run = analyze(paths, options, progress)
    if run.tables.points.head(1).collect().is_empty():
        run.close()
        raise ValueError("; ".join(run.refused) or "nothing to read")
    title = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    given = {name: getattr(run.tables, name) for name in NAMES}
    if inventory:
        given |= inventory_tables(inventory)
    whole = _judged(tables(given), inventory.fabric if inventory else None)
    return Fixed(title, "captures", whole, inventory, run.refused, run)


def result(path: Path) -> Fixed:
    """A folder of ``fabric analyze --out``; ValueError where its report or a table is damaged."""
    try:
        report = json.loads((path / REPORT).read_text(encoding="utf-8"))
        refused = tuple(str(line) for line in report["refused"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path / REPORT}: not a report ({error})") from error
    given: dict[str, pl.LazyFrame] = {}
    for name in NAMES:
        file = path / f"{name}.parquet"
        if file.is_file():
            try:
                given[name] = pl.scan_parquet(file)
                given[name].collect_schema()
            except pl.exceptions.PolarsError as error:
                raise ValueError(f"{file}: {str(error).splitlines()[0]}") from error
    whole = tables(given)
    if "findings" not in given:
        whole = _judged(whole)
    return Fixed(str(path), "result", whole, None, refused)


def run(
    path: Path,
    progress: Progress | None = None,
    options: Options = Options(),  # noqa: B008 it is never changed
    inventory: Inventory | None = None,
) -> Fixed:
    """A run's counters, topology and taps; ValueError or OSError in one line.

    ``inventory`` describes the fabric instead of the run's own topology.
    """
    counters = labelled_runs.read_counters(path)
    if inventory is None and (path / TOPOLOGY).is_file():
        inventory = load([path / TOPOLOGY])
    if inventory:
        options = replace(options, places=Places.of(inventory.fabric, inventory.qos))
    taps = sorted(str(tap) for tap in path.glob("tap_*.pcap*"))
    seen: Run | None = analyze(taps, options, progress) if taps else None
    given: dict[str, pl.LazyFrame] = {"counters": counters.lazy()}
    if inventory:
        given |= inventory_tables(inventory)
    if seen:
        packet = {name: getattr(seen.tables, name) for name in NAMES}
        given = packet | given
    whole = _judged(tables(given), inventory.fabric if inventory else None)
    return Fixed(str(path), "run", whole, inventory, seen.refused if seen else (), seen)


def _judged(given: Tables, fabric: Fabric | None = None) -> Tables:
    """The same tables with the findings of all detectors and the incidents they fold to."""
    from analyzers.detectors import run_detectors
    from analyzers.diagnosis.whole import incidents

    findings = run_detectors(given, fabric)
    causes = incidents(given, findings, fabric)
    return replace(given, findings=findings.lazy(), incidents=causes.lazy())
