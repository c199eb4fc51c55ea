"""The batch: what one window of a capture becomes, as columns of equal length that are reused.

Row *i* is one frame. The index kernel fills ``ts``, ``offset``, ``captured``, ``wire``, ``frame``
and ``iface`` of every record; the decode kernel reads the headers and moves the frames worth
keeping (RoCE, CNP, pause, and those with a fault) to the front. Later stages fill the last group.
Nothing is cleared in between: a column that a row does not have holds whatever stood there before,
and ``headers`` says which ones it has.
"""

from enum import IntEnum
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from fabric.codes import Fault

ROWS = 8192  # a batch of this size stays in the second-level cache together with its window
UNTAGGED = 0xFFFF  # ``vlan`` of an untagged frame
NO_PRIORITY = 0xFF  # ``priority`` of an untagged frame
UNDESCRIBED = 0xFFFF  # ``iface`` of a pcapng packet whose interface was never described
GLOBAL_PAUSE_VECTOR = 0x100  # ``pause_vector`` of a global pause: outside the eight PFC classes
PRIORITIES = 8


class Batch(NamedTuple):
    """Columns of one batch, shape (rows,); ``quanta`` alone has shape (rows, 8)."""

    # Filled by the index kernel, for every record.
    ts: NDArray[np.int64]  # ns since the epoch
    offset: NDArray[np.int64]  # of the frame's first byte in the window buffer
    captured: NDArray[np.uint32]  # bytes of the frame that lie in the buffer
    wire: NDArray[np.uint32]  # bytes of the frame on the wire
    frame: NDArray[np.int64]  # number in the file or rotated set, from 1
    iface: NDArray[np.uint16]  # interface number in the file, or UNDESCRIBED

    # Filled by the decode kernel, for every kept frame.
    kind: NDArray[np.uint8]  # FrameKind
    fault: NDArray[np.uint8]  # Fault
    headers: NDArray[np.uint16]  # Header flags: which of the groups below this row has
    src_hi: NDArray[np.uint64]  # IPv6 address or GID, upper half; IPv4 as ::ffff:a.b.c.d
    src_lo: NDArray[np.uint64]  # lower half; of a pause frame, or where no IP was read, the MAC
    dst_hi: NDArray[np.uint64]
    dst_lo: NDArray[np.uint64]
    version: NDArray[np.uint8]  # 4, 6, or 0: addresses are GIDs (Header.GRH) or MACs
    ip_bytes: NDArray[np.uint32]  # IP total length; of a GRH, its 40 bytes and what follows
    ip_id: NDArray[np.uint16]  # IPv4 identification, else 0
    ttl: NDArray[np.uint8]
    tos: NDArray[np.uint8]  # DSCP << 2 | ECN
    vlan: NDArray[np.uint16]  # VLAN identifier of the innermost tag, or UNTAGGED
    priority: NDArray[np.uint8]  # its priority code point, or NO_PRIORITY
    wrap: NDArray[np.uint8]  # Wrap flags
    sport: NDArray[np.uint16]  # UDP source port; 0 for RoCEv1

    # Header.BTH
    opcode: NDArray[np.uint8]
    bth1: NDArray[np.uint8]  # solicited 0x80, migration 0x40, pad 0x30, version 0x0F
    pkey: NDArray[np.uint16]
    bth4: NDArray[np.uint8]  # FECN 0x80, BECN 0x40
    qpn: NDArray[np.uint32]  # destination queue pair
    ack_request: NDArray[np.uint8]  # 0 or 1
    psn: NDArray[np.uint32]
    payload: NDArray[np.uint32]  # bytes without pad and ICRC, by the IP length
    icrc_at: NDArray[np.int64]  # of the ICRC in the window buffer; -1 not captured, or a fragment
    l3_at: NDArray[np.int64]  # of the IP header or GRH that carries the BTH

    syndrome: NDArray[np.uint8]  # Header.AETH
    msn: NDArray[np.uint32]  # Header.AETH
    va: NDArray[np.uint64]  # Header.RETH, ATOMICETH
    rkey: NDArray[np.uint32]  # Header.RETH, ATOMICETH, IETH
    dma: NDArray[np.uint32]  # Header.RETH: bytes of the whole message
    imm: NDArray[np.uint32]  # Header.IMMDT
    src_qpn: NDArray[np.uint32]  # Header.DETH
    qkey: NDArray[np.uint32]  # Header.DETH
    xrc_srq: NDArray[np.uint32]  # Header.XRCETH
    atomic_swap: NDArray[np.uint64]  # Header.ATOMICETH: swap or add data
    atomic_compare: NDArray[np.uint64]  # Header.ATOMICETH
    atomic_original: NDArray[np.uint64]  # Header.ATOMICACKETH

    # FrameKind.PFC and GLOBAL_PAUSE
    pause_vector: NDArray[np.uint16]  # classes enabled, or GLOBAL_PAUSE_VECTOR
    quanta: NDArray[np.uint16]  # shape (rows, 8), quanta; a global pause fills the first only

    # Filled by the numbering stage.
    src_id: NDArray[np.uint32]  # host numbers
    dst_id: NDArray[np.uint32]
    slot: NDArray[np.int32]  # flow slot; -1 where there is no flow

    # Filled by the sequence tracker.
    mark: NDArray[np.uint8]  # Mark
    peer: NDArray[np.int32]  # slot of the peer flow, or -1
    rtt_ns: NDArray[np.int64]  # round trip of the peer flow that this response completes; -1 none
    inflight: NDArray[np.int64]  # bytes in flight of this row's flow after it; -1 unknown


def make_batch(rows: int = ROWS) -> Batch:
    """A batch of ``rows`` rows, zeroed."""
    columns = {
        name: np.zeros((rows, PRIORITIES) if name == "quanta" else rows, dtype)
        for name, dtype in DTYPES.items()
    }
    return Batch(**columns)


# NDArray[T] is ndarray[shape, dtype[T]]: the item type of a column is its innermost argument.
DTYPES = {
    name: np.dtype(get_args(get_args(column)[1])[0])
    for name, column in Batch.__annotations__.items()
}


class Tally(IntEnum):
    """Columns of the tally, one row per interface: what was counted, kept or not."""

    PACKETS = 0  # all records
    WIRE_BYTES = 1  # their bytes on the wire
    KEPT = 2  # rows that stayed in the batch
    ROCE = 3  # RoCEv1 and RoCEv2 without a fault that hides the BTH, CNPs included
    CNP = 4
    PFC = 5
    GLOBAL_PAUSE = 6
    CE = 7  # RoCE packets marked congestion experienced
    FRAGMENTS = 8  # IP fragments of any protocol, first ones included
    UNORDERED = 9  # records older than the one before them
    FIRST = 10  # least timestamp, ns
    LAST = 11  # greatest timestamp, ns
    PREVIOUS = 12  # timestamp of the last record, ns
    FAULTS = 13  # the first of one column per Fault


TALLY_WIDTH = Tally.FAULTS + len(Fault)
NEVER = np.iinfo(np.int64)


def make_tally(interfaces: int) -> NDArray[np.int64]:
    """An empty tally, shape (interfaces + 1, TALLY_WIDTH): the last row is for UNDESCRIBED."""
    tally = np.zeros((interfaces + 1, TALLY_WIDTH), np.int64)
    tally[:, Tally.FIRST] = NEVER.max
    tally[:, Tally.LAST] = tally[:, Tally.PREVIOUS] = NEVER.min
    return tally


def grow_tally(tally: NDArray[np.int64], interfaces: int) -> NDArray[np.int64]:
    """A tally for more interfaces that keeps what ``tally`` has counted."""
    grown = make_tally(interfaces)
    grown[: len(tally) - 1] = tally[:-1]
    grown[-1] = tally[-1]
    return grown
