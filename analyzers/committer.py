"""From raw segments to the store, and to whoever looks at the present: one decoding for both.

:meth:`Committer.step` reads what recorders have written since the last step, segments that still grow
included, decodes it, hands the rows to ``on_rows`` (the live window) and keeps them; once a segment is
closed its rows are committed under (recorder, segment). A process that dies between two tables, or
between a commit and the next, starts over from the segments: what is there already is left out table
by table, and nothing is counted twice.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from analyzers.frames import empty, schema
from analyzers.state import State
from analyzers.store import TABLES, Store
from analyzers.telemetry.batch import Segment, read_batch
from analyzers.telemetry.decode import Decoded, Decoder
from collectors.recorder import adopt
from collectors.segments import SegmentName, parse_name, segments
from fabric.schema import QUALITY

Key = tuple[str, int]  # recorder and segment
# Tables of what is decoded; the last is what counts as committed, so it comes last.
DECODED: Final = ("quality", "logs", "counters")
ROWS: Final = 2_000_000  # of a commit; more waits for the next
COMMIT_FILES: Final = 200
UNKNOWN_S: Final = 30.0  # between two notes of unknown paths


@dataclass
class _Held:
    """What was decoded of a segment that is not committed yet."""

    offset: int = 0
    parts: dict[str, list[pl.DataFrame]] = field(default_factory=lambda: {n: [] for n in DECODED})
    rows: int = 0
    done: bool = False


@dataclass
class Progress:
    """What a step did, and what waits."""

    records: int = 0
    rows: int = 0
    faults: int = 0
    committed: int = 0  # segments
    waiting: int = 0  # segments that are closed and not committed
    unreadable: list[str] = field(default_factory=list)


class Committer:
    """Follows the folders of recorders; one thread at a time.

    ``on_rows`` receives every decoded batch once per process; ``state`` keeps the paths that no
    dictionary knows. OSError from :meth:`step` where the store cannot be written; the rows are kept and
    the next step tries again.
    """

    def __init__(
        self,
        store: Store,
        folders: Iterable[Path],
        decoder: Decoder | None = None,
        on_rows: Callable[[Decoded], None] | None = None,
        state: State | None = None,
    ) -> None:
        self.store = store
        self.state = state
        self._unknown_s = 0.0  # when unknown paths were last written down
        self.folders = list(folders)
        self.decoder = decoder or Decoder()
        self.on_rows = on_rows or (lambda _: None)
        self._held: dict[Key, _Held] = {}
        self._last: dict[str, int] = {}
        self._series: list[pl.DataFrame] = []

    def step(self) -> Progress:
        """Read, decode and commit what is new."""
        progress = Progress()
        paths = self._paths()
        for key in [key for key, held in self._held.items() if not held.done and key not in paths]:
            del self._held[key]  # committed and deleted by another process
        for key, path in sorted(paths.items()):
            if sum(held.rows for held in self._held.values()) > 4 * ROWS:
                break  # the store does not keep up: the rest waits on disk
            self._read(key, path, progress)
        self._commit(progress)
        if self.state and time.monotonic() >= self._unknown_s:
            self._unknown_s = time.monotonic() + UNKNOWN_S
            self.state.put_unknown(self.decoder.known.unknown().rows())
        progress.waiting = sum(held.done for held in self._held.values())
        return progress

    def run(self, stop: Callable[[], bool], every_s: float = 1.0) -> None:
        """Step until told to stop; once more then."""
        while not stop():
            begin = time.monotonic()
            self.step()
            time.sleep(max(every_s - (time.monotonic() - begin), 0.01))
        self._unknown_s = 0.0
        self.step()

    def _paths(self) -> dict[Key, Path]:
        """Segments that are not committed."""
        found: dict[Key, Path] = {}
        for folder in self.folders:
            if not folder.is_dir():
                continue
            adopt(folder)
            for path in segments(folder):
                name = parse_name(path)
                assert name
                if name.number > self._committed(name):
                    found[name.recorder, name.number] = path
        return found

    def _committed(self, name: SegmentName) -> int:
        if name.recorder not in self._last:
            self._last[name.recorder] = self.store.last(name.recorder)
        return self._last[name.recorder]

    def _read(self, key: Key, path: Path, progress: Progress) -> None:
        held = self._held.setdefault(key, _Held())
        if held.done:
            return
        closed = path.suffix == ".seg"
        try:
            segment = read_batch(path, held.offset)
        except FileNotFoundError:
            return  # closed meanwhile: the next step finds it under its new name
        except ValueError as error:
            held.parts["quality"].append(_note(key, "damage", 0, str(error)))
            held.done = closed
            progress.unreadable.append(str(error))
            return
        held.offset = segment.offset
        self._decode(held, key, segment, progress)
        held.done = closed

    def _decode(self, held: _Held, key: Key, segment: Segment, progress: Progress) -> None:
        for damage in segment.damage:
            progress.unreadable.append(str(damage))
            held.parts["quality"].append(_note(key, "damage", damage.length, str(damage)))
        if not segment.batch.peers:
            return
        decoded = self.decoder.decode(segment.batch)
        self.on_rows(decoded)
        for name in DECODED:
            held.parts[name].append(getattr(decoded, name))
        held.rows += decoded.counters.height
        progress.records += decoded.records
        progress.rows += decoded.counters.height
        progress.faults += sum(decoded.faults.values())

    def _commit(self, progress: Progress) -> None:
        """Commit segments that are done, in order: none before an earlier one of its recorder."""
        self._series.append(self.decoder.known.new_series())
        ready: list[Key] = []
        blocked: set[str] = set()
        for key in sorted(self._held):
            if not self._held[key].done:
                blocked.add(key[0])
            elif key[0] not in blocked:
                ready.append(key)
        while ready:
            part: list[Key] = []
            rows = 0
            while ready and len(part) < COMMIT_FILES and (not part or rows < ROWS):
                part.append(ready.pop(0))
                rows += self._held[part[-1]].rows
            self._put(part)
            for key in part:
                del self._held[key]
                self._last[key[0]] = max(self._last.get(key[0], -1), key[1])
            progress.committed += len(part)

    def _put(self, keys: Sequence[Key]) -> None:
        commits = {recorder: number for recorder, number in sorted(keys)}  # noqa: C416  the last wins
        for name in DECODED[:-1]:
            self._put_table(name, keys, commits)
        series = pl.concat(self._series)
        if series.height:
            recorder, number = keys[-1]
            told = series.with_columns(recorder=pl.lit(recorder), segment=pl.lit(number, pl.Int64))
            put(self.store, "series", told, {recorder: number})
        self._series = [series.clear()]
        self._put_table(DECODED[-1], keys, commits)

    def _put_table(self, name: str, keys: Sequence[Key], commits: Mapping[str, int]) -> None:
        frame = _gather(keys, {key: self._held[key].parts[name] for key in keys}, name)
        put(self.store, name, frame, commits)


def put(store: Store, name: str, frame: pl.DataFrame, commits: Mapping[str, int]) -> int:
    """Append what of ``frame`` is not in the table yet; how many rows that were."""
    while True:
        last = {recorder: store.last(recorder, name) for recorder in commits}
        left = {recorder: number for recorder, number in commits.items() if number > last[recorder]}
        if not left:
            return 0
        known = pl.DataFrame(
            {"recorder": list(last), "last": list(last.values())},
            schema={"recorder": pl.String, "last": pl.Int64},
        )
        fresh = frame.join(known, on="recorder", how="left").filter(
            pl.col("segment") > pl.col("last")
        )
        if store.append(name, fresh.drop("last"), left):
            return fresh.height


def redecode(
    store: Store, folder: Path, decoder: Decoder, wanted: Callable[[str, int], bool] | None = None
) -> int:
    """Decode committed segments of a folder again and replace their rows; how many segments.

    For a better dictionary, or after :func:`analyzers.upkeep.repair`. ``wanted`` chooses by recorder
    and number. OSError and ValueError as the store's.
    """
    count = 0
    for path in segments(folder, closed=True):
        name = parse_name(path)
        assert name
        key = (name.recorder, name.number)
        if (wanted and not wanted(*key)) or name.number > store.last(name.recorder):
            continue
        decoded = decoder.decode(read_batch(path).batch)
        for table in DECODED:
            if name.number <= store.last(name.recorder, table):
                rows = _gather([key], {key: [getattr(decoded, table)]}, table)
                store.replace(table, rows, name.recorder, (name.number, name.number))
        count += 1
    series = decoder.known.new_series()
    if count and series.height:
        store.overwrite("series", lambda _: _renewed(store, series), "segment >= 0")
    return count


def _renewed(store: Store, series: pl.DataFrame) -> pl.DataFrame:
    """SERIES with ``series`` in the place of what was known of the same counters."""
    key = ["device", "port", "object", "index", "counter"]
    old = pl.scan_delta(store.table("series")).collect()
    fresh = series.with_columns(recorder=pl.lit("redecoded"), segment=pl.lit(0, pl.Int64))
    kept = old.join(fresh, on=key, how="anti")
    return pl.concat([kept.drop("day", "batch"), fresh.select(kept.drop("day", "batch").columns)])


def forget(store: Store, folder: Path, *, age_s: float = 0, limit_bytes: int = 0) -> list[Path]:
    """Delete committed segments that are older than ``age_s``, and the oldest beyond ``limit_bytes``.

    Commits are fsynced before this can see them. The newest segment of a recorder stays.
    """
    now = time.time()
    gone, total = [], 0
    found = sorted(segments(folder, closed=True), key=lambda p: p.stat().st_mtime, reverse=True)
    newest: set[str] = set()
    for path in found:
        name, status = parse_name(path), path.stat()
        assert name
        total += status.st_size
        first_of = name.recorder not in newest
        newest.add(name.recorder)
        old = age_s and now - status.st_mtime > age_s
        if first_of or not (old or (limit_bytes and total > limit_bytes)):
            continue
        if name.number <= min(store.last(name.recorder, t) for t in DECODED):
            path.unlink()
            gone.append(path)
    return gone


def _gather(
    keys: Sequence[Key], parts: Mapping[Key, list[pl.DataFrame]], name: str
) -> pl.DataFrame:
    blank = empty(TABLES[name]).with_columns(
        recorder=pl.lit("", pl.String), segment=pl.lit(0, pl.Int64)
    )
    marked = [
        frame.with_columns(recorder=pl.lit(key[0]), segment=pl.lit(key[1], pl.Int64))
        for key in keys
        for frame in parts[key]
        if frame.height
    ]
    return pl.concat([blank, *marked])


def _note(key: Key, kind: str, value: int, text: str) -> pl.DataFrame:
    now = time.time_ns()
    row = (now, now, "", "", "", -1, "", kind, value, f"{key[0]}: {text}")
    return pl.DataFrame([row], schema=schema(QUALITY), orient="row")
