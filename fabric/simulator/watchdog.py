"""The PFC watchdog: drops what a queue holds that its peer has held for too long (SONiC: pfcwd)."""

import numpy as np
import numpy.typing as npt

from fabric.kernel import inline
from fabric.simulator.heap import Longs
from fabric.simulator.state import (
    DROP_N,
    FREE,
    NEVER,
    NOW,
    PACKETS_OUT,
    PRIORITIES,
    WATCHDOG_DROP,
)
from fabric.simulator.switch import log_drop, may_resume, release, say, wake

Rows = npt.NDArray[np.void]
DROP_RESERVE = 256  # rows that the rest of an event may need


@inline
def watch(
    port: Rows, queue: Rows, node: Rows, packet: Rows, qp: Rows, share: Longs, drop: Rows,
    times: Longs, codes: Longs, whole: Longs,
) -> None:  # fmt: skip
    """One poll of all switch queues: which has been stuck for the detection time, which is free again."""
    now = whole[NOW]
    for p in range(port.shape[0]):
        device = port[p].node
        if node[device].host or node[device].watchdog_detect_ps == 0:
            continue
        for q in range(PRIORITIES):
            side = queue[p, q]
            held = side.held_from != NEVER and side.paused_until > now
            if held and (side.bytes > 0 or side.blocked):
                side.free_from = NEVER
                if side.stuck_from == NEVER:
                    side.stuck_from = now
                if not side.blocked and now - side.stuck_from >= node[device].watchdog_detect_ps:
                    side.blocked = 1
                    side.watchdog_storms += 1
                    throw(port, queue, node, packet, qp, share, drop, times, codes, whole, p, q)
            else:
                side.stuck_from = NEVER
                if side.blocked:
                    if side.free_from == NEVER:
                        side.free_from = now
                    if now - side.free_from >= node[device].watchdog_restore_ps:
                        side.blocked = 0
                        side.free_from = NEVER


@inline
def throw(
    port: Rows, queue: Rows, node: Rows, packet: Rows, qp: Rows, share: Longs, drop: Rows,
    times: Longs, codes: Longs, whole: Longs, p: int, q: int,
) -> None:  # fmt: skip
    """Drop all that waits in a queue."""
    side = queue[p, q]
    device = port[p].node
    k = side.head
    while k >= 0:
        after = packet[k].next
        up = packet[k].ingress
        release(node, queue, share, device, up, port[p].local, q, packet[k].bytes)
        side.watchdog_drops += 1
        qp[packet[k].qp].dropped_packets += 1
        if whole[DROP_N] + DROP_RESERVE < drop.shape[0]:
            log_drop(drop, whole, packet, k, p, WATCHDOG_DROP)
        if queue[up, q].xoff_told and may_resume(node, queue, device, up, q):
            say(port, queue, up, q, 0)
            wake(port, times, codes, whole, up, whole[NOW])
        port[p].backlog -= 1
        packet[k].next = whole[FREE]
        whole[FREE] = k
        whole[PACKETS_OUT] -= 1
        k = after
    side.head = -1
    side.tail = -1
    side.bytes = 0
