"""What is wrong with a link or its buffers: lossy, degraded, drops of a lossless class.

lossy_link (A13): frames arrive with a bad FCS. A link within specification loses 6.2e-11 of its frames
(IEEE 802.3 clause 91 and later, frame loss ratio); two or more in the few frames of one capture are a
fault. Confounder A14: drops for want of buffer are counted elsewhere and need a queue.

degraded_link (A27): a port with a standing queue that nobody holds sends at line rate. If it keeps
sending an even share below that, the link is slower than its name. Confounder: bursts that come and go
leave uneven rates; a hold explains the rest and is counted.

pfc_ignored (A17): a switch asked a port to stop, it went on, and the buffer overflowed. Confounders:
headroom_misconfig (A16), where the peer did stop and the bytes on the way were still too many;
congestion_drop (A14), where nobody was asked to stop; watchdog_drop (A15), where the watchdog drops.
"""

from dataclasses import dataclass, field

import numpy as np

from analyzers.detectors.common import because
from analyzers.diagnosis.causes import Case, Cause, percent
from analyzers.diagnosis.evidence import STANDING_NS, Flags, runs
from analyzers.diagnosis.signals import Array


@dataclass(frozen=True)
class Knobs:
    """When a link is at fault."""

    errors: int = field(
        default=2, metadata=because("packets", "One bad frame in a capture may be chance.")
    )
    slow_cells: int = field(
        default=5, metadata=because("samples", "An even rate over so many samples is a rate.")
    )
    slow: float = field(
        default=0.85, metadata=because("share", "Preambles, gaps and phases cost less than that.")
    )
    steady: float = field(
        default=0.03,
        metadata=because(
            "share", "A rate this even under a standing queue is a clock's, not chance."
        ),
    )
    longer: float = field(
        default=1.1, metadata=because("share", "Of what was sent; the rest is the sampling clock.")
    )
    even: float = field(
        default=0.15, metadata=because("share", "Standard deviation of a steady rate to its mean.")
    )
    over: float = field(
        default=0.1,
        metadata=because(
            "share", "Sent and held add up to one; frames on the way add a few percent."
        ),
    )
    filled: float = field(
        default=0.8, metadata=because("share", "Idle time beyond that leaves room for either.")
    )
    going_on: float = field(
        default=0.85,
        metadata=because("share", "A port that obeys sends in the time it is not asked to stop."),
    )


def find(case: Case, knobs: Knobs = Knobs()) -> list[Cause]:
    """Causes at links, at most one of a kind per link and stretch."""
    return [*_lossy(case, knobs), *_degraded(case, knobs), *_drops(case, knobs)]


def _ends(case: Case, port: int) -> tuple[int, ...]:
    peer = int(case.signals.peer[port])
    return (port, peer) if peer >= 0 else (port,)


def _lossy(case: Case, knobs: Knobs) -> list[Cause]:
    s = case.signals
    bad = np.nan_to_num(s.get("crc"))
    total = np.nan_to_num(s.total("crc"))
    found: list[Cause] = []
    told: set[int] = set()
    for port in np.argsort(-total):
        ends = _ends(case, int(port))
        count = sum(int(total[end]) for end in ends)
        if total[port] == 0 or count < knobs.errors or set(ends) & told:
            continue
        told |= set(ends)
        cells = np.flatnonzero(np.sum([bad[end] for end in ends], axis=0))
        first, last = (int(cells[0]), int(cells[-1]) + 1) if len(cells) else (0, s.cells)
        packets = np.nansum([s.total("rx_packets")[end] for end in ends])
        ratio = f", one in {packets / count:,.0f}" if packets > 0 else ""
        dark = [case.name(x) for x in ends if s.ports[x].device in s.silent]
        found.append(Cause(
            "lossy_link", "link", ends, first, last, sure=0.99 if count > 4 else 0.93,
            why=((f"{count} frames with a bad FCS on {' – '.join(map(case.name, ends))}{ratio}; "
                 "a link within specification shows none"),),
            against=(("congestion_drop", "a full buffer drops whole frames and spoils none"),),
            missing=tuple(f"error counts of {name}" for name in dark),
            lost_ns=float(count),
        ))  # fmt: skip
    return found


def _degraded(case: Case, knobs: Knobs) -> list[Cause]:
    s, e = case.signals, case.evidence
    told = s.get("link_bps")
    found = []
    for x in np.flatnonzero(~s.host):
        with np.errstate(invalid="ignore"):
            below = told[x] < 0.98 * s.speed_bps[x]
            asked = np.nan_to_num(e.pfc[x]) > 0
            # A queue longer than all that was sent around it cannot have left and come again.
            left = knobs.longer * _around(e.sent[x]) * s.step_ns
            waits = (e.drain_ns[x] > np.maximum(STANDING_NS, left)) & (e.sent[x] < knobs.slow)
            waits &= ~e.is_held[x] & ~asked
        if below.any():
            first, last = max(runs(below, 2), key=lambda run: run[1] - run[0])
            share = float(np.nanmin(told[x]) / s.speed_bps[x])
            found.append(
                _slow(case, int(x), first, last, share, "reported by the device itself", 0.98)
            )
            continue
        with np.errstate(invalid="ignore"):
            crowd = (
                e.standing[x] & e.sees_queue[x] & ~e.is_held[x] & ~asked & (e.sent[x] < knobs.slow)
            )
        for first, last, even in (
            *((a, b, knobs.even) for a, b in runs(waits)),
            *((a, b, knobs.steady) for a, b in runs(crowd)),
        ):
            if last - first < knobs.slow_cells:
                continue
            # The first sample holds the fall to the lower rate, the last the rise.
            rate = e.sent[x, first + 1 : last - 1] if last - first > 6 else e.sent[x, first:last]
            mean = float(np.nanmean(rate))
            if float(np.nanstd(rate)) <= even * max(mean, 0.02):
                text = f"an even {percent(mean)} of line rate from a standing queue, not held"
                begin = _since(e.sent[x], crowd, first, mean)
                found.append(_slow(case, int(x), begin, last, mean, text, 0.9))
        found += _capped(case, int(x), crowd, knobs)
        found += _dark(case, int(x), knobs)
    return _merged(found)


def _capped(case: Case, x: int, crowd: Flags, knobs: Knobs) -> list[Cause]:
    """Whenever the queue stood the port sent the same share, never more: a ceiling.

    Three samples in a row at it, and at least one more apart from them.
    """
    sent = np.nan_to_num(case.evidence.sent[x])
    deep = np.flatnonzero(crowd & (np.nan_to_num(case.evidence.drain_ns[x]) > STANDING_NS))
    rate = sent[deep]
    for i in range(len(deep) - 2):
        level = rate[i : i + 3].mean()
        if deep[i + 2] - deep[i] > 2 or np.ptp(rate[i : i + 3]) > knobs.steady * level:
            continue
        below = rate <= (1 + knobs.steady) * level
        first = i - int(np.argmin(np.append(below[:i][::-1], False)))
        last = i + int(np.argmin(np.append(below[i:], False)))
        at = np.abs(rate[first:last] - level) <= knobs.steady * level
        if level < knobs.slow and int(at.sum()) > 3 and at.mean() >= 0.5:
            text = (
                f"an even {percent(float(level))} of line rate whenever its queue stood, not held"
            )
            begin, end = int(deep[first]), int(deep[last - 1]) + 1
            return [_slow(case, x, begin, end, float(level), text, 0.55)]
    return []


def _since(sent: Array, crowd: Flags, first: int, rate: float) -> int:
    """When the lower rate was first seen with a standing queue."""
    same = crowd & (np.abs(np.nan_to_num(sent) - rate) < 0.1 * rate)
    before = np.flatnonzero(same[:first])
    return int(before[0]) if len(before) else first


def _dark(case: Case, x: int, knobs: Knobs) -> list[Cause]:
    """A link that swallows frames: both ends send, neither receives."""
    s, e = case.signals, case.evidence
    y = int(s.peer[x])
    if y < x or {s.ports[x].device, s.ports[y].device} & s.silent:
        return []
    sent = np.nan_to_num(e.sent)
    nothing = (s.get("rx_bytes")[x] == 0) & (s.get("rx_bytes")[y] == 0)
    lost = nothing & (sent[x] + sent[y] > knobs.over) & (sent[x] > 0) & (sent[y] > 0)
    stretches = [run for run in runs(lost, 3) if int(lost[run[0] : run[1]].sum()) >= 2]
    if not stretches:
        return []
    first, last = max(stretches, key=lambda run: run[1] - run[0])
    return [_slow(case, x, first, last, 0.0, "what either end sent the other never received", 0.9)]


def _around(sent: Array) -> Array:
    """The most that was sent in a cell or its neighbours."""
    known = np.nan_to_num(sent)
    return np.asarray(
        np.maximum(known, np.maximum(np.append(known[1:], 0.0), np.append(0.0, known[:-1])))
    )


def _slow(case: Case, x: int, first: int, last: int, share: float, text: str, sure: float) -> Cause:
    s = case.signals
    return Cause(
        "degraded_link", "link", _ends(case, x), first, last,
        sure=min(sure, 0.7 + 0.03 * (last - first)),
        why=((f"{case.name(x)} runs at {percent(share)} of {s.speed_bps[x] / 1e9:.4g} Gb/s for "
             f"{case.span(first, last)}: {text}"),),
        against=(
            ("slow_receiver", "its peer did not hold it"),
            ("incast", "a merely crowded port sends at line rate"),
        ),
        missing=() if s.has("link_bps") else ("the speed the port reports",),
        lost_ns=float((1 - share) * (last - first) * s.step_ns),
    )  # fmt: skip


def _merged(causes: list[Cause]) -> list[Cause]:
    """One cause per link: stretches joined."""
    by_link: dict[frozenset[int], list[Cause]] = {}
    for cause in causes:
        by_link.setdefault(frozenset(cause.roots), []).append(cause)
    joined = []
    for some in by_link.values():
        best = max(some, key=lambda cause: (cause.sure, cause.last - cause.first))
        first, last = min(c.first for c in some), max(c.last for c in some)
        joined.append(
            Cause(**{**best.__dict__, "first": first, "last": last,
                     "lost_ns": sum(c.lost_ns for c in some)})
        )  # fmt: skip
    return joined


def _drops(case: Case, knobs: Knobs) -> list[Cause]:
    s = case.signals
    found = []
    ingress = np.nan_to_num(s.get("ingress_drops"))
    egress = np.nan_to_num(s.get("egress_drops"))
    watchdog = np.nan_to_num(s.get("watchdog_drops"))
    for x in np.flatnonzero(watchdog.any(axis=1)):
        cells = np.flatnonzero(watchdog[x])
        found.append(Cause(
            "watchdog_drop", "port", (int(x),), int(cells[0]), int(cells[-1]) + 1, sure=0.95,
            why=(f"the PFC watchdog of {case.name(int(x))} dropped {int(watchdog[x].sum())} packets",),
            against=(("lossy_link", "no bad FCS; the watchdog says so itself"),),
            lost_ns=float(watchdog[x].sum()),
        ))  # fmt: skip
    found += [
        _overflow(case, int(p), ingress[p], knobs)
        for p in np.flatnonzero(ingress.any(axis=1) & ~s.host)
    ]
    for y in np.flatnonzero(egress.any(axis=1) & ~s.host):
        cells = np.flatnonzero(egress[y])
        if watchdog[y].any():
            continue
        found.append(Cause(
            "congestion_drop", "port", (int(y),), int(cells[0]), int(cells[-1]) + 1, sure=0.85,
            why=(f"{case.name(int(y))} dropped {int(egress[y].sum())} packets at its egress queue",),
            against=(("lossy_link", "dropped whole, with a full queue"),),
            lost_ns=float(egress[y].sum()),
        ))  # fmt: skip
    return found


def _overflow(case: Case, p: int, drops: np.ndarray, knobs: Knobs) -> Cause:
    """Judge ingress drops at p: was its peer asked to stop, and did it."""
    s, e = case.signals, case.evidence
    x = int(s.peer[p])
    cells = np.flatnonzero(drops)
    first, last = int(cells[0]), int(cells[-1]) + 1
    near = sorted({c for cell in cells for c in (cell - 1, cell) if c >= 0})
    asked = float(np.nan_to_num(e.pfc[x, near]).sum())
    held = np.nan_to_num(e.held[x, near]) if e.counted else np.zeros(len(near))
    # Sent and held are told by one device, so that their samples cover the same moments.
    came = np.nan_to_num(e.sent[x, near])
    # What arrived although the peer was asked to stop: more than the time it was free allows.
    over = float(np.max(came + held)) - 1.0
    lost = int(drops.sum())
    tail = (f"{case.name(p)} dropped {lost} packets for want of headroom",)
    if asked == 0 and not held.any():
        return Cause(
            "congestion_drop", "link", (p, x), first, last, sure=0.85,
            why=(*tail, f"{case.name(x)} was never asked to stop: PFC does not act on this link"),
            against=(("headroom_misconfig", "no pause was sent at all"),), lost_ns=float(lost),
        )  # fmt: skip
    went_on = over > knobs.over if e.counted else float(came.mean()) >= knobs.going_on
    if went_on:
        return Cause(
            "pfc_ignored", "port", (x,), first, last, sure=0.95 if e.counted else 0.85,
            why=(*tail, f"{case.name(x)} was asked to stop and went on at "
                 f"{percent(float(came.mean()))} of line rate"
                 + (f" while held {percent(float(held.mean()))} of the time" if e.counted else "")),
            against=(
                ("headroom_misconfig", "headroom covers the cable, not a peer that goes on"),
                ("congestion_drop", "pauses were sent"),
            ),
            lost_ns=float(lost),
        )  # fmt: skip
    # That it stopped is seen where sent and held fill the intervals without overlap.
    filled = (came + held >= knobs.filled) & (held > knobs.over)
    stopped = e.counted and int(filled.sum()) > 1
    return Cause(
        "headroom_misconfig", "link", (p, x), first, last, sure=0.85 if stopped else 0.5,
        why=(*tail, f"{case.name(x)} stopped when asked; what was on the way did not fit"),
        against=(("pfc_ignored", f"{case.name(x)} was not seen to send while it was held"),),
        missing=() if stopped else ("shorter samples of received pause time: whether the peer stopped",),
        lost_ns=float(lost),
    )  # fmt: skip
