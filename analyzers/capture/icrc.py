"""The invariant CRC of RoCE packets, checked where the tail of the frame was captured.

The ICRC is the CRC-32 of Ethernet over the packet from its IP header or GRH up to the ICRC itself,
with eight bytes of ones before it for the local route header of InfiniBand, and with every field
that a router or switch may change set to ones (IBTA 7.8.1, A16.5, A17.4.5):

- IPv4: type of service, TTL, header checksum; IPv6 and GRH: traffic class, flow label, hop limit;
- UDP: checksum;
- BTH: the byte with FECN and BECN.

A bad ICRC means that the packet was damaged between the NIC that sent it and the tap: the receiver
drops it. A NIC that leaves the ICRC to later hardware shows bad ones in captures of its own host.
"""

from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from analyzers.capture.batch import Batch, Tally
from analyzers.capture.bth import BTH_BYTES
from analyzers.capture.layers import extension_bytes, is_extension
from analyzers.capture.loads import Bytes, Memory, le32, memory, u8
from fabric.codes import Fault
from fabric.kernel import inline, kernel

UNKNOWN, BAD, GOOD = -1, 0, 1
SLICES: Final = 8
POLYNOMIAL: Final = 0xEDB88320  # IEEE 802.3 clause 3.2.9, bits reflected
UDP_BYTES: Final = 8
LRH_SUBSTITUTE: Final = crc32(b"\xff" * 8) ^ 0xFFFFFFFF  # the CRC register behind eight ones


def tables() -> NDArray[np.int64]:
    """What a byte does to the CRC when 0 to 7 more bytes follow it, shape (8, 256)."""
    crc = np.arange(256)
    for _ in range(8):
        crc = np.where(crc & 1, crc >> 1 ^ POLYNOMIAL, crc >> 1)
    slices = [crc]
    while len(slices) < SLICES:
        slices.append(slices[-1] >> 8 ^ crc[slices[-1] & 0xFF])
    return np.array(slices)


TABLES: Final = tables()


@kernel
def verify_icrc(
    buffer: Bytes, batch: Batch, kept: int, tally: NDArray[np.int64], found: NDArray[np.int8]
) -> int:
    """Check the first ``kept`` rows of a decoded batch; how many are bad.

    ``found`` receives GOOD, BAD or UNKNOWN per row (no BTH, a fragment, or the tail not captured).
    A bad row whose fault was NONE gets Fault.BAD_ICRC, counted in ``tally``.
    """
    icrc_at, l3_at, version = batch.icrc_at, batch.l3_at, batch.version
    fault, iface = batch.fault, batch.iface
    data = memory(buffer)
    scratch = np.empty(64, np.uint8)
    masked = memory(scratch)
    bad = 0
    for row in range(kept):
        end = icrc_at[row]
        if end < 0:
            found[row] = UNKNOWN
            continue
        at = l3_at[row]
        size = (u8(data, at) & 0xF) * 4 if version[row] == 4 else 40
        for n in range(size):
            scratch[n] = u8(data, at + n)
        if version[row] == 4:
            scratch[1] = scratch[8] = scratch[10] = scratch[11] = 0xFF
        else:
            scratch[0] |= 0x0F
            scratch[1] = scratch[2] = scratch[3] = scratch[7] = 0xFF
        crc = update(masked, 0, size, LRH_SUBSTITUTE)
        at += size
        if version[row] == 6:
            behind = behind_extensions(data, at, u8(data, at - 34))
            crc = update(data, at, behind, crc)
            at = behind
        start = 0 if version[row] != 0 else UDP_BYTES
        for n in range(UDP_BYTES + BTH_BYTES - start):
            scratch[start + n] = u8(data, at + n)
        scratch[6] = scratch[7] = scratch[UDP_BYTES + 4] = 0xFF
        crc = update(masked, start, UDP_BYTES + BTH_BYTES, crc)
        at += UDP_BYTES + BTH_BYTES - start
        crc = update(data, at, end, crc) ^ 0xFFFFFFFF
        found[row] = GOOD if crc == le32(data, end) else BAD
        if found[row] == BAD:
            bad += 1
            if fault[row] == Fault.NONE.value:
                fault[row] = Fault.BAD_ICRC.value
                tally[iface[row], Tally.FAULTS + Fault.BAD_ICRC.value] += 1
    return bad


@inline
def update(data: Memory, at: int, end: int, crc: int) -> int:
    """Take the bytes from ``at`` to ``end`` into the CRC, eight at a time."""
    while at + SLICES <= end:
        low = le32(data, at) ^ crc
        high = le32(data, at + 4)
        crc = (
            TABLES[7, low & 0xFF]
            ^ TABLES[6, low >> 8 & 0xFF]
            ^ TABLES[5, low >> 16 & 0xFF]
            ^ TABLES[4, low >> 24]
            ^ TABLES[3, high & 0xFF]
            ^ TABLES[2, high >> 8 & 0xFF]
            ^ TABLES[1, high >> 16 & 0xFF]
            ^ TABLES[0, high >> 24]
        )
        at += SLICES
    while at < end:
        crc = crc >> 8 ^ TABLES[0, (crc ^ u8(data, at)) & 0xFF]
        at += 1
    return crc


@inline
def behind_extensions(data: Memory, at: int, protocol: int) -> int:
    """Where the UDP header stands behind the IPv6 extension headers at ``at``."""
    while is_extension(protocol):
        size = extension_bytes(protocol, u8(data, at + 1))
        protocol = u8(data, at)
        at += size
    return at
