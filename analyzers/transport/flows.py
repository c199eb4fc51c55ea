"""The flows of one input: numbered, tracked and accounted batch by batch, in bounded memory.

Arrays grow up to ``most_flows`` slots. From there on, when a flow begins and no slot is
free, flows that were idle for longer than ``idle_ns`` of capture time are ended and their slots used
again; where those are too few, the ones longest silent are ended too, so that at least a sixteenth
of the slots is free. ``evicted`` counts them: such a flow that speaks again is a new flow. Traffic
made to fill the table (random queue pair numbers) costs rows on the disk, but no more memory.

The order of everything follows the order of the packets alone: how they are cut into windows changes
no row.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analyzers.capture.batch import Batch
from analyzers.transport import rows
from analyzers.transport.account import account, close_accounts, close_endpoints
from analyzers.transport.account_state import (
    ACCOUNT,
    RING_ROWS,
    ROOM,
    TOTALS,
    TRAIN,
    TRAIN_BINS,
    Fill,
    Setting,
    make_ledger,
)
from analyzers.transport.events import events_frame
from analyzers.transport.number import (
    FLOW,
    Names,
    make_book,
    number,
    rebuild_flows,
    rebuild_names,
    wipe,
)
from analyzers.transport.sequence_state import (
    PER_SLOT,
    SEQ,
    Control,
    Reason,
    grow_sequences,
    make_sequences,
)
from analyzers.transport.track import close_slots, track

ENDED_ROWS = 1024
FULL = RING_ROWS - ROOM
FIRST_SLOTS = 8192  # untouched ones take no memory, and growing copies all that is there
GROWTH = 4
FREED_SHARE = 16  # of the slots, at least one in so many is freed by an eviction


class Emit(Protocol):
    """Takes a table's name in lower case and its next rows.

    Rows that are ``borrowed`` are overwritten after the call.
    """

    def __call__(self, name: str, frame: pl.DataFrame, /, *, borrowed: bool = ...) -> None: ...  # noqa: D102


Keep = Callable[[Batch, int, int, NDArray[np.int64]], None]


class Limits(NamedTuple):
    """How much is remembered, and how finely."""

    most_flows: int = 1 << 17  # slots; a power of two
    idle_ns: int = 60_000_000_000  # a queue pair silent for a minute may be forgotten
    flow_bin_ns: int = 1_000_000
    host_bin_ns: int = 10_000  # a round trip through a data centre under light load
    # Receivers pace CNPs by 50 us or so (DCQCN, SIGCOMM 2015): a mark older than two of these
    # intervals would have caused an earlier CNP.
    ecn_window_ns: int = 100_000
    nak_window_ns: int = 10_000  # a NIC that answers disorder with both sends them back to back
    first_slots: int = FIRST_SLOTS


class Flows:
    """Numbers, tracks and accounts for the packets of one input; finished rows go to ``emit``.

    Parameters
    ----------
    tap
        Number of the input: flows are numbered from 2^32 times it.
    points
        Names of the points; grows as interfaces are described.
    emit
        Takes finished rows.
    keep
        Takes each span of rows that is done, with the numbers of their flows (-1 none).
    """

    def __init__(
        self,
        tap: int,
        points: rows.Points,
        emit: Emit,
        limits: Limits = Limits(),  # noqa: B008 a tuple is never changed
        keep: Keep | None = None,
    ) -> None:
        self.points = points
        self.evicted = 0
        self._emit = emit
        self._keep = keep
        self._limits = limits
        self._first_flow = tap << 32
        slots = min(limits.first_slots, limits.most_flows)
        self.book = make_book(slots)
        self.ledger = make_ledger(slots)
        self.state = make_sequences(slots)
        self.ledger.settings[Setting.FLOW_BIN_NS] = limits.flow_bin_ns
        self.ledger.settings[Setting.HOST_BIN_NS] = limits.host_bin_ns
        self.ledger.settings[Setting.FIRST_FLOW] = self._first_flow
        self.ledger.settings[Setting.ECN_WINDOW_NS] = limits.ecn_window_ns
        self.ledger.settings[Setting.NAK_WINDOW_NS] = limits.nak_window_ns
        self._ended = rows.Ended(
            np.zeros(ENDED_ROWS, FLOW),
            np.zeros(ENDED_ROWS, ACCOUNT),
            np.zeros(ENDED_ROWS, TOTALS),
            np.zeros(ENDED_ROWS, SEQ),
        )
        self._ended_rows = 0
        self._words = self._as_words()

    @property
    def active(self) -> int:
        """Flows in memory."""
        return len(self.book.flows) - int(self.book.counters[0])

    def set_interfaces(self, count: int) -> None:
        """Make room for the interfaces described so far, and one never described."""
        known = len(self.ledger.trains)
        if known <= count:
            trains = np.zeros((count + 1, 2), TRAIN)
            rates = np.zeros((count + 1, TRAIN_BINS), np.uint32)
            trains[:known], rates[:known] = self.ledger.trains, self.ledger.rates
            self.ledger = self.ledger._replace(trains=trains, rates=rates)

    def set_link(self, speed_bps: int, drops: int) -> None:
        """Tell the tracker the link's speed (0 unknown) and what the capturing system dropped."""
        self.state.control[Control.SPEED_BPS] = speed_bps
        self.state.control[Control.DROPS] = drops

    def take(self, batch: Batch, count: int) -> None:
        """The first ``count`` rows of ``batch``, in the order of the capture."""
        lo = 0
        while lo < count:
            hi = number(batch, lo, count, self.book, self.ledger)
            self._judge(batch, lo, hi)
            if hi < count:
                self._make_room(int(batch.ts[hi]))
            lo = hi

    def finish(self) -> None:
        """End every flow and write what is left."""
        self._end(np.flatnonzero(self.book.flows["live"]).astype(np.int32))
        self._end_endpoints(np.arange(len(self.ledger.endpoints), dtype=np.int32))
        self._write_ended()
        self._drain_events()
        self._drain_rings()

    def _judge(self, batch: Batch, lo: int, hi: int) -> None:
        """Track and account for rows that are numbered."""
        while True:
            row, reason = track(batch, lo, hi, self.book.flows, self.state)
            if self._keep:
                slots = batch.slot[lo:row]
                numbers = self.ledger.flows["number"][slots]
                self._keep(batch, lo, row, np.where(slots < 0, -1, numbers))
            while lo < row:
                lo = account(batch, lo, row, self.ledger)
                if lo < row:
                    self._drain_rings(FULL)
            if reason == Reason.DONE:
                return
            if reason == Reason.RING_FULL:
                self._drain_events()
            else:
                self._renew(batch, row)

    def _renew(self, batch: Batch, row: int) -> None:
        """End the flow of ``row``, whose questions are closed, and begin another in its slot."""
        slot = int(batch.slot[row])
        self._close(np.array([slot], np.int32))
        a, who = self.ledger.flows[slot], self.book.flows[slot]
        pair = int(a["pair"])
        self._clear(np.array([slot]))
        self.book.counters[1] += 1
        a["pair"] = pair
        a["number"] = self._first_flow + self.book.counters[1]
        who["serial"] = self.book.counters[1]
        who["epoch"] += 1
        who["sport"] = batch.sport[row]
        who["service"] = batch.opcode[row] >> 5

    def _make_room(self, now: int) -> None:
        """Free at least one slot: by growing, or by ending flows."""
        slots = len(self.book.flows)
        if slots < self._limits.most_flows:
            self._grow(min(GROWTH * slots, self._limits.most_flows))
            return
        last, serial = self.ledger.flows["last"], self.book.flows["serial"]
        idle = int(np.count_nonzero(last < now - self._limits.idle_ns))
        count = max(idle, slots // FREED_SHARE, 1)
        ended = np.lexsort((serial, last))[:count].astype(np.int32)
        self.evicted += count
        self._end(ended)
        self.book.flows["live"][ended] = 0
        self._clear(ended)
        rebuild_flows(self.book)
        self._forget_names()

    def _grow(self, slots: int) -> None:
        """Make room for more flows, and for the hosts, pairs and endpoints they may have."""
        old = self.ledger
        grown = make_ledger(slots, old.rings)
        grown.settings[:] = old.settings
        for name in ("flows", "totals", "pairs", "endpoints"):
            before = getattr(old, name)
            getattr(grown, name)[: len(before)] = before
        # These are copied where they were written to, so that untouched memory stays untouched.
        for name, used in (
            ("fragments", old.flows["parked"]),
            ("reads", old.flows["reads"]),
            ("answers", old.flows["answers"]),
        ):
            for row in range(used.max(initial=0)):
                some = np.flatnonzero(used > row)
                getattr(grown, name)[row, some] = getattr(old, name)[row, some]
        for row, counts in enumerate(old.rtt):
            if len(some := np.flatnonzero(counts)):
                grown.rtt[row, some] = counts[some]
        self.ledger = grown._replace(trains=old.trains, rates=old.rates)
        book = make_book(slots)
        book.flows[: len(self.book.flows)] = self.book.flows
        book.counters[1] = self.book.counters[1]
        book.multipliers[:] = self.book.multipliers
        self.book = book._replace(
            hosts=_grown(self.book.hosts, book.hosts, book.multipliers),
            pairs=_grown(self.book.pairs, book.pairs, book.multipliers),
            endpoints=_grown(self.book.endpoints, book.endpoints, book.multipliers),
        )
        rebuild_flows(self.book)
        self.state = grow_sequences(self.state, slots)

        self._words = self._as_words()

    def _as_words(self) -> list[NDArray[np.uint64]]:
        """The memory that belongs to a slot alone, shape (slots, words) each."""
        tracked = (getattr(self.state, name) for name in PER_SLOT)
        every = (self.ledger.flows, self.ledger.totals, *tracked)
        return [records.view(np.uint64).reshape(len(records), -1) for records in every]

    def _forget_names(self) -> None:
        """Free the hosts, pairs and endpoints that no flow has any more."""
        live = np.flatnonzero(self.book.flows["live"])
        who, book, pairs = self.book.flows[live], self.book, self.ledger.pairs
        hosts = _used(book.hosts, who["src_id"], who["dst_id"])
        kept_pairs = _used(book.pairs, self.ledger.flows["pair"][live])
        kept = pairs[kept_pairs]
        endpoints = _used(book.endpoints, kept["source"], kept["destination"])
        self._end_endpoints(np.flatnonzero(~endpoints).astype(np.int32))
        self._drain_rings()  # rows in them name hosts by number
        lonely = (pairs["reverse"] >= 0) & ~kept_pairs[pairs["reverse"]]
        pairs["reverse"][lonely] = -1
        rebuild_names(book.hosts, book.multipliers, hosts)
        rebuild_names(book.pairs, book.multipliers, kept_pairs)
        rebuild_names(book.endpoints, book.multipliers, endpoints)

    def _end(self, slots: NDArray[np.int32]) -> None:
        """Close flows for good: their open questions, then their accounts."""
        done = 0
        while done < len(slots):
            done += close_slots(slots[done:], self.book.flows, self.state)
            if done < len(slots):
                self._drain_events()
        self._close(slots)

    def _close(self, slots: NDArray[np.int32]) -> None:
        """Write what is open in the accounts of ``slots``, and keep their FLOWS rows."""
        peers = self._peers(slots)
        done = 0
        while done < len(slots):
            done += close_accounts(slots[done:], peers[done:], self.ledger)
            if done < len(slots):
                self._drain_rings(FULL)
        for at in range(0, len(slots), ENDED_ROWS):
            self._copy_out(slots[at : at + ENDED_ROWS])

    def _copy_out(self, slots: NDArray[np.int32]) -> None:
        """Copy the records of flows that ended."""
        if self._ended_rows + len(slots) > ENDED_ROWS:
            self._write_ended()
        span = slice(self._ended_rows, self._ended_rows + len(slots))
        self._ended_rows = span.stop
        # take copies whole records, indexing would copy field by field
        for records, kept in zip(
            (self.book.flows, self.ledger.flows, self.ledger.totals, self.state.seq),
            self._ended,
            strict=True,
        ):
            records.take(slots, out=kept[span], mode="clip")

    def _peers(self, slots: NDArray[np.int32]) -> NDArray[np.int32]:
        """Slots of the paired flows; -1 where there is none any more, or nothing to tell it."""
        peers = np.full(len(slots), -1, np.int32)
        paired = self.state.seq["peer_serial"][slots] > 0
        asking = np.flatnonzero(paired & (self.ledger.flows["answers"][slots] > 0))
        if len(asking):
            live = np.flatnonzero(self.book.flows["live"])
            live = live[np.argsort(self.book.flows["serial"][live])]
            serials = self.book.flows["serial"][live]
            wanted = self.state.seq["peer_serial"][slots[asking]]
            at = np.minimum(np.searchsorted(serials, wanted), len(serials) - 1)
            peers[asking] = np.where(serials[at] == wanted, live[at], -1)
        return peers

    def _clear(self, slots: NDArray[np.integer]) -> None:
        """Make the records of slots, whose flows are closed, fit for others."""
        whole = slots.astype(np.int64)
        for words in self._words:
            wipe(words, whole)

    def _end_endpoints(self, numbers: NDArray[np.int32]) -> None:
        """Write the open bins of endpoints."""
        done = 0
        while done < len(numbers):
            done += close_endpoints(numbers[done:], self.ledger)
            if done < len(numbers):
                self._drain_rings(FULL)

    def _write_ended(self) -> None:
        """Emit the FLOWS rows that were kept."""
        if self._ended_rows:
            some = rows.Ended(*(records[: self._ended_rows] for records in self._ended))
            self._emit("flows", rows.flows(some, self.points, self._first_flow))
            self._ended_rows = 0

    def _drain_events(self) -> None:
        """Emit the tracker's events."""
        count = int(self.state.control[Control.EVENTS])
        if count:
            names = [*self.points.names, self.points.stray]
            self._emit("events", events_frame(self.state.events[:count], self._first_flow, names))
            self.state.control[Control.EVENTS] = 0

    def _drain_rings(self, above: int = 0) -> None:
        """Emit the rows of those accounting rings that hold more than ``above``."""
        rings, points, hosts = self.ledger.rings, self.points, self.book.hosts.keys
        dress: dict[Fill, Callable[[int], pl.DataFrame]] = {
            Fill.FLOW_WINDOWS: lambda n: rows.flow_windows(rings.flow_windows, n),
            Fill.HOST_WINDOWS: lambda n: rows.host_windows(rings.host_windows, n, points, hosts),
            Fill.MESSAGES: lambda n: rows.messages(rings.messages, n),
            Fill.CNPS: lambda n: rows.cnps(rings.cnps, n, points),
            Fill.PAUSE_FRAMES: lambda n: rows.pause_frames(rings.pause_frames, n, points),
        }
        for which in Fill:
            count = int(rings.fill[which])
            if count > above:
                frame = dress[which](count)
                self._emit(which.name.lower(), frame, borrowed=rows.borrowed(count))
                rings.fill[which] = 0


def _grown(names: Names, grown: Names, multipliers: NDArray[np.uint64]) -> Names:
    """The same names in ``grown``, which has more room."""
    numbers = len(names.keys)
    grown.keys[:numbers] = names.keys
    used = np.zeros(len(grown.keys), np.bool_)
    used[:numbers] = True
    used[names.free[: int(names.counters[0])]] = False
    rebuild_names(grown, multipliers, used)
    return grown


def _used(names: Names, *numbers: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which numbers occur."""
    used = np.zeros(len(names.keys), np.bool_)
    for some in numbers:
        used[some] = True
    return used
