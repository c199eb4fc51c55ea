"""Packets as the columns that a decoder would make of them, by the names of its batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabric.codes import FrameKind, Header, headers_of
from tests.injector.packets import Packet

SIZES = {  # bytes of extended headers: IBTA 9.3
    Header.RETH: 16, Header.AETH: 4, Header.IMMDT: 4, Header.ATOMICETH: 28, Header.ATOMICACKETH: 8,
    Header.IETH: 4,
}  # fmt: skip
FIXED = 20 + 8 + 12 + 4  # IPv4, UDP, BTH, ICRC
ETHERNET = 14
SHORTEST = 60  # a frame without its FCS: IEEE 802.3 4.2.3.3
MAPPED = 0xFFFF_0000_0000  # an IPv4 address in the lower half of an IPv6 one: ::ffff:a.b.c.d
HEADERS = np.array([int(headers_of(n) or 0) for n in range(256)], np.uint16)
EXTENDED = np.array(
    [sum(size for header, size in SIZES.items() if bits & header) for bits in HEADERS], np.uint32
)


def columns(packets: Sequence[Packet], first_frame: int = 1) -> dict[str, NDArray[Any]]:
    """Arrays of equal length; frames are numbered from ``first_frame``."""
    table = np.array(packets, np.int64).reshape(len(packets), len(Packet._fields))
    of = {name: table[:, n] for n, name in enumerate(Packet._fields)}
    opcode, payload = of["opcode"], of["payload"].astype(np.uint32)
    ip_bytes = FIXED + EXTENDED[opcode] + payload + (-payload & 3)
    wire = np.maximum(ip_bytes + ETHERNET, SHORTEST)
    ones, nothing = np.ones(len(packets), np.int64), np.zeros(len(packets), np.int64)
    return {
        "ts": of["ts"],
        "frame": np.arange(first_frame, first_frame + len(packets)),
        "captured": wire,
        "wire": wire,
        "iface": nothing,
        "kind": ones * FrameKind.ROCE_V2,
        "fault": nothing,
        "headers": HEADERS[opcode],
        "src_hi": nothing,
        "src_lo": of["src"] + MAPPED,
        "dst_hi": nothing,
        "dst_lo": of["dst"] + MAPPED,
        "version": ones * 4,
        "ip_bytes": ip_bytes,
        "ip_id": of["ip_id"],
        "ttl": of["ttl"],
        "tos": ones * (26 << 2 | 2),
        "vlan": ones * 0xFFFF,
        "priority": ones * 0xFF,
        "wrap": nothing,
        "sport": of["sport"],
        "opcode": opcode,
        "bth1": (-of["payload"] & 3) << 4,
        "pkey": ones * 0xFFFF,
        "bth4": nothing,
        "qpn": of["qpn"],
        "ack_request": of["ask"],
        "psn": of["psn"],
        "payload": payload,
        "icrc_at": -ones,
        "syndrome": of["syndrome"],
        "msn": of["msn"],
        "va": nothing,
        "rkey": nothing,
        "dma": of["dma"],
        "imm": nothing,
    }
