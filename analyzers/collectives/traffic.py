"""Messages as the hosts saw them: one row each, over all taps, data apart from clear-to-send.

A tap whose every flow starts or ends at one address stands at that host. The start and end of a
message are taken from the tap at its sender, its arrival from the tap at its receiver; where there is
none, the tap that saw most of the flow stands in for both. Transit times compare two clocks, so only
their excess over the least one of the same queue pair is used: a constant offset falls out. Where a
message seems to arrive before it was sent, the clocks of the two hosts are set right by half the
difference of the least transit times both ways, as NTP does it (RFC 5905, section 8).
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from analyzers.tables import Tables
from fabric.codes import PSN_MASK

MOST: Final = 50_000  # messages looked at, the first ones in time: thirty megabytes
CONTROL_BYTES: Final = 512  # NCCL's clear-to-send: 64 bytes for each of up to 8 requests
READ: Final = 2
RESENT: Final = ("loss", "timeout", "rnr", "retransmission")
KEY: Final = ("src", "dst", "qpn", "epoch")


@dataclass(frozen=True)
class Traffic:
    """Messages and how they were seen.

    Attributes
    ----------
    messages
        One row per message, by start: edge (a queue pair and direction), peer_edge, src, dst, qpn,
        sport, flow, k (its number on the edge), bytes, packets, start, end, arrived, queued_ns,
        seen_twice, recovered (it had to be sent again), control; communicator, src_rank, dst_rank once a job names them.
    speeds
        Link speed by address of the host, bit/s; absent where not known.
    hosts
        Addresses at which a tap stood.
    cut
        Whether there were too many messages to look at all.
    """

    messages: pl.DataFrame
    speeds: dict[str, int]
    hosts: frozenset[str]
    cut: bool


def traffic(tables: Tables) -> Traffic:
    """Collect the messages of a run; reads POINTS, FLOWS and MESSAGES."""
    flows = tables.flows.select("flow", "point", *KEY, "sport", "peer_flow", "rtt_min_ns").collect()
    messages, cut = _collect(tables)
    counts = messages.group_by("flow").agg(
        n=pl.len().cast(pl.Int64), read=(pl.col("operation") == READ).any()
    )
    flows = flows.join(counts, on="flow").with_columns(
        # a READ moves its bytes towards the one that asks
        src=pl.when("read").then("dst").otherwise("src"),
        dst=pl.when("read").then("src").otherwise("dst"),
    )
    own = _own(flows)
    views = _views(flows, own)
    unknown = pl.lit(-1, dtype=pl.Int32)
    rows = _joined(messages, views)
    rows = rows.join(_control(rows), on="edge", how="left").with_columns(
        recovered=pl.lit(value=False),
        communicator=pl.lit(""),
        src_rank=unknown,
        dst_rank=unknown,
    )
    rows = one_clock(_recovered(tables, rows, views)).sort("start", "edge", "k")
    speeds = (
        tables.points.filter(pl.col("speed_bps") > 0)
        .select("point", "speed_bps")
        .collect()
        .join(own, on="point")
        .group_by("host")
        .agg(pl.col("speed_bps").max())
    )
    return Traffic(rows, dict(speeds.iter_rows()), frozenset(own["host"]), cut)


def _collect(tables: Tables) -> tuple[pl.DataFrame, bool]:
    columns = ("flow", "operation", "start", "end", "first_psn", "packets", "bytes")
    chosen = tables.messages.select(columns)
    number = int(chosen.select(pl.len()).collect(engine="streaming").item())
    if number <= MOST:
        return chosen.collect(), False
    starts = chosen.select("start").collect(engine="streaming")["start"]
    last = starts.bottom_k(MOST).max()
    return chosen.filter(pl.col("start") <= last).collect(engine="streaming"), True


def _own(flows: pl.DataFrame) -> pl.DataFrame:
    """(point, host): points all of whose flows start or end at one address stand at it.

    Where that is true of both ends of the only pair a tap saw, hosts that have another tap of their own
    are left to it; what is still open goes by the round trip, which is longer nearer to the sender.
    """
    total = flows.group_by("point").agg(flows=pl.len())
    ends = pl.concat([flows.select("point", "flow", host=end) for end in ("src", "dst")]).unique()
    every = (
        ends.group_by("point", "host")
        .agg(seen=pl.len())
        .join(total, on="point")
        .filter(pl.col("seen") == pl.col("flows"))
        .select("point", "host")
    )
    either = pl.len().over("point") > 1
    sure, open_ = every.filter(~either), every.filter(either)
    left = open_.join(sure.select("host"), on="host", how="anti")
    left = left.join(_by_round_trip(flows, left), on=["point", "host"], how="anti")
    return pl.concat([sure, left]).unique().sort("point", "host")


def _by_round_trip(flows: pl.DataFrame, open_: pl.DataFrame) -> pl.DataFrame:
    """(point, host) of taps with two hosts to choose from, and which of them it is not."""
    two = open_.filter(pl.len().over("point") > 1).select("point").unique()
    rtt = pl.col("rtt_min_ns")
    seen = flows.filter(rtt.is_not_null()).with_columns(
        near=rtt == rtt.max().over(KEY), several=rtt.n_unique().over(KEY) > 1
    )
    far = seen.filter("several").join(two, on="point", how="semi")
    not_here = pl.when("near").then("dst").otherwise("src")
    votes = far.select("point", host=not_here).group_by("point", "host").len()
    return votes.filter(pl.col("len") == pl.col("len").max().over("point")).select("point", "host")


def _views(flows: pl.DataFrame, own: pl.DataFrame) -> pl.DataFrame:
    """Per queue pair and direction: the flow at its sender and the one at its receiver."""
    at_src = own.select("point", src="host", near=pl.lit(value=True))
    at_dst = own.select("point", dst="host", far=pl.lit(value=True))
    ranked = flows.join(at_src, on=("point", "src"), how="left").join(
        at_dst, on=("point", "dst"), how="left"
    )
    return (
        ranked.group_by(*KEY)
        .agg(
            near=_first("near"),
            far=pl.when(pl.col("far").any()).then(_first("far")),
            sport=pl.col("sport").first(),
            peers=pl.col("peer_flow").drop_nulls(),
            flows=pl.col("flow"),
        )
        .sort(KEY)
        .with_row_index("edge")
        .with_columns(pl.col("edge").cast(pl.Int64))
        .pipe(_peers)
    )


def _peers(views: pl.DataFrame) -> pl.DataFrame:
    """Add the edge of the same queue pair in the other direction; -1 where not paired."""
    of_flow = views.select(peers="flows", peer_edge="edge").explode("peers")
    paired = views.select("edge", "peers").explode("peers").join(of_flow, on="peers").unique("edge")
    return (
        views.drop("peers", "flows")
        .join(paired.select("edge", "peer_edge"), on="edge", how="left")
        .with_columns(pl.col("peer_edge").fill_null(-1))
    )


def _first(side: str) -> pl.Expr:
    """The flow as the tap at this side saw it, else as the tap that saw most of it."""
    return pl.col("flow").sort_by(pl.col(side).is_null(), -pl.col("n"), "point").first()


def _joined(messages: pl.DataFrame, views: pl.DataFrame) -> pl.DataFrame:
    """The messages of the near views, with their arrival at the far ones."""
    near = messages.join(views.rename({"near": "flow"}), on="flow")
    if (views["far"].is_null() | (views["far"] == views["near"])).all():  # one tap saw them all
        zero = pl.lit(0, dtype=pl.Int64)
        twice = near.with_columns(arrived="end", queued_ns=zero, seen_twice=pl.lit(value=False))
    else:
        twice = _arrivals(messages, near)
    return (
        twice.sort("edge", "start", "first_psn", maintain_order=True)
        .with_columns(k=pl.int_range(pl.len()).over("edge"))
        .drop("far", "operation")
    )


def _arrivals(messages: pl.DataFrame, near: pl.DataFrame) -> pl.DataFrame:
    """Add when the messages of the near views were seen by the far ones, and how long they queued."""
    nth = pl.int_range(pl.len()).over("flow", "first_psn", order_by="start")
    far = messages.select("first_psn", nth=nth, far="flow", arrived="end")
    transit = pl.col("arrived") - pl.col("end")
    return (
        near.with_columns(nth=nth)
        .join(far, on=("far", "first_psn", "nth"), how="left")
        .with_columns(
            queued_ns=(transit - transit.min().over("edge")).fill_null(0),
            seen_twice=pl.col("arrived").is_not_null() & (pl.col("far") != pl.col("flow")),
        )
        .with_columns(arrived=pl.col("arrived").fill_null(pl.col("end")))
        .drop("nth")
    )


def _control(rows: pl.DataFrame) -> pl.DataFrame:
    """(edge, control): flows that only say clear to send: small, against data the other way."""
    edges = rows.group_by("edge").agg(pl.col("src", "dst").first(), most=pl.col("bytes").max())
    forth = pl.col("src") < pl.col("dst")
    low = pl.when(forth).then("src").otherwise("dst")
    high = pl.when(forth).then("dst").otherwise("src")
    ahead = pl.col("most").filter(forth).max().over(low, high)
    back = pl.col("most").filter(~forth).max().over(low, high)
    other = pl.when(forth).then(back).otherwise(ahead).fill_null(0)
    control = (pl.col("most") <= CONTROL_BYTES) & (other > CONTROL_BYTES)
    return edges.select("edge", control=control)


def _recovered(tables: Tables, rows: pl.DataFrame, views: pl.DataFrame) -> pl.DataFrame:
    """Messages that had to be sent again end when that was over, not when they were first seen.

    What a queue pair sent between a lost or refused packet and its resend arrives with the resend
    (go-back-N, IBTA 9.7.8); where the NIC resends selectively, later messages are told too late.
    """
    resends = tables.events.filter(pl.col("kind").is_in(RESENT), pl.col("end") > pl.col("ts"))
    known = (
        resends.select("flow", "psn", "ts", over="end")
        .join(tables.flows.select("flow", *KEY), on="flow")
        .group_by(*KEY, "psn")  # as several taps saw it
        .agg(pl.col("ts").min(), left=pl.col("over").min(), over=pl.col("over").max())
        .collect()
        .join(views.select("edge", *KEY), on=KEY)
        .drop(KEY)
    )
    if known.is_empty():
        return rows
    hit = pl.col("edge").is_in(known["edge"].unique().implode())
    behind = rows.filter(hit).sort("arrived").join_asof(
        known.sort("ts").drop("psn"),
        left_on="arrived", right_on="ts", by="edge", check_sortedness=False,
    )  # fmt: skip
    # a tap at the sender hears of the refused packet only when all of the message has left
    around = behind.sort("end").join_asof(
        known.sort("ts").select("edge", "psn", next="ts", gone="left", then="over"),
        left_on="end", right_on="next", by="edge", strategy="forward", check_sortedness=False,
    )  # fmt: skip
    into = (pl.col("psn").cast(pl.Int64) - pl.col("first_psn")) & PSN_MASK
    own = into < pl.col("packets")
    late = pl.max_horizontal("over", pl.when(own).then("then")).fill_null(0)
    gone = pl.max_horizontal("left", pl.when(own).then("gone")).fill_null(0)
    late_ones = around.with_columns(
        end=pl.max_horizontal("end", gone),
        arrived=pl.max_horizontal("arrived", late),
        recovered=late > pl.col("arrived"),
    )
    return pl.concat([rows.filter(~hit), late_ones.select(rows.columns)])


def one_clock(rows: pl.DataFrame) -> pl.DataFrame:
    """Shift the hosts' clocks together where arrivals before departures show that they differ."""
    twice = rows.filter("seen_twice")
    transit = (pl.col("arrived") - pl.col("end")).min()
    least = {(a, b): t for a, b, t in twice.group_by("src", "dst").agg(transit).iter_rows()}
    if not least or min(least.values()) >= 0:
        return rows
    ahead: dict[str, int] = {}  # by how much the clock of a host is ahead
    for root in sorted({host for pair in least for host in pair}):
        if root in ahead:
            continue
        ahead[root] = 0
        waiting = [root]
        while waiting:
            a = waiting.pop(0)
            for b in sorted({y for x, y in least if x == a and (y, x) in least} - ahead.keys()):
                ahead[b] = ahead[a] + (least[a, b] - least[b, a]) // 2
                waiting.append(b)
    shift = pl.DataFrame(
        list(ahead.items()), schema={"host": pl.String, "ahead": pl.Int64}, orient="row"
    )
    return (
        rows.join(shift.rename({"host": "src"}), on="src", how="left")
        .join(shift.select(dst="host", behind="ahead"), on="dst", how="left")
        .with_columns(pl.col("ahead", "behind").fill_null(0))
        .with_columns(
            pl.col("start", "end") - pl.col("ahead"), pl.col("arrived") - pl.col("behind")
        )
        .drop("ahead", "behind")
    )
