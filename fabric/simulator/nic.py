"""What an RDMA NIC does: rate control, go-back-N or selective repeat, READ requests.

DCQCN follows Zhu et al., SIGCOMM 2015, section 5; the lazily applied timers give the same rates as
periodic ones because alpha and rate change only by these rules between two packets of a queue pair.
It has two forms. In the paper a CNP cuts the rate at once and alpha grows with every cut. In NICs,
and in the simulators that copy them, both look at the end of fixed periods whether a CNP came in it:
under steady marking alpha then stays near one however far the cuts lie apart.
"""

import numpy as np
import numpy.typing as npt

from fabric.kernel import inline
from fabric.simulator.state import (
    MOST_READS,
    NAK,
    NEVER,
    NOW,
    P_AI,
    P_ALPHA_PS,
    P_CLAMP,
    P_CUT_PS,
    P_FAST,
    P_G,
    P_HAI,
    P_MIN_RATE,
    P_PERIODIC,
    P_RISE_BYTES,
    P_RISE_PS,
    REQUEST,
)
from fabric.simulator.switch import append, take

Rows = npt.NDArray[np.void]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]

POOL_EMPTY = 2  # the engine's answer where no packet is left
GRANTED, REFUSED = 3, 4
ACK_FRAME_BYTES = 14 + 20 + 8 + 12 + 4 + 4  # Ethernet, IPv4, UDP, BTH, AETH, ICRC
REQUEST_BYTES = 14 + 20 + 8 + 12 + 16 + 4  # Ethernet, IPv4, UDP, BTH, RETH, ICRC


@inline
def rise(qp: Rows, i: int, parameter: Floats) -> None:
    """One increase: fast recovery, additive or hyper, by the stage of both counters."""
    fast = parameter[P_FAST]
    lower = min(qp[i].rises, qp[i].byte_rises)
    upper = max(qp[i].rises, qp[i].byte_rises)
    if lower > fast:
        qp[i].goal += parameter[P_HAI] * (lower - fast)
    elif upper > fast:
        qp[i].goal += parameter[P_AI]
    qp[i].goal = min(qp[i].goal, qp[i].line)
    qp[i].rate = min(0.5 * (qp[i].rate + qp[i].goal), qp[i].line)


@inline
def settle_rises(qp: Rows, i: int, now: int, parameter: Floats) -> None:
    """Apply the increases that the timer has owed since the last packet."""
    period = int(parameter[P_RISE_PS] * qp[i].rise_scale)
    steps = 0
    while qp[i].rise_at + period <= now and steps < 4096:
        qp[i].rise_at += period
        qp[i].rises += 1
        steps += 1
        rise(qp, i, parameter)
    if steps == 4096:
        qp[i].rise_at = now


@inline
def settle_alpha(qp: Rows, i: int, now: int, parameter: Floats) -> None:
    """Periodic form: one update of alpha for every period that has ended."""
    period = int(parameter[P_ALPHA_PS])
    ended = (now - qp[i].alpha_at) // period
    if ended <= 0:
        return
    gain = parameter[P_G]
    if qp[i].alpha_heard:
        qp[i].alpha = (1.0 - gain) * qp[i].alpha + gain
        qp[i].alpha_heard = 0
        qp[i].alpha *= (1.0 - gain) ** (ended - 1)
    else:
        qp[i].alpha *= (1.0 - gain) ** ended
    qp[i].alpha_at += ended * period


@inline
def lower(qp: Rows, i: int, now: int, parameter: Floats) -> None:
    """One cut, RT = RC, RC = RC (1 - alpha/2); the increase starts afresh."""
    if parameter[P_CLAMP] > 0.0 or qp[i].cut_at < 0 or qp[i].rises > 0 or qp[i].byte_rises > 0:
        qp[i].goal = qp[i].rate
    qp[i].rate = max(qp[i].rate * (1.0 - 0.5 * qp[i].alpha), parameter[P_MIN_RATE])
    qp[i].rise_at = now
    qp[i].rises = 0
    qp[i].byte_rises = 0
    qp[i].byte_count = 0


@inline
def settle_rate(qp: Rows, i: int, now: int, parameter: Floats) -> None:
    """Bring the rate up to now: the increases owed and, in the periodic form, the cut that is due."""
    if qp[i].cut_at < 0:
        return
    if parameter[P_PERIODIC] > 0.0:
        period = int(parameter[P_CUT_PS])
        looks = (now - qp[i].cut_at) // period
        if looks > 0:
            if qp[i].cut_heard:
                look = qp[i].cut_at + period
                settle_rises(qp, i, look, parameter)
                settle_alpha(qp, i, look, parameter)
                lower(qp, i, look, parameter)
                qp[i].cut_heard = 0
            qp[i].cut_at += looks * period
    settle_rises(qp, i, now, parameter)


@inline
def count_bytes(qp: Rows, i: int, size: int, parameter: Floats) -> None:
    """Advance the byte counter of the increase."""
    if parameter[P_RISE_BYTES] <= 0.0 or qp[i].cut_at < 0:
        return
    qp[i].byte_count += size
    if qp[i].byte_count >= parameter[P_RISE_BYTES] * qp[i].rise_scale:
        qp[i].byte_count = 0
        qp[i].byte_rises += 1
        rise(qp, i, parameter)


@inline
def cut(qp: Rows, i: int, now: int, parameter: Floats) -> None:
    """A CNP arrived: cut now, or remember it until the period ends."""
    gain = parameter[P_G]
    if parameter[P_PERIODIC] > 0.0:
        if qp[i].cut_at < 0:  # both clocks start with the first one, alpha is one
            qp[i].cut_at = now
            qp[i].alpha_at = now
            qp[i].rise_at = NEVER
        else:
            settle_rate(qp, i, now, parameter)
            settle_alpha(qp, i, now, parameter)
            qp[i].alpha_heard = 1
        qp[i].cut_heard = 1
        return
    if qp[i].cut_at >= 0 and now - qp[i].cut_at < parameter[P_CUT_PS]:
        return
    settle_rate(qp, i, now, parameter)
    if qp[i].cut_at >= 0:
        quiet = max((now - qp[i].alpha_at) // int(parameter[P_ALPHA_PS]), 0)
        qp[i].alpha *= (1.0 - gain) ** quiet
    lower(qp, i, now, parameter)
    qp[i].alpha = (1.0 - gain) * qp[i].alpha + gain
    qp[i].alpha_at = now
    qp[i].cut_at = now


@inline
def ask(
    packet: Rows, port: Rows, queue: Rows, message: Rows, qp: Rows, paths_at: Ints, whole: Longs,
    i: int, m: int, begin: int, count: int, alone: int,
) -> bool:  # fmt: skip
    """Send a READ request for ``count`` packets of message ``m`` from ``begin`` on; False: no packet.

    ``alone`` says that the others that are outstanding are on their way.
    """
    k = take(packet, whole, REQUEST, i, REQUEST_BYTES, qp[i].priority)
    if k < 0:
        return False
    at = begin - message[m].first
    packet[k].psn = begin
    packet[k].message = m
    packet[k].syndrome = alone
    packet[k].payload = min(message[m].bytes - at * qp[i].mtu, count * qp[i].mtu)
    packet[k].path = paths_at[qp[i].back] + 1
    if message[m].started < 0:
        message[m].started = whole[NOW]
    append(packet, port, queue, qp[i].target, qp[i].priority, k)
    return True


@inline
def ask_ready(
    packet: Rows, port: Rows, queue: Rows, message: Rows, qp: Rows, paths_at: Ints, whole: Longs,
    i: int,
) -> bool:  # fmt: skip
    """Request what is ready, so far as the number of outstanding READs allows; False: no packet."""
    first = qp[i].first_message
    while (
        qp[i].asked_messages < qp[i].ready_messages
        and qp[i].asked_messages - (qp[i].recv_message - first) < MOST_READS
    ):
        m = first + qp[i].asked_messages
        if not ask(
            packet, port, queue, message, qp, paths_at, whole, i, m, message[m].first,
            message[m].packets, 0,
        ):  # fmt: skip
            return False
        qp[i].asked_messages += 1
    return True


@inline
def ask_again(
    packet: Rows, port: Rows, queue: Rows, message: Rows, qp: Rows, paths_at: Ints, whole: Longs,
    i: int, psn: int,
) -> bool:  # fmt: skip
    """Request all that is outstanding from ``psn`` on once more (the implied NAK, IBTA 9.7.5.1.5)."""
    last = qp[i].first_message + qp[i].asked_messages
    for m in range(qp[i].recv_message, last):
        end = message[m].first + message[m].packets
        begin = max(message[m].first, psn)
        if begin < end and not ask(
            packet, port, queue, message, qp, paths_at, whole, i, m, begin, end - begin, 0
        ):
            return False
    return True


@inline
def ask_missing(
    packet: Rows, port: Rows, queue: Rows, message: Rows, qp: Rows, paths_at: Ints, whole: Longs,
    i: int, selective: int,
) -> bool:  # fmt: skip
    """A response is missing: request it, or all from it on; False: no packet."""
    if not selective:
        return bool(ask_again(packet, port, queue, message, qp, paths_at, whole, i, qp[i].expected))
    m = qp[i].recv_message
    return bool(ask(packet, port, queue, message, qp, paths_at, whole, i, m, qp[i].expected, 1, 1))


@inline
def take_request(
    packet: Rows, port: Rows, queue: Rows, message: Rows, qp: Rows, paths_at: Ints, whole: Longs,
    ingress: int, k: int,
) -> int:  # fmt: skip
    """A READ request at the host that has the data: GRANTED, REFUSED (one before it was lost) or POOL_EMPTY."""
    i = packet[k].qp
    psn = packet[k].psn
    if psn <= qp[i].limit:
        qp[i].request_nak_open = 0
        again = psn < qp[i].limit
        if again:
            port[ingress].duplicate_request += 1
        else:
            port[ingress].read_requests += 1
        if again and packet[k].syndrome:
            qp[i].repair = psn  # a selective NIC wants one packet
            return GRANTED
        if again:
            qp[i].next_psn = psn
        m = packet[k].message
        qp[i].segment = psn
        qp[i].limit = message[m].first + message[m].packets
        return GRANTED
    if not qp[i].request_nak_open:
        qp[i].request_nak_open = 1
        port[ingress].out_of_sequence += 1
        nak = take(packet, whole, NAK, i, ACK_FRAME_BYTES, qp[i].reply_priority)
        if nak < 0:
            return POOL_EMPTY
        packet[nak].psn = qp[i].limit
        packet[nak].syndrome = 0x60
        packet[nak].msn = qp[i].msn & 0xFFFFFF
        packet[nak].path = paths_at[qp[i].path] + 1
        append(packet, port, queue, qp[i].source, packet[nak].priority, nak)
    return REFUSED


@inline
def idlest(queue: Rows, qp: Rows, paths: Ints, path_at: Ints, i: int) -> int:
    """Adaptive routing: the way with the shortest first queue in the network, ties in turn."""
    way = qp[i].path + qp[i].spray_turn
    for other in range(1, qp[i].paths):
        there = qp[i].path + (qp[i].spray_turn + other) % qp[i].paths
        mine = queue[paths[path_at[way] + 1], qp[i].priority].bytes
        if queue[paths[path_at[there] + 1], qp[i].priority].bytes < mine:
            way = there
    qp[i].spray_turn = (way - qp[i].path + 1) % qp[i].paths
    return int(way)


@inline
def may_send(qp: Rows, i: int) -> bool:
    """Something to send and room in the window."""
    inside = qp[i].window == 0 or qp[i].next_psn < qp[i].una + qp[i].window
    return bool(qp[i].next_psn < qp[i].limit and inside)


@inline
def seek_message(qp: Rows, message: Rows, i: int) -> None:
    """Point the sender at the message of its next packet (it may have gone back)."""
    m = qp[i].send_message
    while m > qp[i].first_message and qp[i].next_psn < message[m].first:
        m -= 1
    last = qp[i].first_message + qp[i].messages - 1
    while m < last and qp[i].next_psn >= message[m].first + message[m].packets:
        m += 1
    qp[i].send_message = m
