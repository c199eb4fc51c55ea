"""PAUSES and PAUSE_WINDOWS from pause frames, once the speed of the link is known.

IEEE 802.3 31B.2 and 31D, IEEE 802.1Qbb: a frame of class-enable bit *p* and time field *q* holds
priority *p* from its arrival for *q* quanta of 512 bit times; a later frame replaces what is left of
the time, it does not add to it; *q* = 0 releases (XON). The time field of a class whose enable bit
is clear means nothing. A global pause holds the whole link; it is told as priority -1.

An episode is one unbroken hold of one priority by one sender. It ends by XON, by expiry (a frame
that comes later begins another episode) or with the capture. Where the speed is not known nobody can
say how long a quantum lasts: ``paused_ns`` and ``duty`` are null, ``end`` is that of the last frame,
and two XOFF belong to one episode where the first could still hold at 10 Gb/s, the slowest link that
RoCE is run on.

Frames are taken in the order of the capture; one whose clock is behind counts at the time of the
one before.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analyzers.addresses import mac
from analyzers.capture.batch import GLOBAL_PAUSE_VECTOR, PRIORITIES
from analyzers.frames import schema
from analyzers.transport.account_state import Record, Records, i64
from fabric.codes import QUANTUM_BITS
from fabric.kernel import inline, lean
from fabric.schema import PAUSE_WINDOWS, PAUSES, Table

CLASSES = PRIORITIES + 1  # the eight priorities, then the global pause
GLOBAL = GLOBAL_PAUSE_VECTOR
NS = 1_000_000_000
SLOWEST_BPS = 10_000_000_000
RING_ROWS = 8192
SENDERS_KEPT = 4096  # above this number, those that hold nothing any more are forgotten
LIVE_BIN_NS = 10_000_000
LEAST_BIN_NS = 1_000
BINS_AT_LEAST = 20

XON, EXPIRY, END = 0, 1, 2
REASONS = ("xon", "expiry", "end_of_capture")

HOLD = np.dtype(
    [
        ("start", np.int64),
        ("expiry", np.int64),
        ("settled", np.int64),  # the hold is counted up to here
        ("last", np.int64),  # time of the last frame
        ("frames", np.int64),
        ("first_frame", np.int64),
        ("last_frame", np.int64),
        ("bin", np.int64),  # start of the bin that is open
        ("bin_paused", np.int64),
        ("bin_transitions", np.int64),
        ("held", np.uint8),
    ],
    align=True,
)
"""What one sender asks for one class."""

EPISODE = np.dtype(
    [
        ("sender", np.int64),
        ("priority", np.int64),
        ("start", np.int64),
        ("end", np.int64),
        ("frames", np.int64),
        ("first_frame", np.int64),
        ("last_frame", np.int64),
        ("reason", np.int64),
    ]
)
WINDOW = np.dtype(
    [
        ("sender", np.int64),
        ("priority", np.int64),
        ("start", np.int64),
        ("paused_ns", np.int64),
        ("transitions", np.int64),
    ]
)


class Link(NamedTuple):
    """What is known of a point when its capture has ended."""

    speed_bps: int  # 0 unknown
    last: int  # ns, its last packet
    bin_ns: int  # width of PAUSE_WINDOWS bins


class Holds(NamedTuple):
    """The kernels' memory; first axis: sender."""

    holds: Records  # HOLD, shape (senders, CLASSES)
    links: NDArray[np.int64]  # speed_bps (the slowest where unknown), bin_ns, last, 1 where known
    episodes: Records  # EPISODE, a ring
    windows: Records  # WINDOW, a ring
    fill: NDArray[np.int64]  # rows in use of each ring


def bin_width(span_ns: int) -> int:
    """Width of PAUSE_WINDOWS bins: 10 ms, or less so that a capture has at least twenty bins."""
    width = LIVE_BIN_NS
    while width > LEAST_BIN_NS and width * BINS_AT_LEAST > span_ns:
        # 10, 5, 2, 1 of a decade
        width = width * 2 // 5 if str(width)[0] == "5" else width // 2
    return width


@inline
def _priority(c: int) -> int:
    return -1 if c == PRIORITIES else c


@inline
def _write_window(h: Record, sender: int, c: int, state: Holds) -> None:
    """Write the open bin of a hold where something happened in it, and clear it."""
    if h.bin_paused > 0 or h.bin_transitions > 0:
        row = state.windows[state.fill[1]]
        state.fill[1] += 1
        row.sender = sender
        row.priority = _priority(c)
        row.start = h.bin
        row.paused_ns = h.bin_paused
        row.transitions = h.bin_transitions
    h.bin_paused = 0
    h.bin_transitions = 0


@inline
def _settle(h: Record, sender: int, c: int, now: int, state: Holds) -> bool:
    """Count what a hold has lasted up to ``now``; False where a ring has to be drained first."""
    width = state.links[sender, 1]
    until = min(now, h.expiry)
    if state.links[sender, 3] == 0:
        h.settled = until
    while h.held and h.settled < until:
        if state.fill[1] >= RING_ROWS - 2:
            return False
        start = h.settled - h.settled % width
        if start != h.bin:
            _write_window(h, sender, c, state)
            h.bin = start
        step = min(until, start + width)
        h.bin_paused += step - h.settled
        h.settled = step
    return bool(state.fill[0] < RING_ROWS - 2 and state.fill[1] < RING_ROWS - 2)


@inline
def _end(h: Record, sender: int, c: int, end: int, reason: int, state: Holds) -> None:
    """Write the episode that ends; by the last frame where it is not known when it did."""
    if reason != XON and state.links[sender, 3] == 0:
        end = h.last
    row = state.episodes[state.fill[0]]
    state.fill[0] += 1
    row.sender = sender
    row.priority = _priority(c)
    row.start = h.start
    row.end = end
    row.frames = h.frames
    row.first_frame = h.first_frame
    row.last_frame = h.last_frame
    row.reason = reason
    h.held = 0


@inline
def _apply(h: Record, sender: int, c: int, ts: int, frame: int, quanta: int, state: Holds) -> None:
    """Let one class of a frame act on its hold, which is settled up to ``ts``."""
    if h.held and h.expiry < ts:
        _end(h, sender, c, h.expiry, EXPIRY, state)
    h.last = ts
    if quanta == 0:
        if h.held:
            h.frames += 1
            h.last_frame = frame
            _end(h, sender, c, ts, XON, state)
        return
    if not h.held:
        h.held = 1
        h.start = ts
        h.settled = ts
        h.frames = 0
        h.first_frame = frame
        width = state.links[sender, 1]
        if ts - ts % width != h.bin:
            _write_window(h, sender, c, state)
            h.bin = ts - ts % width
        h.bin_transitions += 1
    h.frames += 1
    h.last_frame = frame
    speed = state.links[sender, 0]
    h.expiry = ts + (quanta * QUANTUM_BITS * NS + speed // 2) // speed


@lean
def hold(
    cursor: int, senders: NDArray[np.int32], ts: NDArray[np.int64], frames: NDArray[np.int64],
    vectors: NDArray[np.uint16], quanta: NDArray[np.uint16], state: Holds,
) -> int:  # fmt: skip
    """Take pause frames in order; ``cursor`` counts (frame, class) steps from 0.

    Returns the next step: less than ``len(ts) * CLASSES`` where a ring must be drained first.
    ``quanta`` has the shape (frames, 8); a global pause has its time in the first.
    """
    for step in range(cursor, len(ts) * CLASSES):
        i, c = step // CLASSES, step % CLASSES
        vector = i64(vectors[i])
        if vector == GLOBAL:
            enabled, asked = c == PRIORITIES, i64(quanta[i, 0])
        else:
            enabled, asked = c < PRIORITIES and vector >> c & 1 == 1, i64(quanta[i, c & 7])
        if not enabled:
            continue
        sender = i64(senders[i])
        h = state.holds[sender, c]
        now = max(ts[i], h.last)
        if not _settle(h, sender, c, now, state):
            return step
        _apply(h, sender, c, now, frames[i], asked, state)
    return len(ts) * CLASSES


@lean
def release(cursor: int, state: Holds, finished: bool) -> int:
    """End the holds that expired before the time in ``links``; all where the capture is finished."""
    for step in range(cursor, len(state.holds) * CLASSES):
        sender, c = step // CLASSES, step % CLASSES
        h = state.holds[sender, c]
        last = state.links[sender, 2]
        if not finished and h.held and h.expiry >= last:
            continue
        if not _settle(h, sender, c, last, state):
            return step
        if h.held and h.expiry <= last:
            _end(h, sender, c, h.expiry, EXPIRY, state)
        elif h.held:
            _end(h, sender, c, max(last, h.last), END, state)
        _write_window(h, sender, c, state)
    return len(state.holds) * CLASSES


class Pauses:
    """Turns PAUSE_FRAMES into PAUSES and PAUSE_WINDOWS, part by part.

    Parameters
    ----------
    links
        By name of the point.
    emit
        Takes a table's name in lower case and its next rows.
    """

    def __init__(self, links: dict[str, Link], emit: Callable[[str, pl.DataFrame], None]) -> None:
        self._links = links
        self._emit = emit
        self._senders: dict[tuple[str, int], int] = {}
        self._state = Holds(
            np.zeros((0, CLASSES), HOLD),
            np.zeros((0, 4), np.int64),
            np.zeros(RING_ROWS, EPISODE),
            np.zeros(RING_ROWS, WINDOW),
            np.zeros(2, np.int64),
        )

    def take(self, frames: pl.DataFrame) -> None:
        """PAUSE_FRAMES rows, in the order of their capture."""
        if frames.is_empty():
            return
        numbers = self._number(frames.select("point", "src"))
        quanta = frames.select(pl.col("^quanta_.*$")).to_numpy()
        columns = (frames["ts"], frames["frame"], frames["vector"])
        ts, frame, vector = (column.to_numpy() for column in columns)
        self._run(
            lambda at: hold(at, numbers, ts, frame, vector, quanta, self._state),
            len(ts) * CLASSES,
        )
        if len(self._senders) > SENDERS_KEPT:
            self._forget(int(ts.max()))

    def finish(self) -> None:
        """End what is still held."""
        for (point, _), number in self._senders.items():
            self._state.links[number, 2] = self._links[point].last
        self._run(lambda at: release(at, self._state, True), self._state.holds.size)
        self._drain()

    def _run(self, kernel: Callable[[int], int], steps: int) -> None:
        at = 0
        while (at := kernel(at)) < steps:
            self._drain()

    def _number(self, senders: pl.DataFrame) -> NDArray[np.int32]:
        """Numbers of the senders of frames; new ones get the next number."""
        distinct = senders.unique(maintain_order=True)
        fresh = [key for key in distinct.iter_rows() if key not in self._senders]
        self._senders.update({key: len(self._senders) + n for n, key in enumerate(fresh)})
        if fresh:
            holds = np.zeros((len(fresh), CLASSES), HOLD)
            holds["bin"] = holds["last"] = np.iinfo(np.int64).min
            links = [self._links[point] for point, _ in fresh]
            facts = [
                (link.speed_bps or SLOWEST_BPS, link.bin_ns, 0, link.speed_bps > 0)
                for link in links
            ]
            self._state = self._state._replace(
                holds=np.concatenate([self._state.holds, holds]),
                links=np.concatenate([self._state.links, np.array(facts, np.int64)]),
            )
        numbers = pl.Series([self._senders[key] for key in distinct.iter_rows()], dtype=pl.Int32)
        named = distinct.with_columns(number=numbers)
        joined = senders.join(named, on=["point", "src"], how="left", maintain_order="left")
        return joined["number"].to_numpy()

    def _forget(self, now: int) -> None:
        """Drop the senders that hold nothing any more: hostile captures make up millions."""
        self._state.links[:, 2] = now
        self._run(lambda at: release(at, self._state, False), self._state.holds.size)
        self._drain()
        kept: NDArray[np.bool_] = np.any(self._state.holds["held"] > 0, axis=1)
        names = [key for key, number in self._senders.items() if kept[number]]
        self._senders = {key: number for number, key in enumerate(names)}
        self._state = self._state._replace(
            holds=self._state.holds[kept], links=self._state.links[kept]
        )

    def _drain(self) -> None:
        """Emit the rows of both rings."""
        keys = list(self._senders)
        who = pl.DataFrame(
            {
                "sender": np.arange(len(keys)),
                "point": [point for point, _ in keys],
                "mac": [mac(source) for _, source in keys],
                "known": [self._links[point].speed_bps > 0 for point, _ in keys],
                "width_ns": [self._links[point].bin_ns for point, _ in keys],
            },
            schema_overrides={"point": pl.String, "mac": pl.String},
        )
        for name, ring, dress in (
            ("pauses", self._state.episodes, _pauses),
            ("pause_windows", self._state.windows, _windows),
        ):
            count = int(self._state.fill[0 if name == "pauses" else 1])
            if count:
                rows = ring[:count]
                frame = pl.DataFrame(
                    {field: np.array(rows[field]) for field in ring.dtype.names or ()}
                )
                self._emit(name, dress(frame.join(who, on="sender", maintain_order="left")))
        self._state.fill[:] = 0


def _fit(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(kind) for name, kind in schema(table).items())


def _pauses(rows: pl.DataFrame) -> pl.DataFrame:
    """PAUSES rows of episodes."""
    reasons = pl.Series(REASONS)
    return _fit(
        rows.with_columns(
            held_device=pl.lit(""),
            held_port=pl.lit(""),
            sender="mac",
            end_reason=reasons.gather(rows["reason"].cast(pl.UInt32)),
            paused_ns=pl.when("known").then(pl.col("end") - pl.col("start")),
            kind=pl.lit("observed"),
        ),
        PAUSES,
    )


def _windows(rows: pl.DataFrame) -> pl.DataFrame:
    """PAUSE_WINDOWS rows of bins."""
    paused = pl.when("known").then("paused_ns")
    return _fit(
        rows.with_columns(sender="mac", paused_ns=paused, duty=paused / pl.col("width_ns")),
        PAUSE_WINDOWS,
    )


def pauses(
    frames: Iterable[pl.DataFrame],
    links: dict[str, Link],
    emit: Callable[[str, pl.DataFrame], None],
) -> None:
    """PAUSES and PAUSE_WINDOWS of all the PAUSE_FRAMES of an input."""
    work = Pauses(links, emit)
    for part in frames:
        work.take(part)
    work.finish()
