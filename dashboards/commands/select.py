"""Filters of ``fabric packets`` as Polars expressions over PACKETS."""

from collections.abc import Callable
from typing import Final, NamedTuple

import polars as pl

from dashboards.commands import values
from fabric.codes import CNP_OPCODE, Fault, FrameKind, headers_of, opcode_name


class Wanted(NamedTuple):
    """What the user asked for, as written; None where it does not matter."""

    flow: int | None = None
    src: str | None = None
    dst: str | None = None
    qpn: str | None = None
    opcode: str | None = None
    psn: str | None = None
    time: str | None = None
    kind: str | None = None
    fault: str | None = None


CNP = pl.col("opcode") == CNP_OPCODE
V1, V2 = int(FrameKind.ROCE_V1), int(FrameKind.ROCE_V2)
KINDS: Final[dict[str, pl.Expr]] = {
    "roce": pl.col("kind").is_in([V1, V2]) & ~CNP.fill_null(value=False),
    "roce_v1": pl.col("kind") == V1,
    "cnp": CNP,
    "pfc": pl.col("kind") == int(FrameKind.PFC),
    "pause": pl.col("kind").is_in([int(FrameKind.PFC), int(FrameKind.GLOBAL_PAUSE)]),
    "fault": pl.col("fault") > 0,
}


def condition(wanted: Wanted) -> Callable[[int], pl.Expr]:
    """What rows of PACKETS must fulfil, given the time of the capture's first packet in ns.

    ValueError, naming the option, for what cannot be understood.
    """
    tests: list[pl.Expr] = [
        pl.col(name) == getattr(wanted, name)
        for name in ("flow", "src", "dst")
        if getattr(wanted, name) is not None
    ]
    if wanted.qpn is not None:
        tests.append(pl.col("qpn") == values.number(wanted.qpn, "--qpn"))
    if wanted.opcode is not None:
        tests.append(pl.col("opcode").is_in(opcodes(wanted.opcode)))
    if wanted.psn is not None:
        low, high = values.span(wanted.psn, "--psn")
        inside = pl.col("psn").is_between(low, high)
        # A range that runs backwards goes over the wrap: 16777200-15.
        tests.append(inside if low <= high else (pl.col("psn") >= low) | (pl.col("psn") <= high))
    if wanted.kind is not None:
        tests.append(_named(wanted.kind, "--kind", KINDS))
    if wanted.fault is not None:
        faults = {fault.name.lower(): pl.col("fault") == int(fault) for fault in Fault if fault}
        tests.append(_named(wanted.fault, "--fault", {"any": pl.col("fault") > 0, **faults}))
    if wanted.time is None:
        return lambda _: pl.all_horizontal(True, *tests)
    begin, end = values.times(wanted.time, "--time")
    return lambda first: pl.all_horizontal(
        pl.col("ts").is_between(first + begin, first + end), *tests
    )


def opcodes(text: str) -> list[int]:
    """BTH opcodes of a number, or of a part of a name such as ``write`` or ``rc ack``."""
    try:
        return [int(text, 0)]
    except ValueError:
        words = text.upper().replace("_", " ").split()
    found = [
        code
        for code in range(256)
        if headers_of(code) is not None and _said(words, opcode_name(code))
    ]
    if not found:
        raise ValueError(f"--opcode {text}: no such opcode")
    return found


def _said(words: list[str], name: str) -> bool:
    """Each word begins one of the name's."""
    parts = name.replace("_", " ").split()
    return all(any(part.startswith(word) for part in parts) for word in words)


def _named(text: str, option: str, known: dict[str, pl.Expr]) -> pl.Expr:
    if text.lower() not in known:
        raise ValueError(f"{option} {text}: one of {', '.join(known)}")
    return known[text.lower()]
