"""What paths mean, as arrays by entry: a value becomes a reading by looking up its entry's number.

``series`` are the counters themselves (device, port, object, index, counter); several paths may lead
to one, as when a device sends a prefix now and then.
"""

from collections.abc import Callable, Hashable
from typing import Final

import numpy as np
import polars as pl

from analyzers.frames import empty
from analyzers.telemetry.dictionary import IGNORED, Dictionary, Entry, Match
from analyzers.telemetry.flatten import Scalar
from analyzers.telemetry.intern import grown
from analyzers.telemetry.rows import Names
from analyzers.telemetry.values import LARGEST, signed, writable
from collectors.messages import Elem, path_text
from fabric.schema import COUNTERS, SERIES, UNKNOWN_PATHS

NEW: Final = 0
IS_KNOWN: Final = 1
IS_IGNORED: Final = 2
IS_UNKNOWN: Final = 3
MAX_UNKNOWN: Final = 100_000  # paths listed
MAX_NESTED: Final = 1 << 20  # paths below others, as payloads in JSON make them
IS_SLOW: Final = 4  # known, but its numbers are words

SeriesRow = tuple[str, str, str, int, str, str, str, int, str]


class Meaning:
    """A path that slower code looks up: what it is, or that nobody knows."""

    __slots__ = ("device", "entry", "example", "last", "readings", "series", "text")

    def __init__(self, device: str, entry: Entry | None, series: int, text: str) -> None:
        self.device, self.entry, self.series = device, entry, series
        self.text = writable(text)
        self.readings, self.last, self.example = 0, 0, ""

    def count(self, value: Scalar, seen: int, times: int = 1) -> None:
        """Take note of readings nobody understands."""
        self.readings += times
        self.last = max(self.last, seen)
        self.example = writable(str(value)[:80])


class Known:
    """Meanings by entry and by key."""

    def __init__(self, dictionary: Dictionary) -> None:
        self.dictionary = dictionary
        self.state = np.zeros(0, np.int8)
        self.number = np.zeros(0, np.int32)  # of the series
        self.factor = np.zeros(0, np.int64)
        self.least = np.zeros(0, np.int64)  # readings outside are none
        self.most = np.zeros(0, np.int64)
        self.series: list[SeriesRow] = []
        self.meanings: list[Meaning] = []
        self.unknown_text: dict[int, tuple[str, str]] = {}
        self._index: dict[tuple[str, str, str, int, str], int] = {}
        self._nested: dict[Hashable, int] = {}
        self._entry_meaning: dict[int, int] = {}
        self._matches: dict[int, Match] = {}
        self._unknown: dict[int, Meaning] = {}
        self._frame = empty(COUNTERS).select("device", "port", "object", "index", "counter")
        self._told = 0

    def room(self, entries: int) -> None:
        """Arrays for so many entries, and one more that stands for none."""
        size = entries + 1
        if len(self.state) >= size:
            return
        for name in ("state", "number", "factor", "least", "most"):
            old = getattr(self, name)
            fresh = np.zeros(size, old.dtype)
            fresh[: len(old)] = old
            setattr(self, name, fresh)

    def grown(self, names: Names) -> Names:
        """The same names with more room."""
        return grown(names)

    def learn(self, entry: int, device: str, match: Match) -> None:
        """An entry's meaning."""
        self.number[entry] = self._series(device, match)
        self.factor[entry] = match.entry.factor
        self.most[entry] = LARGEST // match.entry.factor
        self.least[entry] = -self.most[entry] if signed(match.entry) else 0
        self.state[entry] = IS_SLOW if match.entry.words else IS_KNOWN
        self._matches[entry] = match

    def stranger(self, entry: int, device: str, text: str) -> None:
        """An entry that no dictionary knows."""
        self.state[entry] = IS_UNKNOWN
        if len(self.unknown_text) < MAX_UNKNOWN:
            self.unknown_text[entry] = (device, text)

    def series_of(self, entry: int) -> int:
        """Series of an entry that is known, or -1."""
        if 0 <= entry < len(self.state) and self.state[entry] in (IS_KNOWN, IS_SLOW):
            return int(self.number[entry])
        return -1

    def number_of(self, entry: int) -> int:
        """Place in ``meanings`` of an entry that is known; -1 for others."""
        if entry not in self._entry_meaning:
            series = self.series_of(entry)
            if series < 0:
                return -1
            meaning = Meaning(self.series[series][0], self._matches[entry].entry, series, "")
            self.meanings.append(meaning)
            self._entry_meaning[entry] = len(self.meanings) - 1
        return self._entry_meaning[entry]

    def nested(self, key: Hashable, find: Callable[[], tuple[str, list[Elem]]]) -> int:
        """Place in ``meanings`` of a path below others; ``find`` says whose and which it is.

        -1 where there are too many already.
        """
        at = self._nested.get(key)
        if at is None and len(self._nested) >= MAX_NESTED:
            return -1
        if at is None:
            device, elems = find()
            match = self.dictionary.find(elems)
            series = -1
            if match and match.entry.counter != IGNORED:
                series = self._series(device, match)
            text = "" if match else path_text(elems)
            self.meanings.append(Meaning(device, match.entry if match else None, series, text))
            at = self._nested[key] = len(self.meanings) - 1
        return at

    def count_unknown(self, entry: int, times: int, value: Scalar, seen: int) -> None:
        """Take note of readings of an entry nobody understands."""
        meaning = self._unknown.get(entry)
        if meaning is None:
            if entry not in self.unknown_text:
                return
            device, text = self.unknown_text[entry]
            meaning = self._unknown[entry] = Meaning(device, None, -1, text)
        meaning.count(value, seen, times)

    def frame(self) -> pl.DataFrame:
        """The columns of COUNTERS that a series fixes, by its number."""
        if self._frame.height < len(self.series):
            fresh = pl.DataFrame(
                [row[:5] for row in self.series[self._frame.height :]],
                schema=self._frame.schema,
                orient="row",
            )
            self._frame = pl.concat([self._frame, fresh]).rechunk()
        return self._frame

    def new_series(self) -> pl.DataFrame:
        """SERIES rows that were not handed out before."""
        rows, self._told = self.series[self._told :], len(self.series)
        return pl.DataFrame(rows, schema=empty(SERIES).schema, orient="row")

    def unknown(self) -> pl.DataFrame:
        """UNKNOWN_PATHS so far, the most frequent first."""
        listed = [*self._unknown.values(), *(m for m in self.meanings if m.entry is None)]
        rows = [(m.device, m.text, m.readings, m.example, m.last) for m in listed if m.readings]
        made = pl.DataFrame(rows, schema=empty(UNKNOWN_PATHS).schema, orient="row")
        return made.sort("count", "device", "path", descending=[True, False, False])

    def _series(self, device: str, match: Match) -> int:
        entry = match.entry
        key = (device, writable(match.port), entry.object, match.number, entry.counter)
        if key not in self._index:
            self._index[key] = len(self.series)
            self.series.append((*key, entry.dictionary, entry.path, entry.bits, entry.provenance))
        return self._index[key]
