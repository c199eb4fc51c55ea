"""NCCL Inspector: one JSON object per finished operation, in one or more lines each.

Keys as in NCCL's ``plugins/profiler/inspector`` (header, metadata, coll_perf or p2p_perf); the flat
header that some forwarders write is read too. With ``NCCL_INSPECTOR_DUMP_VERBOSE`` the kernels' start
and stop are exact; without, only the time of the dump and the duration are known, and the end is at
most the dump.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analyzers.collectives.job.found import (
    JobFile,
    Member,
    Operation,
    kind_of,
    number,
    total,
    whole,
)

KIND = "NCCL Inspector"
MOST = 1_000_000  # operations of one file


def matches(path: Path, head: str) -> bool:
    """Whether a file looks like one of these, from its name and beginning."""
    del path
    return ("coll_perf" in head or "p2p_perf" in head) and head.lstrip()[:1] == "{"


def read(path: Path) -> JobFile:
    """Read the file; ValueError names file, line and key. Unknown operations are noted."""
    found = JobFile(str(path), KIND)
    members: dict[tuple[str, int], Member] = {}
    unknown = 0
    for line, record in _objects(path):
        where = f"{path}:{line}"
        for key in ("coll_perf", "p2p_perf"):
            if isinstance(record.get(key), dict):
                done = _operation(record, record[key], where, found, members)
                unknown += not done
        if len(found.operations) > MOST:
            found.notes.append(f"{path}: more than {MOST:,} operations; the rest is not read")
            break
    found.members += members.values()
    if unknown:
        found.notes.append(f"{path}: {unknown} operations of kinds that are not known")
    return found


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line and value of every object of a run of JSON objects; a last one cut short is left out."""
    text = whole(path).decode("utf-8", "replace")
    decoder = json.JSONDecoder()
    at, line = 0, 1
    while True:
        begin = at
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        line += text.count("\n", begin, at)
        if at >= len(text):
            return
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as bad:
            if begin and "\n{" not in text[at:]:
                return  # the job is still writing it
            raise ValueError(f"{path}:{bad.lineno}: not JSON: {bad.msg}") from None
        except (RecursionError, ValueError) as bad:
            raise ValueError(f"{path}:{line}: not JSON: {type(bad).__name__}") from None
        if not isinstance(value, dict):
            raise ValueError(f"{path}:{line}: an object is expected")  # noqa: TRY004
        yield line, value
        line += text.count("\n", at, end)
        at = end


def _operation(
    record: dict[str, Any], perf: dict[str, Any], where: str, found: JobFile,
    members: dict[tuple[str, int], Member],
) -> bool:  # fmt: skip
    """Add one operation; False where its kind is not known."""
    header = record.get("header") if isinstance(record.get("header"), dict) else record
    meta = record.get("metadata") if isinstance(record.get("metadata"), dict) else record
    assert isinstance(header, dict)
    assert isinstance(meta, dict)
    form = "coll" if "coll" in perf else "p2p"
    kind = kind_of(str(perf.get(form, "")))
    if not kind:
        return False
    name = str(header.get("id", ""))
    rank = number(header.get("rank", -1), f"{where}: header.rank", most=1 << 24)
    ranks = number(header.get("n_ranks", -1), f"{where}: header.n_ranks", most=1 << 24)
    host = str(meta.get("hostname", ""))
    members.setdefault((name, rank), Member(name, rank, ranks, host))
    start, end, exact = _times(perf, meta, form, where)
    size = number(perf.get(f"{form}_msg_size_bytes", -1), f"{where}: {form}_msg_size_bytes")
    algorithm = str(perf.get("coll_algo", "")).lower()
    found.operations.append(
        Operation(name, rank, ranks, host,
                  number(perf.get(f"{form}_sn", -1), f"{where}: {form}_sn"), kind,
                  algorithm if algorithm in ("ring", "tree") else "", total(kind, size, ranks),
                  number(perf.get("p2p_peer", -1), f"{where}: p2p_peer", most=1 << 24),
                  start, end, exact)
    )  # fmt: skip
    return True


def _times(
    perf: dict[str, Any], meta: dict[str, Any], form: str, where: str
) -> tuple[int, int, bool]:
    """Start and end in ns and whether they are the operation's own."""
    traced = perf.get("event_trace_ts")
    kernels = traced.get("kernel_events") if isinstance(traced, dict) else None
    if isinstance(kernels, list) and kernels and all(isinstance(k, dict) for k in kernels):
        starts = [
            number(k.get("kernel_start_ts", -1), f"{where}: kernel_start_ts") for k in kernels
        ]
        ends = [number(k.get("kernel_stop_ts", -1), f"{where}: kernel_stop_ts") for k in kernels]
        if min(starts) > 0:
            return min(starts) * 1000, max(ends) * 1000, True
    dumped = number(meta.get("dump_timestamp_us", -1), f"{where}: dump_timestamp_us") * 1000
    took = number(perf.get(f"{form}_exec_time_us", -1), f"{where}: {form}_exec_time_us") * 1000
    if dumped > 0 and took >= 0:
        return dumped - took, dumped, False
    return -1, -1, False
