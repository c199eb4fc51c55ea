"""Drives the sequence tracker with injected packets: no files, no flow table, only rows and slots."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.capture.batch import make_batch
from analyzers.transport.marks import Mark
from analyzers.transport.sequence_state import (
    IDENTITY,
    Control,
    Reason,
    clear_slot,
    make_sequences,
)
from analyzers.transport.track import close_slots, track
from analyzers.transport.verdicts import EventKind, Place, Verdict
from tests.injector.columns import columns
from tests.injector.packets import Packet
from tests.twin_state import Event

WINDOW = 8192
KINDS = {int(kind): kind.name.lower() for kind in EventKind}
VERDICTS = {int(verdict): verdict.name.lower() for verdict in Verdict}
PLACES = {int(place): "" if place == Place.NOWHERE else place.name.lower() for place in Place}
MARKS = {int(mark): mark.name.lower() for mark in Mark}
NUMBERS = ("psn", "psns", "ts", "end", "resent", "delay_ns", "limit_ns", "extent", "frame",
           "original_frame", "reply_frame", "resend_frame")  # fmt: skip


class Judged(NamedTuple):
    """What the tracker says: events, and per packet its mark and the round trip it completes."""

    events: list[Event]
    marks: list[str]
    rtts: list[int]


class Rig:
    """The tracker over one capture, ``window`` packets at a time."""

    def __init__(self, packets: Sequence[Packet], speed_bps: int) -> None:
        self.packets = packets
        keys = np.array([packet[1:4] for packet in packets], np.int64)
        _, firsts, slots = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(firsts))  # slots in the order of appearance
        self.slots: NDArray[np.int32] = order[slots.ravel()].astype(np.int32)
        self.keys = [tuple(row) for row in keys[np.sort(firsts)].tolist()]
        self.state = make_sequences(len(self.keys))
        self.state.control[Control.SPEED_BPS] = speed_bps
        self.identity = np.zeros(len(self.keys), IDENTITY)
        self.serials: list[int] = [-1]  # of a flow's life -> its slot
        self.rows: list[NDArray[np.void]] = []
        hosts = {
            host: n for n, host in enumerate(sorted({k for key in self.keys for k in key[:2]}))
        }
        for slot, (src, dst, qpn) in enumerate(self.keys):
            who = self.identity[slot]
            who["src_id"], who["dst_id"], who["qpn"] = hosts[src], hosts[dst], qpn
            who["sport"] = packets[int(np.sort(firsts)[slot])].sport
            self._name(slot)

    def _name(self, slot: int) -> None:
        self.identity[slot]["serial"] = len(self.serials)
        self.serials.append(slot)

    def run(self, window: int = WINDOW) -> Judged:
        """Judge everything; what ``window`` is must not matter."""
        marks: list[int] = []
        rtts: list[int] = []
        batch = make_batch(window)
        for at in range(0, len(self.packets), window):
            some = self.packets[at : at + window]
            for name, values in columns(some, at + 1).items():
                getattr(batch, name)[: len(some)] = values
            batch.slot[: len(some)] = self.slots[at : at + len(some)]
            row, reason = 0, Reason.RING_FULL
            while reason != Reason.DONE:
                row, reason = track(batch, row, len(some), self.identity, self.state)
                if reason == Reason.REUSE:
                    self._renew(int(batch.slot[row]), int(batch.sport[row]))
                self._drain()
            marks += batch.mark[: len(some)].tolist()
            rtts += batch.rtt_ns[: len(some)].tolist()
        self._close()
        return Judged(self._events(), [MARKS[mark] for mark in marks], rtts)

    def _renew(self, slot: int, sport: int) -> None:
        clear_slot(self.state, slot)
        self._name(slot)
        self.identity[slot]["epoch"] += 1
        self.identity[slot]["sport"] = sport

    def _drain(self) -> None:
        count = int(self.state.control[Control.EVENTS])
        self.rows.append(self.state.events[:count].copy())
        self.state.control[Control.EVENTS] = 0

    def _close(self) -> None:
        slots = np.arange(len(self.keys), dtype=np.int32)
        while len(slots):
            slots = slots[close_slots(slots, self.identity, self.state) :]
            self._drain()

    def _events(self) -> list[Event]:
        rows = np.concatenate(self.rows)
        flows = [self.keys[self.serials[serial]] for serial in rows["serial"].tolist()]
        names = (
            [KINDS[n] for n in rows["kind"].tolist()],
            [VERDICTS[n] for n in rows["verdict"].tolist()],
            [PLACES[n] for n in rows["place"].tolist()],
        )
        numbers = [rows[name].tolist() for name in NUMBERS]
        return [Event(*row) for row in zip(flows, *names, *numbers, strict=True)]
