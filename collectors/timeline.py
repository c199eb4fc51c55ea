"""Readings of one device in the order of its clock: what a replayed target knows about itself."""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MISSING: Final = -(1 << 63)  # a cell without a reading


@dataclass(frozen=True)
class Key:
    """Whose reading a column holds, in the words of COUNTERS; ``index`` is -1 where there is none."""

    port: str
    object: str
    index: int
    counter: str


@dataclass(frozen=True)
class Timeline:
    """Readings as rows by time and columns by key, in canonical units.

    ``times`` are ascending, int64 ns of the device's clock; ``rows[i][k]`` is the reading of
    ``keys[k]`` at ``times[i]``, or MISSING. ``growth[k]`` is what the column adds when the run starts
    over: the increase of a counter from first to last reading, 0 for a gauge, so that a repeated run
    looks like more traffic and not like a reset. A ``host`` also tells what its NICs count.
    """

    device: str
    keys: tuple[Key, ...]
    times: Sequence[int]
    rows: Sequence["array[int]"]
    growth: Sequence[int]
    host: bool = False

    @property
    def interval_ns(self) -> int:
        """How often the device refreshes: the median distance of its readings; 1 ns for a single one."""
        steps = sorted(b - a for a, b in zip(self.times, self.times[1:], strict=False))
        return max(steps[len(steps) // 2], 1) if steps else 1


class Course:
    """A timeline as it is served: once, or over and over with ``period_ns`` between the starts."""

    def __init__(self, timeline: Timeline, period_ns: int = 0) -> None:
        self.timeline, self.period_ns = timeline, period_ns

    def __len__(self) -> int:
        """Readings of one pass."""
        return len(self.timeline.times)

    def has(self, n: int) -> bool:
        """Whether there is an n-th reading."""
        return n < len(self) or (self.period_ns > 0 and len(self) > 0)

    def time(self, n: int) -> int:
        """Time of the n-th reading, passes before it included."""
        turn, place = divmod(n, len(self))
        return self.timeline.times[place] + turn * self.period_ns

    def row(self, n: int) -> "array[int]":
        """The n-th readings; they go on growing from pass to pass."""
        turn, place = divmod(n, len(self))
        row = self.timeline.rows[place]
        if not turn:
            return row
        grown = zip(row, self.timeline.growth, strict=True)
        return array("q", (v if v == MISSING else v + turn * g for v, g in grown))

    def latest(self, now_ns: int) -> int:
        """Number of the latest reading not after ``now_ns``; -1 before the first."""
        turn = 0
        times = self.timeline.times
        if self.period_ns > 0 and times:
            turn = max((now_ns - times[0]) // self.period_ns, 0)
        return turn * len(times) + bisect_right(times, now_ns - turn * self.period_ns) - 1
