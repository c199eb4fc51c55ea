"""polarization (A12): a tier's hash repeats the choice of the tier before, and its ports go unused.

Every switch above the first tier puts nearly all it carries upward on one of its ports although several
ingress ports feed it. Confounder: few flows. n flows fall on one of m ports by chance with probability
m^(1-n). Every host that sends has at least one flow, so that h hosts behind s such switches show this
picture by chance with probability m^(s-h) at most. Only beyond chance is it named, and not where one
switch that is fed as well spreads its load.
"""

from dataclasses import dataclass, field

import numpy as np

from analyzers.detectors.common import because
from analyzers.diagnosis.causes import Case, Cause, percent


@dataclass(frozen=True)
class Knobs:
    """When a tier is polarised."""

    load: float = field(
        default=0.02, metadata=because("share", "Mean load of an ingress that counts as feeding.")
    )
    busy: float = field(
        default=0.3,
        metadata=because("share", "Mean load upward, in links: less may be a flow or two."),
    )
    switches: int = field(
        default=3, metadata=because("switches", "One or two that do it may be chance.")
    )
    share: float = field(
        default=0.9, metadata=because("share", "Of what goes upward, on one port of several.")
    )
    chance: float = field(
        default=0.01, metadata=because("share", "Probability of the whole picture by chance.")
    )


def find(case: Case, knobs: Knobs = Knobs()) -> list[Cause]:
    """One cause for the tier between spines and cores."""
    s, e = case.signals, case.evidence
    sent = np.nan_to_num(e.sent).mean(axis=1)
    received = np.nan_to_num(e.received).mean(axis=1)
    roles = np.array([s.fabric.role(port.device) for port in s.ports])
    hot, spread, ways = [], 0, 2
    for device in {int(s.device[x]) for x in np.flatnonzero(roles == "spine")}:
        ports = s.on(device)
        linked = ports[s.peer[ports] >= 0]
        up = linked[roles[s.peer[linked]] == "core"]
        down = np.setdiff1d(linked, up)
        feeding = int((received[down] > knobs.load).sum())
        if len(up) < 2 or feeding < 2 or sent[up].sum() < knobs.busy:
            continue
        if sent[up].max() >= knobs.share * sent[up].sum():
            hot.append(int(up[sent[up].argmax()]))
            ways = max(ways, len(up))
        else:
            spread += 1
    senders = int((sent[s.host] > knobs.load).sum())
    chance = float(ways) ** (len(hot) - senders)
    if len(hot) < knobs.switches or spread or chance > knobs.chance:
        return []
    return [Cause(
        "polarization", "fabric", tuple(hot), 0, s.cells, sure=0.8,
        why=((f"{len(hot)} switches of the second tier each sent at least {percent(knobs.share)} of what "
             f"goes to the cores by one port; by chance once in {1 / chance:,.0f}"),),
        against=(("ecmp_collision", "every switch of the tier does it, not one"),),
        missing=("the hash settings of both tiers",), lost_ns=float(s.cells * s.step_ns) / 2,
    )]  # fmt: skip
