"""Two naive ways to name a root, to show what the diagnosis adds.

The busiest port that marks ECN, and the most paused port (right as well where the port that holds it is
the root). Neither names a class, and neither can say that nothing is wrong.
"""

import polars as pl

from dashboards.score.truth import Truth
from fabric.cables import Port
from fabric.topology import Fabric


def busiest(counters: pl.DataFrame, counter: str) -> str:
    """The port at which a counter grew most; empty where it never grew."""
    grown = (
        counters.filter(pl.col("counter") == counter)
        .group_by("device", "port", "index")
        .agg(grown=pl.col("value").max() - pl.col("value").min())
        .filter(pl.col("grown") > 0)
        .sort("grown", "device", "port", descending=[True, False, False])
    )
    return f"{grown['device'][0]}:{grown['port'][0]}" if grown.height else ""


def roots_right(truth: Truth, counters: pl.DataFrame, fabric: Fabric) -> tuple[bool, bool]:
    """Whether either baseline names a root of a run's faults: (marks, pauses)."""
    roots = {root for fault in truth.faults for root in fault.roots}
    marks = busiest(counters, "ecn_marked_packets")
    paused = busiest(counters, "rx_pause_ns")
    names = {paused}
    if paused:
        names.add(str(fabric.peer(Port.parse(paused)) or ""))
    return marks in roots, bool(names & roots)
