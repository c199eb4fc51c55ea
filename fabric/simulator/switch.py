"""What a shared-buffer switch does with a frame: admission, thresholds, PFC, marking.

Ingress accounting with a dynamic threshold and per-port headroom, as IEEE 802.1Qbb assumes and
lossless switches implement it: a port-priority may use alpha times the free shared buffer; above that
it asks its peer to stop and what is still under way goes into its own headroom.
"""

import numpy as np
import numpy.typing as npt

from fabric.kernel import inline
from fabric.simulator.heap import push
from fabric.simulator.state import (
    DROP_N,
    FREE,
    FULL_PAUSE_BYTES,
    KIND_SHIFT,
    NEVER,
    NOW,
    PACKETS_OUT,
    PAUSE_N,
    PRIORITIES,
    PROVENANCE_N,
    TAP_N,
    TRANSMIT,
)

Rows = npt.NDArray[np.void]
Longs = npt.NDArray[np.int64]


@inline
def uniform(random: npt.NDArray[np.uint64]) -> float:
    """Next number in [0, 1) of xorshift64* (Vigna 2016); the state is one nonzero word."""
    x = random[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    random[0] = x
    return float((x * np.uint64(2685821657736338717)) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@inline
def threshold(node: Rows, device: int) -> float:
    """Bytes an ingress may hold now: alpha times the free shared buffer."""
    return float(node[device].alpha * (node[device].shared_bytes - node[device].shared_used))


@inline
def admit(
    node: Rows, queue: Rows, share: Longs, device: int, ingress: int, egress_local: int,
    priority: int, size: int,
) -> int:  # fmt: skip
    """Charge a frame to its ingress: 0 shared, 1 headroom, 2 no room."""
    into = queue[ingress, priority]
    free = node[device].shared_bytes - node[device].shared_used
    where = 0
    shared = max(into.occupancy + size - node[device].reserve, 0)
    taken = min(shared, size)
    if shared == 0 or (shared <= threshold(node, device) and taken <= free):
        into.occupancy += size
        node[device].shared_used += taken
    elif into.lossless and into.headroom + size <= into.headroom_limit:
        into.headroom += size
        into.headroom_peak = max(into.headroom_peak, into.headroom)
        where = 1
    else:
        return 2
    share[ingress * PRIORITIES + priority, egress_local] += size
    return where


@inline
def release(
    node: Rows, queue: Rows, share: Longs, device: int, ingress: int, egress_local: int,
    priority: int, size: int,
) -> None:  # fmt: skip
    """Give the bytes of a departing frame back; headroom empties first."""
    into = queue[ingress, priority]
    of_headroom = min(into.headroom, size)
    into.headroom -= of_headroom
    rest = size - of_headroom
    node[device].shared_used -= min(max(into.occupancy - node[device].reserve, 0), rest)
    into.occupancy -= rest
    share[ingress * PRIORITIES + priority, egress_local] -= size


@inline
def wants_pause(node: Rows, queue: Rows, device: int, ingress: int, priority: int) -> bool:
    """XOFF rule: headroom in use, or the shared part at its threshold."""
    into = queue[ingress, priority]
    shared = into.occupancy - node[device].reserve
    return bool(into.headroom > 0 or (shared > 0 and shared >= threshold(node, device)))


@inline
def may_resume(node: Rows, queue: Rows, device: int, ingress: int, priority: int) -> bool:
    """XON rule: headroom empty and the shared part an offset below its threshold."""
    into = queue[ingress, priority]
    shared = into.occupancy - node[device].reserve
    below = shared + node[device].xon_offset <= threshold(node, device)
    return bool(into.headroom == 0 and (shared <= 0 or below))


@inline
def say(port: Rows, queue: Rows, ingress: int, priority: int, xoff: int) -> None:
    """The peer must be told to stop (1) or to go on (0); the caller has the port served."""
    bit = 1 << priority
    queue[ingress, priority].xoff_told = xoff
    if xoff:
        port[ingress].pfc_want |= bit
    else:
        port[ingress].pfc_want &= ~bit & 0xFFFF
    port[ingress].pfc_tell |= bit


@inline
def marks(port: Rows, egress: int, length: int, random: npt.NDArray[np.uint64]) -> bool:
    """WRED on the egress queue (RFC 3168 marks instead of dropping)."""
    low = port[egress].kmin
    high = port[egress].kmax
    if length <= low:
        return False
    if length > high:
        return True
    chance = port[egress].pmax * float(length - low) / float(high - low)
    return bool(uniform(random) < chance)


@inline
def log_reason(
    port: Rows, node: Rows, queue: Rows, share: Longs, log: Rows, whole: Longs,
    ingress: int, priority: int, xoff: int,
) -> None:  # fmt: skip
    """Write which egress ports hold the bytes of an ingress that changes its pause state."""
    device = port[ingress].node
    first = node[device].first_port
    row = ingress * PRIORITIES + priority
    into = queue[ingress, priority]
    for k in range(node[device].ports):
        held = share[row, k]
        n = whole[PROVENANCE_N]
        if held > 0 and n < log.shape[0]:
            entry = log[n]
            entry.ps = whole[NOW]
            entry.port = ingress
            entry.priority = priority
            entry.xoff = xoff
            entry.paused = 1 if queue[first + k, priority].held_from != NEVER else 0
            entry.occupancy = into.occupancy + into.headroom
            entry.because = first + k
            entry.bytes = held
            whole[PROVENANCE_N] = n + 1


@inline
def log_drop(log: Rows, whole: Longs, packet: Rows, at: int, where: int, reason: int) -> None:
    """Write the loss of a packet down."""
    n = whole[DROP_N]
    if n < log.shape[0]:
        entry = log[n]
        entry.ps = whole[NOW]
        entry.port = where
        entry.reason = reason
        entry.qp = packet[at].qp
        entry.kind = packet[at].kind
        entry.psn = packet[at].psn
        whole[DROP_N] = n + 1


@inline
def log_frame(log: Rows, whole: Longs, packet: Rows, at: int, where: int, incoming: int) -> None:
    """Write down that a frame passed a tapped port."""
    row = log[whole[TAP_N]]
    whole[TAP_N] += 1
    row.ps = whole[NOW]
    row.port = where
    row.incoming = incoming
    row.kind = packet[at].kind
    row.ce = packet[at].ce
    row.ack_request = packet[at].ack_request
    row.syndrome = packet[at].syndrome
    row.priority = packet[at].priority
    row.vector = packet[at].vector
    row.quanta_mask = packet[at].quanta_mask
    row.ip_id = packet[at].ip_id
    row.qp = packet[at].qp
    row.message = packet[at].message
    row.payload = packet[at].payload
    row.psn = packet[at].psn
    row.msn = packet[at].msn


@inline
def take(packet: Rows, whole: Longs, kind: int, qp: int, size: int, priority: int) -> int:
    """Take a packet from the pool, its other fields zero; -1 where the pool is empty."""
    k = whole[FREE]
    if k >= 0:
        whole[FREE] = packet[k].next
        whole[PACKETS_OUT] += 1
        packet[k].next = -1
        packet[k].kind = kind
        packet[k].qp = qp
        packet[k].message = -1
        packet[k].bytes = size
        packet[k].payload = 0
        packet[k].priority = priority
        packet[k].ce = 0
        packet[k].ack_request = 0
        packet[k].syndrome = 0
        packet[k].vector = 0
        packet[k].quanta_mask = 0
        packet[k].psn = 0
        packet[k].msn = 0
        packet[k].ip_id = 0
    return int(k)


@inline
def append(packet: Rows, port: Rows, queue: Rows, out: int, priority: int, at: int) -> None:
    """Put a packet at the end of an egress queue."""
    egress = queue[out, priority]
    packet[at].next = -1
    if egress.head < 0:
        egress.head = at
    else:
        packet[egress.tail].next = at
    egress.tail = at
    egress.bytes += packet[at].bytes
    egress.peak = max(egress.peak, egress.bytes)
    port[out].backlog += 1


@inline
def wake(
    port: Rows, times: Longs, codes: Longs, whole: Longs, which: int, time: int
) -> None:  # fmt: skip
    """Have a port served at ``time``, or when its present frame has left.

    A sender at a low rate is due far away and its port is served many times before: the event that
    lies there already is found again, or the heap would grow by one each time.
    """
    due = max(time, port[which].busy_until)
    if port[which].transmit_at > due:
        if port[which].transmit_at < NEVER and port[which].spare_at <= whole[NOW]:
            port[which].spare_at = port[which].transmit_at
        port[which].transmit_at = due
        if port[which].spare_at != due:
            push(times, codes, whole, due, (TRANSMIT << KIND_SHIFT) | which)


@inline
def hear_pause(
    port: Rows, queue: Rows, packet: Rows, log: Rows, whole: Longs, ingress: int, at: int,
    expires: bool,
) -> None:  # fmt: skip
    """Obey a PFC frame: IEEE 802.3 31D; XOFF replaces what is left of the last, XON ends it."""
    now = whole[NOW]
    for q in range(PRIORITIES):
        bit = 1 << q
        if not packet[at].vector & bit:
            continue
        held = queue[ingress, q]
        if held.held_from != NEVER and held.paused_until <= now:
            held.rx_pause_ps += held.paused_until - held.held_from
            held.held_from = NEVER
        entry = log[whole[PAUSE_N]]
        whole[PAUSE_N] += 1
        entry.ps = now
        entry.port = ingress
        entry.priority = q
        entry.xoff = 1 if packet[at].quanta_mask & bit else 0
        if entry.xoff:
            held.rx_xoff += 1
            if held.held_from == NEVER:
                held.held_from = now
            held.paused_until = NEVER
            if expires:
                held.paused_until = now + FULL_PAUSE_BYTES * port[ingress].ps_per_byte
        else:
            held.rx_xon += 1
            if held.held_from != NEVER:
                held.rx_pause_ps += now - held.held_from
                held.held_from = NEVER
            held.paused_until = now
