"""What an RDMA NIC does: rate control, go-back-N or selective repeat, answers.

DCQCN follows Zhu et al., SIGCOMM 2015, section 5; the lazily applied timers give the same rates as
periodic ones because alpha and rate change only by these rules between two packets of a queue pair.
"""

import numpy as np
import numpy.typing as npt

from fabric.kernel import inline
from fabric.simulator.state import (
    P_AI,
    P_ALPHA_PS,
    P_CLAMP,
    P_CUT_PS,
    P_FAST,
    P_G,
    P_HAI,
    P_MIN_RATE,
    P_RISE_BYTES,
    P_RISE_PS,
)

Rows = npt.NDArray[np.void]
Floats = npt.NDArray[np.float64]


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
def settle_rate(qp: Rows, i: int, now: int, parameter: Floats) -> None:
    """Apply the increases that the timer has owed since the last packet."""
    if qp[i].cut_at < 0:
        return
    period = int(parameter[P_RISE_PS])
    steps = 0
    while qp[i].rise_at + period <= now and steps < 4096:
        qp[i].rise_at += period
        qp[i].rises += 1
        steps += 1
        rise(qp, i, parameter)
    if steps == 4096:
        qp[i].rise_at = now


@inline
def count_bytes(qp: Rows, i: int, size: int, parameter: Floats) -> None:
    """Advance the byte counter of the increase."""
    if parameter[P_RISE_BYTES] <= 0.0 or qp[i].cut_at < 0:
        return
    qp[i].byte_count += size
    if qp[i].byte_count >= parameter[P_RISE_BYTES]:
        qp[i].byte_count = 0
        qp[i].byte_rises += 1
        rise(qp, i, parameter)


@inline
def cut(qp: Rows, i: int, now: int, parameter: Floats) -> None:
    """A CNP arrived: RT = RC, RC = RC (1 - alpha/2), alpha = (1 - g) alpha + g."""
    gain = parameter[P_G]
    period = int(parameter[P_ALPHA_PS])
    if qp[i].cut_at >= 0 and now - qp[i].cut_at < parameter[P_CUT_PS]:
        return
    settle_rate(qp, i, now, parameter)
    if qp[i].cut_at >= 0:
        quiet = max((now - qp[i].alpha_at) // period, 0)
        qp[i].alpha *= (1.0 - gain) ** quiet
    if parameter[P_CLAMP] > 0.0 or qp[i].cut_at < 0 or qp[i].rises > 0 or qp[i].byte_rises > 0:
        qp[i].goal = qp[i].rate
    qp[i].rate = max(qp[i].rate * (1.0 - 0.5 * qp[i].alpha), parameter[P_MIN_RATE])
    qp[i].alpha = (1.0 - gain) * qp[i].alpha + gain
    qp[i].alpha_at = now
    qp[i].cut_at = now
    qp[i].rise_at = now
    qp[i].rises = 0
    qp[i].byte_rises = 0
    qp[i].byte_count = 0


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
