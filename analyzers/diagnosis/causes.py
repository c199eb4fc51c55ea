"""What a rule hands over: one cause with its place, time and the argument for it."""

from dataclasses import dataclass, field
from typing import Final

from analyzers.diagnosis.evidence import Evidence
from analyzers.diagnosis.graph import PauseGraph
from analyzers.diagnosis.signals import Signals

# Gravest first: what stops traffic for good, what stops it, what loses it, what slows it.
RANK: Final = (
    "deadlock", "deadlock_fed", "pfc_storm", "watchdog_drop", "pfc_ignored", "headroom_misconfig",
    "congestion_drop", "lossy_link", "degraded_link", "pcie_bottleneck", "slow_receiver",
    "receiver_not_ready", "livelock", "tail_loss", "reordering",
    "ecn_misconfig", "cnp_starvation", "hostile_burst", "incast", "polarization", "collective_hotspot",
    "ecmp_collision", "contention", "pfc_backpressure", "counter_fault", "sender_late",
    "receiver_late", "victim",
    "undetermined",
)  # fmt: skip


@dataclass(frozen=True)
class Cause:
    """One cause. Ports are numbers of the signals; cells run from first to last, exclusive.

    ``why`` holds the readings that prove it with the limits they were held against, ``against`` the
    other classes and why not, ``missing`` what nobody measured and would have helped.
    """

    cls: str
    scope: str
    roots: tuple[int, ...]
    first: int
    last: int
    sure: float  # 0..1, before calibration
    why: tuple[str, ...] = ()
    against: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    lost_ns: float = 0.0
    members: tuple[int, ...] = field(default_factory=tuple)  # ports it explains beside its tree


@dataclass(frozen=True)
class Case:
    """What every rule reads."""

    signals: Signals
    evidence: Evidence
    graph: PauseGraph

    def name(self, port: int) -> str:
        """``device:port``."""
        return str(self.signals.ports[port])

    def span(self, first: int, last: int) -> str:
        """Length of a stretch of cells in words."""
        ns = (last - first) * self.signals.step_ns
        for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
            if ns >= size:
                return f"{ns / size:.3g} {unit}"
        return f"{ns} ns"


def percent(share: float) -> str:
    """A share in percent, two digits."""
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"
