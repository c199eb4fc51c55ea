"""Headers to columns: the compiled pass over the records of one window.

:func:`decode` reads each frame that the index kernel found and moves the rows worth keeping (RoCE,
CNP, pause, and frames with a fault) to the front of the batch; the others are only counted. What is
read, and what a fault means, is written down in ``tests/twin_decode.py``, the slow and obvious form
of the same rules.

A bare Ethernet/IPv4/UDP/BTH frame, which is nearly every one, is recognised by a few comparisons.
All others walk from header to header (:mod:`analyzers.capture.layers`). Either way the outcome is
where the headers stand; their columns are written in one place.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from analyzers.capture.batch import (
    GLOBAL_PAUSE_VECTOR,
    NO_PRIORITY,
    PRIORITIES,
    UNTAGGED,
    Batch,
    Tally,
)
from analyzers.capture.bth import BTH_BYTES, FOLLOW, ICRC_BYTES, SIZE, fitting
from analyzers.capture.cursor import CURSOR, GLOBAL_PAUSE, PFC, ROCE_V1, ROCE_V2, STOP
from analyzers.capture.layers import walk
from analyzers.capture.loads import Bytes, Memory, be16, be32, be64, memory, u8
from fabric.codes import CNP_OPCODE, ROCE_V2_PORT, Ecn, Fault, FrameKind, Header, LinkType
from fabric.kernel import inline, kernel

PLAIN_BYTES: Final = 14 + 20 + 8 + BTH_BYTES  # Ethernet, IPv4 without options, UDP, BTH
IPV4_PLAIN: Final = 0x080045  # ethertype IPv4, version 4, a header of five words
NO_FRAGMENT_UDP: Final = 0x00000011  # under the mask 3FFF00FF: not fragmented, protocol UDP
MAPPED: Final = 0xFFFF << 32  # ::ffff:0:0/96, RFC 4291 section 2.5.5.2
ZERO: Final = np.uint64(0)

# FrameKind by the stage at which a walk ended.
KIND: Final = np.zeros(ROCE_V1 + 1, np.uint8)
KIND[PFC], KIND[GLOBAL_PAUSE] = FrameKind.PFC, FrameKind.GLOBAL_PAUSE
KIND[ROCE_V2], KIND[ROCE_V1] = FrameKind.ROCE_V2, FrameKind.ROCE_V1


@kernel
def decode(
    buffer: Bytes,
    batch: Batch,
    count: int,
    link_types: NDArray[np.int32],
    tally: NDArray[np.int64],
) -> int:
    """Decode the first ``count`` rows of ``batch`` and compact it; the number of rows kept.

    ``link_types`` is indexed by interface. ``tally`` has one row per interface and one more for
    packets of an undescribed interface (see :func:`analyzers.capture.batch.make_tally`). Bytes
    beyond the end of ``buffer`` count as not captured.
    """
    inner = np.empty(count, np.int64)
    kept = frames(buffer, batch, count, link_types, tally, inner)
    details(buffer, batch, kept, inner)
    return kept


@inline
def frames(  # noqa: C901
    buffer: Bytes,
    batch: Batch,
    count: int,
    link_types: NDArray[np.int32],
    tally: NDArray[np.int64],
    inner: NDArray[np.int64],
) -> int:
    """Read every frame up to its BTH. One long function because of the forty columns it writes.

    Handing them to helpers would cost two atomic operations per column and packet. ``inner`` is
    filled with the place of the BTH, or of the MAC control opcode, of each kept row.
    """
    ts, offset, captured, wire, frame, iface = batch[:6]
    kind, fault, headers, version = batch.kind, batch.fault, batch.headers, batch.version
    src_hi, src_lo, dst_hi, dst_lo = batch.src_hi, batch.src_lo, batch.dst_hi, batch.dst_lo
    ip_bytes, ip_id, ttl, tos = batch.ip_bytes, batch.ip_id, batch.ttl, batch.tos
    vlan, priority, wrap, sport = batch.vlan, batch.priority, batch.wrap, batch.sport
    opcode, bth1, pkey, bth4, qpn = batch.opcode, batch.bth1, batch.pkey, batch.bth4, batch.qpn
    ack_request, psn, payload = batch.ack_request, batch.psn, batch.payload
    icrc_at, l3_at = batch.icrc_at, batch.l3_at

    data = memory(buffer)
    f = np.empty(1, CURSOR)[0]
    interface, point, link_type = -1, 0, 0
    kept = 0
    for i in range(count):
        row = np.uint64(kept)
        if kept != i:
            ts[row], offset[row], frame[row] = ts[i], offset[i], frame[i]
            captured[row], wire[row], iface[row] = captured[i], wire[i], iface[i]
        if iface[row] != interface:
            interface = int(iface[row])
            described = interface < len(link_types)
            point = interface if described else len(link_types)
            link_type = int(link_types[interface]) if described else -1
        now = ts[row]
        tally[point, Tally.PACKETS] += 1
        tally[point, Tally.WIRE_BYTES] += int(wire[row])
        tally[point, Tally.UNORDERED] += now < tally[point, Tally.PREVIOUS]
        tally[point, Tally.PREVIOUS] = now
        tally[point, Tally.FIRST] = min(now, tally[point, Tally.FIRST])
        tally[point, Tally.LAST] = max(now, tally[point, Tally.LAST])

        # Where the headers stand.
        begin = offset[row]
        limit = min(begin + int(captured[row]), len(buffer))
        if link_type == LinkType.ETHERNET and is_plain(data, begin, limit):
            stage, at, l3 = ROCE_V2, begin + 42, begin + 14
            first_fragment, fragmented, bad = 0, 0, 0
            end = l3 + be16(data, l3 + 2)
            limit = min(limit, end)
            version[row], sport[row] = 4, be16(data, begin + 34)
            vlan[row], priority[row], wrap[row] = UNTAGGED, NO_PRIORITY, 0
        else:
            stage = walk(data, f, begin, limit, link_type)
            at, l3, limit, end, bad = f.at, f.l3_at, f.limit, f.end, f.fault
            first_fragment, fragmented = f.first_fragment, f.fragmented
            tally[point, Tally.FRAGMENTS] += fragmented
            if stage == STOP and bad == Fault.NONE.value:
                continue
            version[row], sport[row] = f.version, f.sport
            vlan[row] = UNTAGGED if f.tag < 0 else f.tag & 0xFFF
            priority[row] = NO_PRIORITY if f.tag < 0 else f.tag >> 13
            wrap[row] = f.wrap
        kind[row], inner[row], l3_at[row] = KIND[stage], at, l3

        # Addresses and IP header: RFC 791 section 3.1, RFC 8200 section 3, GRH in IBTA 8.3.
        if l3 < 0:
            src_hi[row] = dst_hi[row] = ZERO
            src_lo[row], dst_lo[row] = mac(data, f.source_at), mac(data, f.destination_at)
            ip_bytes[row], ip_id[row], ttl[row], tos[row] = 0, 0, 0, 0
        elif version[row] == 4:
            src_hi[row] = dst_hi[row] = ZERO
            src_lo[row] = np.uint64(MAPPED | be32(data, l3 + 12))
            dst_lo[row] = np.uint64(MAPPED | be32(data, l3 + 16))
            ip_bytes[row], ip_id[row] = be16(data, l3 + 2), be16(data, l3 + 4)
            ttl[row], tos[row] = u8(data, l3 + 8), u8(data, l3 + 1)
        else:
            src_hi[row], src_lo[row] = be64(data, l3 + 8), be64(data, l3 + 16)
            dst_hi[row], dst_lo[row] = be64(data, l3 + 24), be64(data, l3 + 32)
            ip_bytes[row], ip_id[row] = be16(data, l3 + 4) + 40, 0
            ttl[row], tos[row] = u8(data, l3 + 7), be16(data, l3) >> 4 & 0xFF
        grh = Header.GRH.value if l3 >= 0 and version[row] == 0 else 0

        if stage < ROCE_V2:
            payload[row], icrc_at[row], headers[row] = 0, -1, grh
            tally[point, Tally.PFC] += stage == PFC
            tally[point, Tally.GLOBAL_PAUSE] += stage == GLOBAL_PAUSE
        else:
            # IBTA 9.2; the extended headers are only counted here.
            first, second, third = be32(data, at), be32(data, at + 4), be32(data, at + 8)
            code, pad = first >> 24, first >> 20 & 3
            opcode[row], bth1[row], pkey[row] = code, first >> 16 & 0xFF, first & 0xFFFF
            bth4[row], qpn[row] = second >> 24, second & 0xFFFFFF
            ack_request[row], psn[row] = third >> 31, third & 0xFFFFFF
            icrc_at[row] = end - ICRC_BYTES if limit == end and not fragmented else -1
            follow, size = int(FOLLOW[code]), int(SIZE[code])
            room = end - at - size - ICRC_BYTES
            have = Header.BTH.value
            if follow == 0:
                bad = Fault.UNKNOWN_OPCODE.value
            elif room < 0:
                bad = Fault.FRAGMENT.value if first_fragment else Fault.BAD_LENGTH.value
            else:
                have = follow if at + size <= limit else fitting(follow, limit - at)
                wrong = room < pad and code != CNP_OPCODE
                # RFC 768: of a packet in one piece, the rest of the IP packet is the datagram.
                if stage == ROCE_V2 and not first_fragment:
                    wrong |= be16(data, at - 4) != end - at + 8
                if have != follow:
                    bad = Fault.TRUNCATED.value
                elif wrong:
                    bad = Fault.BAD_LENGTH.value
            payload[row] = max(room - pad, 0) if code != CNP_OPCODE else 0
            headers[row] = grh | have
            tally[point, Tally.ROCE] += 1
            tally[point, Tally.CNP] += code == CNP_OPCODE
            tally[point, Tally.CE] += tos[row] & 3 == Ecn.CE.value
        fault[row] = bad
        if bad != Fault.NONE.value:
            tally[point, Tally.FAULTS + bad] += 1
        tally[point, Tally.KEPT] += 1
        kept += 1
    return kept


@inline
def details(buffer: Bytes, batch: Batch, kept: int, inner: NDArray[np.int64]) -> None:
    """Read the extended transport headers (IBTA 9.3) and pause frames (IEEE 802.3 annexes 31B, D).

    ``inner`` is the place of the BTH or MAC control opcode of each row. What ``headers`` names was
    captured.
    """
    kind, headers, vector, quanta = batch.kind, batch.headers, batch.pause_vector, batch.quanta
    syndrome, msn, va, rkey, dma = batch.syndrome, batch.msn, batch.va, batch.rkey, batch.dma
    imm, src_qpn, qkey, xrc_srq = batch.imm, batch.src_qpn, batch.qkey, batch.xrc_srq
    atomic_swap, atomic_compare = batch.atomic_swap, batch.atomic_compare
    atomic_original = batch.atomic_original
    data = memory(buffer)
    for i in range(kept):
        row = np.uint64(i)
        have = int(headers[row])
        at = inner[row] + BTH_BYTES
        if have & Header.DETH.value:
            qkey[row], src_qpn[row] = be32(data, at), be32(data, at + 4) & 0xFFFFFF
            at += 8
        if have & Header.XRCETH.value:
            xrc_srq[row] = be32(data, at) & 0xFFFFFF
            at += 4
        if have & Header.RETH.value:
            va[row], rkey[row], dma[row] = be64(data, at), be32(data, at + 8), be32(data, at + 12)
            at += 16
        if have & Header.AETH.value:
            syndrome[row], msn[row] = u8(data, at), be32(data, at) & 0xFFFFFF
            at += 4
        # Behind these nothing follows.
        if have & Header.ATOMICETH.value:
            va[row], rkey[row] = be64(data, at), be32(data, at + 8)
            atomic_swap[row], atomic_compare[row] = be64(data, at + 12), be64(data, at + 20)
        if have & Header.ATOMICACKETH.value:
            atomic_original[row] = be64(data, at)
        if have & Header.IMMDT.value:
            imm[row] = be32(data, at)
        if have & Header.IETH.value:
            rkey[row] = be32(data, at)
        if kind[row] == FrameKind.PFC.value:
            vector[row] = be16(data, inner[row] + 2) & 0xFF
            for n in range(PRIORITIES):
                quanta[row, n] = be16(data, inner[row] + 4 + 2 * n)
        elif kind[row] == FrameKind.GLOBAL_PAUSE.value:
            vector[row] = GLOBAL_PAUSE_VECTOR
            for n in range(PRIORITIES):
                quanta[row, n] = be16(data, inner[row] + 2) if n == 0 else 0


@inline
def is_plain(data: Memory, at: int, limit: int) -> bool:
    """Whether a BTH of version 0 follows on bare Ethernet, IPv4 without options or fragments, UDP."""
    return (
        at + PLAIN_BYTES <= limit
        and be32(data, at + 12) >> 8 == IPV4_PLAIN
        and be32(data, at + 20) & 0x3FFF00FF == NO_FRAGMENT_UDP
        and be16(data, at + 36) == ROCE_V2_PORT
        and u8(data, at + 43) & 0x0F == 0
        and be16(data, at + 16) >= PLAIN_BYTES - 14 + ICRC_BYTES
    )


@inline
def mac(data: Memory, at: int) -> np.uint64:
    """The MAC address at ``at``; 0 where there is none."""
    return np.uint64(be16(data, at) << 32 | be32(data, at + 2)) if at >= 0 else ZERO
