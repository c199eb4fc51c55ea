"""Whole RoCE frames, from the link to a valid invariant CRC.

A :class:`Route` is what the packets of one direction of a queue pair have in common outside the
transport headers; :func:`roce` makes one frame of it. RoCEv2 is IBTA annex A17, RoCEv1 annex A16.
Some 200,000 frames per second and core.
"""

import struct
from typing import NamedTuple
from zlib import crc32

from fabric.codes import (
    CNP_OPCODE,
    CNP_PADDING,
    GRH_NEXT_HEADER,
    ROCE_V2_PORT,
    Ecn,
    EtherType,
    IpProtocol,
)
from fabric.wire import (
    ICRC_BYTES,
    Extension,
    bth,
    ethernet,
    grh,
    ipv4,
    ipv6,
    mac_of,
    udp,
)

LRH_SUBSTITUTE = b"\xff" * 8  # IBTA 7.8.1: RoCE has no local route header, eight ones stand for it
WALKED = (  # IPv6 extension headers that count their length in units of 8 bytes
    IpProtocol.HOP_BY_HOP,
    IpProtocol.ROUTING,
    IpProtocol.FRAGMENT,
    IpProtocol.DESTINATION,
    IpProtocol.MOBILITY,
)


class Route(NamedTuple):
    """One direction between two hosts; addresses as text, MAC addresses made up where empty."""

    src: str
    dst: str
    sport: int = 49152
    dscp: int = 26
    ttl: int = 64
    src_mac: str = ""
    dst_mac: str = ""
    tags: tuple[bytes, ...] = ()  # outermost first, see wire.tag
    extensions: tuple[Extension, ...] = ()  # of IPv6
    options: bytes = b""  # of IPv4
    flow_label: int = 0  # of IPv6
    v1: bool = False  # RoCEv1: a GRH instead of IP and UDP; addresses are GIDs

    def back(self) -> "Route":
        """The other direction: same fields, ends exchanged."""
        return self._replace(src=self.dst, dst=self.src, src_mac=self.dst_mac, dst_mac=self.src_mac)


def roce(
    route: Route,
    opcode: int,
    qpn: int,
    psn: int,
    *,
    extended: bytes = b"",
    payload: bytes = b"",
    ack_request: bool = False,
    solicited: bool = False,
    ecn: int = Ecn.ECT_0,
    ip_id: int = 0,
    ttl: int | None = None,
    pkey: int = 0xFFFF,
    fecn: bool = False,
    becn: bool = False,
) -> bytes:
    """One Ethernet frame: ``extended`` headers joined in wire order, payload padded, ICRC valid."""
    packet = roce_packet(
        route,
        bth(
            opcode,
            qpn,
            psn,
            ack_request=ack_request,
            solicited=solicited,
            pad=-len(payload) % 4,
            pkey=pkey,
            fecn=fecn,
            becn=becn,
        )
        + extended
        + payload
        + bytes(-len(payload) % 4),
        tos=route.dscp << 2 | ecn,
        ip_id=ip_id,
        ttl=route.ttl if ttl is None else ttl,
    )
    return link(route, packet)


def cnp(route: Route, qpn: int, *, ip_id: int = 0) -> bytes:
    """A congestion notification packet to queue pair ``qpn``: IBTA A17.9.3; not ECN-capable."""
    reserved = bytes(CNP_PADDING)
    return roce(
        route, CNP_OPCODE, qpn, 0, extended=reserved, ecn=Ecn.NOT_ECT, becn=True, ip_id=ip_id
    )


def link(route: Route, packet: bytes) -> bytes:
    """The Ethernet frame around a packet of this route."""
    if route.v1:
        ethertype = EtherType.ROCE_V1
    else:
        ethertype = EtherType.IPV6 if ":" in route.src else EtherType.IPV4
    return ethernet(
        packet,
        route.dst_mac or mac_of(route.dst),
        route.src_mac or mac_of(route.src),
        ethertype,
        route.tags,
    )


def roce_packet(route: Route, body: bytes, *, tos: int, ip_id: int, ttl: int) -> bytes:
    """The packet from its IP header or GRH to the ICRC; ``body`` begins with the BTH."""
    body += bytes(ICRC_BYTES)
    if route.v1:
        packet = grh(body, route.src, route.dst, tos=tos, ttl=ttl)
    else:
        datagram = udp(body, route.sport, ROCE_V2_PORT)
        if ":" in route.src:
            packet = ipv6(
                datagram,
                route.src,
                route.dst,
                tos=tos,
                ttl=ttl,
                flow_label=route.flow_label,
                extensions=route.extensions,
            )
        else:
            packet = ipv4(
                datagram,
                route.src,
                route.dst,
                tos=tos,
                ttl=ttl,
                ip_id=ip_id,
                options=route.options,
            )
    packet = packet[:-ICRC_BYTES]
    return packet + icrc(packet)


def icrc(packet: bytes) -> bytes:
    """The invariant CRC of a packet that begins with its IP header or GRH and ends before the ICRC.

    CRC-32 of Ethernet over the packet with everything that a router may change set to ones (IBTA
    7.8.1, A16.5, A17.4.5): of IPv4 the type of service, TTL and header checksum; of IPv6 and GRH
    traffic class, flow label and hop limit; the UDP checksum; of the BTH the byte with FECN and
    BECN. Eight ones before it stand for the local route header. IPv4 options and IPv6 extension
    headers go in as they are. Returns 4 bytes in wire order.
    """
    if packet[0] >> 4 == 4:
        transport = (packet[0] & 0xF) * 4 + 8
        head = b"%c\xff%b\xff%c\xff\xff%b" % (
            packet[0],
            packet[2:8],
            packet[9],
            packet[12 : transport - 2],
        )
        masked = head + b"\xff\xff"
    else:
        transport, protocol = 40, packet[6]
        while protocol in WALKED:
            protocol, transport = packet[transport], transport + (packet[transport + 1] + 1) * 8
        masked = struct.pack(">I", packet[0] << 24 | 0x0FFFFFFF) + packet[4:7] + b"\xff"
        masked += packet[8:transport]
        if protocol != GRH_NEXT_HEADER:
            masked += packet[transport : transport + 6] + b"\xff\xff"
            transport += 8
    masked += packet[transport : transport + 4] + b"\xff"
    crc = crc32(packet[transport + 5 :], crc32(masked, crc32(LRH_SUBSTITUTE)))
    return crc.to_bytes(ICRC_BYTES, "little")
