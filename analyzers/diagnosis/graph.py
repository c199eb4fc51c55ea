"""The pause graph: which egress port is held because of which other, from per-port counters alone.

A node is an egress port. X waits for Y where the device behind X's cable holds X, Y is one of its
egress ports, packets that leave by X may go on by Y, and bytes stand in Y's queue in the same interval.
The exact answer (whose bytes fill the ingress buffer) is known inside a switch only; what an operator
can read is the queue, so X's hold is shared among the Y in proportion to how long their queues stood
and how far they were stopped or full. A host that holds its switch has no egress behind it: the edge
ends at the host's own port. Where the device reports no queues, the Y that its own peers hold stand
in, and then those that send at line rate.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from analyzers.diagnosis.evidence import FULL, STANDING_NS, Evidence
from analyzers.diagnosis.signals import Array, Signals

# An egress with less than this share of the blame for a hold is not an edge: the buffer behind an
# ingress port always holds a little of everything.
SHARE: Final = 0.15


@dataclass(frozen=True)
class Edge:
    """``held`` waited for ``cause``: so many ns, between these cells, sure to this share."""

    held: int
    cause: int
    held_ns: float
    first: int
    last: int


@dataclass(frozen=True)
class PauseGraph:
    """Edges by cell and summed up; numbers are those of ``signals.ports``."""

    evidence: Evidence

    @property
    def signals(self) -> Signals:
        """The readings below."""
        return self.evidence.signals

    @cached_property
    def behind(self) -> dict[int, list[int]]:
        """Of every egress port, the egress ports of the next device that its packets may take.

        At a host there is one: the far end of the cable, for what the host itself does.
        """
        s = self.signals
        found: dict[int, list[int]] = {}
        for x, port in enumerate(s.ports):
            peer = int(s.peer[x])
            if peer < 0:
                continue
            if s.host[peer]:
                found[x] = [peer]
                continue
            onward = [s.number[p] for p in s.fabric.downstream_of(port) if p in s.number]
            if not onward:  # routes that are no shortest paths: any way out but back
                onward = [int(y) for y in s.on(int(s.device[peer])) if y != peer]
            found[x] = [y for y in onward if y != peer]
        return found

    @cached_property
    def shares(self) -> dict[tuple[int, int], Array]:
        """Held share of X by cell that Y explains: (X, Y) -> array of cells."""
        e, s = self.evidence, self.signals
        held = np.nan_to_num(e.held)
        found: dict[tuple[int, int], Array] = {}
        for x in np.flatnonzero((held > 0).any(axis=1)):
            behind = self.behind.get(int(x), [])
            if not behind:
                continue
            if s.host[behind[0]]:
                found[int(x), behind[0]] = held[x]
                continue
            weight = self._weights(np.asarray(behind), held[x] > 0)
            total = weight.sum(axis=0)
            with np.errstate(invalid="ignore", divide="ignore"):
                part = np.where(total > 0, weight / total, 0.0)
            for y, row in zip(behind, part, strict=True):
                if row.any():
                    found[int(x), y] = held[x] * row
        return found

    def _weights(self, ports: np.ndarray, cells: np.ndarray) -> Array:
        """How much each egress stands in the way, by cell: its queue; else its hold; else its load."""
        e = self.evidence
        queue = np.nan_to_num(e.drain_ns[ports])
        # A queue tells most; one that is gone in a moment fills no ingress buffer.
        weight = np.where(queue > STANDING_NS, queue, 0.1 * queue)
        stuck = np.fmax(np.nan_to_num(e.held[ports]), np.nan_to_num(e.sent[ports]) >= FULL)
        weight *= 0.3 + stuck
        blind = ~e.sees_queue[ports]
        if blind.any():
            fallback = np.nan_to_num(e.held[ports]) * 1e5
            full = (np.nan_to_num(e.sent[ports]) >= FULL) * 1e4
            weight[blind] = np.where(fallback[blind] > 0, fallback[blind], full[blind])
        # The queue that caused an XOFF may be read one interval earlier on a device of other phase.
        near = weight.copy()
        near[:, 1:] = np.maximum(near[:, 1:], 0.5 * weight[:, :-1])
        near[:, :-1] = np.maximum(near[:, :-1], 0.5 * weight[:, 1:])
        return np.asarray(np.where(cells, near, 0.0))

    @cached_property
    def edges(self) -> list[Edge]:
        """Edges that explain at least SHARE of their port's hold, the longest first."""
        s = self.signals
        total: dict[int, float] = {}
        for (x, _), row in self.shares.items():
            total[x] = total.get(x, 0.0) + float(row.sum())
        found = []
        for (x, y), row in self.shares.items():
            part = float(row.sum())
            if part > 0 and part >= SHARE * total[x]:
                cells = np.flatnonzero(row)
                found.append(Edge(x, y, part * s.step_ns, int(cells[0]), int(cells[-1]) + 1))
        return sorted(found, key=lambda edge: (-edge.held_ns, edge.held, edge.cause))

    def blame(self, first: int, last: int) -> Array:
        """Held time in ns that goes back to each port in the end, between two cells.

        Every hold is handed on along the edges until it reaches a port that is not held itself. What
        runs in a circle for ever is shared out where it is after as many steps as there are ports.
        """
        s = self.signals
        count = len(s.ports)
        hand = np.zeros((count, count))
        own = np.zeros(count)
        for (x, y), row in self.shares.items():
            hand[x, y] += float(row[first:last].sum())
        own = hand.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            step = np.where(own[:, None] > 0, hand / own[:, None], 0.0)
        # A port that is held only part of the time keeps the part of the blame it has earned by
        # being full while it was not.
        free = np.clip(1.0 - self._stopped(first, last), 0.0, 1.0)
        keep = np.where(own > 0, free * self._full(first, last), 1.0)
        arrived = np.zeros(count)
        moving = own.copy() * s.step_ns
        moving = step.T @ moving
        for _ in range(64):
            arrived += keep * moving
            moving = step.T @ ((1.0 - keep) * moving)
            if moving.sum() < 1.0:
                break
        return np.asarray(arrived + moving)

    def _stopped(self, first: int, last: int) -> Array:
        """How far a port was held while its queue stood."""
        e = self.evidence
        held = np.nan_to_num(e.held[:, first:last])
        stood = e.standing[:, first:last] | (held > 0.05)
        return np.where(stood.any(axis=1), (held * stood).sum(1) / np.maximum(stood.sum(1), 1), 0.0)

    def _full(self, first: int, last: int) -> Array:
        e = self.evidence
        return np.asarray(np.minimum(e.congested[:, first:last].sum(axis=1) / 3.0, 1.0))

    def tree(self, root: int, first: int, last: int) -> list[Edge]:
        """Edges through which holds between two cells go back to ``root``, nearest first."""
        feeding: dict[int, list[Edge]] = {}
        for edge in self.edges:
            if edge.first < last and edge.last > first:
                feeding.setdefault(edge.cause, []).append(edge)
        found, front, seen = [], [root], {root}
        while front:
            following = []
            for port in front:
                for edge in feeding.get(port, ()):
                    found.append(edge)
                    if edge.held not in seen:
                        seen.add(edge.held)
                        following.append(edge.held)
            front = following
        return found

    def name(self, number: int) -> str:
        """``device:port``."""
        return str(self.signals.ports[number])
