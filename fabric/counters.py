"""Canonical counter names: one vocabulary for every vendor, and for the simulator.

``kind`` is ``cumulative`` (a monotonic count), ``gauge`` (what is now) or ``peak`` (the highest since
the last reading). Times are nanoseconds, lengths bytes, whatever unit a device reports. A
value is a whole number: what is a fraction by nature has a small unit (a bit error ratio 1e-18).
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
    rx_pfc_frames           | port     | cumulative | packets | PFC frames received, where nobody tells priorities apart
    tx_pfc_frames           | port     | cumulative | packets | PFC frames sent, where nobody tells priorities apart
    rx_errors               | port     | cumulative | packets | received and not usable
    tx_errors               | port     | cumulative | packets | not sent because of errors
    rx_dropped_packets      | port     | cumulative | packets | received and dropped
    tx_dropped_packets      | port     | cumulative | packets | dropped before sending
    rx_pause_frames         | port     | cumulative | packets | whole-port pause frames received
    tx_pause_frames         | port     | cumulative | packets | whole-port pause frames sent
    oper_up                 | port     | gauge      |         | 1 the link works, 0 it does not
    link_downs              | port     | cumulative |         | times the link went down
    link_changes            | port     | cumulative |         | times the link went up or down
    last_clear_ns           | port     | gauge      | ns      | when the counters were last cleared
    rx_symbol_errors        | port     | cumulative |         | symbols received wrongly
    fec_corrected           | port     | cumulative |         | codewords FEC put right
    fec_uncorrected         | port     | cumulative |         | codewords FEC could not put right
    fec_corrected_bits      | port     | cumulative | bits    | bits FEC put right
    pre_fec_ber             | port     | gauge      | 1e-18   | bit error ratio before FEC
    post_fec_ber            | port     | gauge      | 1e-18   | bit error ratio behind FEC
    ecn_marked_packets      | port     | cumulative | packets | marked at this port
    wred_dropped_packets    | port     | cumulative | packets | dropped by WRED
    trimmed_packets         | port     | cumulative | packets | cut down to their headers
    occupancy_bytes         | port     | gauge      | bytes   | buffer held by what came in here
    buffer_peak_bytes       | port     | peak       | bytes   | most buffer held since the last reading
    rx_roce_bytes           | port     | cumulative | bytes   | RDMA received
    rx_roce_packets         | port     | cumulative | packets | RDMA received
    tx_roce_bytes           | port     | cumulative | bytes   | RDMA sent
    tx_roce_packets         | port     | cumulative | packets | RDMA sent
    cnp_ignored             | port     | cumulative | packets | congestion notifications not acted on
    out_of_sequence         | port     | cumulative | packets | RDMA packets that came out of sequence
    sequence_errors         | port     | cumulative | packets | sequence-error NAKs received by the requester
    implied_naks            | port     | cumulative |         | losses of READ responses found by the requester
    duplicate_requests      | port     | cumulative | packets | requests that came again
    ack_timeouts            | port     | cumulative |         | acknowledgements that did not come in time
    rnr_naks                | port     | cumulative | packets | receiver-not-ready NAKs received
    rnr_exhausted           | port     | cumulative |         | requests given up: receiver never ready
    retries_exhausted       | port     | cumulative |         | requests given up: no answer
    retransmissions         | port     | cumulative |         | resends the adapter started
    slow_restarts           | port     | cumulative |         | senders put back to a low rate
    out_of_buffer           | port     | cumulative | packets | dropped: no receive buffer was posted
    icrc_errors             | port     | cumulative | packets | RDMA packets with a bad ICRC
    rx_buffer_full          | port     | cumulative | packets | dropped: the adapter's buffer was full
    rx_buffer_over_85       | port     | cumulative |         | times the receive buffer passed about 85 %
    pause_storm_warnings    | port     | cumulative |         | long pauses the adapter caused
    pci_write_stalled_share | port     | gauge      | 1e-2    | part of the last second in which writes to memory waited for PCIe
    pci_read_stalled_share  | port     | gauge      | 1e-2    | part of the last second in which reads of memory waited for PCIe
    pause_storm_errors      | port     | cumulative |         | pauses so long that the adapter stopped them
    rx_pause_transitions    | priority | cumulative |         | times the peer held or released this priority
    tx_pause_transitions    | priority | cumulative |         | times this port held or released its peer
    rx_pause_requested_quanta | priority | cumulative | quanta | sum of the quanta asked for, as the device reports it
    tx_pause_requested_quanta | priority | cumulative | quanta | sum of the quanta asked of the peer
    tx_pause_requested_ns   | priority | cumulative | ns      | the same in time: an upper bound, never a duty
    rx_pause_share          | priority | gauge      | 1e-6    | part of the last window in which the peer held it
    tx_pause_share          | priority | gauge      | 1e-6    | part of the last window in which it held the peer
    rx_bytes                | priority | cumulative | bytes   | received in the priority
    rx_packets              | priority | cumulative | packets | received in the priority
    tx_bytes                | priority | cumulative | bytes   | sent in the priority
    tx_packets              | priority | cumulative | packets | sent in the priority
    dropped_packets         | priority | cumulative | packets | received in the priority and dropped
    dropped_bytes           | priority | cumulative | bytes   | received in the priority and dropped
    rx_ce_packets           | priority | cumulative | packets | received and marked congestion experienced here
    watchdog_storms         | priority | cumulative |         | deadlocks the device found
    watchdog_recoveries     | priority | cumulative |         | deadlocks it got out of
    ecn_marked_bytes        | queue    | cumulative | bytes   | marked here
    ecn_selected_packets    | queue    | cumulative | packets | chosen for a mark, able to carry one or not
    ecn_selected_bytes      | queue    | cumulative | bytes   | chosen for a mark, able to carry one or not
    dropped_bytes           | queue    | cumulative | bytes   | dropped at egress
    wred_dropped_packets    | queue    | cumulative | packets | of the dropped, those by WRED
    wred_dropped_bytes      | queue    | cumulative | bytes   | of the dropped, those by WRED
    buffer_dropped_packets  | queue    | cumulative | packets | of the dropped, those for want of buffer
    trimmed_packets         | queue    | cumulative | packets | cut down to their headers
    queue_mean_bytes        | queue    | gauge      | bytes   | mean length as the device takes it
    delay_peak_ns           | queue    | peak       | ns      | longest wait since the last reading
    watchdog_recoveries     | queue    | cumulative |         | storms the PFC watchdog saw the end of
    watchdog_stormed        | queue    | gauge      |         | 1 while the PFC watchdog holds the queue
    headroom_bytes          | pg       | gauge      | bytes   | headroom held now
    buffer_peak_bytes       | pg       | peak       | bytes   | most shared buffer held since the last reading
    occupancy_bytes         | pool     | gauge      | bytes   | of the pool, held now
    buffer_peak_bytes       | pool     | peak       | bytes   | of the pool, most held since the last reading
    headroom_peak_bytes     | pool     | peak       | bytes   | of its headroom, most held since the last reading
    dropped_packets         | pool     | cumulative | packets | dropped because the pool was full
    rx_power                | lane     | gauge      | 1e-3 dBm | light received
    tx_power                | lane     | gauge      | 1e-3 dBm | light sent
    bias_current            | lane     | gauge      | 1e-6 A  | current of the laser
    symbol_errors           | lane     | cumulative |         | symbols received wrongly
    """
)
