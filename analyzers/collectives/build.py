"""COLLECTIVES, CARRIED, STALLS, OPERATIONS and RANKS of a run.

    tables = with_collectives(run.tables, job)

Operations are numbered by time. Without job data nothing is lost but names: ranks are -1 and hosts are
told by address.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from analyzers.collectives import arithmetic, join
from analyzers.collectives.job import Job
from analyzers.collectives.recognise import Group, recognise
from analyzers.collectives.traffic import Traffic, traffic
from analyzers.collectives.waits import Links, Path, Spans, critical_path, with_clear
from analyzers.frames import schema
from analyzers.tables import Tables
from fabric.schema import CARRIED, COLLECTIVES, STALLS

TIMED: Final = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv", "broadcast",
                "reduce", "gather", "scatter", "barrier")  # fmt: skip
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
    parts = [part for group in groups for part in _parts(group)]
    parts.sort(key=lambda part: (part[2]["start"].min(), part[0].members))
    unnamed = {id(group): f"group {n}" for n, group in enumerate(groups)}
    before: dict[int, int] = {}
    done: dict[int, dict[str, int]] = {}
    for number, (group, at, messages) in enumerate(parts):
        timed = group.kind in TIMED and len(messages) <= MOST_TIMED
        earlier = done.get(id(group))
        path = Path()
        if timed:
            path = critical_path(messages.to_dicts(), links, group.algorithm, earlier)
            done[id(group)] = path.done
        row = _operation(number, group, at, messages, path, resent)
        row["communicator"] = group.name or unnamed[id(group)]
        if id(group) in before:
            row["period_ns"] = row["start"] - before[id(group)]
        before[id(group)] = row["start"]
        if seen.cut:
            row["missing"] = "; ".join(filter(None, [row["missing"], "the later messages"]))
        rows.collectives.append(row)
        rows.carried.append(_carried(number, messages))
        rows.stalls += _stalls(number, path, row["end"] - row["start"])
    return rows


def _parts(group: Group) -> Iterator[tuple[Group, int, pl.DataFrame]]:
    clear = with_clear(group.messages, group.control)
    nth = pl.int_range(pl.len()).over("edge", "part", order_by="start")
    for (part,), messages in clear.with_columns(nth=nth).group_by("part", maintain_order=True):
        yield group, int(str(part)), messages


def _operation(
    number: int, group: Group, at: int, messages: pl.DataFrame, path: Path,
    resent: dict[int, float],
) -> dict[str, Any]:  # fmt: skip
    """The row of COLLECTIVES."""
    call = group.call(at)
    kind = call.kind if call else group.kind
    algorithm = (call.algorithm if call else "") or group.algorithm
    edges = messages.group_by("src", "dst").agg(pl.col("bytes").sum())
    n = len(group.members)
    measured = int(edges["bytes"].sum())
    size, expected = _size(kind, algorithm, edges, n, measured)
    if call and call.size >= 0:
        n = call.ranks if call.ranks > 1 else n
        size, expected = call.size, arithmetic.wire_bytes(kind, algorithm, call.size, n)
    start, end = messages.select(pl.col("start").min(), pl.col("arrived").max()).row(0)
    start = min([start, *path.entries.values()])
    algbw, busbw = arithmetic.bandwidths(kind, size, n, end - start)
    late, by = path.blame()
    computes = kind == "send_recv" and group.control.is_empty()  # stages of a pipeline do
    if computes or by < LATE_SHARE * (end - start):
        late = ""
    again = (messages.group_by("flow").agg(pl.col("bytes").sum())).iter_rows()
    return {
        "operation": number, "start": start, "end": end,
        "number": call.number if call else -1, "kind": kind, "algorithm": algorithm,
        "bytes": size, "ranks": n, "members": group.members, "messages": len(messages),
        "expected_bytes": expected, "measured_bytes": measured,
        "resent_bytes": round(sum(part * resent.get(flow, 0.0) for flow, part in again)),
        "algbw_bps": algbw, "busbw_bps": busbw, "period_ns": -1, "skew_ns": path.skew_ns(),
        "late_rank": group.ranks.get(late, -1), "late": late,
        "transfer_ns": path.total("transfer"), "network_wait_ns": path.total("network"),
        "sender_wait_ns": path.total("sender"), "receiver_wait_ns": path.total("receiver"),
        "confidence": group.confidence, "evidence": group.evidence, "missing": group.missing,
    }  # fmt: skip


def _size(kind: str, algorithm: str, edges: pl.DataFrame, n: int, measured: int) -> tuple[int, int]:
    """Size S and bytes on the wire of an operation of which only the traffic is known.

    The median pair of hosts stands for all: a pair that carried less or more shows in the ledger.
    """
    if kind not in ("all_reduce", "all_gather", "reduce_scatter", "all_to_all"):
        whole = kind in ("kv_cache", "storage")
        return (measured if whole else int(edges["bytes"].to_numpy().max())), -1
    usual = edges["bytes"].median()
    assert isinstance(usual, float)
    if math.isclose(usual, 0):
        usual = measured / len(edges)
    size = arithmetic.size_of(kind, usual, len(edges), n)
    return size, arithmetic.wire_bytes(kind, algorithm, size, n)


def _carried(number: int, messages: pl.DataFrame) -> pl.DataFrame:
    """Rows of CARRIED of one operation."""
    types = schema(CARRIED)
    return (
        messages.group_by("flow")
        .agg(
            pl.col("src", "dst", "qpn", "sport", "src_rank", "dst_rank").first(),
            start=pl.col("start").min(),
            end=pl.col("arrived").max(),
            messages=pl.len(),
            bytes=pl.col("bytes").sum(),
        )
        .with_columns(operation=pl.lit(number))
        .select(pl.col(name).cast(types[name]) for name in types)
        .sort("flow")
    )


def _stalls(number: int, path: Path, took_ns: int) -> Iterator[dict[str, Any]]:
    """Rows of STALLS of one operation."""
    for wait in path.stalls(took_ns):
        yield {
            "operation": number, "start": wait.start, "end": wait.end, "cause": wait.cause,
            "late": wait.late, "waits": wait.waits, "flow": wait.flow,
            "clear_to_send": wait.clear, "bytes": wait.size,
        }  # fmt: skip
