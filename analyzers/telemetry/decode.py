"""Raw records to COUNTERS: the compiled pass, dictionaries, and slower code for what is odd.

One :class:`Decoder` lives as long as the process: it learns each path once. What a path means is
looked up when its first value arrives; every later value costs a probe of a hash table and a few
array operations. What no dictionary knows is listed, and what is no reading is counted.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analyzers.frames import empty
from analyzers.telemetry import vendors
from analyzers.telemetry.batch import COMPILED, Batch, batch_of
from analyzers.telemetry.dictionary import IGNORED, Dictionary, builtin, plain
from analyzers.telemetry.flatten import Leaf, Scalar, join, json_leaves, leaflist
from analyzers.telemetry.intern import number_of
from analyzers.telemetry.known import IS_IGNORED, IS_KNOWN, IS_SLOW, IS_UNKNOWN, NEW, Known
from analyzers.telemetry.places import Place, Places, place_text, words
from analyzers.telemetry.readings import VendorReading, named_device
from analyzers.telemetry.responses import decode_records, shortage
from analyzers.telemetry.rows import Count, EntryKind, Form, RecordFault, make_names, make_rows
from analyzers.telemetry.rows import ValueKind as Kind
from analyzers.telemetry.scalars import scalar_of, told
from analyzers.telemetry.told import Told
from analyzers.telemetry.values import canonical, writable
from collectors.batches import NUMBERED
from collectors.messages import Elem
from collectors.records import Method
from fabric.schema import COUNTERS

ROWS = 1 << 17  # value rows at a time: their columns stay in the cache
ENTRIES, BLOB = 1 << 12, 1 << 19
MAX_ENTRIES = 1 << 24
MAX_BATCHES = 100_000  # of agents, remembered: what comes again comes soon
NUMBERED_METHODS = (Method.SONIC, Method.RDMA, Method.NOTE)


class Decoded(NamedTuple):
    """What a batch said."""

    counters: pl.DataFrame  # COUNTERS, in the order of the records
    quality: pl.DataFrame  # QUALITY
    logs: pl.DataFrame  # LOGS
    records: int
    faults: Counter[str]  # of records and of values, by kind
    synced: int  # sync_response messages


class _Found(NamedTuple):
    """Rows of one window, as arrays."""

    series: NDArray[np.int32]
    record: NDArray[np.int32]
    ts: NDArray[np.int64]
    value: NDArray[np.int64]


class Decoder:
    """Decodes batch after batch; not for several threads at once.

    ``devices`` gives the names of devices known by address; ``dictionary`` the meaning of paths.
    """

    def __init__(
        self, dictionary: Dictionary | None = None, devices: Mapping[str, str] | None = None
    ) -> None:
        self.dictionary = builtin() if dictionary is None else dictionary
        self._devices = dict(devices or {})
        self._names = make_names(ENTRIES, BLOB, secrets.randbits(62))
        self._rows = make_rows(ROWS)
        self._peers: dict[str, int] = {}
        self._places = Places(self.device)
        self.known = Known(self.dictionary)
        self._batches: dict[tuple[bytes, int], int] = {}  # of agents, and when they were seen
        self._told = Told(batch_of([]), self.device)

    def device(self, peer: str) -> str:
        """Name of the device that is known as ``peer``."""
        return writable(self._devices.get(peer, peer))

    def decode(self, batch: Batch) -> Decoded:
        """COUNTERS and QUALITY of a batch of records."""
        self._told = Told(batch, self.device)
        synced = int(self._names.counts[Count.SYNCS])
        compiled = np.isin(batch.methods, [int(m) for m in COMPILED])
        new = self._once(batch)
        found = list(self._compiled(batch, np.flatnonzero(compiled & new)))
        found += self._others(batch, np.flatnonzero(~compiled & new))
        counters = self._frame(batch, found)
        return Decoded(
            counters,
            self._told.quality(),
            self._told.logs(),
            len(batch.offsets),
            self._told.faults,
            int(self._names.counts[Count.SYNCS]) - synced,
        )

    def _once(self, batch: Batch) -> NDArray[np.bool_]:
        """Which records are no batch of an agent that came before: its acknowledgement was lost."""
        new = np.ones(len(batch.offsets), np.bool_)
        numbered = np.isin(batch.methods, [int(m) for m in NUMBERED_METHODS])
        for record in np.flatnonzero(numbered).tolist():
            found = NUMBERED.match(batch.head(record))
            if not found:
                continue
            # The same record decoded again was seen at the same time, and is no repetition.
            seen = int(batch.seen[record])
            if self._batches.setdefault((found[1], int(found[2])), seen) != seen:
                new[record] = False
                text = f"batch {int(found[2])} of an agent came again"
                self._say(record, self.device(batch.peers[record]), "repeated", 1, text)
        while len(self._batches) > MAX_BATCHES:
            del self._batches[next(iter(self._batches))]
        return new

    def _frame(self, batch: Batch, found: list[_Found]) -> pl.DataFrame:
        if not found:
            return empty(COUNTERS)
        series = np.concatenate([part.series for part in found])
        record = np.concatenate([part.record for part in found])
        ts = np.concatenate([part.ts for part in found])
        seen = batch.seen[record]
        # A device that tells no time, or none of this age: the record's clock, or ours.
        ts = np.where(told(ts), ts, np.where(told(batch.ts[record]), batch.ts[record], seen))
        names = self.known.frame()[pl.Series(series)]
        return names.select(
            pl.Series("ts", ts),
            pl.Series("seen", seen),
            *COUNTERS.names[2:-1],
            pl.Series("value", np.concatenate([part.value for part in found])),
        )

    def _compiled(self, batch: Batch, chosen: NDArray[np.int64]) -> Iterable[_Found]:
        """Records the compiled pass reads, window by window."""
        if not len(chosen):
            return
        methods = batch.methods[chosen]
        offsets, sizes = batch.offsets[chosen], batch.sizes[chosen]
        snapshots = methods == int(Method.SONIC)
        forms = np.where(snapshots, int(Form.OBJECT), int(Form.RESPONSE)).astype(np.uint8)
        parents = np.array([self._parent(batch, int(i)) for i in chosen], np.int32)
        clocks = np.where(batch.ts[chosen] != 0, batch.ts[chosen], batch.seen[chosen])
        faults = np.zeros(len(chosen), np.uint8)
        first = 0
        while first < len(chosen):
            self._names.counts[Count.ROWS] = 0
            stopped = decode_records(
                batch.buffer, offsets, sizes, parents, forms, clocks, faults, first,
                self._rows, self._names,
            )  # fmt: skip
            count = int(self._names.counts[Count.ROWS])
            if count:
                yield from self._window(batch, chosen, count)
            if stopped < len(chosen) and (short := self._make_room(stopped == first)):
                faults[stopped] = short
                stopped += 1
            first = stopped
        for number, n in enumerate(np.bincount(faults)):
            if number and n:
                self._told.faults[f"record: {RecordFault(number).name.lower()}"] += int(n)
        self._note_faults(batch, chosen[faults != 0], faults[faults != 0])

    def _make_room(self, stuck: bool) -> int:
        """Grow what ran out; RecordFault.TABLES where no more may be taken."""
        if shortage(self._names):
            if len(self._names.entries) >= MAX_ENTRIES:
                return int(RecordFault.TABLES)
            self._names = self.known.grown(self._names)
        elif stuck:
            if len(self._rows.entry) >= 1 << 26:
                return int(RecordFault.TABLES)
            self._rows = make_rows(2 * len(self._rows.entry))
        return 0

    def _parent(self, batch: Batch, record: int) -> int:
        peer = batch.peers[record]
        if batch.methods[record] == Method.SONIC:
            peer = named_device(batch.head(record)) or peer
        if peer not in self._peers:
            while (
                number := number_of(
                    self._names, peer.encode(errors="replace")[:255], 0, EntryKind.PEER
                )
            ) < 0:
                self._names = self.known.grown(self._names)
            self._peers[peer] = number
        return self._peers[peer]

    def _note_faults(
        self, batch: Batch, records: NDArray[np.int64], faults: NDArray[np.uint8]
    ) -> None:
        """A row for each device whose records could not be read."""
        bad = Counter(
            (batch.peers[int(r)], RecordFault(int(f)).name.lower())
            for r, f in zip(records, faults, strict=True)
        )
        for (peer, why), count in bad.items():
            text = f"{count} messages could not be read: {why}"
            self._say(int(records[0]), self.device(peer), "fault", count, text)

    def _say(
        self, record: int, device: str, kind: str, value: int, text: str, series: int = -1
    ) -> None:
        """A row of QUALITY, about a series where it is known."""
        if series >= 0:
            self._told.say(record, device, kind, value, text, self.known.series[series][1:5])
        else:
            self._told.say(record, device, kind, value, text)

    def _window(self, batch: Batch, chosen: NDArray[np.int64], count: int) -> Iterable[_Found]:
        """Value rows to readings."""
        rows, known = self._rows, self.known
        entry = rows.entry[:count]
        known.room(len(self._names.entries))
        self._resolve(entry)
        # UNNAMED rows have the entry -1, which looks up the last place: it is never given out.
        state = known.state[entry]
        kind, value = rows.kind[:count], rows.value[:count]
        record = chosen[rows.record[:count]].astype(np.int32)
        numbers = (state == IS_KNOWN) & (kind == Kind.INTEGER)
        if numbers.all():
            picked: Any = slice(None)
        else:
            picked = np.flatnonzero(numbers)
            yield from self._slower(batch, record, state, kind)
        entries = entry[picked]
        factor, now = known.factor[entries], value[picked]
        bad = (now < known.least[entries]) | (now > known.most[entries])
        if bad.any():
            for where in np.flatnonzero(bad)[:1000]:
                self._fault(batch, int(record[picked][where]), int(entries[where]), "out of range")
            self._told.faults["value: out of range"] += max(int(bad.sum()) - 1000, 0)
            good = ~bad
            yield _Found(
                known.number[entries][good], record[picked][good],
                rows.ts[:count][picked][good], now[good] * factor[good],
            )  # fmt: skip
            return
        yield _Found(
            known.number[entries], record[picked], rows.ts[:count][picked].copy(), now * factor
        )

    def _resolve(self, entry: NDArray[np.int32]) -> None:
        """Look up what entries mean that were not seen before."""
        known = self.known
        new = entry[(known.state[entry] == NEW) & (entry >= 0)]
        for number in np.unique(new).tolist():
            place = self._places.of(self._names, number)
            if place is None:
                known.stranger(number, "", "bytes that are no path")
            else:
                self._mean(number, place)

    def _mean(self, number: int, place: Place) -> None:
        elems = words(place)
        match = self.dictionary.find(elems)
        if match is None:
            self.known.stranger(number, place.device, place_text(place))
        elif match.entry.counter == IGNORED:
            self.known.state[number] = IS_IGNORED
        else:
            self.known.learn(number, place.device, match)

    def _slower(
        self,
        batch: Batch,
        record: NDArray[np.int32],
        state: NDArray[np.int8],
        kind: NDArray[np.uint8],
    ) -> Iterable[_Found]:
        """Rows that are no plain number of a known path."""
        special = (kind == Kind.JSON) | (kind >= Kind.DELETED) | (kind == Kind.LEAFLIST)
        unknown = np.flatnonzero((state == IS_UNKNOWN) & ~special)
        self._count_unknown(batch, record, unknown)
        wanted = ((state == IS_KNOWN) & (kind != Kind.INTEGER)) | (state == IS_SLOW) | special
        found: list[tuple[int, int, int, int]] = []
        for row in np.flatnonzero(wanted).tolist():
            self._odd(batch, int(record[row]), row, Kind(int(kind[row])), found)
        if found:
            series, where, ts, values = (
                np.array(column, np.int64) for column in zip(*found, strict=True)
            )
            yield _Found(series.astype(np.int32), where.astype(np.int32), ts, values)

    def _odd(
        self,
        batch: Batch,
        record: int,
        row: int,
        kind: Kind,
        found: list[tuple[int, int, int, int]],
    ) -> None:
        """One such row."""
        rows, names = self._rows, self._names
        entry, ts = int(rows.entry[row]), int(rows.ts[row])
        value, size = int(rows.value[row]), int(rows.size[row])
        if kind == Kind.UNNAMED:
            self._fault(batch, record, -1, "a path too long")
        elif kind in (Kind.DELETED, Kind.DUPLICATES):
            place = self._places.of(names, entry)
            series = self.known.series_of(entry)
            device = place.device if place else ""
            text = place_text(place) if place else ""
            word = "deleted" if kind == Kind.DELETED else "duplicates"
            self._say(record, device, word, max(value, 1), text, series)
        elif kind in (Kind.JSON, Kind.LEAFLIST):
            self._nested(
                batch, record, entry, ts, batch.buffer[value : value + size].tobytes(), kind, found
            )
        elif kind == Kind.BAD_JSON:
            self._fault(batch, record, entry, "no JSON")
        else:
            scalar = scalar_of(kind, value, size, batch.buffer)
            self._reading(batch, record, self.known.number_of(entry), ts, scalar, found)

    def _nested(
        self, batch: Batch, record: int, entry: int, ts: int, raw: bytes, kind: Kind,
        found: list[tuple[int, int, int, int]],
    ) -> None:  # fmt: skip
        """A value with leaves of its own."""
        place = self._places.of(self._names, entry)
        if place is None:
            self._fault(batch, record, entry, "bytes that are no path")
            return
        try:
            leaves = (
                json_leaves(raw, self.dictionary.keys, place.elems[-1][0] if place.elems else "")
                if kind == Kind.JSON
                else leaflist(raw)
            )
        except ValueError as error:
            self._fault(batch, record, entry, str(error)[:80])
            return
        for leaf in leaves:
            at = self._below(place, entry, leaf)
            self._reading(batch, record, at, ts, leaf.value, found)

    def _below(self, place: Place, entry: int, leaf: Leaf) -> int:
        """Number in ``known`` of a leaf below an entry's path."""
        key = (entry, *((name, *sorted(keys.items())) for name, keys in leaf.elems))
        return self.known.nested(key, lambda: self._nested_match(place, leaf))

    def _nested_match(self, place: Place, leaf: Leaf) -> tuple[str, list[Elem]]:
        if place.snapshot or place.database:
            names = tuple(name for name, _ in leaf.elems)
            return place.device, words(place._replace(names=(*place.names, *names)))
        return place.device, join(words(place), tuple(plain(leaf.elems)))

    def _reading(
        self, batch: Batch, record: int, at: int, ts: int, value: Scalar,
        found: list[tuple[int, int, int, int]],
    ) -> None:  # fmt: skip
        """A scalar of a path known by its place in ``known.meanings``; counted where it is unknown."""
        if at < 0:
            return
        meaning = self.known.meanings[at]
        if meaning.entry is None:
            meaning.count(value, int(batch.seen[record]))
            return
        if meaning.entry.counter == IGNORED:
            return
        try:
            number = canonical(meaning.entry, value)
        except ValueError as error:
            self._told.faults["value: no reading"] += 1
            self._say(record, meaning.device, "fault", 1, str(error), meaning.series)
            return
        if number is not None:
            found.append((meaning.series, record, ts, number))

    def _fault(self, batch: Batch, record: int, entry: int, why: str) -> None:
        self._told.faults[f"value: {why}"] += 1
        place = self._places.of(self._names, entry) if entry >= 0 else None
        device = place.device if place else self.device(batch.peers[record])
        text = f"{place_text(place)}: {why}" if place else why
        self._say(record, device, "fault", 1, text, self.known.series_of(entry))

    def _count_unknown(
        self, batch: Batch, record: NDArray[np.int32], unknown: NDArray[np.int64]
    ) -> None:
        if not len(unknown):
            return
        entries, last, counts = np.unique(
            self._rows.entry[unknown], return_index=True, return_counts=True
        )
        for entry, where, count in zip(
            entries.tolist(), last.tolist(), counts.tolist(), strict=True
        ):
            if entry < 0:
                continue
            row = int(unknown[where])
            kind = Kind(int(self._rows.kind[row]))
            value = scalar_of(
                kind, int(self._rows.value[row]), int(self._rows.size[row]), batch.buffer
            )
            self.known.count_unknown(entry, count, value, int(batch.seen[record[row]]))

    def _others(self, batch: Batch, chosen: NDArray[np.int64]) -> list[_Found]:
        """Records of the forms that Python reads."""
        found: list[tuple[int, int, int, int]] = []
        for record in chosen.tolist():
            method = int(batch.methods[record])
            read = vendors.READERS.get(method)
            readings: list[VendorReading] = []
            try:
                if read:
                    readings = list(read(batch.payload(record), self.dictionary))
                elif method == Method.NOTE:
                    self._told.noted(record)
                elif method == Method.EVENTS:
                    self._told.happened(record)
                else:
                    self._told.faults["record: unknown method"] += 1
            except (ValueError, RecursionError) as error:
                self._told.faults["record: unreadable"] += 1
                device = self.device(batch.peers[record])
                self._say(record, device, "fault", 1, f"{Method(method).name}: {error}")
                continue
            for reading in readings:
                device = self.device(reading.device or batch.peers[record])
                at = self.known.nested((device, reading.key()), partial(reading.named, device))
                clock = reading.ts if 0 < reading.ts < 1 << 63 else 0
                self._reading(batch, record, at, clock, reading.value, found)
        if not found:
            return []
        series, where, ts, values = (np.array(c, np.int64) for c in zip(*found, strict=True))
        return [_Found(series.astype(np.int32), where.astype(np.int32), ts, values)]
