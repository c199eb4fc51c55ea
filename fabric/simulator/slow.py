"""A host that takes less than its line: what it has not taken yet fills a buffer, and PFC holds the rest."""

import numpy as np
import numpy.typing as npt

from fabric.kernel import inline
from fabric.simulator.heap import Longs, push
from fabric.simulator.state import DRAIN, KIND_SHIFT, NOW, PRIORITIES
from fabric.simulator.switch import say

Rows = npt.NDArray[np.void]


@inline
def settle_backlog(node: Rows, device: int, now: int) -> None:
    """Take away what has been drained since the last look; all of it where the host is slow no more."""
    rate = node[device].drain_ps_per_byte
    if rate == 0:
        node[device].drain_backlog = 0
    else:
        gone = (now - node[device].drain_at) // rate
        node[device].drain_backlog = max(node[device].drain_backlog - gone, 0)
    node[device].drain_at = now


@inline
def swallow(
    port: Rows, queue: Rows, node: Rows, times: Longs, codes: Longs, whole: Longs, ingress: int,
    priority: int, size: int,
) -> bool:  # fmt: skip
    """A frame arrived at a slow host; whether its switch must be told to stop."""
    now = whole[NOW]
    device = port[ingress].node
    settle_backlog(node, device, now)
    node[device].drain_backlog += size
    backlog = node[device].drain_backlog
    if queue[ingress, priority].xoff_told or backlog <= node[device].drain_xoff:
        return False
    say(port, queue, ingress, priority, 1)
    over = backlog - node[device].drain_xon
    due = now + over * node[device].drain_ps_per_byte
    push(times, codes, whole, due, (DRAIN << KIND_SHIFT) | (ingress * PRIORITIES + priority))
    return True


@inline
def drained(
    port: Rows, queue: Rows, node: Rows, times: Longs, codes: Longs, whole: Longs, at: int,
    code: int,
) -> bool:  # fmt: skip
    """The time has come when the buffer should be low again; whether the switch may go on."""
    now = whole[NOW]
    ingress, priority = at >> 3, at & 7
    device = port[ingress].node
    settle_backlog(node, device, now)
    over = node[device].drain_backlog - node[device].drain_xon
    if over > 0:
        push(times, codes, whole, now + over * max(node[device].drain_ps_per_byte, 1), code)
        return False
    if not queue[ingress, priority].xoff_told or node[device].storming:
        return False
    say(port, queue, ingress, priority, 0)
    return True
