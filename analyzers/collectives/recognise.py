"""Kind, members and boundaries of collective operations, from messages alone.

Hosts that send each other data form groups; where a group has no shape as a whole, its queue pairs are
taken apart by the size of their messages (two jobs on the same hosts rarely agree in it). What has the
shape of a ring, a tree, an all-to-all, a chain, or trains from one set of hosts to another is a
group; traffic of other shapes is left alone. The rules, and what they cannot tell apart, are in
``docs/collectives.md``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from analyzers.collectives import cutting
from analyzers.collectives.job.found import Operation
from analyzers.collectives.shape import Edge, components, in_order, shape
from analyzers.collectives.traffic import Traffic

Ints = npt.NDArray[np.int64]

SAME_SIZE: Final = 1.25  # sizes within this factor are one family: last chunks are a little smaller
CHAIN: Final = 3  # messages on every edge before a chain of hosts is a pipeline
LAYERS: Final = 0.6  # share of the trains that have the commonest number of messages
TRAIN: Final = 3  # messages that make a train of layers
ONE_TAP: Final = "taps at the other hosts: a chain seen from one place may be a ring"
LOOK_ALIKE: Final = "job data: all-gather and reduce-scatter look alike on the wire"


@dataclass(frozen=True)
class Group:
    """Hosts that work together, and which message belongs to which of their operations.

    Attributes
    ----------
    kind, algorithm
        As in COLLECTIVES.
    members
        Addresses, in ring order where there is one.
    messages
        Data messages of the group (columns of :class:`Traffic`) with ``part``, the number of the
        operation, from 0 in time.
    control
        Clear-to-send messages between its members.
    """

    kind: str
    algorithm: str
    members: list[str]
    messages: pl.DataFrame
    control: pl.DataFrame
    confidence: float
    missing: str = ""
    name: str = ""
    evidence: str = "traffic"
    ranks: dict[str, int] = field(default_factory=dict)  # address -> rank
    calls: tuple[Operation, ...] = ()  # of the job, where they could be joined
    numbers: tuple[int, ...] = ()  # and the part of each

    def call(self, part: int) -> Operation | None:
        """The call that a part is; None where none was joined."""
        return self.calls[self.numbers.index(part)] if part in self.numbers else None


def recognise(traffic: Traffic) -> list[Group]:
    """Groups of a run, the ones that moved most bytes first."""
    data = traffic.messages.filter(~pl.col("control"))
    if data.is_empty():
        return []
    control = traffic.messages.filter("control")
    groups = [group for part in _families(data) for group in _group(part, control)]
    groups.sort(key=lambda group: -int(group.messages["bytes"].sum()))
    return groups


def _edges(data: pl.DataFrame) -> list[Edge]:
    pairs = data.unique("edge").select("src", "dst").unique()  # numbers are told apart faster
    return list(pairs.sort("src", "dst").iter_rows())


def _of(data: pl.DataFrame, edges: Sequence[Edge]) -> pl.DataFrame:
    chosen = pl.DataFrame(list(edges), schema=["src", "dst"], orient="row")
    return data.join(chosen, on=["src", "dst"], how="semi", maintain_order="left")


def _families(data: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Messages of each set of hosts and queue pairs that may be one group."""
    for own in data.partition_by("communicator", maintain_order=True):
        yield from _of_one(own)


def _of_one(data: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The same within one communicator, or without any."""
    if data["communicator"][0]:
        yield data
        return
    apart = components(_edges(data))
    for edges in apart:
        whole = data if len(apart) == 1 else _of(data, edges)
        if shape(edges) in ("ring", "tree", "chain", "star") or _regular(whole):
            yield whole
            continue
        sizes = whole.group_by("edge").agg(size=_common_size())
        limits = _size_limits(np.unique(sizes["size"].to_numpy()))
        if len(limits) == 1:
            yield whole
            continue
        for low, high in limits:
            family = sizes.filter(pl.col("size").is_between(low, high)).select("edge")
            part = whole.join(family, on="edge", how="semi", maintain_order="left")
            for inner in components(_edges(part)):
                yield _of(part, inner)


def _common_size() -> pl.Expr:
    """The size that carried most of the bytes of a queue pair."""
    size = pl.col("bytes")
    return size.sort_by(size * pl.len().over("edge", "bytes")).last()


def _size_limits(sizes: Ints) -> list[tuple[int, int]]:
    """Runs of sizes without a jump by more than SAME_SIZE."""
    limits: list[tuple[int, int]] = []
    for size in sizes.tolist():
        if limits and size <= max(limits[-1][1], 1) * SAME_SIZE:
            limits[-1] = (limits[-1][0], size)
        else:
            limits.append((size, size))
    return limits


def _regular(data: pl.DataFrame) -> bool:
    """Whether every pair of hosts exchanged as many messages: an all-to-all, not chance."""
    counts = data.group_by("src", "dst").len()["len"]
    edges = _edges(data)
    return shape(edges) == "all_to_all" and len(edges) > 2 and counts.n_unique() == 1


def _group(data: pl.DataFrame, control: pl.DataFrame) -> Iterator[Group]:
    """The group that messages make; nothing where they have no known shape."""
    edges = _edges(data)
    members = in_order(edges)
    inside = pl.col("src").is_in(members) & pl.col("dst").is_in(members)
    own = control.filter(inside).join(
        data.select(src="dst", dst="src").unique(), on=["src", "dst"], how="semi"
    )  # clear-to-send runs against the data
    form = shape(edges)
    if len(members) == 2 and len(edges) == 2:
        form = "ring"
    found: tuple[str, str, cutting.Cut] | None = None
    if len(members) == 2 and own.is_empty() and not data["communicator"][0]:
        found = _layers(data) if len(edges) == 1 else None  # else two hosts that talk to each other
    elif form == "ring" and len(edges) == len(members):
        found = _ring(data, len(members))
    elif form == "all_to_all" and _regular(data):
        found = ("all_to_all", "direct", cutting.by_rounds(data, 1))
    elif form == "tree" or (form == "star" and _both_ways(edges)):
        chain = all(sum(h in edge for edge in edges) <= 4 for h in members) and form == "tree"
        branching = any(sum(h in edge for edge in edges) > 4 for h in members) or form == "star"
        kind = "all_reduce" if branching or not chain else "send_recv"
        found = (kind, "tree" if kind == "all_reduce" else "direct", cutting.by_pauses(data))
    elif form == "chain" and (not own.is_empty() or cutting.is_even(data, CHAIN)):
        found = ("send_recv", "direct", cutting.by_pauses(data, patient=True))
    else:
        found = _one_way(data, edges, own)
    if found is None and data["communicator"][0]:  # a job's, though its shape is none of these
        found = ("collective", "", cutting.by_pauses(data))
    if found is None:
        return
    kind, algorithm, cut = found
    if form == "chain" and not data["seen_twice"].any():
        cut = cut._replace(confidence=min(cut.confidence, 0.4), missing=ONE_TAP)
    yield Group(
        kind, algorithm, members, data.with_columns(part=pl.Series(cut.part, dtype=pl.Int64)),
        own, cut.confidence, cut.missing,
    )  # fmt: skip


def _both_ways(edges: Sequence[Edge]) -> bool:
    known = set(edges)
    return all((b, a) in known for a, b in edges)


def _ring(data: pl.DataFrame, n: int) -> tuple[str, str, cutting.Cut]:
    """AllReduce or half of one: by the number of steps, else by where the ring pauses."""
    steps = 2 * (n - 1)
    whole = cutting.rounds_of(data, n - 1)
    if whole == 0:
        cut = cutting.by_pauses(data)
        sure = 0.7 if cutting.is_whole(data, cut.part, steps) else 0.5
        return "all_reduce", "ring", cut._replace(confidence=min(cut.confidence, sure))
    halves = cutting.pauses_at(data, n - 1)
    if whole % 2 or halves:
        cut = cutting.by_rounds(data, n - 1)
        sure = 0.9 if whole % 2 == 0 or whole == 1 else 0.8
        return "all_gather", "ring", cut._replace(confidence=sure, missing=LOOK_ALIKE)
    cut = cutting.by_rounds(data, steps)
    told = whole == 2 or cutting.pauses_at(data, steps)
    missing = "" if told else "job data: where operations follow each other without a pause"
    return "all_reduce", "ring", cut._replace(confidence=0.9 if told else 0.7, missing=missing)


def _one_way(
    data: pl.DataFrame, edges: Sequence[Edge], own: pl.DataFrame
) -> tuple[str, str, cutting.Cut] | None:
    """From one set of hosts to another: handshaken transfers, KV caches, storage."""
    sources, targets = {a for a, _ in edges}, {b for _, b in edges}
    if not own.is_empty():
        return "send_recv", "direct", cutting.by_pauses(data, patient=True)
    if sources & targets or len(targets) < 2:
        return None
    if found := _layers(data):
        return found
    pairs = data.group_by("dst").agg(pl.col("src").n_unique())["src"]
    if len(sources) > 1 and pairs.min() == len(sources):
        everything = np.zeros(len(data), np.int64)
        return "storage", "direct", cutting.Cut(everything, 0.5, "job data")
    return None


def _layers(data: pl.DataFrame) -> tuple[str, str, cutting.Cut] | None:
    """KV caches, layer by layer: several steady trains of equal messages between pairs of hosts."""
    trains = cutting.trains(data)
    lengths = np.bincount(trains)
    equal = data["bytes"].n_unique() <= 2 and np.median(lengths) >= TRAIN
    alike = np.bincount(lengths).max() >= LAYERS * len(lengths)  # every request has all layers
    if len(lengths) < 2 or not (equal and alike) or not cutting.is_steady(data, trains):
        return None
    missing = "job data: a transfer layer by layer is all that is seen"
    return "kv_cache", "direct", cutting.Cut(trains, 0.7, missing)
