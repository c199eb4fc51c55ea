"""Congestion control that does not act: ecn_misconfig (A18), cnp_starvation (A19).

A queue that stands deep without one mark is not marked at all; a port that marks although nothing waits
marks always. Confounder of the first: marks are not counted there; then nothing is said. A receiver
that takes in marked packets and sends no CNP leaves its senders at full rate. Confounder: too few marked
packets to expect one (receivers send one CNP for many marks, diagnosis.md 2.3).
"""

from dataclasses import dataclass, field

import numpy as np

from analyzers.detectors.common import because
from analyzers.diagnosis.causes import Case, Cause
from analyzers.diagnosis.evidence import longest, runs


@dataclass(frozen=True)
class Knobs:
    """When marking or its echo is wrong."""

    deep_ns: int = field(
        default=30_000,
        metadata=because("ns", "Four times where marking commonly starts; every packet by then."),
    )
    cells: int = field(default=5, metadata=because("samples", "A state, not a moment."))
    empty_ns: int = field(
        default=500, metadata=because("ns", "A packet or two: below any marking threshold in use.")
    )
    early: int = field(
        default=20, metadata=because("packets", "Marked from a queue that never grew.")
    )
    marks: int = field(
        default=100, metadata=because("packets", "Receivers answer tens of marks with one CNP.")
    )


def find(case: Case, knobs: Knobs = Knobs()) -> list[Cause]:
    """Ports that mark never or always, hosts that do not answer marks."""
    return [*_ports(case, knobs), *_hosts(case, knobs)]


def _ports(case: Case, knobs: Knobs) -> list[Cause]:
    s, e = case.signals, case.evidence
    if not s.has("marked"):
        return []
    elsewhere = float(np.nansum(e.marked))
    found = []
    for y in np.flatnonzero(~s.host & np.isfinite(e.marked).any(axis=1)):
        with np.errstate(invalid="ignore"):
            deep = (e.drain_ns[y] > knobs.deep_ns) & ~e.is_held[y]
            early = (e.drain_ns[y] < knobs.empty_ns) & (e.marked[y] >= 1)
        if longest(deep, 1) >= knobs.cells and np.nansum(e.marked[y]) == 0 and elsewhere > 0:
            first, last = max(runs(deep, 1), key=lambda run: run[1] - run[0])
            worst = float(np.nanmax(e.drain_ns[y, first:last]))
            found.append(_port(case, int(y), first, last,
                               f"stood {worst / 1e3:.3g} us deep for {case.span(first, last)} "
                               "and marked not one packet"))  # fmt: skip
        elif early.sum() >= knobs.cells and e.marked[y, early].sum() >= knobs.early:
            cells = np.flatnonzero(early)
            found.append(_port(case, int(y), int(cells[0]), int(cells[-1]) + 1,
                               f"marked {e.marked[y, early].sum():.0f} packets from an empty queue"))  # fmt: skip
    return found


def _port(case: Case, y: int, first: int, last: int, text: str) -> Cause:
    return Cause(
        "ecn_misconfig", "port", (y,), first, last, sure=0.9,
        why=(f"{case.name(y)} {text}",),
        against=(("incast", "congestion is where it shows, not why nobody slows down"),),
        missing=("the configured ECN curve",),
        lost_ns=float((last - first) * case.signals.step_ns),
    )  # fmt: skip


def _hosts(case: Case, knobs: Knobs) -> list[Cause]:
    s = case.signals
    if not s.has("tx_cnp") or not s.has("rx_ce"):
        return []
    found = []
    answering = np.nansum(s.total("tx_cnp")[s.host])
    for h in np.flatnonzero(s.host):
        marked, answered = s.total("rx_ce")[h], s.total("tx_cnp")[h]
        if not marked >= knobs.marks or answered > marked / (10 * knobs.marks):
            continue
        cells = np.flatnonzero(np.nan_to_num(s.get("rx_ce")[h]) > 0)
        found.append(Cause(
            "cnp_starvation", "port", (int(h),), int(cells[0]), int(cells[-1]) + 1,
            sure=0.95 if answering > 0 else 0.7,
            why=((f"{case.name(int(h))} took in {int(marked)} marked packets and sent "
                 f"{int(answered)} CNPs"),),
            against=(("incast", "congestion lasts because the senders are not told"),),
            members=(int(s.peer[h]),),
            lost_ns=float(len(cells) * s.step_ns),
        ))  # fmt: skip
    return found
