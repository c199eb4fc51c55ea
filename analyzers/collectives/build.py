"""COLLECTIVES, CARRIED, STALLS, OPERATIONS and RANKS of a run.

    tables = with_collectives(run.tables, job)

Operations are numbered by time. Without job data nothing is lost but names: ranks are -1 and hosts are
told by address.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from analyzers.collectives import arithmetic, join
from analyzers.collectives.job import Job
from analyzers.collectives.recognise import Group, recognise
from analyzers.collectives.traffic import Traffic, traffic
from analyzers.collectives.waits import (
    Links,
    Message,
    Path,
    Spans,
    critical_path,
    with_clear,
)
from analyzers.frames import schema
from analyzers.tables import Tables
from fabric.schema import CARRIED, COLLECTIVES, STALLS

TIMED: Final = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv", "broadcast",
                "reduce", "gather", "scatter", "barrier", "collective")  # fmt: skip
NEEDED: Final = list(Message._fields)
MOST_TIMED: Final = 20_000  # messages of one operation whose critical path is followed
LATE_SHARE: Final = 0.1  # of the operation: less is nobody's fault


@dataclass
class _Rows:
    """Rows of the three tables as they grow."""

    collectives: list[dict[str, Any]]
    carried: list[pl.DataFrame]
    stalls: list[dict[str, Any]]


def with_collectives(tables: Tables, job: Job | None = None) -> Tables:
    """The tables with what the job did; reads POINTS, FLOWS and MESSAGES.

    A run without messages and job data comes back as it is.
    """
    seen = traffic(tables)
    given: dict[str, pl.LazyFrame] = {}
    if job is not None:
        seen = join.named(seen, job)
        given["operations"] = job.operations_frame().lazy()
        given["ranks"] = pl.concat([tables.ranks, job.ranks_frame().lazy()])
    groups = recognise(seen)
    if job is not None:
        groups = [join.told(group, job) for group in groups]
    links = Links(seen, _refused(tables) if groups else None)
    rows = _rows(groups, seen, links, _resent(tables))
    given["collectives"] = _frame(rows.collectives, COLLECTIVES).lazy()
    given["stalls"] = _frame(rows.stalls, STALLS).lazy()
    carried = pl.concat(rows.carried) if rows.carried else pl.DataFrame(schema=schema(CARRIED))
    given["carried"] = carried.lazy()
    return replace(tables, **given)


def _frame(rows: list[dict[str, Any]], table: Any) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema(table), orient="row")


def _resent(tables: Tables) -> dict[int, float]:
    """Payload sent again over payload, by flow."""
    twice = pl.col("payload_bytes") - pl.col("unique_bytes")
    some = tables.flows.filter(twice > 0, pl.col("unique_bytes") > 0)
    frame = some.select("flow", share=twice / pl.col("unique_bytes")).collect()
    return dict(frame.iter_rows())


def _refused(tables: Tables) -> Spans:
    """Spans in which receivers were not ready, by source, destination and queue pair."""
    refusals = (
        tables.events.filter(pl.col("kind") == "rnr", pl.col("delay_ns") > 0)
        .join(tables.flows.select("flow", "src", "dst", "qpn"), on="flow")
        .select("src", "dst", "qpn", "ts", end=pl.col("ts") + pl.col("delay_ns"))
        .unique(["src", "dst", "qpn", "ts"])
        .sort("ts")
        .collect()
    )
    spans: Spans = {}
    for src, dst, qpn, start, end in refusals.iter_rows():
        known = spans.setdefault((src, dst, qpn), [])
        if not known or start >= known[-1][1]:  # several taps tell of one refusal
            known.append((start, end))
    return spans


def _rows(groups: list[Group], seen: Traffic, links: Links, resent: dict[int, float]) -> _Rows:
    rows = _Rows([], [], [])
    share = pl.col("flow").replace_strict(resent, default=0.0, return_dtype=pl.Float64)
    clear = [_ordered(group) for group in groups]
    sums = [_sums(frame, share) for frame in clear]
    starts = sorted(
        (row["start"], at, row["part"]) for at, frame in enumerate(sums) for row in frame.to_dicts()
    )
    numbers = {(at, part): number for number, (_, at, part) in enumerate(starts)}
    for at, group in enumerate(groups):
        name = group.name or f"group {at}"
        for row, path in _operations(group, clear[at], sums[at], links):
            number = numbers[at, row.pop("part")]
            row |= {"operation": number, "communicator": name}
            if seen.cut:
                row["missing"] = "; ".join(filter(None, [row["missing"], "the later messages"]))
            rows.collectives.append(row)
            rows.stalls += _stalls(number, path, row["end"] - row["start"])
        of_part = {part: number for (group_, part), number in numbers.items() if group_ == at}
        rows.carried.append(_carried(clear[at], of_part))
    rows.collectives.sort(key=lambda row: row["operation"])
    rows.stalls.sort(key=lambda row: (row["operation"], row["start"]))
    return rows


def _ordered(group: Group) -> pl.DataFrame:
    """The messages of a group with their clear-to-send, operation by operation."""
    nth = pl.int_range(pl.len()).over("edge", "part", order_by="start")
    return with_clear(group.messages, group.control).with_columns(nth=nth).sort("part", "start")


def _sums(messages: pl.DataFrame, share: pl.Expr) -> pl.DataFrame:
    """One row per operation: its time, bytes, and what its pairs of hosts carried."""
    pairs = messages.group_by("part", "src", "dst").agg(pl.col("bytes").sum())
    edges = pairs.group_by("part").agg(
        usual=pl.col("bytes").median(), most=pl.col("bytes").max(), edges=pl.len()
    )
    return (
        messages.group_by("part")
        .agg(
            pl.col("start").min(),
            end=pl.col("arrived").max(),
            messages=pl.len(),
            measured=pl.col("bytes").sum(),
            resent=(pl.col("bytes") * share).sum(),
        )
        .join(edges, on="part")
        .sort("part")
    )


def _operations(
    group: Group, messages: pl.DataFrame, sums: pl.DataFrame, links: Links
) -> Iterator[tuple[dict[str, Any], Path]]:
    """Rows of COLLECTIVES (with ``part`` for ``operation``) and critical paths, in time."""
    done: dict[str, int] | None = None
    at, before = 0, -1
    columns = messages.select(NEEDED)
    for sum_ in sums.iter_rows(named=True):
        path = Path()
        count = sum_["messages"]
        if group.kind in TIMED and count <= MOST_TIMED:
            rows = list(columns.slice(at, count).iter_rows())
            path = critical_path([Message(*row) for row in rows], links, group.algorithm, done)
            done = path.done
        at += count
        row = _operation(group, sum_, path)
        row["period_ns"] = -1 if before < 0 else row["start"] - before
        before = row["start"]
        yield row, path


def _operation(group: Group, sum_: dict[str, Any], path: Path) -> dict[str, Any]:
    """The row of COLLECTIVES."""
    call = group.call(sum_["part"])
    kind = call.kind if call else group.kind
    algorithm = (call.algorithm if call else "") or group.algorithm
    n = len(group.members)
    size, expected = _size(kind, algorithm, sum_, n)
    if call and call.size >= 0:
        n = call.ranks if call.ranks > 1 else n
        size, expected = call.size, arithmetic.wire_bytes(kind, algorithm, call.size, n)
    start, end = min([sum_["start"], *path.entries.values()]), sum_["end"]
    algbw, busbw = arithmetic.bandwidths(kind, size, n, end - start)
    late, by = path.blame()
    computes = kind == "send_recv" and group.control.is_empty()  # stages of a pipeline do
    if computes or by < max(LATE_SHARE * (end - start), path.total("network")):
        late = ""
    return {
        "part": sum_["part"], "start": start, "end": end,
        "number": call.number if call else -1, "kind": kind, "algorithm": algorithm,
        "bytes": size, "ranks": n, "members": group.members, "messages": sum_["messages"],
        "expected_bytes": expected, "measured_bytes": sum_["measured"],
        "resent_bytes": round(sum_["resent"]), "algbw_bps": algbw, "busbw_bps": busbw,
        "skew_ns": path.skew_ns(), "late_rank": group.ranks.get(late, -1), "late": late,
        "transfer_ns": path.total("transfer"), "network_wait_ns": path.total("network"),
        "sender_wait_ns": path.total("sender"), "receiver_wait_ns": path.total("receiver"),
        "confidence": group.confidence, "evidence": group.evidence, "missing": group.missing,
    }  # fmt: skip


def _size(kind: str, algorithm: str, sum_: dict[str, Any], n: int) -> tuple[int, int]:
    """Size S and bytes on the wire of an operation of which only the traffic is known.

    The median pair of hosts stands for all: a pair that carried less or more shows in the ledger.
    """
    if kind not in ("all_reduce", "all_gather", "reduce_scatter", "all_to_all"):
        return (sum_["measured"] if kind in ("kv_cache", "storage") else sum_["most"]), -1
    usual = sum_["usual"] or sum_["measured"] / sum_["edges"]
    size = arithmetic.size_of(kind, usual, sum_["edges"], n)
    return size, arithmetic.wire_bytes(kind, algorithm, size, n)


def _carried(messages: pl.DataFrame, numbers: dict[int, int]) -> pl.DataFrame:
    """Rows of CARRIED of one group; ``numbers`` has the operation of each part."""
    types = schema(CARRIED)
    operation = pl.col("part").replace_strict(numbers, return_dtype=pl.Int64)
    return (
        messages.group_by("part", "flow")
        .agg(
            pl.col("src", "dst", "qpn", "sport", "src_rank", "dst_rank").first(),
            start=pl.col("start").min(),
            end=pl.col("arrived").max(),
            messages=pl.len(),
            bytes=pl.col("bytes").sum(),
        )
        .with_columns(operation=operation)
        .select(pl.col(name).cast(types[name]) for name in types)
        .sort("operation", "flow")
    )


def _stalls(number: int, path: Path, took_ns: int) -> Iterator[dict[str, Any]]:
    """Rows of STALLS of one operation."""
    for wait in path.stalls(took_ns):
        yield {
            "operation": number, "start": wait.start, "end": wait.end, "cause": wait.cause,
            "late": wait.late, "waits": wait.waits, "flow": wait.flow,
            "clear_to_send": wait.clear, "bytes": wait.size,
        }  # fmt: skip
