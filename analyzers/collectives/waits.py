"""Who held an operation up: its critical path, from the last byte back to the first.

At every host the path asks what the host waited for before it sent: its own last message, data from
another host, or the receiver's clear-to-send. What lies between the last of these and the send is the
sender's own time. What lies between the host being ready and the clear-to-send is the receiver's. What
a message took beyond its bytes at the speed of the link, and beyond the least transit time of its queue
pair, is the network's. The idea of the waiting graph is that of Vedrfolnir (INFOCOM 2026); the
clear-to-send is NCCL's (``src/transport/net_ib``): a small WRITE of the receiver says where data may go.
"""

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from analyzers.collectives.traffic import Traffic

FRAMING: Final = 82  # bytes around a payload: Ethernet with gap, IPv4, UDP, BTH, ICRC, FCS
STALL_NS: Final = 10_000  # a shorter wait is the breath of software, not a stall
STALL_SHARE: Final = 0.05  # of the operation
DOMINANCE: Final = 2.0  # of the latest host's time over the next one's
FALLBACK: Final = 0.9  # quantile of the messages' rates that stands in for a link's unknown speed


CAUSES: Final = ("sender", "receiver", "network")


class Message(NamedTuple):
    """A message of an operation; columns of :class:`Traffic`, those of :func:`with_clear`, and nth."""

    edge: int
    src: str
    dst: str
    qpn: int
    flow: int
    nth: int  # among the messages of its queue pair in the operation
    bytes: int
    start: int
    end: int
    arrived: int
    queued_ns: int
    recovered: bool
    handshake: bool
    clear_sent: int  # -1 none
    clear_at: int
    clear_queued: int


class Wait(NamedTuple):
    """A piece of the critical path."""

    cause: str  # transfer, sender, receiver, network, earlier (the operation before ended late)
    start: int
    end: int
    late: str
    waits: str
    flow: int
    size: int
    clear: str  # clear-to-send: seen, late, absent, unused


@dataclass
class Path:
    """The critical path of one operation."""

    waits: list[Wait] = field(default_factory=list)
    entries: dict[str, int] = field(default_factory=dict)  # host -> when it first took part
    done: dict[str, int] = field(default_factory=dict)  # host -> when it had sent and got all
    before: dict[str, int] = field(default_factory=dict)  # the same of the operation before

    def own_ns(self, host: str, late_ns: int) -> int:
        """The part of a late entry that is the host's own: it computed longer than others did.

        What it has from ending the operation before late is not its own.
        """
        worked = {h: at - self.before[h] for h, at in self.entries.items() if h in self.before}
        if host not in worked or len(worked) < 2:
            return late_ns
        usual = sorted(worked.values())[(len(worked) - 1) // 2]
        return min(max(worked[host] - usual, 0), late_ns)

    def total(self, cause: str) -> int:
        """Time of one cause, ns."""
        return sum(wait.end - wait.start for wait in self.waits if wait.cause == cause)

    def blame(self) -> tuple[str, int]:
        """The host that was late for longest, and how long; nobody is ''."""
        late: dict[str, int] = {}
        for wait in self.waits:
            if wait.cause in ("sender", "receiver"):
                late[wait.late] = late.get(wait.late, 0) + wait.end - wait.start
        order = sorted(late.items(), key=lambda item: (-item[1], item[0]))
        if not order or (len(order) > 1 and order[0][1] < DOMINANCE * order[1][1]):
            return "", 0  # all were late in turn: nobody stands out
        return order[0]

    def skew_ns(self) -> int:
        """From the median host's entry to the last one's."""
        times = sorted(self.entries.values())
        return times[-1] - times[(len(times) - 1) // 2] if times else 0

    def stalls(self, took_ns: int) -> list[Wait]:
        """Waits that are worth a word, in time."""
        least = max(STALL_NS, STALL_SHARE * took_ns)
        long = [w for w in self.waits if w.cause in CAUSES and w.end - w.start >= least]
        return sorted(long, key=lambda wait: wait.start)


def with_clear(data: pl.DataFrame, control: pl.DataFrame) -> pl.DataFrame:
    """Add to each message when its clear-to-send left the receiver and reached the sender.

    Columns clear_sent, clear_at, clear_queued (-1 where there was none) and handshake (whether the
    queue pair uses them at all). The n-th clear-to-send belongs to the n-th message where there are as
    many; else the last one that came before the message, and after the message before.
    """
    by_edge = control.select("edge", "src", "dst").unique()
    of_peer = data.select("edge", "peer_edge").unique().join(
        by_edge.select(peer_edge="edge"), on="peer_edge", how="semi"
    )  # fmt: skip
    pairs = (
        data.select("edge", "src", "dst").unique().join(of_peer, on="edge", how="anti")
        .join(by_edge.select(src="dst", dst="src", peer_edge="edge"), on=["src", "dst"])
        .select("edge", "peer_edge")
    )  # fmt: skip
    partner = pl.concat([of_peer, pairs]).unique("edge")
    clears = control.select(
        "edge", "k", clear_sent="start", clear_at="arrived", clear_queued="queued_ns"
    )
    counts = clears.group_by("edge").len().select(peer_edge="edge", clears="len")
    own = data.group_by("edge").len().select("edge", own="len")
    partner = partner.join(counts, on="peer_edge").join(own, on="edge")
    as_many = partner.filter(pl.col("clears") == pl.col("own"))
    other = partner.filter(pl.col("clears") != pl.col("own"))
    nth = pl.int_range(pl.len()).over("edge", order_by="start")
    data = data.with_columns(nth=nth, handshake=pl.col("edge").is_in(partner["edge"].to_list()))
    numbered = clears.with_columns(nth=pl.int_range(pl.len()).over("edge", order_by="clear_sent"))
    first = numbered.join(as_many.select("edge", to="peer_edge"), left_on="edge", right_on="to")
    matched = [first.select(edge="edge_right", nth="nth", **_CLEAR)] if len(first) else []
    if len(other):
        matched.append(_latest(data, clears, other))
    if not matched:
        empty = {name: pl.lit(-1, dtype=pl.Int64) for name in _CLEAR}
        return data.with_columns(**empty).drop("nth")
    joined = data.join(pl.concat(matched), on=["edge", "nth"], how="left").drop("nth")
    return joined.with_columns(pl.col(*_CLEAR).fill_null(-1))


_CLEAR: Final = {name: pl.col(name) for name in ("clear_sent", "clear_at", "clear_queued")}


def _latest(data: pl.DataFrame, clears: pl.DataFrame, partner: pl.DataFrame) -> pl.DataFrame:
    """For each message the last clear-to-send before it, unless an earlier message had it."""
    some = data.join(partner.select("edge", to="peer_edge"), on="edge").sort("start")
    joined = some.select("to", "edge", "nth", "start").join_asof(
        clears.select(to="edge", **_CLEAR).sort("clear_at"),
        left_on="start", right_on="clear_at", by="to", check_sortedness=False,  # both are sorted here
    )  # fmt: skip
    again = pl.col("clear_at") == pl.col("clear_at").shift(1).over("edge", order_by="nth")
    nothing = pl.lit(None, dtype=pl.Int64)
    return joined.select(
        "edge", pl.col("nth"),
        *(pl.when(again).then(nothing).otherwise(name).alias(name) for name in _CLEAR),
    )  # fmt: skip


Spans = dict[tuple[str, str, int], list[tuple[int, int]]]


class Links:
    """How long a message would take alone on its host's link, and when a receiver refused it.

    ``refused`` has the spans lost to receiver-not-ready NAKs by source, destination and queue pair.
    """

    def __init__(self, traffic: Traffic, refused: Spans | None = None) -> None:
        self._refused = refused or {}
        sent = traffic.messages
        self._known = traffic.speeds
        wire = (pl.col("bytes") + FRAMING * pl.col("packets")) * 8e9
        took = pl.col("end") - pl.col("start")
        rates = sent.filter((took > 0) & (pl.col("packets") > 4)).select(rate=wire / took)["rate"]
        usual = rates.quantile(FALLBACK)
        self._usual = float(usual) if usual is not None else 0.0
        self._sent: dict[str, tuple[Any, Any, Any, int]] = {}
        for (host,), rows in sent.group_by("src"):
            ordered = rows.sort("start")
            total = (ordered["bytes"] + FRAMING * ordered["packets"].cast(pl.Int64)).to_numpy()
            starts, ends = ordered["start"].to_numpy(), ordered["end"].to_numpy()
            self._sent[str(host)] = (starts, ends, total, int((ends - starts).max()))

    def refused_ns(self, row: Message) -> int:
        """Time of a message that its receiver was not ready for."""
        spans = self._refused.get((row.src, row.dst, row.qpn), ())
        inside = (min(b, row.end) - max(a, row.start) for a, b in spans)
        return sum(span for span in inside if span > 0)

    def ideal_ns(self, host: str, start: int, end: int) -> float:
        """Time the link needs for what the host sent between start and end, packet gaps left out."""
        speed = self._known.get(host, 0) or self._usual
        if not speed or host not in self._sent:
            return float(end - start)
        starts, ends, sizes, longest = self._sent[host]
        near = slice(
            int(np.searchsorted(starts, start - longest)),
            int(np.searchsorted(starts, end, "right")),
        )
        begin, stop = starts[near], ends[near]
        inside = np.minimum(stop, end) - np.maximum(begin, start)
        at = inside >= 0
        lasts = np.maximum(stop[at] - begin[at], 1)
        share = np.where(stop[at] > begin[at], inside[at] / lasts, 1.0)
        return float((sizes[near][at] * share).sum() * 8e9 / speed)


class _Host:
    """What one host sent and got in an operation, in time."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, int]] = []  # end, message
        self.got: list[tuple[int, int]] = []  # arrival, message
        self.got_nth: dict[int, int] = {}  # number in its queue pair -> message, of a ring


def _last(rows: list[tuple[int, int]], before: int) -> int:
    """The last message up to a time; -1 none."""
    at = bisect_right(rows, (before, 1 << 62))
    return rows[at - 1][1] if at else -1


def critical_path(
    rows: list[Message], links: Links, algorithm: str = "",
    before: dict[str, int] | None = None,
) -> Path:  # fmt: skip
    """The critical path of one operation; ``rows`` are its messages with their clear-to-send.

    ``before`` is ``done`` of the operation before.

    ``nth`` of a row is its number among those of its queue pair. In a ring the n-th message needs the
    (n-1)-th that came in; elsewhere the last that came in stands for what was needed.
    """
    path = Path(entries=_entries(rows), before=before or {})
    if not rows:
        return path
    hosts: defaultdict[str, _Host] = defaultdict(_Host)
    edges = {row.edge: row.dst for row in rows}
    ring = algorithm == "ring" and len(set(edges.values())) == len(edges)
    for number, row in enumerate(rows):
        hosts[row.src].sent.append((row.end, number))
        there = hosts[row.dst]
        there.got.append((row.arrived, number))
        if ring:
            there.got_nth[row.nth] = number
    for name, host in hosts.items():
        host.sent.sort()
        host.got.sort()
        path.done[name] = max(end for end, _ in (*host.sent[-1:], *host.got[-1:]))
    at = max(range(len(rows)), key=lambda number: rows[number].arrived)
    start = rows[at].arrived
    seen: set[int] = set()
    while at >= 0 and at not in seen:
        seen.add(at)
        _moving(path, rows[at], links, start)
        start = rows[at].start
        at = _before(path, rows, at, hosts[rows[at].src], algorithm)
    return path


def _entries(rows: list[Message]) -> dict[str, int]:
    """When each host first showed that it takes part: by data, or by a clear-to-send."""
    entries: dict[str, int] = {}
    for row in rows:
        entries[row.src] = min(entries.get(row.src, row.start), row.start)
        if row.clear_sent >= 0:
            clear = row.clear_sent
            entries[row.dst] = min(entries.get(row.dst, clear), clear)
    return entries


def _moving(path: Path, row: Message, links: Links, until: int) -> None:
    """The time a message was under way: its bytes, and what the network added.

    Its way counts only where what came next, at ``until``, waited for its arrival.
    """
    start, end = row.start, row.end
    ideal = min(round(links.ideal_ns(row.src, start, end)), end - start)
    own = (row.src, row.dst, row.flow, row.bytes, "unused")
    path.waits.append(Wait("transfer", start, start + ideal, *own))
    refused = min(links.refused_ns(row), end - start - ideal)
    queued = row.queued_ns if row.arrived <= until and not row.recovered else 0
    slow = end - start - ideal - refused + queued
    over = end + queued
    if refused > 0:
        late = (row.dst, row.src, *own[2:])
        path.waits.append(Wait("receiver", start + ideal, start + ideal + refused, *late))
    if slow > 0:
        path.waits.append(Wait("network", over - slow, over, *own))


def _needed(rows: list[Message], at: int, host: _Host, algorithm: str) -> tuple[int, int]:
    """What a message had to wait for: the last of its sender's own, and what came in; -1 nothing."""
    row = rows[at]
    start, nth = row.start, row.nth
    own = _last(host.sent, start)
    if own == at:
        own = _last(host.sent, start - 1)
    if algorithm in ("ring", "direct") and own < 0 and nth == 0:
        return -1, -1  # the first step of everyone needs nobody
    before = host.got_nth.get(nth - 1, -1)
    if before >= 0 and (rows[before].arrived <= start or rows[before].recovered):
        return own, before  # when the last missing packet came is known only roughly
    return own, _last(host.got, start)


def _before(path: Path, rows: list[Message], at: int, host: _Host, algorithm: str) -> int:
    """What the sender of a message waited for; returns the message to go on with, -1 for none."""
    row = rows[at]
    start = row.start
    own, got = _needed(rows, at, host, algorithm)
    sent = -1 if own < 0 else rows[own].end
    if own >= 0 and rows[own].arrived <= start:
        sent = rows[own].arrived  # its acknowledgement may have been waited for
    came = -1 if got < 0 else min(rows[got].arrived, start)
    who = (row.src, row.dst, row.flow, row.bytes)
    ready = max(sent, came)
    if max(own, got) < 0:  # nothing came before: when the host itself took part counts
        begin = min(path.entries.values())
        ready = min(path.entries[row.src], start)
        if ready > begin:
            clear = "unused" if not row.handshake else "seen"
            own_from = ready - path.own_ns(row.src, ready - begin)
            path.waits.append(Wait("earlier", begin, own_from, *who, clear))
            path.waits.append(Wait("sender", own_from, ready, *who, clear))
    ready, known = _receiver(path, row, ready)
    if start > ready:
        path.waits.append(Wait("sender", ready, start, *who, known))
    return got if came >= sent else own


def _receiver(path: Path, row: Message, ready: int) -> tuple[int, str]:
    """The wait of a ready sender for its clear-to-send; when it was over, and how that was seen."""
    if not row.handshake:
        return ready, "unused"
    at = row.clear_at
    if at < 0 or at > row.start:
        return ready, "absent"
    if at <= ready:
        return ready, "seen"
    sent = min(max(row.clear_sent, ready), at)
    who = (row.dst, row.src, row.flow, row.bytes, "late")
    path.waits.append(Wait("receiver", ready, sent, *who))
    slow = min(row.clear_queued, at - sent)
    if slow > 0:
        path.waits.append(Wait("network", at - slow, at, *who))
    return at, "late"
