"""Joining a job's own data to the groups of its traffic: ranks by queue pair, calls by order and size.

A queue pair number means something only together with the address of its NIC. NCCL's log gives a
sender's own number (the acknowledgements and clear-to-send go there) and its peer's (the data goes
there). Logs have no clock that can be trusted, so the n-th operation of a communicator is the n-th that
its queue pairs show; where the counts differ, sizes decide, and where those do not agree either, the
calls are left unjoined and that is said.
"""

from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from analyzers.collectives.arithmetic import wire_bytes
from analyzers.collectives.job import Job
from analyzers.collectives.job.found import Operation
from analyzers.collectives.recognise import Group
from analyzers.collectives.traffic import Traffic

SLACK: Final = 0.02  # of the bytes: slices are padded
POINT_TO_POINT: Final = ("send", "recv")


def named(traffic: Traffic, job: Job) -> Traffic:
    """The traffic with ``communicator``, ``src_rank`` and ``dst_rank`` by queue pair number."""
    theirs: dict[tuple[str, int], tuple[str, int, int]] = {}
    own: dict[tuple[str, int], tuple[str, int]] = {}
    ranks: dict[tuple[str, str], set[int]] = {}
    for pair in job.pairs:
        if not pair.address:
            continue
        own[pair.address, pair.qpn] = (pair.communicator, pair.rank)
        ranks.setdefault((pair.communicator, pair.address), set()).add(pair.rank)
        if pair.peer_qpn >= 0:
            theirs[pair.address, pair.peer_qpn] = (pair.communicator, pair.rank, pair.peer)
    rows = []
    edges = traffic.messages.select("edge", "peer_edge", "src", "dst", "qpn").unique().sort("edge")
    for edge, _, src, dst, qpn in edges.iter_rows():
        name, sender, receiver = theirs.get((src, qpn), ("", -1, -1))
        if (dst, qpn) in own:
            name, receiver = own[dst, qpn]
        if name and sender < 0:
            sender = _only(ranks, name, src)
        if name and receiver < 0:
            receiver = _only(ranks, name, dst)
        rows.append((edge, name, sender, receiver))
    known = pl.DataFrame(
        rows, orient="row",
        schema={"edge": pl.Int64, "communicator": pl.String, "src_rank": pl.Int32,
                "dst_rank": pl.Int32},
    )  # fmt: skip
    joined = traffic.messages.drop("communicator", "src_rank", "dst_rank").join(
        known, on="edge", how="left", maintain_order="left"
    )
    return replace(traffic, messages=joined)


def _only(ranks: dict[tuple[str, str], set[int]], name: str, address: str) -> int:
    """The rank at an address, where it is the only one of its communicator."""
    found = ranks.get((name, address), set())
    return next(iter(found)) if len(found) == 1 else -1


def told(group: Group, job: Job) -> Group:
    """A group with its communicator, ranks and calls, as far as the job tells them."""
    names = group.messages["communicator"].unique().to_list()
    if len(names) != 1 or not names[0]:
        return group
    name = str(names[0])
    both = pl.concat(
        [
            group.messages.select(host="src", rank="src_rank"),
            group.messages.select(host="dst", rank="dst_rank"),
        ]
    ).filter(pl.col("rank") >= 0).unique()  # fmt: skip
    ranks = {str(host): int(rank) for host, rank in both.iter_rows()}
    group = replace(group, name=name, ranks=ranks)
    calls = _calls(job, name)
    return _called(group, calls) if calls else group


def _calls(job: Job, name: str) -> list[Operation]:
    """Collective calls of a communicator, each once, by number; as the rank that tells most has it."""
    known: dict[int, Operation] = {}
    for call in job.operations:
        if call.communicator == name and call.number >= 0 and call.kind not in POINT_TO_POINT:
            old = known.get(call.number)
            if old is None or (call.size, call.exact) > (old.size, old.exact):
                known[call.number] = call
    return [known[number] for number in sorted(known)]


def _called(group: Group, calls: list[Operation]) -> Group:
    """Give the parts of a group the numbers of calls; parts of one call are put together."""
    parts = group.messages.group_by("part").agg(pl.col("bytes").sum()).sort("part")
    sizes = parts["bytes"].to_list()
    order = _by_size(sizes, group, calls)
    if order is None and len(calls) == len(sizes):
        order = list(range(len(calls)))
    if order is None:
        reason = f"{len(sizes)} operations seen and {len(calls)} logged: not joined"
        return replace(group, missing=reason)
    to = np.array(order, np.int64)[group.messages["part"].to_numpy()]
    return replace(
        group,
        messages=group.messages.with_columns(part=pl.Series(to)),
        evidence="job", confidence=1.0, missing="",
        calls=tuple(calls[number] for number in sorted(set(order))),
        numbers=tuple(sorted(set(order))),
    )  # fmt: skip


def _by_size(sizes: list[int], group: Group, calls: list[Operation]) -> list[int] | None:
    """Number of the call of every part, where runs of parts add up to what the calls put on the wire."""
    wanted = [_wire(call, group) for call in calls]
    if min(wanted) < 0:
        return None
    order: list[int] = []
    at = left = 0
    for size in sizes:
        while left == 0:
            if at == len(wanted):
                return None
            left = wanted[at]
            at += 1
            if left == 0:
                return None  # a call that sends nothing cannot be told from its neighbours
        order.append(at - 1)
        left -= size
        if abs(left) <= SLACK * wanted[at - 1]:
            left = 0
        elif left < 0:
            return None
    return order if left == 0 and at == len(wanted) else None


def _wire(call: Operation, group: Group) -> int:
    ranks = call.ranks if call.ranks > 1 else len(group.members)
    algorithm = call.algorithm or group.algorithm
    return wire_bytes(call.kind, algorithm, call.size, ranks)
