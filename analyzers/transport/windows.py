"""Time bins of flows and destinations, and packet trains, as helpers of the accounting kernel.

A bin begins at a multiple of its width. A packet that is late by less than a width (taps and mirrors
disorder by microseconds) counts in the bin that is open; one that is later opens a bin of its own,
so that a clock that was set back does not hide in one bin of the future.

FLOW_WINDOWS bins are as wide as asked for as long as they hold :data:`PACKETS_PER_BIN` packets on
average; where thousands of flows send one packet per bin the width doubles, because such rows would
cost more than the packets they sum up. The width stands in the row.

HOST_WINDOWS bins are kept where they may explain congestion: at least four packets, some of them with
payload, and half of the most bytes that this destination ever received in a bin; a quarter, where
the payload is of three sources or more. That bounds the rows by a quarter of the packets.
"""

import numpy as np
from numpy.typing import NDArray

from analyzers.transport.account_state import (
    RTT_BINS,
    TRAIN_BINS,
    TRAIN_LEAST_OCTAVE,
    TRAIN_PACKETS,
    TRAIN_STEPS,
    Fill,
    Ledger,
    Record,
    Rings,
    Setting,
    i64,
    u64,
)
from fabric.kernel import inline

PACKETS_PER_BIN = 8
BINS_PER_LOOK = 1 << 13  # rows between two looks at how much a bin holds
WIDEST_BIN_NS = 1 << 30
HOST_PACKETS = 4
MANY_SOURCES = 3
MANY_SHARE, FEW_SHARE = (
    4,
    2,
)  # bins of many sources are kept from a quarter of the peak, others half
MIN_TRAIN_NS = 500  # at nanosecond resolution: the ends of a train are then known to 1 %
MIN_TRAIN_COARSE_NS = 50_000  # at microsecond resolution
MAX_TRAIN_GAP_NS = 10_000  # three frames of 4 KiB at 10 Gb/s, the slowest link RoCE is run on

FILL_FLOW_WINDOWS = int(Fill.FLOW_WINDOWS)
FILL_HOST_WINDOWS = int(Fill.HOST_WINDOWS)
FLOW_BIN_NS = int(Setting.FLOW_BIN_NS)
HOST_BIN_NS = int(Setting.HOST_BIN_NS)
FLOW_BEGIN = int(Setting.FLOW_BEGIN)
HOST_BEGIN = int(Setting.HOST_BEGIN)
BINS = int(Setting.BINS)
PACKETS = int(Setting.PACKETS)


@inline
def begin_of(ts: int, width: int, last: int, settings: NDArray[np.int64]) -> int:
    """Begin of the bin of ``ts``; in ``settings[last]`` stands the last one asked for.

    Thousands of flows open the same bin one after the other, and a division is slow.
    """
    ahead = ts - settings[last]
    if ahead < 0 or ahead >= width:
        settings[last] = ts - ts % width
    return i64(settings[last])


@inline
def close_flow_bin(a: Record, t: Record, settings: NDArray[np.int64], rings: Rings) -> None:
    """Write the open bin of account ``a`` as a row, add it to the totals ``t`` and clear it."""
    if a.bin_end == 0:
        return
    n = rings.fill[FILL_FLOW_WINDOWS]
    rings.fill[FILL_FLOW_WINDOWS] = n + 1
    row = rings.flow_windows[0]
    row.flow[n] = a.number
    row.start[n] = a.bin_start
    row.width_ns[n] = a.bin_end - a.bin_start
    row.packets[n] = a.bin_packets
    row.bytes[n] = a.bin_bytes
    row.payload_bytes[n] = a.bin_payload
    row.ect[n] = a.bin_ect
    row.ce[n] = a.bin_ce
    row.cnp[n] = a.bin_cnp
    row.resent[n] = a.bin_resent
    row.rtt_sum_ns[n] = t.bin_rtt_sum
    row.rtt_count[n] = t.bin_rtt_count
    row.rtt_max_ns[n] = t.bin_rtt_max
    row.inflight_bytes[n] = a.bin_inflight

    t.packets += a.bin_packets
    t.wire_bytes += a.bin_bytes
    t.payload_bytes += a.bin_payload
    t.ect += a.bin_ect
    t.ce += a.bin_ce
    t.cnp += a.bin_cnp
    t.resent += a.bin_resent
    t.rtt_count += t.bin_rtt_count
    t.rtt_max = max(t.rtt_max, t.bin_rtt_max)
    t.inflight_max = max(t.inflight_max, a.bin_inflight)
    widen(a.bin_packets, settings)

    a.bin_end = 0
    a.bin_bytes = 0
    a.bin_payload = 0
    a.bin_packets = 0
    a.bin_ect = 0
    a.bin_ce = 0
    a.bin_cnp = 0
    a.bin_resent = 0
    a.bin_inflight = 0
    t.bin_rtt_count = 0
    t.bin_rtt_sum = 0
    t.bin_rtt_max = 0


@inline
def widen(packets: int, settings: NDArray[np.int64]) -> None:
    """A bin of so many packets was closed: from time to time see whether bins should be wider."""
    settings[BINS] += 1
    settings[PACKETS] += packets
    if settings[BINS] < BINS_PER_LOOK:
        return
    if (
        settings[PACKETS] < PACKETS_PER_BIN * settings[BINS]
        and settings[FLOW_BIN_NS] < WIDEST_BIN_NS
    ):
        settings[FLOW_BIN_NS] *= 2
        settings[FLOW_BEGIN] -= settings[FLOW_BEGIN] % settings[FLOW_BIN_NS]
    settings[BINS] = 0
    settings[PACKETS] = 0


@inline
def turn_flow_bin(a: Record, t: Record, ts: int, settings: NDArray[np.int64], rings: Rings) -> None:
    """Make the open bin of account ``a`` one that may count a packet of time ``ts``."""
    if ts < a.bin_end and ts >= a.bin_start - (a.bin_end - a.bin_start):
        return
    close_flow_bin(a, t, settings, rings)
    width = settings[FLOW_BIN_NS]
    a.bin_start = begin_of(ts, width, FLOW_BEGIN, settings)
    a.bin_end = a.bin_start + width


@inline
def rtt_bin(ns: int) -> int:
    """Histogram bin of a round trip: eight equal steps to the octave; exact below 8 ns."""
    octave = 0
    rest = ns
    for step in (32, 16, 8, 4, 2, 1):
        if rest >> step:
            rest >>= step
            octave += step
    if octave < 3:
        return i64(ns)
    return i64(min((octave - 2) * 8 + ((ns >> (octave - 3)) & 7), RTT_BINS - 1))


@inline
def rtt_bin_middle(number: int) -> float:
    """Middle of a histogram bin, ns."""
    step = 1 << max((number >> 3) - 1, 0)
    steps = 8 + (number & 7) if number >= 8 else number
    return steps * step + (step - 1) / 2


@inline
def rtt_quantile(counts: NDArray[np.uint32], slot: int, share: float, t: Record) -> float:
    """Quantile of a flow's round trips: the middle of the bin that it falls in."""
    rank = max(i64(np.ceil(t.rtt_count * share)), 1)
    number = rtt_bin(t.rtt_min)
    seen = i64(counts[u64(number), slot])
    while seen < rank and number < RTT_BINS - 1:
        number += 1
        seen += counts[u64(number), slot]
    return min(max(rtt_bin_middle(number), float(t.rtt_min)), float(t.rtt_max))


@inline
def close_host_bin(d: Record, rings: Rings) -> None:
    """Write the open bin of endpoint ``d`` where it is worth a row."""
    if d.end == 0:
        return
    share = MANY_SHARE if d.sources >= MANY_SOURCES else FEW_SHARE
    worth = d.packets >= HOST_PACKETS and d.sources > 0 and d.bytes * share >= d.peak
    d.peak = max(d.peak, d.bytes)
    if not worth:
        return
    n = rings.fill[FILL_HOST_WINDOWS]
    rings.fill[FILL_HOST_WINDOWS] = n + 1
    row = rings.host_windows[0]
    row.iface[n] = d.iface
    row.host[n] = d.host
    row.start[n] = d.start
    row.width_ns[n] = d.end - d.start
    row.bytes[n] = d.bytes
    row.packets[n] = d.packets
    row.sources[n] = d.sources
    row.flows[n] = d.flows
    row.ce[n] = d.ce


@inline
def count_at_host(
    a: Record, ledger: Ledger, ts: int, framed: int, payload: int, marked: bool
) -> None:
    """Add a packet of account ``a`` to its destination's bin."""
    pair = ledger.pairs[u64(a.pair)]
    d = ledger.endpoints[u64(pair.destination)]
    if ts >= d.end or ts < d.start - (d.end - d.start):
        close_host_bin(d, ledger.rings)
        width = ledger.settings[HOST_BIN_NS]
        d.start = begin_of(ts, width, HOST_BEGIN, ledger.settings)
        d.end = d.start + width
        d.number += 1
        d.bytes = 0
        d.packets = 0
        d.sources = 0
        d.flows = 0
        d.ce = 0
    d.bytes += framed
    d.packets += 1
    d.ce += marked
    if payload > 0:
        if pair.host_bin != d.number:
            pair.host_bin = d.number
            d.sources += 1
        if a.host_bin != d.number:
            a.host_bin = d.number
            d.flows += 1


@inline
def count_in_train(ledger: Ledger, iface: int, side: int, ts: int, framed: int) -> None:
    """Add a packet to the train that one side of a link is sending; note the rate of a whole one.

    A train is at least :data:`TRAIN_PACKETS` packets, none of them long after the one before, and
    long enough for the clock to time it. Its rate is that of the bits after the first packet:
    timestamps are taken at one place of a frame.
    """
    link = u64(min(i64(iface), len(ledger.trains) - 1))
    t = ledger.trains[link, u64(side)]
    if t.fine == 0 and ts % 1000 != 0:
        t.fine = 1
    if t.packets > 0 and ts >= t.last and ts - t.last <= MAX_TRAIN_GAP_NS:
        t.bits += framed * 8
        t.packets += 1
        span = ts - t.start
        if t.packets <= TRAIN_PACKETS or span < (MIN_TRAIN_NS if t.fine else MIN_TRAIN_COARSE_NS):
            t.last = ts
            return
        step = i64((np.log2(t.bits * 1e9 / span) - TRAIN_LEAST_OCTAVE) * TRAIN_STEPS)
        ledger.rates[link, u64(min(max(step, 0), TRAIN_BINS - 1))] += 1
    t.start = ts
    t.last = ts
    t.bits = 0
    t.packets = 1


def peak_rate_bps(rates: NDArray[np.uint32]) -> float:
    """The rate that the fastest thousandth of the trains reaches, at least three of them; or 0.

    A single train may be a timestamp's error; ``rates`` has the shape (TRAIN_BINS,).
    """
    faster = np.cumsum(rates[::-1], dtype=np.int64)[::-1]
    enough = np.flatnonzero(faster >= max(3, faster[0] // 1000))
    if not len(enough):
        return 0.0
    return float(2.0 ** ((enough[-1] + 0.5) / TRAIN_STEPS + TRAIN_LEAST_OCTAVE))
