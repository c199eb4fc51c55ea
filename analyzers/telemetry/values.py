"""Values to the canonical unit: whole numbers, whatever form they arrived in."""

import math
import struct
from collections.abc import Mapping

from analyzers.telemetry.dictionary import Entry
from analyzers.telemetry.flatten import Scalar
from fabric.counters import COUNTERS

LARGEST = (1 << 63) - 1
NOTHING = frozenset(["", "n/a", "na", "none", "null", "unknown", "-"])


def canonical(entry: Entry, value: Scalar) -> int | None:
    """A reading in the canonical unit; None where the device says it has none.

    ValueError where it is no number, not finite, beyond 63 bits, or negative where nothing can be.
    """
    number = _number(value, entry.words)
    if number is None:
        return None
    if isinstance(number, float):
        if not math.isfinite(number):
            raise ValueError(f"{number} is no reading")
        number = round(number * entry.factor)
    else:
        number *= entry.factor
    if not -LARGEST <= number <= LARGEST:
        raise ValueError(f"{number} is beyond 63 bits")
    if number < 0 and not signed(entry):
        raise ValueError(f"{number} is negative")
    return number


def writable(text: str) -> str:
    """A text that can be written: half a surrogate pair, which JSON can smuggle in, becomes ``?``."""
    return text.encode(errors="replace").decode()


def signed(entry: Entry) -> bool:
    """Whether a reading may be below zero: light may, counts and lengths may not."""
    return COUNTERS[entry.object, entry.counter].unit.endswith("dBm")


def _number(value: Scalar, words: Mapping[str, int]) -> int | float | None:
    if isinstance(value, bytes):
        # ieeefloat32 of OpenConfig (openconfig-types): four bytes, network order
        if len(value) != 4:
            raise ValueError(f"{len(value)} bytes are no number")
        return float(struct.unpack(">f", value)[0])
    if words:
        text = str(value).rpartition(":")[2]
        if text in words:
            return words[text]
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in NOTHING:
            return None
        try:
            return int(text) if len(text) < 40 else float(text)
        except ValueError:
            pass
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is no number") from None
    return value
