"""More traffic than a port carries: incast, contention, ECMP collision, collective hotspot.

A port is congested while its queue stands, it sends at line rate and nobody holds it. Short congestion
is what a queue is for: random arrivals fill it for a sample or two at a time. A cause is congestion
that lasts.

incast (A2): the port leads to a host and at least three ingress ports of its switch bring traffic for
it; with fewer it is contention (A1). Confounders: the drain of a backlog that a hold left behind (the
stretch then starts where a hold of this port or of its feeders ends); a full link without a queue.

ecmp_collision (A11): a port to another switch is congested again and again although an equal-cost
sibling stays idle, and more than one ingress feeds it. Confounders: a single fat flow (one ingress), and
few flows in many bins at random, which no sibling stays clear of for long.

collective_hotspot (A25): the same at several switches at once, or queues that stand for long on several
uplinks of several switches: the load of one operation, not of one pair.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from analyzers.detectors.common import because
from analyzers.diagnosis.causes import Case, Cause, percent
from analyzers.diagnosis.evidence import longest, runs


@dataclass(frozen=True)
class Knobs:
    """When crowding is a cause."""

    cells: int = field(
        default=8, metadata=because("samples", "Random arrivals keep a queue for 1-4 samples.")
    )
    spread_cells: int = field(
        default=5, metadata=because("samples", "The same where it also held ports upstream.")
    )
    again: int = field(
        default=10,
        metadata=because("samples", "Congestion control empties the queue and it fills again."),
    )
    deep_ns: int = field(
        default=64_000,
        metadata=because(
            "ns",
            "Twice where every packet is marked (400 KB at 100 Gb/s, diagnosis.md 2.3): the queue of "
            "many senders that start before a mark can come back.",
        ),
    )
    lasting_ns: int = field(
        default=20_000,
        metadata=because("ns", "Less is the pipe kept full by a window: nobody waits for long."),
    )
    fan_in: int = field(
        default=3, metadata=because("ports", "Two flows that meet are contention, diagnosis.md A2.")
    )
    feeds: float = field(
        default=0.05, metadata=because("share", "An ingress below that adds nothing to speak of.")
    )
    apart: int = field(
        default=0, metadata=because("samples", "Congestion that comes back is no accident.")
    )
    idle: float = field(
        default=0.05, metadata=because("share", "A sibling this empty carries no flow to speak of.")
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
    loaded: float = field(
        default=0.7,
        metadata=because("share", "Below that single bursts came and went between the samples."),
    )
    hot_ports: int = field(
        default=3, metadata=because("ports", "Fewer are a collision, not a pattern.")
    )


def find(case: Case, knobs: Knobs = Knobs()) -> list[Cause]:
    """Crowded ports to hosts, then between switches."""
    return [*_at_hosts(case, knobs), *_between(case, knobs)]


def _held_before(case: Case, y: int, first: int) -> bool:
    """Whether the stretch drains what a hold of this port left behind."""
    held = np.nan_to_num(case.evidence.held[y, max(first - 2, 0) : first + 1])
    return bool((held > 0.3).any())


def _at_hosts(case: Case, knobs: Knobs) -> list[Cause]:
    s, e = case.signals, case.evidence
    found = []
    for y in np.flatnonzero(~s.host & (s.peer >= 0)):
        if not s.host[s.peer[y]]:
            continue
        for first, last in runs(e.standing[y] & (np.nan_to_num(e.held[y]) < 0.3), knobs.again):
            cause = _at_host(case, int(y), first, last, knobs)
            if cause:
                found.append(cause)
    return _one_of_the_blind(case, found)


def _one_of_the_blind(case: Case, found: list[Cause]) -> list[Cause]:
    """Where a device reports no queues, several full ports of it are one guess, not several causes."""
    s, e = case.signals, case.evidence
    blind = [c for c in found if not e.sees_queue[c.roots[0]]]
    kept = [c for c in found if e.sees_queue[c.roots[0]]]
    for device in {int(s.device[c.roots[0]]) for c in blind}:
        some = sorted(
            (c for c in blind if s.device[c.roots[0]] == device), key=lambda c: -c.lost_ns
        )
        best = some[0]
        others = len({c.roots[0] for c in some}) > 1
        roots = tuple(dict.fromkeys(c.roots[0] for c in some))
        sure = 0.5 if others else min(best.sure, 0.75)
        missing = (*best.missing, f"queues of {s.devices[device]}: which port stands")
        kept.append(replace(best, roots=roots, sure=sure, missing=missing))
    return kept


def _at_host(case: Case, y: int, first: int, last: int, knobs: Knobs) -> Cause | None:
    """Judge a stretch of congestion with breaks: it lasts, it spreads, or it is far too deep."""
    e = case.evidence
    full = e.congested[y, first:last]
    lasting = longest(full, 1)
    blame = float(case.graph.blame(first, last)[y]) if lasting >= knobs.spread_cells else 0.0
    spreads = lasting >= knobs.spread_cells and blame >= case.signals.step_ns
    with np.errstate(invalid="ignore"):
        over = e.drain_ns[y, first:last] >= knobs.deep_ns
        stood = e.drain_ns[y, first:last] >= knobs.lasting_ns
    carried = float(np.nan_to_num(e.sent[y, first:last])[e.standing[y, first:last]].sum())
    deep = bool(over.any()) and carried >= 1.0
    lasts = lasting >= knobs.cells and (bool(stood.any()) or not e.sees_queue[y])
    begun = np.flatnonzero(full | over)
    if len(begun):
        first += int(begun[0])
    if not (lasts or spreads or deep) or _held_before(case, y, first):
        return None
    return _incast(case, y, first, last, blame, knobs)


def _incast(case: Case, y: int, first: int, last: int, blame: float, knobs: Knobs) -> Cause:
    s, e = case.signals, case.evidence
    others = [int(p) for p in s.on(int(s.device[y])) if p != y]
    load = np.nan_to_num(np.nanmean(np.nan_to_num(e.received[others, first:last]), axis=1))
    fan_in = int((load > knobs.feeds).sum())
    depth = float(np.nanmax(e.drain_ns[y, first:last])) if e.sees_queue[y] else float("nan")
    incast = fan_in >= knobs.fan_in
    sure = min(0.96, 0.7 + 0.02 * (last - first)) if incast else 0.7
    other = "contention" if incast else "incast"
    return Cause(
        "incast" if incast else "contention", "port", (y,), first, last, sure=sure,
        why=(
            (f"{case.name(y)} sent at line rate from a standing queue for {case.span(first, last)}, "
            f"up to {depth / 1e3:.3g} us deep; nobody held it"),
            f"{fan_in} ports of {s.ports[y].device} brought traffic"
            + (f"; ports upstream were held for {blame / 1e3:.3g} us because of it" if blame else ""),
        ),
        against=(
            (other, f"{fan_in} ports fed it; {knobs.fan_in} make an incast"),
            ("slow_receiver", "the host did not hold its switch"),
            ("degraded_link", "it sent at line rate"),
        ),
        lost_ns=blame or float((last - first) * s.step_ns),
    )  # fmt: skip


def _between(case: Case, knobs: Knobs) -> list[Cause]:
    """Collisions and hotspots among the ports between switches."""
    collisions = _collisions(case, knobs)
    switches = {int(case.signals.device[c.roots[0]]) for c in collisions}
    standing = _long_queues(case, knobs)
    wide = {int(case.signals.device[y]) for y, _, _ in standing}
    if len(standing) >= knobs.hot_ports and len(wide) > 1:
        return [_hotspot(case, [y for y, _, _ in standing], min(a for _, a, _ in standing),
                         max(b for _, _, b in standing), 0.9)]  # fmt: skip
    if len(switches) > 1:
        return [_hotspot(case, [c.roots[0] for c in collisions], min(c.first for c in collisions),
                         max(c.last for c in collisions), 0.85)]  # fmt: skip
    taken = {c.roots[0] for c in collisions}
    return [*collisions, *_crowded(case, taken, knobs)]


def _crowded(case: Case, taken: set[int], knobs: Knobs) -> list[Cause]:
    """Congestion of a port between switches that no collision explains."""
    s, e = case.signals, case.evidence
    found = []
    for y in _fabric_ports(case):
        for first, last in runs(e.congested[y], 1):
            blame = (
                float(case.graph.blame(first, last)[y]) if last - first >= knobs.spread_cells else 0
            )
            enough = knobs.spread_cells if blame >= s.step_ns else knobs.cells
            if y in taken or last - first < enough or _held_before(case, int(y), first):
                continue
            found.append(Cause(
                "pfc_backpressure" if blame >= s.step_ns else "contention", "port", (int(y),),
                first, last, sure=0.75,
                why=(f"{case.name(int(y))} sent at line rate from a standing queue for "
                     f"{case.span(first, last)}; nobody held it"
                     + (f", and it held others for {blame / 1e3:.3g} us" if blame else ""),),
                against=(("ecmp_collision", "no equal-cost port stayed clear of traffic"),
                         ("deadlock", "bytes moved all the time"),
                         ("incast", "the port leads to a switch, not to one receiver")),
                lost_ns=blame or float((last - first) * s.step_ns),
            ))  # fmt: skip
    return found


def _fabric_ports(case: Case) -> np.ndarray:
    s = case.signals
    return np.flatnonzero(~s.host & (s.peer >= 0) & ~s.host[s.peer])


def _siblings(case: Case, y: int) -> list[int]:
    """Equal-cost ports of the same device: those that lead towards the same kind of neighbour."""
    s = case.signals
    role = s.fabric.role(s.ports[int(s.peer[y])].device)
    return [
        int(p)
        for p in s.on(int(s.device[y]))
        if p != y and s.peer[p] >= 0 and s.fabric.role(s.ports[int(s.peer[p])].device) == role
        and s.fabric.role(s.ports[y].device) == "leaf"
    ]  # fmt: skip


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
                found.append(_collision(case, int(y), first, last, seen, 0.7))
    return found


def _feeding(case: Case, y: int, first: int, last: int, knobs: Knobs) -> int:
    """Ingress ports of the device that bring traffic in the stretch, other uplinks left out."""
    s, e = case.signals, case.evidence
    ports = [int(p) for p in s.on(int(s.device[y])) if p != y]
    load = np.nan_to_num(e.received[ports, first:last]).mean(axis=1)
    return int((load > knobs.feeds).sum())


def _collision(
    case: Case, y: int, first: int, last: int, seen: tuple[float, float, int], most: float = 0.95
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
