"""More traffic than a port towards a host carries: incast, contention.

A port is congested while its queue stands, it sends at line rate and nobody holds it. Short congestion
is what a queue is for: random arrivals fill it for a sample or two at a time. A cause is congestion
that lasts.

incast (A2): the port leads to a host and at least three ingress ports of its switch bring traffic for
it; with fewer it is contention (A1). Confounders: the drain of a backlog that a hold left behind (the
stretch then starts where a hold of this port or of its feeders ends); a full link without a queue.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from analyzers.detectors.common import because
from analyzers.diagnosis.causes import Case, Cause
from analyzers.diagnosis.evidence import held_before, longest, runs


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


def find(case: Case, knobs: Knobs = Knobs()) -> list[Cause]:
    """One cause per crowded port towards a host and stretch of time."""
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
    if not (lasts or spreads or deep) or held_before(case.evidence, y, first):
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
