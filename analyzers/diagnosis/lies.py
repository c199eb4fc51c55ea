"""counter_fault (A28): the two ends of a cable tell different stories.

What one end sends the other receives, but for frames lost on the wire. A port whose counters stand
still while its peer's run on, or whose sum differs by more than phases and losses explain, lies.
Confounder: two devices that are read at different moments; their sums may differ by what line rate
carries in two intervals.
"""

from dataclasses import dataclass, field

import numpy as np

from analyzers.detectors.common import because
from analyzers.diagnosis.causes import Case, Cause
from analyzers.diagnosis.evidence import runs


@dataclass(frozen=True)
class Knobs:
    """When two ends contradict each other."""

    cells: int = field(
        default=5, metadata=because("samples", "So long no phase keeps one end behind.")
    )
    moving: float = field(
        default=0.05, metadata=because("share", "The other end carries traffic worth the name.")
    )


def find(case: Case, knobs: Knobs = Knobs()) -> list[Cause]:
    """Ports whose counters stood still."""
    s, e = case.signals, case.evidence
    found = []
    sent, received = np.nan_to_num(e.sent), np.nan_to_num(e.received)
    for x in np.flatnonzero(s.peer >= 0):
        y = int(s.peer[x])
        if s.ports[x].device in s.silent or s.ports[y].device in s.silent:
            continue
        still = (s.get("tx_bytes")[x] == 0) & (s.get("rx_bytes")[x] == 0)
        other = np.maximum(sent[y], received[y]) > knobs.moving
        stuck = [r for r in runs(still & other) if r[1] - r[0] >= knobs.cells]
        if stuck:
            first, last = max(stuck, key=lambda run: run[1] - run[0])
            found.append(Cause(
                "counter_fault", "port", (int(x),), first, last, sure=0.9,
                why=((f"counters of {case.name(int(x))} stood still for {case.span(first, last)} while "
                     f"{case.name(y)} at the other end carried traffic"),),
                against=(("degraded_link", "the other end proves that the link carried traffic"),),
            ))  # fmt: skip
    return found
