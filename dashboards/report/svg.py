"""Axes, ticks and marks as SVG text: what the plots of the HTML report are drawn with.

Colours are CSS variables of the page, so that a picture follows the light or dark scheme. All text
goes through :func:`esc`. A picture is a list of SVG elements; coordinates are pixels of a box that
scales with the page.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from dashboards.report import words

WIDTH = 1040  # of a picture
LABELS = 330  # where lanes begin that have names at their left
LEFT, RIGHT, TOP, BOTTOM = 74, 16, 10, 40


def esc(said: object) -> str:
    """Text for HTML and SVG: one line, nothing that is markup."""
    return escape(words.clean(said), quote=True)


@dataclass(frozen=True)
class Figure:
    """A picture and what stands around it; ``head`` and ``rows`` are the table behind it."""

    title: str
    reading: str
    svg: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class Scale(NamedTuple):
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Pixel of a value."""
        span = (self.high - self.low) or 1.0
        return round(self.start + (value - self.low) / span * (self.end - self.start), 1)


class LogScale(NamedTuple):
    """A logarithmic map from positive values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Pixel of a value."""
        low, high = math.log(self.low), math.log(self.high)
        share = (math.log(max(value, self.low)) - low) / ((high - low) or 1.0)
        return round(self.start + share * (self.end - self.start), 1)


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round values between low and high, 1-2-5 steps."""
    if high <= low:
        return [low]
    raw = (high - low) / about
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(base * m for m in (1, 2, 5, 10) if base * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def decades(low: float, high: float) -> list[float]:
    """1, 10, 100... within the range, with 2 and 5 between them where there are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= 4 else (1,)
    values = (m * 10.0**p for p in powers for m in steps)
    return [value for value in values if low <= value <= high * 1.0001]


def time_unit(span_ns: float) -> tuple[str, float]:
    """The unit in which an axis of this length reads best, and its size in ns."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if span_ns >= 2 * size:
            return unit, size
    return "ns", 1.0


def number(value: float) -> str:
    """A tick's label: no exponent, no trailing zeros."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.6g}"


def text(x: float, y: float, said: str, style: str = "tick", anchor: str = "start") -> str:
    """A text element; ``said`` is escaped here."""
    return f'<text class="{style}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{esc(said)}</text>'


def time_axis(x: Scale, bottom: float, top: float, note: str = "") -> Iterator[str]:
    """Ticks, grid lines and title of a time axis whose values are ns after the first packet."""
    unit, size = time_unit(x.high - x.low)
    for value in ticks(x.low / size, x.high / size, 8):
        at = x(value * size)
        yield f'<path class="grid" d="M{at} {top}V{bottom}"/>'
        yield text(at, bottom + 15, number(value), anchor="middle")
    middle = (x.start + x.end) / 2
    title = f"time since the first packet, {unit}{note}"
    yield text(middle, bottom + 32, title, "axis", "middle")


def value_axis(
    y: Scale | LogScale, left: float, right: float, title: str, marks: Sequence[tuple[float, str]]
) -> Iterator[str]:
    """Grid lines with labels at ``marks`` (value, label), and the title along the axis."""
    for value, label in marks:
        at = y(value)
        yield f'<path class="grid" d="M{left} {at}H{right}"/>'
        yield text(left - 6, at + 4, label, anchor="end")
    middle = (y.start + y.end) / 2
    yield (
        f'<text class="axis" transform="translate(14 {middle}) rotate(-90)" '
        f'text-anchor="middle">{esc(title)}</text>'
    )


def steps(points: Sequence[tuple[float, float, float]], x: Scale, y: Scale) -> str:
    """Path of a step line through (begin, end, value); a gap lifts the pen."""
    path, last = [], None
    for begin, end, value in points:
        pen = "L" if last is not None and begin <= last else "M"
        path.append(f"{pen}{x(begin)} {y(value)}H{x(end)}")
        last = end
    return "".join(path)


def area(points: Sequence[tuple[float, float, float]], x: Scale, y: Scale) -> str:
    """Path of the filled bars under a step line."""
    floor = y(0)
    return "".join(f"M{x(b)} {floor}V{y(v)}H{x(e)}V{floor}Z" for b, e, v in points)


def picture(height: float, elements: Sequence[str], label: str) -> str:
    """The SVG element, scaling with the page, with a label for screen readers."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{esc(label)}">'
        + "".join(elements)
        + "</svg>"
    )
