"""Causes as INCIDENTS rows: names, time, confidence, the argument, who adds to it, who suffers."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from analyzers.diagnosis.calibration import calibrated
from analyzers.diagnosis.causes import RANK, Case, Cause
from analyzers.diagnosis.evidence import Flags
from analyzers.diagnosis.graph import Edge
from analyzers.diagnosis.judge import Verdict, judge
from analyzers.frames import empty, schema
from fabric.schema import INCIDENTS
from fabric.topology import Fabric

DECIDED: Final = 0.6  # below that an incident is told as undetermined
MOST: Final = 64  # names in one list

ADVICE: Final = {
    "deadlock": "Drain or reset one port of the ring to break it now; then remove the cyclic buffer "
    "dependency from the routes (fabric audit names it) or move detours to another priority.",
    "deadlock_fed": "Stop the host that holds the ring's feeder, then break the ring as above.",
    "pfc_storm": "Take the NIC named here out of service or reset it; guard its switch port with a "
    "PFC watchdog.",
    "watchdog_drop": "Find what kept the port from draining; the watchdog only ends the symptom.",
    "pfc_ignored": "Enable PFC for this priority on the sender named here, and check that it obeys.",
    "headroom_misconfig": "Raise the headroom of this port: cable length, speed and MTU set it.",
    "congestion_drop": "Enable PFC for this priority on the link, at both ends.",
    "lossy_link": "Clean or replace the optic and the cable; drain the link until then.",
    "degraded_link": "Check lanes, autonegotiation and FEC of the link; drain it until it is fast.",
    "pcie_bottleneck": "Check PCIe width and generation, ACS, relaxed ordering and NUMA placement.",
    "slow_receiver": "Look at the receiving host: PCIe stalls, address translation, memory, CPU.",
    "ecn_misconfig": "Compare the ECN curve of this queue with its neighbours (fabric audit).",
    "cnp_starvation": "Enable the notification point on this NIC and check the CNPs' own class.",
    "hostile_burst": "Find the tenant whose bursts return, and bound its rate.",
    "incast": "Spread the senders in time or limit them; congestion control cannot stop a first burst.",
    "collective_hotspot": "Place the ranks so that neighbours share a leaf, or add hash entropy "
    "(more queue pairs, the destination queue pair in the hash).",
    "ecmp_collision": "Change the source port of one flow, or hash the destination queue pair too.",
    "polarization": "Give the tiers different hash seeds.",
    "contention": "More is offered than the port carries: check who needs it and when.",
    "pfc_backpressure": "Relieve the congested port named here; what it held back follows.",
    "counter_fault": "Do not trust the readings of this port; reset its counters or the agent.",
    "victim": "Nothing here: follow the tree to its root.",
    "undetermined": "Collect what is listed as missing and look again.",
}  # fmt: skip


def diagnose(counters: pl.DataFrame, fabric: Fabric) -> pl.DataFrame:
    """INCIDENTS of readings and a topology, gravest first. No rows: healthy, or nothing to read."""
    return of_verdicts(judge(counters, fabric))


def of_verdicts(verdicts: Sequence[Verdict]) -> pl.DataFrame:
    """The same from verdicts that were reached already."""
    rows = [
        (
            _confidence(verdict.case, cause) < DECIDED,
            RANK.index(cause.cls),
            -cause.lost_ns,
            cause.roots,
            _row(verdict.case, cause),
        )
        for verdict in verdicts
        for cause in verdict.causes
    ]
    if not rows:
        return empty(INCIDENTS)
    rows.sort(key=lambda row: row[:4])
    frame = pl.DataFrame([row[-1] for row in rows], schema=schema(INCIDENTS))
    nth = pl.int_range(pl.len()).over("id")
    number = pl.when(nth > 0).then(pl.format(".{}", nth + 1)).otherwise(pl.lit(""))
    return frame.with_columns(id=pl.concat_str("id", number))


def _row(case: Case, cause: Cause) -> dict[str, object]:
    s = case.signals
    tree = _tree(case, cause)
    held = _held_in(case, tree, cause)
    victims = [
        f"{case.name(x)} {ns / 1e6:.3g} ms"
        for x, ns in sorted(held.items(), key=lambda item: -item[1])
    ]
    return {
        "id": _identity(case, cause),
        "cls": cause.cls,
        "scope": cause.scope,
        "roots": [f"{case.name(x)}:{s.priority}" for x in cause.roots],
        "start": s.time(cause.first),
        "end": s.time(cause.last),
        "confidence": _confidence(case, cause),
        "tier": "counters",
        "lost_ns": float(sum(held.values())) or cause.lost_ns,
        "evidence": list(cause.why),
        "missing": [*cause.missing, *(f"counters of {name}" for name in sorted(s.silent)[:MOST])],
        "alternatives": [f"{cls}: {why}" for cls, why in cause.against],
        "contributors": [case.name(x) for x in contributors(case, cause)][:MOST],
        "victims": victims[:MOST],
        "tree": [f"{case.name(edge.held)} ← {case.name(edge.cause)}" for edge in tree][:MOST],
        "advice": ADVICE[cause.cls],
        "findings": [],
    }


def _confidence(case: Case, cause: Cause) -> float:
    """What the rule said, as the share of runs in which it was right with such evidence."""
    return calibrated(cause.sure, "counted" if case.evidence.counted else "inferred")


def _identity(case: Case, cause: Cause) -> str:
    """The same for the same class and place, whenever it is looked at."""
    text = "|".join([cause.cls, *map(case.name, cause.roots[:4]), str(case.signals.priority)])
    return f"{cause.cls}-{zlib.crc32(text.encode()):08x}"


def _tree(case: Case, cause: Cause) -> list[Edge]:
    found: dict[tuple[int, int], Edge] = {}
    for root in cause.roots[:8] if cause.cls != "lossy_link" else ():
        for edge in case.graph.tree(root, cause.first, cause.last):
            found.setdefault((edge.held, edge.cause), edge)
    return list(found.values())


def _held_in(case: Case, tree: list[Edge], cause: Cause) -> dict[int, float]:
    """Ports of the tree and how long each was held meanwhile, in ns."""
    held = np.nan_to_num(case.evidence.held[:, cause.first : cause.last]).sum(axis=1)
    ports = {edge.held for edge in tree}
    return {x: float(held[x]) * case.signals.step_ns for x in sorted(ports) if held[x] > 0}


def contributors(case: Case, cause: Cause) -> list[int]:
    """Host ports whose traffic fed the place, the busiest first.

    Where CNPs are counted they name the senders whose packets were marked; elsewhere every host that
    sent while the queue stood is a candidate.
    """
    if cause.cls not in ("incast", "contention", "ecmp_collision", "hostile_burst"):
        return []
    s, e = case.signals, case.evidence
    root = cause.roots[0]
    receiver = int(s.peer[root]) if s.peer[root] >= 0 else -1
    window: Flags = np.zeros(s.cells, np.bool_)
    window[cause.first : min(cause.last + 1, s.cells)] = True
    sent = np.nan_to_num(e.sent)[:, window].sum(axis=1)
    told = np.nan_to_num(s.get("rx_cnp"))[:, window].sum(axis=1)
    mine = np.flatnonzero(s.host & (np.arange(len(s.ports)) != receiver))
    if s.has("rx_cnp") and told[mine].any():
        mine = mine[told[mine] > 0]
    else:
        mine = mine[sent[mine] > 0.05 * window.sum()]
    return [int(x) for x in mine[np.argsort(-sent[mine])]]


def read_run(folder: Path) -> tuple[pl.DataFrame, Fabric]:
    """COUNTERS and topology of a run folder; OSError or ValueError in one line."""
    from analyzers.telemetry.labelled_runs import read_counters
    from fabric.inventory import load

    return read_counters(folder), load([folder / "topology.json"]).fabric
