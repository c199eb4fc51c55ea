"""Rules asked one after another, cascades folded: readings in, ranked causes out."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl

from analyzers.diagnosis import (
    between,
    crowding,
    deadlock,
    host_pauses,
    lies,
    links,
    marking,
    polarization,
)
from analyzers.diagnosis.causes import RANK, Case, Cause
from analyzers.diagnosis.evidence import Evidence
from analyzers.diagnosis.graph import PauseGraph
from analyzers.diagnosis.signals import priorities, readings, signals
from fabric.topology import Fabric

RULES: Final = (
    deadlock, host_pauses, links, marking, crowding, polarization, between, lies,
)  # fmt: skip
CROWDING: Final = frozenset(
    {"incast", "contention", "ecmp_collision", "collective_hotspot", "pfc_backpressure",
     "polarization", "hostile_burst"}
)  # fmt: skip
# A setting is wrong on a device, and shows on each of its links.
SETTINGS: Final = frozenset({"headroom_misconfig", "congestion_drop"})
OF_A_HOST: Final = frozenset({"pfc_storm", "slow_receiver", "pcie_bottleneck"})
STOPPING: Final = OF_A_HOST | {
    "watchdog_drop",
    "pfc_ignored",
    "headroom_misconfig",
    "cnp_starvation",
}
# What counters of whole ports show is the same for every priority, and told once.
OF_PORTS: Final = frozenset({"lossy_link", "degraded_link", "counter_fault", "polarization"})
TOGETHER_CELLS: Final = 20
# Holds of that many samples over all ports that no rule explains are worth a question.
UNEXPLAINED_CELLS: Final = 10


@dataclass(frozen=True)
class Verdict:
    """Causes of one priority, gravest first, and what they were read from."""

    case: Case
    causes: tuple[Cause, ...]


def judge(counters: pl.DataFrame, fabric: Fabric) -> list[Verdict]:
    """A verdict per priority that shows anything; [] where the readings are too few."""
    found: list[Verdict] = []
    told = readings(counters)
    for priority in priorities(told):
        read = signals(told, fabric, priority)
        if read is None:
            continue
        evidence = Evidence(read)
        case = Case(read, evidence, PauseGraph(evidence))
        told_before = {
            (cause.cls, frozenset(cause.roots)) for verdict in found for cause in verdict.causes
        }
        fresh = (
            cause
            for cause in causes(case)
            if cause.cls not in OF_PORTS or (cause.cls, frozenset(cause.roots)) not in told_before
        )
        found.append(Verdict(case, tuple(fresh)))
    return found


def causes(case: Case) -> list[Cause]:
    """What all rules say, folded and ranked."""
    said = [cause for rule in RULES for cause in rule.find(case)]
    said.sort(key=lambda cause: (RANK.index(cause.cls), -cause.lost_ns, cause.roots))
    kept: list[Cause] = []
    for cause in said:
        above = next((one for one in kept if _explains(case, one, cause)), None)
        same = next((one for one in kept if _again(case, one, cause)), None)
        if same is not None:
            kept[kept.index(same)] = _joined(case, same, cause)
        elif above is None:
            kept.append(cause)
        else:
            kept[kept.index(above)] = replace(
                above, members=tuple(dict.fromkeys((*above.members, *cause.roots)))
            )
    return kept or _unexplained(case)


def _again(case: Case, one: Cause, other: Cause) -> bool:
    """Whether two causes are one: the same place a moment later, or one setting on several links."""
    if one.cls != other.cls:
        return False
    near = other.first <= one.last + TOGETHER_CELLS and one.first <= other.last + TOGETHER_CELLS
    same = one.roots[:1] == other.roots[:1] or one.cls in SETTINGS
    if one.cls in OF_A_HOST:  # a host with several NICs stalls on all of them
        same = case.signals.device[one.roots[0]] == case.signals.device[other.roots[0]]
    return near and same


def _joined(case: Case, one: Cause, other: Cause) -> Cause:
    roots = tuple(dict.fromkeys((*one.roots, *other.roots)))
    if one.cls in OF_A_HOST:  # the port that somebody's data waits for comes first
        e, s = case.evidence, case.signals
        waiting = np.nan_to_num(e.drain_ns[s.peer[list(roots)]]).sum(axis=1)
        roots = tuple(x for _, x in sorted(zip(-waiting, roots, strict=True)))
    return replace(
        one,
        roots=roots,
        first=min(one.first, other.first),
        last=max(one.last, other.last),
        sure=max(one.sure, other.sure),
        why=tuple(dict.fromkeys((*one.why, *other.why))),
        lost_ns=one.lost_ns + other.lost_ns,
    )


def _explains(case: Case, one: Cause, other: Cause) -> bool:
    """Whether ``other`` is what ``one`` looks like elsewhere or afterwards."""
    gap = max(8, (one.last - one.first) // 2)
    apart = other.first > one.last + gap or one.first > other.last + gap
    if apart:
        return False
    if other.cls in ("collective_hotspot", "ecmp_collision") and one.cls in STOPPING:
        return True  # what was held and let go again crowds everywhere
    if one.cls == "pfc_storm" and other.cls == "slow_receiver":
        s = case.signals
        return bool({int(s.device[x]) for x in one.roots} & {int(s.device[x]) for x in other.roots})
    if set(one.roots) & set(other.roots):
        return one.cls in ("deadlock", "deadlock_fed") or other.cls in CROWDING | {one.cls}
    if one.cls in ("deadlock", "deadlock_fed"):
        return other.cls in CROWDING | {"degraded_link", "ecn_misconfig"} or bool(
            set(other.roots) & set(one.members)
        )
    if other.cls == "watchdog_drop" and one.cls == "pfc_storm":
        return bool({int(case.signals.peer[x]) for x in one.roots} & set(other.roots))
    if other.cls not in CROWDING:
        return other.cls == one.cls == "pfc_ignored"
    if one.cls in ("pfc_ignored", "headroom_misconfig", "congestion_drop"):
        s = case.signals
        ends = {int(x) for root in one.roots for x in (root, s.peer[root])}
        mine = {int(s.device[x]) for x in ends}
        near = any(int(s.device[y]) in mine for y in other.roots)
        return near or bool(ends & _reach(case, other))
    if one.cls in ("lossy_link", "counter_fault"):
        return False
    reach = _reach(case, one)
    if other.scope == "port" and other.lost_ns < one.lost_ns / 4 and _fed_by(case, other, reach):
        return True
    if other.cls == "collective_hotspot" and one.cls not in CROWDING:
        return len(set(other.roots) & reach) * 2 > len(other.roots)
    return bool(set(other.roots) & reach)


def _fed_by(case: Case, other: Cause, reach: set[int]) -> bool:
    """Whether a small crowd stands behind ports that ``reach`` held: what they let go arrives there."""
    s = case.signals
    here = int(s.device[other.roots[0]])
    feeding = {int(s.peer[p]) for p in s.on(here) if s.peer[p] >= 0 and not s.host[s.peer[p]]}
    return bool(feeding & reach)


def _reach(case: Case, cause: Cause) -> set[int]:
    """Ports in the pause tree of a cause, its own and those its queue is fed through."""
    reached: set[int] = set(cause.members)
    for root in cause.roots[:4]:
        reached.add(root)
        reached |= {edge.held for edge in case.graph.tree(root, cause.first, cause.last)}
        peer = int(case.signals.peer[root])
        if case.signals.host[root] and peer >= 0:
            reached.add(peer)
    return reached


def _unexplained(case: Case) -> list[Cause]:
    """Much was held and no rule says why: that is said, not hidden."""
    s, e = case.signals, case.evidence
    held = np.nan_to_num(e.held)
    if held.sum() < UNEXPLAINED_CELLS:
        return []
    cells = np.flatnonzero(held.sum(axis=0))
    first, last = int(cells[0]), int(cells[-1]) + 1
    blame = case.graph.blame(first, last)
    root = int(blame.argmax())
    return [Cause(
        "undetermined", "port", (root,), first, last, sure=0.3,
        why=((f"ports were held for {held.sum() * s.step_ns / 1e3:.3g} us in all; most of it goes "
             f"back to {case.name(root)}"),),
        missing=tuple(f"counters of {name}" for name in sorted(s.silent)) or ("shorter samples",),
        lost_ns=float(held.sum() * s.step_ns),
    )]  # fmt: skip
