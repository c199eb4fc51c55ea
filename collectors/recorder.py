"""Writes raw records to disk, and says when they are safe: acknowledged means fsynced.

Many threads call :meth:`Recorder.record`; one thread of the recorder writes what has gathered with one
write and one fsync, so a thousand acknowledgements cost no more than one. A caller that promised
something to its sender waits for its ticket; one that has nobody to answer goes on.

A segment is closed by size or age; the next has the next number. The name of a recorder ends in random
digits made once per folder, and the next number is kept beside the segments: (recorder, segment) never
comes twice, even when old segments are deleted or a folder is set up anew under an old name.

When writing fails (a full disk, a broken one) the tickets of what was not safe fail with the reason
and are counted; what was half written is cut off; the next batch tries a new segment. A reading that
nobody can send again is lost then, and shows as a gap.
"""

import fcntl
import json
import os
import re
import secrets
import threading
import time
from bisect import bisect_left
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NamedTuple, Self

from collectors.segments import file_head, pack, parse_name, read_segment, segments

STATE: Final = "recorder.json"
LOCK: Final = "recorder.lock"
_FAILURES = 64  # ranges of tickets whose failure is remembered
_RETRY_S = 0.5  # between attempts at a disk that refuses


@dataclass
class RecorderStats:
    """What a recorder did since it was opened."""

    records: int = 0
    bytes: int = 0
    acknowledged: int = 0
    failed: int = 0
    fsyncs: int = 0
    segments: int = 0
    last_error: str = ""


class _Failure(NamedTuple):
    """Tickets up to ``last`` (from the one behind the previous success) were not written."""

    first: int
    last: int
    reason: str


class Recorder:
    """Raw records into the segments of a folder; safe to call from many threads.

    ``limit_bytes`` and ``limit_s`` close a segment; ``gather_s`` is how long acknowledgements may
    gather for one fsync; ``buffer_bytes`` is how much may wait for the disk before ``record`` blocks.

    OSError where the folder cannot be written or another process records into it, ValueError where
    its state file is damaged.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        limit_bytes: int = 64 << 20,
        limit_s: float = 10.0,
        gather_s: float = 0.02,
        buffer_bytes: int = 64 << 20,
    ) -> None:
        self.folder = folder
        self.limit_bytes, self.limit_s = limit_bytes, limit_s
        self.gather_s, self.buffer_bytes = gather_s, buffer_bytes
        self.stats = RecorderStats()
        folder.mkdir(parents=True, exist_ok=True)
        self._lock_file = _lock(folder)
        try:
            close_leftovers(folder)
            self.name, self._next = _identity(folder, name)
        except BaseException:
            self._lock_file.close()
            raise
        self._file: _Segment | None = None
        self._changed = threading.Condition()
        self._pending: list[bytes] = []
        self._waiting = 0  # bytes in _pending
        self._ticket = 0  # the last one given
        self._settled = 0  # tickets up to here are on disk or failed
        self._failures: list[_Failure] = []
        self._futures: list[tuple[int, Future[None]]] = []
        self._urgent = self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"recorder {self.name}", daemon=True)
        self._thread.start()

    def record(
        self, peer: str, method: int, payload: bytes, ts: int = 0, seen: int | None = None
    ) -> int:
        """Hand a record over and get its ticket; blocks while too much waits for the disk.

        ValueError for a payload that is too large, RuntimeError when the recorder is closed.
        """
        packed = pack(peer, method, payload, ts, time.time_ns() if seen is None else seen)
        with self._changed:
            while self._waiting > self.buffer_bytes and not self._closing:
                self._changed.wait()
            if self._closing:
                raise RuntimeError(f"{self.folder}: the recorder is closed")
            self._pending.append(packed)
            self._waiting += len(packed)
            self._ticket += 1
            if len(self._pending) == 1:
                self._changed.notify_all()
            return self._ticket

    def wait(self, ticket: int, timeout_s: float | None = None) -> bool:
        """Whether the record of a ticket is safe on disk, waiting for it; False when time runs out.

        OSError with the reason where it could not be written.
        """
        with self._changed:
            done = self._changed.wait_for(lambda: self._settled >= ticket, timeout_s)
            if done and (reason := self._reason(ticket)):
                raise OSError(reason)
            return done

    def future(self, ticket: int) -> "Future[None]":
        """The same for those who cannot block; ``asyncio.wrap_future`` makes it awaitable."""
        future: Future[None] = Future()
        with self._changed:
            if self._settled < ticket:
                self._futures.append((ticket, future))
                return future
            reason = self._reason(ticket)
        _settle(future, reason)
        return future

    def flush(self) -> None:
        """Write everything handed over so far; OSError where some of it could not be."""
        with self._changed:
            self._urgent = True
            ticket = self._ticket
            self._changed.notify_all()
        if ticket:
            self.wait(ticket)

    def close(self) -> None:
        """Write what waits, close the segment, release the folder; OSError as in :meth:`flush`."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            ticket = self._ticket
            self._changed.notify_all()
        self._thread.join()
        self._lock_file.close()
        if ticket:
            self.wait(ticket)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reason(self, ticket: int) -> str:
        """Why a settled ticket failed; empty where it did not."""
        place = bisect_left(self._failures, ticket, key=lambda failure: failure.last)
        if place < len(self._failures) and self._failures[place].first <= ticket:
            return self._failures[place].reason
        return ""

    def _run(self) -> None:
        """The thread that writes."""
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._pending or self._closing or self._urgent, self._patience()
                )
                if self._pending and not (self._closing or self._urgent):
                    self._changed.wait_for(lambda: self._closing or self._urgent, self.gather_s)
                batch, size, last = self._pending, self._waiting, self._ticket
                self._pending, self._waiting, self._urgent = [], 0, False
                closing = self._closing
                self._changed.notify_all()
            reason = self._write(batch) if batch else ""
            if batch:
                self._settle(last, len(batch), size, reason)
            self._rotate(closing=closing)
            if closing and not self._pending:
                return
            if reason:
                time.sleep(_RETRY_S)

    def _patience(self) -> float | None:
        """Seconds until the open segment is too old."""
        return self._file.remaining(self.limit_s) if self._file else None

    def _write(self, batch: list[bytes]) -> str:
        """Write and fsync; the reason where that failed, the segment cut back to what is safe."""
        try:
            if self._file is None:
                self._open()
            assert self._file
            self._file.append(b"".join(batch))
        except OSError as error:
            self._drop()
            return f"{self.folder}: cannot record: {error.strerror or error}"
        return ""

    def _settle(self, last: int, count: int, size: int, reason: str) -> None:
        """Answer the tickets of a batch."""
        with self._changed:
            first, self._settled = last - count + 1, last
            self.stats.records += count
            if reason:
                self.stats.failed += count
                self.stats.last_error = reason
                self._failures.append(_Failure(first, last, reason))
                self._merge()
            else:
                self.stats.acknowledged += count
                self.stats.bytes += size
                self.stats.fsyncs += 1
            ready = [(t, f) for t, f in self._futures if t <= last]
            self._futures = [(t, f) for t, f in self._futures if t > last]
            answers = [(future, self._reason(ticket)) for ticket, future in ready]
            self._changed.notify_all()
        for future, why in answers:
            _settle(future, why)

    def _merge(self) -> None:
        """Fold failures that follow each other for one reason; forget the oldest of very many."""
        if len(self._failures) > 1:
            one, two = self._failures[-2:]
            if one.last + 1 == two.first and one.reason == two.reason:
                self._failures[-2:] = [_Failure(one.first, two.last, two.reason)]
        del self._failures[:-_FAILURES]

    def _open(self) -> None:
        """Start the next segment; its number is spent even if that fails half way."""
        number = self._next
        _write_state(self.folder, self.name, number + 1)
        self._next = number + 1
        self._file = _Segment(self.folder, self.name, number)
        self.stats.segments += 1

    def _rotate(self, *, closing: bool) -> None:
        file = self._file
        if file and (closing or file.safe >= self.limit_bytes or file.remaining(self.limit_s) <= 0):
            self._drop()

    def _drop(self) -> None:
        """Close the open segment with what is safe in it."""
        if self._file:
            try:
                self._file.close()
            except OSError as error:
                # It stays a .part; whoever opens the folder next, or a committer, closes it.
                self.stats.last_error = f"{self.folder}: {error.strerror or error}"
            self._file = None


class _Segment:
    """The file being written."""

    def __init__(self, folder: Path, name: str, number: int) -> None:
        self.path = folder / f"{name}-{number:010d}.part"
        self.born = time.monotonic()
        self.file: IO[bytes] = self.path.open("xb", buffering=0)
        self.safe = 0  # bytes that are on disk for certain
        head = file_head(name, number)
        self.head = len(head)
        try:
            self.append(head)
            _sync_folder(folder)
        except OSError:
            self.file.close()
            self.path.unlink()
            raise

    def remaining(self, limit_s: float) -> float:
        """Seconds until it is too old."""
        return max(self.born + limit_s - time.monotonic(), 0.0)

    def append(self, data: bytes) -> None:
        """Write and fsync."""
        view = memoryview(data)
        while view:
            view = view[self.file.write(view) :]
        os.fdatasync(self.file.fileno())
        self.safe += len(data)

    def close(self) -> None:
        """Cut off what is not safe and give the file its final name; one without records goes."""
        with self.file as file:
            if os.fstat(file.fileno()).st_size > self.safe:
                os.ftruncate(file.fileno(), self.safe)
                os.fsync(file.fileno())
        if self.safe > self.head:
            self.path.rename(self.path.with_suffix(".seg"))
        else:
            self.path.unlink()
        _sync_folder(self.path.parent)


def close_leftovers(folder: Path) -> list[Path]:
    """Close segments whose recorder died; call it only while no recorder has the folder.

    Torn ends stay as they are: reading stops there and says so.
    """
    left = [path for path in segments(folder) if path.suffix == ".part"]
    closed = []
    for path in left:
        if read_segment(path).number < 0:
            path.unlink()  # it died before the head was written: nothing was promised
        else:
            closed.append(path.rename(path.with_suffix(".seg")))
    if left:
        _sync_folder(folder)
    return closed


def adopt(folder: Path) -> list[Path]:
    """Close what a dead recorder left, if it is dead: nothing happens while a live one has the folder."""
    try:
        lock = _lock(folder, patience_s=0)
    except OSError:
        return []
    with lock:
        return close_leftovers(folder)


def _lock(folder: Path, patience_s: float = 2.0) -> IO[bytes]:
    """Take the folder; patience is for an :func:`adopt` of somebody else, which is brief."""
    file = (folder / LOCK).open("ab")
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() >= until:
                file.close()
                raise OSError(f"{folder}: another process records into this folder") from error
            time.sleep(0.05)
        else:
            return file


def _identity(folder: Path, name: str) -> tuple[str, int]:
    """The recorder's full name and the next free number."""
    path = folder / STATE
    try:
        state = json.loads(path.read_bytes())
        full, following = str(state["recorder"]), int(state["next"])
    except FileNotFoundError:
        plain = re.sub(r"[^A-Za-z0-9_.]+", "_", name) or "recorder"
        full, following = f"{plain}-{secrets.token_hex(4)}", 1
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error}; delete it to start under a new name") from error
    own = [
        found.number
        for p in folder.iterdir()
        if (found := parse_name(p)) and found.recorder == full
    ]
    following = max([following, *(number + 1 for number in own)])
    _write_state(folder, full, following)
    return full, following


def _write_state(folder: Path, name: str, following: int) -> None:
    path, fresh = folder / STATE, folder / f"{STATE}.new"
    with fresh.open("w") as file:
        json.dump({"recorder": name, "next": following}, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    """A new name is safe only when its folder is on disk too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _settle(future: "Future[None]", reason: str) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if reason:
        future.set_exception(OSError(reason))
    else:
        future.set_result(None)
