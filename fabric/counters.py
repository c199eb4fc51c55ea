"""Canonical counter names: one vocabulary for every vendor, and for the simulator.

``kind`` is ``cumulative`` (a monotonic count), ``gauge`` (what is now) or ``peak`` (the highest since
the last reading). Times are nanoseconds, lengths bytes, whatever unit a device reports.
"""

from typing import Literal, NamedTuple

CounterKind = Literal["cumulative", "gauge", "peak"]


class Counter(NamedTuple):
    """One canonical counter: of which object it is, its kind and unit, and what it says."""

    name: str
    object: str
    kind: CounterKind
    unit: str
    text: str


def _table(rows: str) -> dict[tuple[str, str], Counter]:
    counters = {}
    for line in rows.strip().splitlines():
        name, of, kind, unit, text = (part.strip() for part in line.split("|"))
        counters[of, name] = Counter(name, of, kind, unit, text)  # type: ignore[arg-type]  # checked by the tests
    return counters


COUNTERS: dict[tuple[str, str], Counter] = _table(
    """
    link_bps                | port     | gauge      | bit/s   | speed the port reports
    rx_bytes                | port     | cumulative | bytes   | received
    rx_packets              | port     | cumulative | packets | received
    tx_bytes                | port     | cumulative | bytes   | sent
    tx_packets              | port     | cumulative | packets | sent
    rx_crc_errors           | port     | cumulative | packets | received with a bad FCS
    rx_ce_packets           | port     | cumulative | packets | received marked congestion experienced
    rx_cnp                  | port     | cumulative | packets | congestion notifications received
    tx_cnp                  | port     | cumulative | packets | congestion notifications sent
    rx_naks                 | port     | cumulative | packets | RDMA NAKs received
    rx_pfc_frames           | priority | cumulative | packets | PFC frames received that name the priority
    tx_pfc_frames           | priority | cumulative | packets | PFC frames sent that name the priority
    rx_xoff                 | priority | cumulative | packets | of these, asking to stop
    tx_xoff                 | priority | cumulative | packets | of these, asking to stop
    rx_pause_ns             | priority | cumulative | ns      | this port's egress was held by its peer
    tx_pause_ns             | priority | cumulative | ns      | this port held its peer
    rx_pause_requested_ns   | priority | cumulative | ns      | sum of the quanta asked for: an upper bound, never a duty
    tx_bytes                | queue    | cumulative | bytes   | sent from the queue
    tx_packets              | queue    | cumulative | packets | sent from the queue
    ecn_marked_packets      | queue    | cumulative | packets | marked here
    dropped_packets         | queue    | cumulative | packets | dropped at egress
    queue_bytes             | queue    | gauge      | bytes   | length now
    queue_peak_bytes        | queue    | peak       | bytes   | greatest length since the last reading
    watchdog_storms         | queue    | cumulative |         | storms the PFC watchdog acted on
    watchdog_drops          | queue    | cumulative | packets | dropped by the PFC watchdog
    rx_bytes                | pg       | cumulative | bytes   | received in the priority group
    rx_packets              | pg       | cumulative | packets | received in the priority group
    dropped_packets         | pg       | cumulative | packets | dropped at ingress: headroom full
    occupancy_bytes         | pg       | gauge      | bytes   | buffer held, headroom included
    headroom_peak_bytes     | pg       | peak       | bytes   | most headroom used since the last reading
    """
)
