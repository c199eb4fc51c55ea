"""The state of a simulated fabric as a few arrays of records, one cache line's neighbours together.

Time is int64 picoseconds, so that a byte at any standard speed takes a whole number of ticks
(100 Gb/s: 80 ps). A *port* is one egress; its peer is the ingress at the other end of the cable. The
numbers below are compiled into the engine's kernel.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

NEVER = np.int64(1) << 62
PRIORITIES = 8
OVERHEAD_BYTES = 24  # preamble 8, gap 12, FCS 4: IEEE 802.3 clauses 3 and 4.4.2
PFC_FRAME_BYTES = 60  # IEEE 802.3 31D: padded to the least frame; the FCS is in the overhead
FULL_PAUSE_BYTES = 0xFFFF * 64  # the longest pause, 65,535 quanta of 512 bit times

# kinds of simulated packets
DATA, ACK, NAK, CNP, RNR, PFC, REQUEST, RESPONSE = range(8)  # the last two: of a READ
OPENS, CLOSES = 1, 2  # bits of a response: first, last of what was asked

# kinds of events; the index follows in the low 40 bits of the code
ARRIVE, TRANSMIT, TIMEOUT, READY, REFRESH, DRAIN, STORM, WATCHDOG = range(8)
KIND_SHIFT = 40

PORT = np.dtype(
    [
        ("node", "i4"),
        ("peer", "i4"),
        ("local", "i4"),  # number of the port on its device, from 0
        ("host", "u1"),
        ("tapped", "u1"),
        ("down", "u1"),
        ("ps_per_byte", "i8"),
        ("nominal_ps_per_byte", "i8"),
        ("delay_ps", "i8"),
        ("busy_until", "i8"),
        ("transmit_at", "i8"),  # when the pending TRANSMIT event is due; NEVER without one
        ("spare_at", "i8"),  # a later one that an earlier overtook and that is still in the heap
        ("flight_head", "i4"),
        ("flight_tail", "i4"),
        ("backlog", "i4"),  # packets in all queues
        ("turn", "i4"),  # round robin over the queues
        ("pfc_tell", "u2"),  # priorities whose pause state the peer must be told
        ("pfc_want", "u2"),  # the state: bit set means XOFF
        ("loss", "f8"),  # probability that a frame leaving here arrives corrupted
        ("kmin", "i8"),
        ("kmax", "i8"),
        ("pmax", "f8"),
        ("rx_bytes", "i8"),
        ("rx_packets", "i8"),
        ("tx_bytes", "i8"),
        ("tx_packets", "i8"),
        ("rx_crc_errors", "i8"),
        ("rx_cnp", "i8"),
        ("tx_cnp", "i8"),
        ("rx_nak", "i8"),
        ("tx_nak", "i8"),
        ("rx_ce", "i8"),
        ("tx_ce", "i8"),
        # what a NIC counts, in the words of mlx5
        ("out_of_sequence", "i8"),
        ("duplicate_request", "i8"),
        ("out_of_buffer", "i8"),
        ("rnr_nak_retry", "i8"),
        ("ack_timeout", "i8"),
        ("implied_nak", "i8"),
        ("write_requests", "i8"),
        ("read_requests", "i8"),
    ],
    align=True,
)

QUEUE = np.dtype(
    [
        ("head", "i4"),
        ("tail", "i4"),
        ("bytes", "i8"),  # egress queue
        ("peak", "i8"),  # since the last sample
        ("occupancy", "i8"),  # ingress: shared part
        ("headroom", "i8"),  # ingress: headroom part
        ("headroom_peak", "i8"),
        ("headroom_limit", "i8"),
        ("paused_until", "i8"),  # egress held by the peer
        ("held_from", "i8"),  # since when it counts as held; NEVER while free
        ("rx_pause_ps", "i8"),
        ("tx_pause_ps", "i8"),
        ("xoff_from", "i8"),  # since when this port holds its peer; NEVER while it does not
        ("refresh_at", "i8"),  # when the XOFF must be said again
        ("xoff_told", "u1"),
        ("lossless", "u1"),
        ("blocked", "u1"),  # the watchdog drops this queue
        ("ecn", "u1"),
        ("stuck_from", "i8"),  # watchdog: held with packets waiting since; NEVER while not
        ("free_from", "i8"),  # watchdog: no hold since
        ("rx_xoff", "i8"),
        ("rx_xon", "i8"),
        ("tx_xoff", "i8"),
        ("tx_xon", "i8"),
        ("tx_bytes", "i8"),
        ("tx_packets", "i8"),
        ("rx_bytes", "i8"),
        ("rx_packets", "i8"),
        ("ecn_marked", "i8"),
        ("ingress_drops", "i8"),
        ("egress_drops", "i8"),
        ("watchdog_drops", "i8"),
        ("watchdog_storms", "i8"),
    ],
    align=True,
)

NODE = np.dtype(
    [
        ("host", "u1"),
        ("ignores_pfc", "u1"),
        ("storming", "u1"),
        ("ready", "u1"),  # 0: the application has no receive buffers posted
        ("rnr_code", "u1"),
        ("selective", "u1"),  # the NIC repeats only what is missing
        ("adaptive", "u1"),  # its packets take the path with the shortest first queue
        ("cnp_off", "u1"),
        ("go_back_zero", "u1"),  # after a loss the whole message begins again, on both sides
        ("pci_limited", "u1"),  # its drain is slow because of its PCIe link
        ("first_port", "i4"),
        ("ports", "i4"),
        ("active_n", "i4"),  # queue pairs with something to send
        ("active_at", "i4"),  # turn
        ("shared_bytes", "i8"),
        ("shared_used", "i8"),
        ("alpha", "f8"),  # dynamic threshold: share of what is free
        ("xon_offset", "i8"),
        ("reserve", "i8"),  # bytes each ingress priority owns before it takes shared ones
        ("drain_ps_per_byte", "i8"),  # slow receiver; 0 takes everything at once
        ("drain_backlog", "i8"),
        ("drain_at", "i8"),
        ("drain_xoff", "i8"),
        ("drain_xon", "i8"),
        ("watchdog_detect_ps", "i8"),  # 0: no watchdog
        ("watchdog_restore_ps", "i8"),
    ],
    align=True,
)

PACKET = np.dtype(
    [
        ("arrives", "i8"),
        ("psn", "i8"),
        ("next", "i4"),
        ("qp", "i4"),
        ("message", "i4"),
        ("ingress", "i4"),  # port by which it entered the present device
        ("path", "i4"),  # index of its next egress in the path array
        ("bytes", "i4"),  # frame without FCS
        ("payload", "i4"),
        ("kind", "u1"),
        ("priority", "u1"),
        ("ce", "u1"),
        ("ack_request", "u1"),
        ("in_headroom", "u1"),
        ("syndrome", "u1"),
        ("vector", "u2"),  # PFC: priorities told about
        ("quanta_mask", "u2"),  # PFC: of them, those held; response: OPENS, CLOSES
        ("msn", "u4"),
        ("ip_id", "u2"),
    ],
    align=True,
)

QP = np.dtype(
    [
        ("source", "i4"),  # egress port of the sending host
        ("target", "i4"),  # egress port of the receiving host
        ("path", "i4"),  # first path in the list of paths, n of them
        ("paths", "i4"),
        ("back", "i4"),  # the way of the replies
        ("backs", "i4"),
        ("spray_turn", "i4"),
        ("priority", "u1"),
        ("reply_priority", "u1"),
        ("cnp_priority", "u1"),
        ("active", "u1"),
        ("nak_open", "u1"),
        ("read", "u1"),  # data are the responses to READ requests of the target
        ("request_nak_open", "u1"),  # read: the responder waits for a request it missed
        ("cut_heard", "u1"),  # periodic control: notified since the last look at the rate
        ("alpha_heard", "u1"),  # the same since the last update of alpha
        ("rate_control", "u1"),
        ("mtu", "i4"),
        ("ack_every", "i4"),
        ("unacked", "i4"),
        ("first_message", "i4"),
        ("messages", "i4"),
        ("send_message", "i4"),  # message of the next packet to send
        ("recv_message", "i4"),
        ("ack_message", "i4"),
        ("ready_messages", "i4"),
        ("asked_messages", "i4"),  # read: of the ready ones, those requested
        ("limit", "i8"),  # packets of the messages that may be sent
        ("next_psn", "i8"),
        ("una", "i8"),
        ("repair", "i8"),  # selective NIC: the one packet to send again; -1 none
        ("top", "i8"),  # one more than the highest sent
        ("expected", "i8"),  # receiver
        ("segment", "i8"),  # read: where the last request within a message began
        ("msn", "i8"),
        ("window", "i8"),  # packets; 0 unlimited
        ("next_send", "i8"),
        ("hold_until", "i8"),  # RNR
        ("timeout_ps", "i8"),
        ("timeout_at", "i8"),
        ("progress_at", "i8"),
        ("last_cnp", "i8"),
        ("rate", "f8"),  # bit/s
        ("goal", "f8"),
        ("line", "f8"),
        ("alpha", "f8"),
        ("alpha_at", "i8"),
        ("cut_at", "i8"),
        ("rise_at", "i8"),
        ("rise_scale", "f8"),  # the increase takes this many times its period
        ("rises", "i4"),
        ("byte_rises", "i4"),
        ("byte_count", "i8"),
        ("sent_packets", "i8"),
        ("resent_packets", "i8"),
        ("dropped_packets", "i8"),
        ("cnps", "i8"),
        ("ip_id", "u2"),
    ],
    align=True,
)

MESSAGE = np.dtype(
    [
        ("qp", "i4"),
        ("waits", "i4"),  # messages that must be delivered first
        ("followers", "i4"),  # first of the messages that wait for this one
        ("followers_n", "i4"),
        ("bytes", "i8"),
        ("first", "i8"),  # packet number in its queue pair
        ("packets", "i8"),
        ("earliest_ps", "i8"),
        ("think_ps", "i8"),  # computing between the last awaited message and this one
        ("ready", "u1"),
        ("immediate", "u1"),
        ("started", "i8"),
        ("delivered", "i8"),
        ("acked", "i8"),
    ],
    align=True,
)

TAP = np.dtype(
    [
        ("ps", "i8"),
        ("port", "i4"),
        ("incoming", "u1"),
        ("kind", "u1"),
        ("ce", "u1"),
        ("ack_request", "u1"),
        ("syndrome", "u1"),
        ("priority", "u1"),
        ("vector", "u2"),
        ("quanta_mask", "u2"),
        ("ip_id", "u2"),
        ("qp", "i4"),
        ("message", "i4"),
        ("payload", "i4"),
        ("psn", "i8"),
        ("msn", "u4"),
        ("hops", "u1"),
    ],
    align=True,
)

# one row per egress port that holds bytes of the ingress that says XOFF or XON
PROVENANCE = np.dtype(
    [
        ("ps", "i8"),
        ("port", "i4"),
        ("priority", "i4"),
        ("xoff", "u1"),
        ("paused", "u1"),
        ("occupancy", "i8"),
        ("because", "i4"),  # egress port; -1: the host itself
        ("bytes", "i8"),
    ],
    align=True,
)

# true loss of a packet
DROP = np.dtype(
    [("ps", "i8"), ("port", "i4"), ("reason", "i4"), ("qp", "i4"), ("kind", "i4"), ("psn", "i8")],
    align=True,
)
CORRUPTED, NO_HEADROOM, EGRESS_FULL, WATCHDOG_DROP, LINK_DOWN = range(5)

# a pause frame taken by the port that must obey it
PAUSE_LOG = np.dtype([("ps", "i8"), ("port", "i4"), ("priority", "i4"), ("xoff", "u1")], align=True)

# indices into the array of whole numbers
NOW, HEAP_N, FREE, TAP_N, PROVENANCE_N, DROP_N, PAUSE_N, HOPS, PACKETS_OUT, REFRESHES = range(10)
GLOBALS = 10

# indices into the array of parameters (float64)
(
    P_G,  # DCQCN: gain
    P_ALPHA_PS,  # period of the alpha update
    P_CUT_PS,  # least time between two cuts
    P_RISE_PS,  # period of the increase timer
    P_RISE_BYTES,  # bytes of the increase counter; 0 none
    P_FAST,  # fast recovery stages
    P_AI,  # additive increase, bit/s
    P_HAI,  # hyper increase, bit/s
    P_MIN_RATE,  # bit/s
    P_CNP_PS,  # least time between two CNPs of a queue pair
    P_REFRESH,  # XOFF is sent again after this share of its time; 0 never (held until XON)
    P_RESPONSE_PS,  # time between the arrival of a pause frame and the stop
    P_WATCHDOG_PS,  # watchdog poll
    P_STORM_PS,  # a storming NIC repeats its XOFF after this time
    P_CLAMP,  # 1: every cut lowers the goal of the recovery
    P_PERIODIC,  # 1: rate and alpha change at the ends of their periods, 0: when a CNP comes
    P_ECHO,  # 1: ACKs carry the mark back, no CNP is sent
) = range(17)
PARAMETERS = 17
MOST_READS = 16  # READ requests of a queue pair under way (max_rd_atomic of common NICs)


class State(NamedTuple):
    """Everything the engine reads and writes."""

    port: npt.NDArray[np.void]  # PORT[ports]
    queue: npt.NDArray[np.void]  # QUEUE[ports, 8]
    node: npt.NDArray[np.void]  # NODE[nodes]
    packet: npt.NDArray[np.void]  # PACKET[pool]
    qp: npt.NDArray[np.void]  # QP[qps]
    message: npt.NDArray[np.void]  # MESSAGE[messages]
    active: npt.NDArray[np.int32]  # [nodes, most queue pairs of a host]
    paths: npt.NDArray[np.int32]  # egress ports, path after path
    path_at: npt.NDArray[np.int32]  # where path n begins
    followers: npt.NDArray[np.int32]
    share: npt.NDArray[np.int64]  # [ports * 8, radix]: bytes of an ingress in each egress
    heap_time: npt.NDArray[np.int64]
    heap_code: npt.NDArray[np.int64]
    seen: npt.NDArray[np.uint64]  # [qps, 64]: out-of-order arrivals where the NIC is selective
    tap: npt.NDArray[np.void]
    provenance: npt.NDArray[np.void]
    drop: npt.NDArray[np.void]
    pause: npt.NDArray[np.void]
    whole: npt.NDArray[np.int64]  # GLOBALS
    parameter: npt.NDArray[np.float64]  # PARAMETERS
    random: npt.NDArray[np.uint64]  # [1]
