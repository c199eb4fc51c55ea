"""The time axis of every picture: clock time for long spans, an offset in a fitting unit for short ones.

Plotly keeps dates in milliseconds, which is too coarse for a capture; below a minute the axis counts
from the start of the range. ``meta`` tells the browser how to turn what was selected back into ns.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from dashboards.report import words

OFFSET_BELOW_NS: Final = 60_000_000_000
UNITS: Final = (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000), ("ns", 1))


class TimeAxis(NamedTuple):
    """A time range in ns and how it is written on the axis."""

    start: int
    end: int

    @property
    def unit(self) -> tuple[str, int]:
        """Name of the unit and its length in ns; milliseconds since 1970 for clock time."""
        span = self.end - self.start
        if span >= OFFSET_BELOW_NS:
            return "UTC", 1_000_000
        return next((unit for unit in UNITS if span >= 2 * unit[1]), UNITS[-1])

    def x(self, times: Iterable[int]) -> list[float]:
        """Times (ns) as numbers of the axis."""
        name, unit = self.unit
        if name == "UTC":
            return [time / unit for time in times]
        return [(time - self.start) / unit for time in times]

    @property
    def title(self) -> str:
        """What the axis counts."""
        name, _ = self.unit
        return "UTC" if name == "UTC" else f"{name} after {words.clock(self.start)} UTC"

    def layout(self, **more: Any) -> dict[str, Any]:
        """The xaxis of a Plotly layout."""
        name, _ = self.unit
        low, high = self.x((self.start, self.end))
        kind = {"type": "date"} if name == "UTC" else {"type": "linear"}
        return {**kind, "range": [low, high], "title": {"text": self.title}, **more}

    @property
    def meta(self) -> dict[str, str]:
        """For the browser: where x is 0 and how long 1 is, in ns; text, since 2^53 is too small."""
        name, unit = self.unit
        return {"origin": "0" if name == "UTC" else str(self.start), "unit": str(unit)}
