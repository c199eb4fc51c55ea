"""Pauses that wait for each other in a circle: deadlock (A8), fed from outside (A9), or merely looping.

In a lossless class a buffer empties only as fast as the links its packets take next. If the holds close
a ring and every port of the ring is held from end to end of each interval, sends nothing and keeps its
queue, no event inside the fabric can free it: it is locked. A ring whose ports still let bytes through
is backpressure that happens to run in a circle (A3); it ends when its congestion ends.

Confounders: two storms at once also freeze several ports, but their holds end at hosts and close no
ring; a ring that no shortest path can close (up and down a Clos) is not believed.
"""

from dataclasses import dataclass, field

import networkx as nx
import numpy as np

from analyzers.detectors.common import because
from analyzers.diagnosis.causes import Case, Cause
from analyzers.diagnosis.evidence import SILENT, Flags, runs

CELLS_ALONE = 5  # as long as a ring must stand to be locked


@dataclass(frozen=True)
class Knobs:
    """When a ring is locked."""

    whole: float = field(
        default=0.97, metadata=because("share", "Held from end to end, up to the sampling clock.")
    )
    cells: int = field(
        default=5,
        metadata=because(
            "samples", "A pause of 65,535 quanta is long over; a ring that moves, moves."
        ),
    )


def find(case: Case, knobs: Knobs = Knobs()) -> list[Cause]:
    """One cause per locked ring."""
    frozen = _frozen(case, knobs)
    found: list[Cause] = []
    for ring in _rings(case, frozen):
        both = np.logical_and.reduce([frozen[x] for x in ring])
        stretch = max(runs(both), key=lambda run: run[1] - run[0], default=(0, 0))
        if stretch[1] - stretch[0] >= knobs.cells:
            found.append(_locked(case, ring, *stretch))
    return found


def _frozen(case: Case, knobs: Knobs) -> Flags:
    e = case.evidence
    sent = np.nan_to_num(e.sent)
    still = (np.nan_to_num(e.held) >= knobs.whole) & (sent < SILENT)
    out = np.zeros_like(still)
    for x in np.flatnonzero(still.any(axis=1)):
        for first, last in runs(still[x]):
            if last - first >= knobs.cells:
                out[x, first:last] = True
    return out


def _rings(case: Case, frozen: Flags) -> list[tuple[int, ...]]:
    """Simple cycles among frozen ports, the strongest continuation of each port first."""
    s = case.signals
    ports = {int(x) for x in np.flatnonzero(frozen.any(axis=1)) if not s.host[x]}
    graph = nx.DiGraph()
    for (x, y), row in case.graph.shares.items():
        if x in ports and y in ports and (row * frozen[x] * frozen[y]).any():
            graph.add_edge(x, y, weight=float((row * frozen[x] * frozen[y]).sum()))
    rings = _cycles(graph)
    if not rings and _alone(case, frozen) >= CELLS_ALONE:
        # Routes may be no shortest paths: then any stopped egress of the next device may be the way on.
        _detours(case, frozen, ports, graph)
        rings = _cycles(graph)
    return rings


def _alone(case: Case, frozen: Flags) -> int:
    """Cells in which ports stand frozen after the last hold of a host: what no storm explains."""
    s, e = case.signals, case.evidence
    facing = np.flatnonzero(~s.host & (s.peer >= 0) & s.host[s.peer])
    held = np.flatnonzero(e.is_held[facing].any(axis=0))
    after = int(held[-1]) + 1 if len(held) else 0
    return int(np.asarray(frozen[:, after:].any(axis=0)).sum())


def _detours(case: Case, frozen: Flags, ports: set[int], graph: nx.DiGraph) -> None:
    s, e = case.signals, case.evidence
    queue = np.nan_to_num(e.drain_ns)
    for x in ports:
        peer = int(s.peer[x])
        for y in s.on(int(s.device[peer])) if peer >= 0 else ():
            back = s.peer[y] >= 0 and s.device[s.peer[y]] == s.device[x]
            weight = float((queue[y] * frozen[x] * frozen[y]).sum())
            if int(y) in ports and y != peer and not back and weight > 0:
                graph.add_edge(x, int(y), weight=weight)


def _cycles(graph: nx.DiGraph) -> list[tuple[int, ...]]:
    # Of several ways a port may wait, the one with most of its bytes is the ring's.
    best = nx.DiGraph()
    for x in graph:
        after = sorted(graph[x], key=lambda y: -graph[x][y]["weight"])
        best.add_edges_from((x, y) for y in after[:1])
    rings = [tuple(c) for c in nx.simple_cycles(best) if len(c) > 1]
    if not rings:
        rings = [tuple(c) for c in nx.simple_cycles(graph, length_bound=12) if len(c) > 1][:1]
    return rings


def _locked(case: Case, ring: tuple[int, ...], first: int, last: int) -> Cause:
    s, e = case.signals, case.evidence
    onset = min(int(np.flatnonzero(e.is_held[x])[0]) for x in ring)
    trigger = _trigger(case, ring, first)
    names = " → ".join(case.name(x) for x in ring)
    ends = last >= s.cells - 1
    fed = trigger is not None and trigger not in ring
    why = [
        f"held in a ring: {names} → {case.name(ring[0])}",
        f"no port of it sent for {case.span(first, last)}, all held from end to end"
        + (", to the end of the readings" if ends else ""),
    ]
    if trigger is not None:
        why.append(
            f"before the ring closed {case.name(trigger)} was full and not held: the trigger"
        )
    return Cause(
        "deadlock_fed" if fed and s.host[trigger] else "deadlock", "cycle", tuple(sorted(ring)),
        onset, last, sure=0.97 if ends else 0.9, why=tuple(why),
        against=(
            ("pfc_backpressure", "a ring that moves lets bytes through; this one sent none"),
            ("pfc_storm", "no host held its switch at the ring's end"),
        ),
        lost_ns=float(len(ring) * (last - first) * s.step_ns),
        members=() if trigger is None else (trigger,),
    )  # fmt: skip


def _trigger(case: Case, ring: tuple[int, ...], first: int) -> int | None:
    """The port that was full and free just before the ring froze: a host's hold, else the fullest."""
    s, e = case.signals, case.evidence
    from_cell = max(first - 20, 0)
    for x in np.flatnonzero(~s.host & (s.peer >= 0)):
        host = int(s.peer[x])
        if s.host[host] and e.is_held[x, from_cell : first + 1].sum() >= 2:
            return host
    full = e.congested[:, from_cell : first + 1].sum(axis=1)
    inside = [x for x in ring if full[x] > 0]
    if inside:
        return max(inside, key=lambda x: float(full[x]))
    return int(full.argmax()) if full.max(initial=0) > 1 else None
