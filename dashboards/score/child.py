"""The diagnosis in a process of its own: it sees copies under random names, never a label.

    python -m dashboards.score.child FOLDER...

Each folder holds topology.json, and counters.parquet or captures of taps or both; nothing else. One JSON line per folder: incidents,
edges of the pause graph, the time it took, and (with ``--history``) the first class seen after each
twentieth of the readings.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl


def look(folder: Path, history: bool) -> dict[str, Any]:
    """What the diagnosis says of one folder."""
    from analyzers.diagnosis.incidents import of_verdicts
    from analyzers.diagnosis.judge import judge
    from analyzers.telemetry.labelled_runs import EPOCH_NS, read_counters
    from fabric.inventory import load

    inventory = load([folder / "topology.json"])
    taps = sorted(map(str, folder.glob("tap_*")))
    counters = read_counters(folder) if (folder / "counters.parquet").is_file() else None
    begun = time.perf_counter()
    verdicts = [] if counters is None else judge(counters, inventory.fabric)
    incidents = _with_taps(taps, counters, inventory) if taps else of_verdicts(verdicts)
    return {
        "folder": folder.name,
        "seconds": time.perf_counter() - begun,
        "start": EPOCH_NS if counters is None else int(counters["ts"].min() or 0),  # type: ignore[arg-type]
        "incidents": incidents.to_dicts(),
        "edges": [
            [case.name(edge.held), case.name(edge.cause)]
            for case in (verdict.case for verdict in verdicts)
            for edge in case.graph.edges
        ],
        "history": _history(counters, inventory.fabric) if history and counters is not None else [],
    }


def _with_taps(taps: list[str], counters: pl.DataFrame | None, inventory: Any) -> pl.DataFrame:
    """INCIDENTS of captures, and of counters where there are any."""
    from dataclasses import replace

    from analyzers.detectors import run_detectors
    from analyzers.diagnosis.whole import incidents
    from analyzers.pipeline import Options, analyze
    from analyzers.places import Places

    places = Places.of(inventory.fabric, inventory.qos)
    with analyze(taps, Options(places=places)) as run:
        given = run.tables if counters is None else replace(run.tables, counters=counters.lazy())
        return incidents(given, run_detectors(given, inventory.fabric), inventory.fabric)


def _history(counters: pl.DataFrame, fabric: Any) -> list[tuple[int, list[str]]]:
    """Classes told after each twentieth of the readings: when would it have been known."""
    from analyzers.diagnosis.incidents import DECIDED, diagnose

    moments = counters["ts"].unique().sort().to_list()
    told = []
    for part in range(1, 21):
        end = moments[(len(moments) - 1) * part // 20]
        seen = diagnose(counters.filter(pl.col("ts") <= end), fabric)
        told.append((end, seen.filter(pl.col("confidence") >= DECIDED)["cls"].to_list()))
    return told


def main() -> None:
    """Look at the folders named on the command line."""
    arguments = sys.argv[1:]
    history = "--history" in arguments
    for name in arguments:
        if name != "--history":
            sys.stdout.write(json.dumps(look(Path(name), history)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
