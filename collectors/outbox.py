"""What an agent has read and nobody has acknowledged: in memory, and on disk while nobody listens.

As long as batches are acknowledged nothing touches the disk (a switch's flash wears out). When more
waits than memory may hold, it goes to a file; files are sent oldest first and deleted when all of one
is acknowledged. What does not fit the disk's share is lost oldest first, and counted. A file is made of
the records of :mod:`collectors.segments`, so that a torn one costs its last batch and no more.
"""

import os
from collections import deque
from pathlib import Path
from threading import Condition
from typing import Final, NamedTuple

from collectors.batches import unpack
from collectors.records import Method
from collectors.segments import SegmentReader, file_head, pack

SUFFIX: Final = ".spool"
FIRST: Final = 1_000_000  # number of the first file: there is room before it


class Item(NamedTuple):
    """A packed batch: of which recorder, its number, its bytes, the file it lies in."""

    recorder: str
    sequence: int
    packed: bytes
    file: Path | None = None


class Outbox:
    """Batches in the order they were made; for one thread that fills it and others that empty it."""

    def __init__(
        self, folder: Path | None, *, memory_bytes: int = 4 << 20, disk_bytes: int = 256 << 20
    ) -> None:
        self.folder, self.memory_bytes, self.disk_bytes = folder, memory_bytes, disk_bytes
        self.dropped = 0  # batches lost because nobody took them in time
        self.changed = Condition()
        self._sent: deque[Item] = deque()
        self._loaded: deque[Item] = deque()  # older than what the files hold
        self._files: deque[Path] = deque()
        self._fresh: deque[Item] = deque()
        self._fresh_bytes = 0
        self._next = FIRST
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("*.new"):
                path.unlink()
            self._files.extend(sorted(folder.glob(f"*{SUFFIX}")))
            if self._files:
                self._next = _number(self._files[-1]) + 1

    def __len__(self) -> int:
        """Batches that wait or were not acknowledged, those in files counted by their names."""
        with self.changed:
            filed = sum(map(_count, self._files))
            return len(self._sent) + len(self._loaded) + filed + len(self._fresh)

    def put(self, item: Item) -> None:
        """Add a batch; OSError never: what cannot be written is dropped and counted."""
        with self.changed:
            self._fresh.append(item)
            self._fresh_bytes += len(item.packed)
            if self._fresh_bytes > self.memory_bytes:
                self._spill()
            self.changed.notify_all()

    def take(self, window: int) -> Item | None:
        """The next batch to send, kept until it is acknowledged; None where none may be sent now.

        At most ``window`` are in flight, and never of two recorders: numbers are compared.
        """
        with self.changed:
            item = self._first()
            if item is None or len(self._sent) >= window:
                return None
            if self._sent and self._sent[-1].recorder != item.recorder:
                return None
            if self._loaded:
                self._loaded.popleft()
            else:
                self._fresh.popleft()
                self._fresh_bytes -= len(item.packed)
            self._sent.append(item)
            return item

    def acknowledge(self, sequence: int) -> int:
        """Forget what was sent up to a number; how many batches that was."""
        count = 0
        with self.changed:
            while self._sent and self._sent[0].sequence <= sequence:
                item = self._sent.popleft()
                count += 1
                if item.file and not self._holds(item.file):
                    item.file.unlink(missing_ok=True)
            self.changed.notify_all()
        return count

    def again(self) -> None:
        """What was sent and not acknowledged will be sent again: the connection is gone."""
        with self.changed:
            self._loaded.extendleft(reversed(self._sent))
            self._sent.clear()

    def close(self) -> None:
        """Put everything that waits on disk."""
        with self.changed:
            self.again()
            self._unload()
            self._spill()

    def _first(self) -> Item | None:
        while not self._loaded and self._files:
            self._load(self._files.popleft())
        if self._loaded:
            return self._loaded[0]
        return self._fresh[0] if self._fresh else None

    def _holds(self, file: Path) -> bool:
        """Whether batches of a file still wait: they are neighbours, so the next one tells."""
        following = self._sent or self._loaded
        return bool(following) and following[0].file == file

    def _load(self, path: Path) -> None:
        try:
            records = list(SegmentReader(path))
        except (OSError, ValueError):
            records = []
        for record in records:
            if batch := unpack(record.payload):
                self._loaded.append(Item(batch.recorder, batch.sequence, record.payload, path))
        self.dropped += _count(path) - len(self._loaded)
        if not self._loaded:
            path.unlink(missing_ok=True)

    def _unload(self) -> None:
        """Put what is older than every file back in front of them.

        A listener takes a batch whose number is below the last it saw for one it has already.
        """
        items, self._loaded = list(self._loaded), deque()
        old = {item.file for item in items if item.file}
        if not items or (old and all(item.file for item in items)):
            return  # all of it lies in its file
        number = (
            min(map(_number, old)) if old else _number(self._files[0]) - 1 if self._files else 0
        )
        path = self._file(items, number or self._next)
        if path:
            self._files.appendleft(path)
            for file in old - {path}:
                file.unlink(missing_ok=True)

    def _spill(self) -> None:
        """Move what is fresh to a file of its own, and make room for it."""
        items, self._fresh, self._fresh_bytes = list(self._fresh), deque(), 0
        path = self._file(items, self._next)
        if path is None:
            return
        self._files.append(path)
        while len(self._files) > 1 and self._size() > self.disk_bytes:
            oldest = self._files.popleft()
            self.dropped += _count(oldest)
            oldest.unlink(missing_ok=True)

    def _file(self, items: list[Item], number: int) -> Path | None:
        """A file of batches; None where there are none, or they could not be kept and are counted."""
        if not items:
            return None
        if self.folder is None:
            self.dropped += len(items)
            return None
        self._next = max(self._next, number + 1)
        path = self.folder / f"{number:010d}-{len(items)}{SUFFIX}"
        parts = [pack(i.recorder, Method.GNMI, i.packed, 0, i.sequence) for i in items]
        try:
            _write(path, b"".join((file_head("outbox", number), *parts)))
        except OSError:
            self.dropped += len(items)
            return None
        return path

    def _size(self) -> int:
        return sum(path.stat().st_size for path in self._files if path.exists())


def _number(path: Path) -> int:
    number = path.name.partition("-")[0]
    return int(number) if number.isdigit() else 0


def _count(path: Path) -> int:
    count = path.stem.partition("-")[2]
    return int(count) if count.isdigit() else 0


def _write(path: Path, data: bytes) -> None:
    """A file that is there whole or not at all."""
    partial = path.with_suffix(".new")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
