"""Numbers and times as a person reads them, and text from captures made harmless."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

BILLION = 1_000_000_000
ADDRESS = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7})(?![\w:])"
)


def clean(text: object) -> str:
    """Text from outside on one line: control characters, line breaks included, made visible."""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(text))


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def duration(ns: float) -> str:
    """``12.5 ms`` from nanoseconds."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if abs(ns) >= size:
            return f"{_digits(ns / size)} {unit}"
    return f"{_digits(ns)} ns"


def size(number: float) -> str:
    """``1.5 MB`` from bytes, decimal prefixes."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= scale:
            return f"{_digits(number / scale)} {unit}"
    return f"{number:.0f} bytes"


def rate(bps: float) -> str:
    """``100 Gb/s`` from bit/s; ``unknown`` from nothing."""
    if not bps or bps <= 0:
        return "unknown"
    for unit, scale in (("Tb/s", 1e12), ("Gb/s", 1e9), ("Mb/s", 1e6), ("kb/s", 1e3)):
        if bps >= scale:
            return f"{_digits(bps / scale)} {unit}"
    return f"{bps:.0f} b/s"


def count(number: int, one: str, many: str | None = None) -> str:
    """``1 packet``, ``2,000 packets``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def clock(ns: int | None) -> str:
    """``2023-11-14 22:13:20.000000123`` in UTC; nanoseconds are kept."""
    if ns is None:
        return "time unknown"
    seconds, rest = divmod(ns, BILLION)
    moment = datetime.fromtimestamp(seconds, UTC)  # every int64 is a year it knows
    return f"{moment:%Y-%m-%d %H:%M:%S}.{rest:09d}"


def after(ns: int) -> str:
    """``5 ms into the record``; a record is what was captured or read."""
    return f"{duration(ns)} into the record" if ns > 0 else "from its beginning on"


def span(start: int | None, end: int | None, begin: int) -> str:
    """When something was, after the first packet or reading at ``begin`` (ns); words where nothing dates it."""
    if start is None or end is None:
        return "no packet dates it"
    when = after(start - begin)
    return when + (f", for {duration(end - start)}" if end > start else ", once")


def addresses(text: str) -> list[str]:
    """What looks like an IP or MAC address in a text."""
    return ADDRESS.findall(text)


def named(text: str, names: Mapping[str, str]) -> str:
    """The text with the known ports behind addresses: ``10.0.0.1 (host0:1) → 10.0.0.2``."""
    if not names:
        return text
    return ADDRESS.sub(
        lambda a: f"{a[0]} ({names[a[0]]})" if a[0] in names else a[0],
        text,
    )


def kind(name: str) -> str:
    """``pfc_storm`` as words."""
    spelled = {
        "pfc": "PFC", "rtt": "RTT", "ecn": "ECN", "cnp": "CNP", "rnr": "RNR", "nak": "NAK",
        "qpn": "QPN", "icrc": "ICRC", "ack": "ACK",
    }  # fmt: skip
    return " ".join(spelled.get(word, word) for word in name.split("_"))


def joined(names: list[str], most: int = 3) -> str:
    """``a, b, c and 4 more``."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
