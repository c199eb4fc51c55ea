"""PAUSE_BREACHES: frames of a held priority that went on after their sender had to stop.

An XOFF that passes the tap reaches the other end of the link after at most the cable's propagation, which
then has the response time of IEEE 802.3 31B.3.7 and may finish the frame it has begun; what it sent until
then passes the tap after the way back. A frame of the held priority that comes later breaks the hold:

    allowed = 2 * cable / (2/3 c) + response quanta * 512 bits + largest frame + clock error

Which way a frame goes is told by its Ethernet destination: the held end of a routed link, or of a link to
a host, sends to the address from which the pauses come. Frames inside a mirror's wrapping are not looked
at: where they were mirrored the pause frame may have been elsewhere. The priority of a frame is that of its
tag, or of its DSCP by ``priorities``.

The speed must be known while packets pass. Where it is not, a hold counts as if the link were the fastest
there is, and the allowance as if it were the slowest: less is found, nothing is made up.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analyzers.addresses import address, mac
from analyzers.capture.batch import (
    GLOBAL_PAUSE_VECTOR,
    NO_PRIORITY,
    PRIORITIES,
    Batch,
    Tally,
)
from analyzers.frames import schema
from analyzers.transport.account_state import Record, Records, i64
from analyzers.transport.rows import Points
from fabric.codes import MAX_QUANTA, QUANTUM_BITS, FrameKind, LinkType
from fabric.kernel import inline, lean
from fabric.schema import PAUSE_BREACHES
from fabric.units import (
    FCS_BYTES,
    FRAMING_BYTES,
    GBPS,
    LIGHT_M_PER_S,
    SECOND_NS,
    response_quanta,
    serialisation_ns,
)

CLASSES = PRIORITIES + 1  # the eight priorities, then the global pause
SLOWEST_BPS, FASTEST_BPS = 10 * GBPS, 800 * GBPS
CABLE_M = 300.0  # the longest that lossless ports are commonly given headroom for
JUMBO_BYTES = 9216
CLOCK_NS = 1_000  # the resolution of many captures
CLASS_SELECTOR = tuple(dscp >> 3 for dscp in range(64))  # RFC 2474 4.2.2.2; the default of NICs
SENDERS = 64  # of pauses at one tap; later ones are not watched
RING_ROWS = 1024
FRAMING = FCS_BYTES + FRAMING_BYTES
PFC, GLOBAL_PAUSE = int(FrameKind.PFC), int(FrameKind.GLOBAL_PAUSE)
ROCE = (int(FrameKind.ROCE_V1), int(FrameKind.ROCE_V2))
ETHERNET = int(LinkType.ETHERNET)
HEADER_BYTES = 14
PLAIN = ("priority", "start", "first", "last", "packets", "bytes", "first_frame", "last_frame")

BREACH = np.dtype(
    [
        ("iface", np.int64),
        ("sender", np.uint64),  # MAC address of the one who asked for the hold
        ("held", np.uint64),  # of the one who went on; 0 where it was several
        ("src_hi", np.uint64),
        ("src_lo", np.uint64),
        ("priority", np.int64),
        ("tagged", np.int64),  # 1: the frames bear the priority in a tag
        ("start", np.int64),
        ("first", np.int64),
        ("last", np.int64),
        ("packets", np.int64),
        ("bytes", np.int64),
        ("first_frame", np.int64),
        ("last_frame", np.int64),
        ("until", np.int64),  # the hold's end as far as it is known; 0 no hold
    ],
    align=True,
)
"""One hold and the frames that broke it; ``packets`` 0 where none did."""


class Watch(NamedTuple):
    """The kernel's memory."""

    macs: NDArray[np.uint64]  # of senders of pauses, shape (SENDERS,)
    ifaces: NDArray[np.int64]  # where each sends
    holds: Records  # BREACH, shape (SENDERS, CLASSES)
    links: NDArray[np.int64]  # per interface: ns of 2^16 quanta, ns allowed, link type
    priorities: NDArray[np.uint8]  # of each DSCP
    rows: Records  # BREACH, a ring
    counts: NDArray[np.int64]  # senders, rows in the ring, time up to which anything is held


def allowance_ns(speed_bps: int, cable_m: float = CABLE_M) -> int:
    """From an XOFF at the tap to the last frame of the held priority that may still pass it."""
    speed = speed_bps or SLOWEST_BPS
    response = response_quanta(speed) * QUANTUM_BITS * SECOND_NS / speed
    cable = 2 * cable_m / LIGHT_M_PER_S * SECOND_NS
    return round(cable + response + serialisation_ns(JUMBO_BYTES, speed)) + CLOCK_NS


@inline
def _mac(window: NDArray[np.uint8], at: int) -> int:
    """Six bytes as a number."""
    number = 0
    for n in range(6):
        number = number << 8 | i64(window[at + n])
    return number


@inline
def _find(state: Watch, address: int, iface: int) -> int:
    """Number of a sender of pauses, or the number of senders."""
    for n in range(state.counts[0]):
        if i64(state.macs[n]) == address and state.ifaces[n] == iface:
            return n
    return i64(state.counts[0])


@inline
def _settle(hold: Record, state: Watch) -> None:
    """The hold is over: write what broke it."""
    if hold.packets > 0:
        state.rows[state.counts[1]] = hold
        state.counts[1] += 1
        hold.packets = 0
        hold.bytes = 0
    hold.until = 0


@inline
def _pause(batch: Batch, i: int, state: Watch) -> None:
    """A pause frame begins holds, prolongs or ends them."""
    iface, sender, ts = i64(batch.iface[i]), i64(batch.src_lo[i]), batch.ts[i]
    n = _find(state, sender, iface)
    if n == SENDERS:
        return
    if n == state.counts[0]:
        state.counts[0] += 1
        state.macs[n] = sender
        state.ifaces[n] = iface
    vector = i64(batch.pause_vector[i])
    for c in range(CLASSES):
        if vector == GLOBAL_PAUSE_VECTOR:
            enabled, quanta = c == PRIORITIES, i64(batch.quanta[i, 0])
        else:
            enabled, quanta = c < PRIORITIES and vector >> c & 1 == 1, i64(batch.quanta[i, c & 7])
        if not enabled:
            continue
        hold = state.holds[n, c]
        if quanta == 0 or ts > hold.until:
            _settle(hold, state)
        if quanta == 0:
            continue
        if hold.until == 0:
            hold.iface = iface
            hold.sender = sender
            hold.priority = -1 if c == PRIORITIES else c
            hold.start = ts
        hold.until = ts + (quanta * state.links[iface, 0] >> 16)
        state.counts[2] = max(state.counts[2], hold.until)


@inline
def _count(b: Record, batch: Batch, i: int, held: int) -> None:
    """One more frame that breaks a hold."""
    if b.packets == 0:
        b.held = held
        b.src_hi = batch.src_hi[i]
        b.src_lo = batch.src_lo[i]
        b.tagged = batch.priority[i] != NO_PRIORITY
        b.first = batch.ts[i]
        b.first_frame = batch.frame[i]
    elif i64(b.held) != held:
        b.held = 0
    b.last = batch.ts[i]
    b.last_frame = batch.frame[i]
    b.packets += 1
    b.bytes += i64(batch.wire[i]) + FRAMING


@lean
def watch(window: NDArray[np.uint8], batch: Batch, lo: int, hi: int, state: Watch) -> int:
    """Look at rows ``lo`` to ``hi``; the next row: less than ``hi`` where the ring must be drained."""
    for i in range(lo, hi):
        if state.counts[1] > len(state.rows) - CLASSES:
            return i
        kind, iface = batch.kind[i], i64(batch.iface[i])
        if iface >= len(state.links) or state.links[iface, 2] != ETHERNET or batch.wrap[i] != 0:
            continue
        if kind in (PFC, GLOBAL_PAUSE):
            _pause(batch, i, state)
            continue
        ts = batch.ts[i]
        if ts > state.counts[2] or batch.captured[i] < HEADER_BYTES or kind not in ROCE:
            continue
        at = batch.offset[i]
        n = _find(state, _mac(window, at), iface)
        if n == state.counts[0]:
            continue
        own = i64(batch.priority[i])
        if own == NO_PRIORITY:
            own = i64(state.priorities[batch.tos[i] >> 2])
        for c in (own & 7, PRIORITIES):
            hold = state.holds[n, c]
            if hold.start + state.links[iface, 1] < ts <= hold.until:
                _count(hold, batch, i, _mac(window, at + 6))
    return hi


@lean
def settle(first: int, state: Watch) -> int:
    """End the holds from ``first`` on; the next one: less than all where the ring must be drained."""
    for step in range(first, SENDERS * CLASSES):
        if state.counts[1] == len(state.rows):
            return step
        _settle(state.holds[step // CLASSES, step % CLASSES], state)
    return SENDERS * CLASSES


class Breaches:
    """Watches one input; finished rows of PAUSE_BREACHES go to ``emit``.

    Parameters
    ----------
    points
        Names of the points; grows as interfaces are described.
    emit
        Takes a table's name in lower case and its next rows.
    priorities
        Of each DSCP, for frames without a tag.
    """

    def __init__(
        self,
        points: Points,
        emit: Callable[[str, pl.DataFrame], None],
        priorities: Sequence[int] = CLASS_SELECTOR,
    ) -> None:
        self._points = points
        self._emit = emit
        holds = np.zeros((SENDERS, CLASSES), BREACH)
        self._state = Watch(
            np.zeros(SENDERS, np.uint64),
            np.zeros(SENDERS, np.int64),
            holds,
            np.zeros((0, 3), np.int64),
            np.array(priorities, np.uint8),
            np.zeros(RING_ROWS, BREACH),
            np.zeros(3, np.int64),
        )

    def set_links(self, speeds_bps: Sequence[int], link_types: NDArray[np.int32]) -> None:
        """Speed (0 unknown) and link type of each interface described so far."""
        links = np.zeros((len(speeds_bps), 3), np.int64)
        for n, speed in enumerate(speeds_bps):
            quanta = (MAX_QUANTA + 1) * QUANTUM_BITS * SECOND_NS // (speed or FASTEST_BPS)
            links[n] = quanta, allowance_ns(speed), link_types[n]
        self._state = self._state._replace(links=links)

    def take(
        self, window: NDArray[np.uint8], batch: Batch, count: int, tally: NDArray[np.int64]
    ) -> None:
        """The first ``count`` rows of ``batch``, whose frames lie in ``window``.

        ``tally`` has counted them: where there never was a pause frame nothing is looked at.
        """
        if not tally[:, Tally.PFC : Tally.GLOBAL_PAUSE + 1].any():
            return
        row = 0
        while (row := watch(window, batch, row, count, self._state)) < count:
            self._drain()

    def finish(self) -> None:
        """Write what is left."""
        step = 0
        while (step := settle(step, self._state)) < SENDERS * CLASSES:
            self._drain()
        self._drain()

    def _drain(self) -> None:
        count = int(self._state.counts[1])
        self._state.counts[1] = 0
        if not count:
            return
        rows = self._state.rows[:count].copy()
        frame = pl.DataFrame(
            {
                **{name: rows[name] for name in PLAIN},
                "point": self._points.of(rows["iface"]),
                "sender": [mac(int(n)) for n in rows["sender"]],
                "held": [mac(int(n)) if n else "" for n in rows["held"]],
                "src": [address(*map(int, row)) for row in rows[["src_hi", "src_lo"]].tolist()],
                "allowed_ns": self._state.links[rows["iface"], 1],
                "tagged": rows["tagged"] > 0,
            }
        )
        self._emit(
            "pause_breaches",
            frame.select(pl.col(name).cast(kind) for name, kind in schema(PAUSE_BREACHES).items()),
        )
