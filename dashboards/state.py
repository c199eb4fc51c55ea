"""What a page shows is written in its URL; here it is read and links are made.

Times in URLs are nanoseconds since 1970 (UTC). A value that cannot be read counts as not given: a
mangled link still opens the page.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlencode

from fabric.inventory.document import moment_ns

LONGEST: Final = 4096  # characters of a query that are looked at
KEPT: Final = ("src", "from", "to", "last", "live")  # what a link to another page takes along
SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True)
class State:
    """The query of a URL. ``start``, ``end`` (ns) and ``last_ns`` are None where not given."""

    src: str = ""
    start: int | None = None
    end: int | None = None
    last_ns: int | None = None
    live: bool = False
    args: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        """A parameter of the page."""
        return self.args.get(name, default)

    def number(self, name: str, default: int | None = None) -> int | None:
        """A parameter that is a whole number; ``default`` where it is none."""
        return _whole(self.args.get(name, ""), default)

    def choice(self, name: str, known: Mapping[str, object] | tuple[str, ...], default: str) -> str:
        """A parameter that is one of ``known``."""
        given = self.args.get(name, default)
        return given if given in known else default

    def names(self, name: str) -> tuple[str, ...]:
        """A parameter that is a list, separated by commas."""
        return tuple(part for part in self.args.get(name, "").split(",") if part)

    @property
    def bounded(self) -> bool:
        """Whether the URL says anything about the time range."""
        return self.start is not None or self.end is not None or self.last_ns is not None

    def span(self, known: tuple[int, int]) -> tuple[int, int]:
        """The time range asked for, inside what is known (ns)."""
        begin, end = known
        if self.last_ns is not None:
            return max(begin, end - self.last_ns), end
        start = begin if self.start is None else min(max(self.start, begin), end)
        stop = end if self.end is None else min(max(self.end, begin), end)
        return (start, stop) if stop > start else (begin, end)

    def link(self, path: str, **params: object) -> str:
        """Address of another page with the same source, time range and live mode."""
        return link(path, **({name: self.args.get(name) for name in KEPT} | params))


def read(search: str | None) -> State:
    """The state that a query (``?a=b``) says."""
    args = dict(parse_qsl((search or "")[:LONGEST].lstrip("?")))
    last = _whole(args.get("last", ""), None)
    return State(
        src=args.get("src", ""),
        start=_moment(args.get("from", "")),
        end=_moment(args.get("to", "")),
        last_ns=None if last is None or last <= 0 else min(last, 10**9) * SECOND_NS,
        live=args.get("live") == "1",
        args=args,
    )


def link(path: str, **params: object) -> str:
    """An address; parameters that are None or empty are left out."""
    given = {name: value for name, value in params.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def _whole(text: str, default: int | None) -> int | None:
    try:
        value = int(text)
    except ValueError:
        return default
    return value if -(2**63) <= value < 2**63 else default


def _moment(text: str) -> int | None:
    if not text:
        return None
    try:
        return moment_ns(text)
    except ValueError:
        return None
