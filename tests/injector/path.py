"""The way between the two ends of a queue pair, with the tap in the middle, and the clock.

Each direction has two legs: sender to tap, tap to receiver. A leg keeps the order; only a packet
whose fate is LATE is overtaken, on the first leg. The second leg takes a constant time, so packets
reach the receiver in the order in which they pass the tap.
"""

import heapq
from collections.abc import Callable
from enum import IntEnum
from random import Random
from typing import Any, NamedTuple

from fabric.codes import PSN_MASK
from tests.injector.packets import Flow, Packet


class What(IntEnum):
    """What is done to a packet on its way."""

    NOTHING = 0
    LOSE_UP = 1  # lost before the tap
    LOSE_DOWN = 2  # lost behind the tap
    MISS = 3  # passes the tap, which does not record it
    LATE = 4  # overtaken before the tap


class Fate(NamedTuple):
    """What is done to one packet; ``late_ns`` is how long a LATE one is held back."""

    what: What
    late_ns: int = 0


UNHARMED = Fate(What.NOTHING)


class Mode(NamedTuple):
    """How the two ends of a queue pair and the way between them behave; times in ns."""

    legs_ns: tuple[int, int]  # end A to tap, tap to end B; the same in both directions
    jitter_ns: int
    turn_ns: int  # from a request's arrival to its answer
    gap_ns: int  # between two packets of a sender
    pmtu: int
    window: int  # PSNs in flight at most
    selective: bool  # selective repeat instead of go-back-N
    patience_ns: int  # how long a selective receiver waits for a late packet before it NAKs
    coalesce_ns: int  # how long an ACK waits for company; 0: one ACK for each packet that asks
    ask_every: int  # every so many packets of a message ask for an ACK
    identifications: bool  # every packet has its own IP identification
    mirror: int  # 0 none, 1 every packet recorded twice, 2 the second time one hop further
    sports: tuple[int, int]
    timer_ns: int  # ACK timeout
    silence_ns: int  # a capture shows a timeout where a flow was silent for this long
    exotic: float  # share of READs and atomics among the messages


class Line:
    """The two directions of one queue pair, and the events to come.

    Direction 0 leads from end A to end B. ``rows`` is what the tap has recorded, unordered.
    """

    def __init__(self, rng: Random, mode: Mode, flows: tuple[Flow, Flow]) -> None:
        self.rng, self.mode, self.flows = rng, mode, flows
        near, far = mode.legs_ns
        self.legs = ((near, far), (far, near))
        self.last = [0, 0]
        self.identification = [rng.randrange(65536), rng.randrange(65536)]
        self.rows: list[Packet] = []
        self.heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self.count = 0

    def at(self, ts: int, what: Callable[..., None], *arguments: Any) -> None:
        """Call ``what(ts, *arguments)`` when the time has come."""
        self.count += 1
        heapq.heappush(self.heap, (ts, self.count, what, arguments))

    def run(self) -> None:
        """Until nothing is left to happen."""
        heap, pop = self.heap, heapq.heappop
        while heap:
            ts, _, what, arguments = pop(heap)
            what(ts, *arguments)

    def carry(
        self, direction: int, ts: int, fields: tuple[int, int, int, int, int, int, int], fate: Fate
    ) -> tuple[int, bool, int]:
        """Send a packet: (time at the tap or -1, recorded, arrival or -1).

        ``fields``: opcode, PSN (of any width), AckReq, syndrome, MSN, DMA length, payload.
        """
        first, second = self.legs[direction]
        tap = ts + first + int(self.rng.random() * self.mode.jitter_ns)
        self.identification[direction] = (self.identification[direction] + 1) & 0xFFFF
        if fate.what == What.LATE:
            tap = max(tap, self.last[direction] + 1) + fate.late_ns
        else:
            tap = self.last[direction] = max(tap, self.last[direction] + 1)
        if fate.what == What.LOSE_UP:
            return -1, False, -1
        recorded = fate.what != What.MISS
        if recorded:
            self._record(direction, tap, fields)
        return tap, recorded, -1 if fate.what == What.LOSE_DOWN else tap + second

    def _record(self, direction: int, tap: int, fields: tuple[int, ...]) -> None:
        opcode, psn, ask, syndrome, msn, dma, payload = fields
        mode = self.mode
        identification = self.identification[direction] if mode.identifications else 0
        packet = Packet(
            tap, *self.flows[direction], int(opcode), psn & PSN_MASK, ask, syndrome, msn, dma, payload,
            identification, 64, mode.sports[direction],
        )  # fmt: skip
        self.rows.append(packet)
        if mode.mirror:
            # A second mirror session: sooner than any answer to the packet can be back here.
            soon = min(900, 2 * min(self.legs[0]) // 3) + 20
            copy = packet._replace(ts=tap + 10 + int(self.rng.random() * soon))
            self.rows.append(copy if mode.mirror == 1 else copy._replace(ttl=63))
