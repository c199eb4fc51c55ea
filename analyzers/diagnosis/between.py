"""More traffic than a port between switches carries: collision, hotspot, backpressure.

ecmp_collision (A11): a port to another switch is congested again and again although an equal-cost
sibling stays idle, and more than one ingress feeds it. Confounders: a single fat flow (one ingress), and
few flows in many bins at random, which no sibling stays clear of for long.

collective_hotspot (A25): collisions at several switches at once, or queues that stand for long on several
ports of several switches and hold others: the load of one operation, not of one pair. Rings of a healthy
job meet on links too; without holds and without deep queues nothing is decided.

pfc_backpressure (A3): a port sends at line rate, holds others, and no sibling had room.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from analyzers.detectors.common import because
from analyzers.diagnosis.causes import Case, Cause, percent
from analyzers.diagnosis.evidence import held_before, runs


@dataclass(frozen=True)
class Knobs:
    """When crowding between switches is a cause."""

    spread_cells: int = field(
        default=5, metadata=because("samples", "The same where it also held ports upstream.")
    )
    feeds: float = field(
        default=0.05, metadata=because("share", "An ingress below that adds nothing to speak of.")
    )
    apart: int = field(
        default=0, metadata=because("samples", "Congestion that comes back is no accident.")
    )
    idle: float = field(
        default=0.02, metadata=because("share", "A sibling this empty carries no flow to speak of.")
    )
    busy: float = field(
        default=0.2,
        metadata=because("share", "Mean load of a link whose flows congestion control has cut."),
    )
    kept: float = field(
        default=0.45, metadata=because("share", "Two flows that meet fill about one link together.")
    )
    free: float = field(
        default=0.25, metadata=because("share", "Every sibling had room for another flow.")
    )
    long: int = field(
        default=20, metadata=because("samples", "Random flows end and others come; these stay.")
    )
    window: int = field(
        default=8,
        metadata=because("samples", "Shorter than that chance leaves siblings idle too."),
    )
    spread: float = field(
        default=2.0, metadata=because("samples", "Held because of these ports, in all.")
    )
    holding: float = field(
        default=8.0,
        metadata=because("samples", "Held in all, beyond what an exchange does in passing."),
    )
    marks: int = field(
        default=20, metadata=because("packets", "Where marks are counted, a collision is marked.")
    )
    loaded: float = field(
        default=0.7,
        metadata=because("share", "Below that single bursts came and went between the samples."),
    )
    hot_ports: int = field(
        default=3, metadata=because("ports", "Fewer are a collision, not a pattern.")
    )


def find(case: Case, knobs: Knobs = Knobs()) -> list[Cause]:
    """Collisions and hotspots among the ports between switches."""
    s = case.signals
    collisions = _collisions(case, knobs)
    switches = {int(s.device[c.roots[0]]) for c in collisions}
    standing = _long_queues(case, knobs)
    wide = {int(s.device[y]) for y, _, _ in standing}
    blame = _blame(case, standing)
    if len(standing) >= knobs.hot_ports and len(wide) > 1 and blame >= knobs.spread * s.step_ns:
        first, last = min(a for _, a, _ in standing), max(b for _, _, b in standing)
        # A planned exchange holds others for a moment too; a misplaced ring goes on holding them.
        sure = 0.9 if blame >= knobs.holding * s.step_ns else 0.5
        return [_hotspot(case, [y for y, _, _ in standing], first, last, sure)]
    if len(switches) > 1:
        # Rings and exchanges of a healthy job meet on links too: nothing here tells them apart.
        first, last = min(c.first for c in collisions), max(c.last for c in collisions)
        return [_hotspot(case, [c.roots[0] for c in collisions], first, last, 0.5)]
    taken = {c.roots[0] for c in collisions}
    return [*collisions, *_crowded(case, taken, knobs)]


def _blame(case: Case, standing: list[tuple[int, int, int]]) -> float:
    """Holds that go back to these ports, in ns."""
    back = case.graph.blame(0, case.signals.cells)
    return float(sum(back[y] for y, _, _ in standing))


def _crowded(case: Case, taken: set[int], knobs: Knobs) -> list[Cause]:
    """Congestion of a port between switches that no collision explains."""
    s, e = case.signals, case.evidence
    found = []
    for y in _fabric_ports(case):
        for first, last in runs(e.congested[y], 1):
            if y in taken or last - first < knobs.spread_cells:
                continue
            blame = float(case.graph.blame(first, last)[y])
            # Without holds a full link between switches is a full link.
            if blame < s.step_ns or held_before(e, int(y), first):
                continue
            found.append(Cause(
                "pfc_backpressure", "port", (int(y),), first, last,
                sure=0.75 if last - first >= knobs.long else 0.5,
                why=((f"{case.name(int(y))} sent at line rate from a standing queue for "
                     f"{case.span(first, last)}; nobody held it, "
                     f"and it held others for {blame / 1e3:.3g} us"),),
                against=(("ecmp_collision", "no equal-cost port stayed clear of traffic"),
                         ("deadlock", "bytes moved all the time"),
                         ("incast", "the port leads to a switch, not to one receiver")),
                lost_ns=blame,
            ))  # fmt: skip
    return found


def _fabric_ports(case: Case) -> np.ndarray:
    s = case.signals
    return np.flatnonzero(~s.host & (s.peer >= 0) & ~s.host[s.peer])


def _siblings(case: Case, y: int) -> list[int]:
    """Equal-cost ports of the same device: those that share most of the destinations of ``y``."""
    s = case.signals
    here = s.ports[y].device
    together: Counter[int] = Counter()
    ways = 0
    for host in s.fabric.named("host"):
        hops = [s.number[hop] for hop in s.fabric.next_hops(here, host) if hop in s.number]
        if y in hops:
            ways += 1
            together.update(hop for hop in hops if hop != y)
    return [hop for hop, count in together.items() if 2 * count > ways]


def _collisions(case: Case, knobs: Knobs) -> list[Cause]:
    s, e = case.signals, case.evidence
    found = []
    for y in _fabric_ports(case):
        siblings = _siblings(case, int(y))
        if not siblings:
            continue
        queued = e.standing[y] & ~e.is_held[y]
        episodes = runs(queued, 1)
        if len(runs(queued, knobs.apart)) < 2 or int(queued.sum()) < 3:
            continue
        first, last = episodes[0][0], s.cells
        load = np.nan_to_num(e.sent)
        active = np.flatnonzero(load[y, first:] > 0.02)
        last = first + int(active[-1]) + 1 if len(active) else episodes[-1][1]
        mean = float(load[y, first:last].mean())
        room = float(load[siblings, first:last].mean(axis=1).min())
        feeding = _feeding(case, int(y), first, last, knobs)
        if s.has("marked") and e.sees_queue[y] and np.nansum(e.marked[y, first:]) < knobs.marks:
            continue
        # The less it carried, the emptier a sibling must have been to prove anything.
        clear = room <= knobs.idle * min(mean / (2 * knobs.busy), 1.0) ** 2
        if last - first >= knobs.window and mean >= knobs.busy and clear:
            if feeding > 1:
                found.append(_collision(case, int(y), first, last, (mean, room, feeding)))
            continue
        # Beside other traffic: one port busy all the time, every sibling nearly free.
        for first, last in runs(load[y] >= knobs.kept, 1):
            around = load[siblings, first:last].mean(axis=1)
            feeding = _feeding(case, int(y), first, last, knobs)
            marks = int(queued[first:last].sum())
            if last - first >= knobs.long and around.max() <= knobs.free and feeding > 1 and marks:
                mean = float(load[y, first:last].mean())
                seen = (mean, float(around.min()), feeding)
                found.append(_collision(case, int(y), first, last, seen, 0.65))
    return found


def _feeding(case: Case, y: int, first: int, last: int, knobs: Knobs) -> int:
    """Ingress ports of the device that bring traffic in the stretch, other uplinks left out."""
    s, e = case.signals, case.evidence
    ports = [int(p) for p in s.on(int(s.device[y])) if p != y]
    load = np.nan_to_num(e.received[ports, first:last]).mean(axis=1)
    return int((load > knobs.feeds).sum())


def _collision(
    case: Case, y: int, first: int, last: int, seen: tuple[float, float, int], most: float = 0.85
) -> Cause:
    mean, room, feeding = seen
    s = case.signals
    return Cause(
        "ecmp_collision", "port", (y,), first, last, sure=min(most, 0.75 + 0.01 * (last - first)),
        why=(
            (f"{case.name(y)} was congested again and again for {case.span(first, last)} at "
            f"{percent(mean)} load, fed by {feeding} ports"),
            f"a sibling of it carried {percent(room)}: the hash put the flows together",
        ),
        against=(
            ("incast", "the port leads to a switch, not to one receiver"),
            ("contention", f"an equal-cost port had room ({percent(room)} load)"),
        ),
        missing=("the flows on the link: which ones to move",),
        lost_ns=float((last - first) * s.step_ns * 0.5),
    )  # fmt: skip


def _long_queues(case: Case, knobs: Knobs) -> list[tuple[int, int, int]]:
    """Ports between switches with a queue that stood for long and was not held: (port, first, last)."""
    e = case.evidence
    found = []
    for y in _fabric_ports(case):
        queued = e.standing[y] & ~e.is_held[y]
        stretches = [
            (first, last)
            for first, last in runs(queued)
            if last - first >= knobs.spread_cells
            and float(np.nan_to_num(e.sent[y, first:last]).mean()) >= knobs.loaded
        ]
        if stretches:
            found.append((int(y), stretches[0][0], stretches[-1][1]))
    return found


def _hotspot(case: Case, ports: list[int], first: int, last: int, sure: float) -> Cause:
    """The ports whose queues stood, ranked by how long, and all others that stood repeatedly."""
    s, e = case.signals, case.evidence
    fabric = _fabric_ports(case)
    stood = (e.standing & ~e.is_held)[:, first:last].sum(axis=1)
    roots = [int(y) for y in fabric if stood[y] >= 3 or y in ports]
    roots.sort(key=lambda y: -int(stood[y]))
    devices = {s.ports[y].device for y in roots}
    return Cause(
        "collective_hotspot", "fabric", tuple(roots), first, last, sure=sure,
        why=(
            (f"queues stood on {len(roots)} ports between {len(devices)} switches for "
            f"{case.span(first, last)}, on {len(ports)} of them for long"),
        ),
        against=(
            ("ecmp_collision", "several switches at once: the load of one operation"),
            ("incast", "no port to a host explains them"),
        ),
        missing=("the job's ranks: which operation loads these links",),
        lost_ns=float(stood[roots].sum() * s.step_ns),
    )  # fmt: skip
