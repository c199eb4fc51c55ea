"""The diagnosis in a process of its own: it sees copies under random names, never a label.

    python -m dashboards.score.child FOLDER...

Each folder holds counters.parquet and topology.json, nothing else. One JSON line per folder: incidents,
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
    from analyzers.diagnosis.incidents import of_verdicts, read_run
    from analyzers.diagnosis.judge import judge

    counters, fabric = read_run(folder)
    begun = time.perf_counter()
    verdicts = judge(counters, fabric)
    incidents = of_verdicts(verdicts)
    took = time.perf_counter() - begun
    start = int(counters["ts"].min() or 0)  # type: ignore[arg-type]  # an integer column
    return {
        "folder": folder.name,
        "seconds": took,
        "start": start,
        "incidents": incidents.to_dicts(),
        "edges": [
            [case.name(edge.held), case.name(edge.cause)]
            for case in (verdict.case for verdict in verdicts)
            for edge in case.graph.edges
        ],
        "history": _history(counters, fabric) if history else [],
    }


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
