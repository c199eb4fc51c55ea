"""What the readings say about each port and cell: load, hold, backlog, congestion.

One law carries most of it: a port with a standing queue sends at line rate unless its peer holds it or
its link is slower than nominal. So of every backlogged interval, sent + held + missing = 1.

Where pause time is not counted, a hold is inferred from the same law: pause frames arrived within the
longest time one of them can hold (65,535 quanta of 512 bit times, IEEE 802.3 31B.2), the queue is not
empty, and the port sends less than it could. A hold inferred this way is never longer than the frames
allow while the port still sends; a port that sends nothing at all stays held until it sends again.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from analyzers.diagnosis.signals import FRAMING_BYTES, Array, Signals
from fabric.codes import MAX_QUANTA, QUANTUM_BITS

Flags = npt.NDArray[np.bool_]

FULL: Final = 0.9  # share of line rate from which a port counts as busy throughout the interval
SILENT: Final = 0.02  # share below which a port counts as silent: acknowledgements and keep-alives
# A queue that takes this long to drain at line rate is no longer the jitter of store and forward; it
# is also where marking commonly starts: 100 KB at 100 Gb/s (HPCC's Kmin, diagnosis.md section 2.3).
STANDING_NS: Final = 8_000


@dataclass(frozen=True)
class Evidence:
    """Shares of each interval per port; NaN where nothing can be said."""

    signals: Signals

    @cached_property
    def sent(self) -> Array:
        """Share of line rate sent, framing included; at most 1."""
        return self._load("tx")

    @cached_property
    def received(self) -> Array:
        """Share of line rate received."""
        return self._load("rx")

    def _load(self, way: str) -> Array:
        s = self.signals
        packets = np.nan_to_num(s.get(f"{way}_packets"))
        bits = 8e9 * (s.get(f"{way}_bytes") + FRAMING_BYTES * packets)
        return np.minimum(bits / s.step_ns / s.speed_bps[:, None], 1.0)

    @cached_property
    def pfc(self) -> Array:
        """Pause frames (or XOFFs, where only they are counted) received per interval."""
        s = self.signals
        frames, xoff = s.get("rx_pfc"), s.get("rx_xoff")
        return np.where(np.isnan(frames), xoff, np.fmax(frames, np.nan_to_num(xoff)))

    @cached_property
    def drain_ns(self) -> Array:
        """Time the greatest queue of the interval takes to drain at line rate."""
        s = self.signals
        longest = np.fmax(s.get("peak"), s.get("queue"))
        return longest * 8e9 / s.speed_bps[:, None]

    @cached_property
    def counted(self) -> bool:
        """Whether received pause time is counted by any device."""
        return self.signals.has("rx_pause") or self.signals.has("tx_pause")

    @cached_property
    def held(self) -> Array:
        """Share of the interval in which the peer held this port: counted, else inferred."""
        s = self.signals
        counted = np.clip(s.get("rx_pause") / s.step_ns, 0.0, 1.0)
        return np.where(np.isnan(counted), self._inferred, counted)

    @cached_property
    def _inferred(self) -> Array:
        s = self.signals
        reach = np.nan_to_num(MAX_QUANTA * QUANTUM_BITS * 1e9 / s.speed_bps / s.step_ns)
        frames = np.nan_to_num(self.pfc) > 0
        within = np.zeros_like(frames)
        last = np.full(len(s.ports), -np.inf)
        silent = np.nan_to_num(self.sent, nan=1.0) < SILENT
        drain = np.nan_to_num(self.drain_ns)
        # An idle share is a hold only while something waits: a queue that stands, or one that nothing
        # leaves. Where no queue is reported the frames have to do.
        waiting = (drain > STANDING_NS) | (silent & (drain > 0)) | ~self.sees_queue[:, None]
        before = np.zeros(len(s.ports), np.bool_)
        for cell in range(s.cells):
            last = np.where(frames[:, cell], cell, last)
            alive = cell - last <= np.ceil(reach)
            before = (alive | (before & silent[:, cell])) & waiting[:, cell]
            within[:, cell] = before
        idle = 1.0 - np.nan_to_num(self.sent, nan=1.0)
        nothing = np.isnan(self.pfc) & np.isnan(self.sent)
        return np.where(nothing, np.nan, np.where(within, idle, 0.0))

    @cached_property
    def marked(self) -> Array:
        """Packets marked per interval; NaN where not counted."""
        return self.signals.get("marked")

    @cached_property
    def standing(self) -> Flags:
        """A queue stood: longer than STANDING_NS of line rate, or long enough to be marked.

        Where a device reports no queues, its asking peers to stop stands in for them.
        """
        with np.errstate(invalid="ignore"):
            seen = (self.drain_ns > STANDING_NS) | (self.marked > 0)
        return np.asarray(seen | (self._asks & ~self.sees_queue[:, None]))

    @cached_property
    def _asks(self) -> Flags:
        """The port's device asks some peer to stop: bytes stand in it, wherever."""
        s = self.signals
        asking = np.nan_to_num(s.get("tx_pfc")) + np.nan_to_num(s.get("tx_xoff")) > 0
        out = np.zeros_like(asking)
        for device in np.unique(s.device[~s.host]):
            ports = s.on(int(device))
            out[ports] = asking[ports].any(axis=0)
        return out

    @cached_property
    def is_held(self) -> Flags:
        """The peer held this port for a part of the interval that matters."""
        with np.errstate(invalid="ignore"):
            return self.held > 0.05

    @cached_property
    def congested(self) -> Flags:
        """More arrived than the port can carry: a standing queue, and it sent whenever it could.

        A port that is held now and then is congested still if it is full in the rest of the interval.
        """
        with np.errstate(invalid="ignore"):
            some = np.nan_to_num(self.held) < 0.3
            return self.standing & some & (self.sent + np.nan_to_num(self.held) >= FULL)

    @cached_property
    def sees_queue(self) -> Flags:
        """Ports whose queue is reported: peaks, lengths or marks."""
        s = self.signals
        seen = np.isfinite(self.drain_ns) | np.isfinite(self.marked)
        return np.asarray(seen.any(axis=1) & ~s.host)


def runs(flags: Flags, gap: int = 0) -> list[tuple[int, int]]:
    """Runs of true cells as (first, one past the last); holes of up to ``gap`` cells are bridged."""
    where = np.flatnonzero(flags)
    if not len(where):
        return []
    cuts = np.flatnonzero(np.diff(where) > gap + 1)
    first = where[np.append(0, cuts + 1)]
    last = where[np.append(cuts, len(where) - 1)]
    return [(int(a), int(b) + 1) for a, b in zip(first, last, strict=True)]


def held_before(evidence: Evidence, port: int, first: int) -> bool:
    """Whether a stretch begins where a hold of the port ends: it drains what the hold left behind."""
    held = np.nan_to_num(evidence.held[port, max(first - 2, 0) : first + 1])
    return bool((held > 0.3).any())


def longest(flags: Flags, gap: int = 0) -> int:
    """Length of the longest run."""
    return max((b - a for a, b in runs(flags, gap)), default=0)
