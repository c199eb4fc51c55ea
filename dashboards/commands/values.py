"""What users write on the command line: speeds, times, ranges."""

import re

SPEED = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:bit/s|bps|b/s|b)?", re.IGNORECASE)
SCALE = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", re.IGNORECASE)
TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s)")
NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9}


def speed(text: str) -> int:
    """Bits per second of ``400G``, ``25Gb/s``, ``1000000``; ValueError for anything else."""
    found = SPEED.fullmatch(text.strip())
    bps = round(float(found[1]) * SCALE[found[2].lower()]) if found else 0
    if bps <= 0:
        raise ValueError(f"--speed {text}: not a speed; write it like 400G or 25G")
    return bps


def speeds(texts: list[str]) -> tuple[int, dict[str, int]]:
    """The speed of all points (0 not given) and of single ones, from ``400G`` and ``POINT=400G``."""
    everywhere, single = 0, dict[str, int]()
    for text in texts:
        point, _, value = text.rpartition("=")
        if point:
            single[point] = speed(value)
        else:
            everywhere = speed(value)
    return everywhere, single


def duration(text: str, option: str) -> int:
    """Nanoseconds of ``1ms``, ``250us``, ``0.5s``; ValueError for anything else."""
    found = TIME.fullmatch(text.strip())
    ns = round(float(found[1]) * NANOSECONDS[found[2]]) if found else 0
    if ns <= 0:
        raise ValueError(f"{option} {text}: not a time; write it like 1ms or 250us")
    return ns


def size(text: str, option: str) -> int:
    """Bytes of ``8G``, ``500M``, ``1000000``; decimal prefixes; ValueError for anything else."""
    found = SIZE.fullmatch(text.strip())
    size_bytes = round(float(found[1]) * SCALE[found[2].lower()]) if found else 0
    if size_bytes <= 0:
        raise ValueError(f"{option} {text}: not a size; write it like 8G or 500M")
    return size_bytes


def number(text: str, option: str) -> int:
    """A number, decimal or 0x; ValueError for anything else."""
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f"{option} {text}: not a number") from None


def span(text: str, option: str) -> tuple[int, int]:
    """Both ends of ``A-B``, or twice ``A``; ValueError for anything else."""
    low, _, high = text.partition("-")
    first = number(low, option)
    return first, number(high, option) if high else first


def times(text: str, option: str) -> tuple[int, int]:
    """Both ends of ``1ms-2.5ms`` in ns after the first packet."""
    low, _, high = text.partition("-")
    return duration(low, option) if low.strip("0") else 0, duration(high or low, option)
