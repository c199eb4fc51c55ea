"""Where the decoder stands in a frame, and what it has passed: the record that layers hand along.

Two bounds hold everywhere: ``limit`` is where the captured bytes end, ``end`` where the innermost
IP packet ends by its own length. ``limit`` never lies beyond ``end``, so that Ethernet padding is no
data, and nothing is read beyond ``limit``. Offsets count from the begin of the window buffer.
"""

from typing import Any, Final

import numpy as np

from fabric.codes import Fault
from fabric.kernel import inline

Cursor = Any  # one record of CURSOR; numba knows its fields, numpy's types do not

CURSOR: Final = np.dtype(
    [
        ("at", np.int64),  # the header that stands next
        ("limit", np.int64),  # end of the captured bytes
        ("end", np.int64),  # end of the IP packet by its own length
        ("fault", np.int64),  # why reading stopped: Fault
        ("depth", np.int64),  # encapsulations passed
        ("wrap", np.int64),  # their Wrap flags
        ("first_fragment", np.int64),  # 1 where the innermost IP packet is the first of several
        ("fragmented", np.int64),  # 1 where any IP packet on the way is a fragment
        ("source_at", np.int64),  # source MAC address of the innermost link header, or -1
        ("destination_at", np.int64),  # its destination MAC address, or -1
        ("tag", np.int64),  # last two bytes of its innermost 802.1Q tag, or -1
        ("l3_at", np.int64),  # the innermost IP header or GRH that was read, or -1
        ("version", np.int64),  # 4, 6, or 0 for a GRH
        ("sport", np.int64),  # UDP source port behind it, or 0
    ]
)

MAX_DEPTH: Final = 4  # encapsulations around a packet: mirrored overlay traffic has two or three

# What stands next. Up to ROCE_V1 the walk is over: nothing more to read, a pause frame that is all
# there, or a BTH that was checked.
(
    STOP, PFC, GLOBAL_PAUSE, ROCE_V2, ROCE_V1,
    ETHERNET, RAW_IP, IPV4, IPV6, GRH, MAC_CONTROL, UDP, GRE, VXLAN, GENEVE,
) = range(15)  # fmt: skip


@inline
def start(f: Cursor, at: int, limit: int) -> None:
    """Stand before the first byte of a frame that ends at ``limit``."""
    f.at = at
    f.limit = limit
    f.end = limit
    f.fault = Fault.NONE.value
    f.depth = 0
    f.wrap = 0
    f.first_fragment = 0
    f.fragmented = 0
    f.source_at = -1
    f.destination_at = -1
    f.tag = -1
    f.l3_at = -1
    f.version = 0
    f.sport = 0


@inline
def stop(f: Cursor, fault: int) -> int:
    """Nothing more can be read, because of ``fault`` (NONE: the frame is not ours)."""
    f.fault = fault
    return STOP


@inline
def cut(f: Cursor, reach: int) -> int:
    """Stop before an encapsulation whose header ends at ``reach``, beyond ``limit``.

    Beyond the IP packet that holds it, it is no such header after all.
    """
    return stop(f, Fault.NONE.value if reach > f.end else Fault.TRUNCATED.value)


@inline
def network(f: Cursor, version: int, size: int) -> None:
    """An IP header or GRH stands at the cursor, of a packet of ``size`` bytes."""
    f.version = version
    f.l3_at = f.at
    f.sport = 0
    f.end = f.at + size
    f.limit = min(f.limit, f.end)
    f.first_fragment = 0


@inline
def enter(f: Cursor, stage: int, at: int, wrap: int) -> int:
    """What stands at ``at`` lies inside one more encapsulation."""
    if f.depth == MAX_DEPTH:
        return stop(f, Fault.NESTING.value)
    f.depth += 1
    f.wrap |= wrap
    f.at = at
    return stage
