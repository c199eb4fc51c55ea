"""The layouts of the headers on the wire, and how to write them.

One place for everything that makes packets: simulator, capture makers, benchmarks, tests. Reading is
the compiled decoder's work (``analyzers.capture.decode``). Functions that write a header around
something take the payload first and return header and payload, so a frame reads from the inside
out: ``ethernet(ipv4(udp(body, 49152, 4791), a, b), ...)``. ``fabric.roce`` does all of it at once.

IBTA = InfiniBand Architecture Specification Volume 1, Release 1.4, with annexes A16 (RoCE) and A17
(RoCEv2). Frames carry no FCS, as captures do.
"""

import socket
import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from fabric.codes import (
    GENEVE_PORT,
    GRH_NEXT_HEADER,
    PAUSE_DESTINATION,
    VXLAN_PORTS,
    EtherType,
    IpProtocol,
    MacControl,
)

Layout = tuple[tuple[str, int], ...]  # (field, bits) in the order of the wire; ~ is reserved

# IEEE 802.1Q 9.6: what stands between the source address and the ethertype it replaces.
TAG: Layout = (("priority", 3), ("drop_eligible", 1), ("vlan", 12), ("ethertype", 16))
# RFC 8200 4.5
FRAGMENT: Layout = (("next", 8), ("~", 8), ("offset", 13), ("~", 2), ("more", 1), ("id", 32))
# RFC 2784 section 2 with the flags of RFC 2890
GRE: Layout = (
    ("checksum", 1), ("routing", 1), ("key", 1), ("sequence", 1), ("~", 9), ("version", 3),
    ("protocol", 16),
)  # fmt: skip
# draft-foschiano-erspan-03 sections 4.2 and 4.3
ERSPAN_2: Layout = (
    ("version", 4), ("vlan", 12), ("cos", 3), ("encapsulation", 2), ("truncated", 1),
    ("session", 10), ("~", 12), ("index", 20),
)  # fmt: skip
ERSPAN_3: Layout = (
    ("version", 4), ("vlan", 12), ("cos", 3), ("bad", 2), ("truncated", 1), ("session", 10),
    ("timestamp", 32), ("group_tag", 16), ("pdu", 1), ("frame_type", 5), ("hardware", 6),
    ("direction", 1), ("granularity", 2), ("optional", 1),
)  # fmt: skip
# RFC 7348 section 5
VXLAN: Layout = (("~", 4), ("valid", 1), ("~", 27), ("vni", 24), ("~", 8))
# RFC 8926 section 3.4
GENEVE: Layout = (
    ("version", 2), ("options", 6), ("oam", 1), ("critical", 1), ("~", 6), ("protocol", 16),
    ("vni", 24), ("~", 8),
)  # fmt: skip
# IBTA 9.2 (BTH) and 9.3 (extended transport headers); XRCETH in annex A14
BTH: Layout = (
    ("opcode", 8), ("solicited", 1), ("migration", 1), ("pad", 2), ("version", 4), ("pkey", 16),
    ("fecn", 1), ("becn", 1), ("~", 6), ("qpn", 24), ("ack_request", 1), ("~", 7), ("psn", 24),
)  # fmt: skip
RETH: Layout = (("va", 64), ("rkey", 32), ("dma_bytes", 32))
AETH: Layout = (("syndrome", 8), ("msn", 24))
IMMDT: Layout = (("immediate", 32),)
ATOMICETH: Layout = (("va", 64), ("rkey", 32), ("swap", 64), ("compare", 64))
ATOMICACKETH: Layout = (("original", 64),)
DETH: Layout = (("qkey", 32), ("~", 8), ("src_qpn", 24))
IETH: Layout = (("rkey", 32),)
XRCETH: Layout = (("~", 8), ("xrc_srq", 24))

MIN_FRAME_BYTES = 60  # IEEE 802.3 4A.2.3.2.4: 64 with the FCS; shorter frames are padded
ICRC_BYTES = 4
NO_CREDIT_LIMIT = 31  # IBTA table 45: the credit code of an ACK that grants without limit


def encode(layout: Layout, **values: int) -> bytes:
    """Write the fields of ``layout`` in wire order; those not named are zero.

    Raises ValueError where a value does not fit its field or the layout has no such field.
    """
    word = width = 0
    for name, bits in layout:
        value = values.pop(name, 0)
        if value >> bits:
            raise ValueError(f"{name} = {value} does not fit {bits} bits")
        word = word << bits | value
        width += bits
    if values:
        raise ValueError(f"no such field: {', '.join(values)}")
    return word.to_bytes(width // 8, "big")


# Addresses


@lru_cache(maxsize=1 << 16)
def ip_bytes(address: str) -> bytes:
    """An IPv4 or IPv6 address (or a GID) in wire order: 4 or 16 bytes."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_pton(family, address)


@lru_cache(maxsize=1 << 16)
def mac_bytes(address: str) -> bytes:
    """A MAC address ``aa:bb:cc:dd:ee:ff`` in wire order."""
    return bytes.fromhex(address.replace(":", ""))


@lru_cache(maxsize=1 << 16)
def mac_of(address: str) -> str:
    """A locally administered MAC address for a host that is only known by its IP address."""
    return (b"\x02\x00" + ip_bytes(address)[-4:]).hex(":")


# Link layer


def ethernet(
    payload: bytes, dst: str, src: str, ethertype: int, tags: Iterable[bytes] = ()
) -> bytes:
    """An Ethernet frame, padded to its least length; ``tags`` (see :func:`tag`) outermost first."""
    frame = mac_bytes(dst) + mac_bytes(src)
    for four in tags:
        frame += four
    return (frame + struct.pack(">H", ethertype) + payload).ljust(MIN_FRAME_BYTES, b"\0")


def tag(
    vlan: int, priority: int = 0, *, drop_eligible: bool = False, tpid: int = EtherType.VLAN
) -> bytes:
    """A VLAN tag with its TPID, 4 bytes (802.1Q, or 802.1ad with ``tpid`` = QINQ)."""
    control = encode(TAG[:3], priority=priority, drop_eligible=drop_eligible, vlan=vlan)
    return struct.pack(">H", tpid) + control


def sll(payload: bytes, src: str, ethertype: int, packet_type: int = 0) -> bytes:
    """Linux cooked capture version 1 (LINKTYPE_LINUX_SLL) of an Ethernet interface."""
    head = struct.pack(">HHH6s2xH", packet_type, 1, 6, mac_bytes(src), ethertype)
    return head + payload


def sll2(payload: bytes, src: str, ethertype: int, interface: int = 1) -> bytes:
    """Linux cooked capture version 2 (LINKTYPE_LINUX_SLL2) of an Ethernet interface."""
    return struct.pack(">H2xIHBB6s2x", ethertype, interface, 1, 0, 6, mac_bytes(src)) + payload


def pfc(src: str, quanta: dict[int, int], *, vector: int | None = None) -> bytes:
    """A priority-based flow control frame: IEEE 802.3 31D, 802.1Qbb.

    ``quanta`` maps priorities to pause times; 0 is XON. ``vector`` overrides the class-enable
    vector, which otherwise enables exactly the priorities named.
    """
    enabled = sum(1 << priority for priority in quanta) if vector is None else vector
    times = (quanta.get(priority, 0) for priority in range(8))
    return mac_control(src, MacControl.PFC, struct.pack(">H8H", enabled, *times))


def global_pause(src: str, quanta: int) -> bytes:
    """A PAUSE frame that holds the whole link: IEEE 802.3 31B."""
    return mac_control(src, MacControl.PAUSE, struct.pack(">H", quanta))


def mac_control(src: str, opcode: int, parameters: bytes) -> bytes:
    """A MAC control frame: IEEE 802.3 clause 31."""
    destination = PAUSE_DESTINATION.to_bytes(6, "big").hex(":")
    return ethernet(struct.pack(">H", opcode) + parameters, destination, src, EtherType.MAC_CONTROL)


# Network layer


def checksum(data: bytes) -> int:
    """The Internet checksum of RFC 1071 over an even number of bytes."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def ipv4(
    payload: bytes,
    src: str,
    dst: str,
    protocol: int = IpProtocol.UDP,
    *,
    tos: int = 0,
    ttl: int = 64,
    ip_id: int = 0,
    fragment: int = 0x4000,
    options: bytes = b"",
) -> bytes:
    """An IPv4 packet: RFC 791. ``fragment`` is the whole 16-bit word: flags and offset / 8 bytes."""
    options = options.ljust(-(-len(options) // 4) * 4, b"\0")
    size = 20 + len(options)
    parts = (0x40 + size // 4, tos, size + len(payload), ip_id, fragment, ttl, protocol)
    addresses = ip_bytes(src) + ip_bytes(dst) + options
    check = checksum(struct.pack(">BBHHHBB2x", *parts) + addresses)
    return struct.pack(">BBHHHBBH", *parts, check) + addresses + payload


class Extension(NamedTuple):
    """An IPv6 extension header: its number and everything behind its next-header byte."""

    protocol: int
    body: bytes


def option_extension(protocol: int, data: bytes = b"") -> Extension:
    """Hop-by-hop, destination or routing header with ``data`` padded to 8n - 2: RFC 8200 4.3-4.6."""
    units = (len(data) + 1) // 8  # behind the first eight bytes
    return Extension(protocol, bytes((units,)) + data.ljust(units * 8 + 6, b"\0"))


def fragment_extension(offset: int, *, more: bool, identification: int) -> Extension:
    """A fragment header; ``offset`` in units of 8 bytes: RFC 8200 4.5."""
    header = encode(FRAGMENT, offset=offset, more=more, id=identification)
    return Extension(IpProtocol.FRAGMENT, header[1:])


def ipv6(
    payload: bytes,
    src: str,
    dst: str,
    protocol: int = IpProtocol.UDP,
    *,
    tos: int = 0,
    ttl: int = 64,
    flow_label: int = 0,
    extensions: Iterable[Extension] = (),
) -> bytes:
    """An IPv6 packet with its extension headers in order: RFC 8200."""
    for extension in reversed(tuple(extensions)):
        payload = bytes((protocol,)) + extension.body + payload
        protocol = extension.protocol
    first = 6 << 28 | tos << 20 | flow_label
    head = struct.pack(">IHBB", first, len(payload), protocol, ttl)
    return head + ip_bytes(src) + ip_bytes(dst) + payload


def grh(payload: bytes, src: str, dst: str, *, tos: int = 0, ttl: int = 64) -> bytes:
    """A global route header: IBTA 8.3, the network header of RoCEv1; addresses are GIDs."""
    return ipv6(payload, gid(src), gid(dst), GRH_NEXT_HEADER, tos=tos, ttl=ttl)


def gid(address: str) -> str:
    """The GID of an address: IPv4 ones become ``::ffff:a.b.c.d`` (IBTA annex A17.4.1)."""
    return address if ":" in address else f"::ffff:{address}"


def udp(payload: bytes, sport: int, dport: int) -> bytes:
    """A UDP datagram without checksum, as RoCEv2 NICs send it: RFC 768, RFC 6935."""
    return struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload


# Encapsulations


def gre(
    payload: bytes,
    protocol: int,
    *,
    key: int | None = None,
    sequence: int | None = None,
    check: bool = False,
) -> bytes:
    """A GRE packet: RFC 2784, with key and sequence number of RFC 2890."""
    head = encode(
        GRE,
        protocol=protocol,
        checksum=check,
        key=key is not None,
        sequence=sequence is not None,
    )
    rest = b"".join(struct.pack(">I", word) for word in (key, sequence) if word is not None)
    if check:
        body = head + bytes(4) + rest + payload
        rest = struct.pack(">H2x", checksum(body + bytes(len(body) % 2))) + rest
    return head + rest + payload


def erspan(payload: bytes, kind: int, *, sequence: int = 0, session: int = 1) -> bytes:
    """A mirrored frame as the payload of IP protocol 47: ERSPAN type 1, 2 or 3 in GRE."""
    if kind == 1:  # type I has neither sequence number nor header
        return gre(payload, EtherType.ERSPAN)
    if kind == 2:
        head = encode(ERSPAN_2, version=1, session=session)
        return gre(head + payload, EtherType.ERSPAN, sequence=sequence)
    head = encode(ERSPAN_3, version=2, session=session)
    return gre(head + payload, EtherType.ERSPAN_3, sequence=sequence)


def vxlan(payload: bytes, vni: int, sport: int = 49152, dport: int = VXLAN_PORTS[0]) -> bytes:
    """A frame in VXLAN, with its UDP header: RFC 7348."""
    return udp(encode(VXLAN, valid=1, vni=vni) + payload, sport, dport)


def geneve(
    payload: bytes,
    vni: int,
    protocol: int = EtherType.TEB,
    *,
    options: bytes = b"",
    sport: int = 49152,
) -> bytes:
    """A frame or packet in Geneve, with its UDP header; options in whole words: RFC 8926."""
    head = encode(GENEVE, options=len(options) // 4, protocol=protocol, vni=vni)
    return udp(head + options + payload, sport, GENEVE_PORT)


# Transport


def bth(
    opcode: int,
    qpn: int,
    psn: int,
    *,
    ack_request: bool = False,
    solicited: bool = False,
    migration: bool = True,
    pad: int = 0,
    pkey: int = 0xFFFF,
    fecn: bool = False,
    becn: bool = False,
) -> bytes:
    """A base transport header; struct instead of :func:`encode` because every packet has one."""
    flags = solicited << 7 | migration << 6 | pad << 4
    return struct.pack(
        ">BBHII", opcode, flags, pkey, fecn << 31 | becn << 30 | qpn, ack_request << 31 | psn
    )


def reth(va: int, rkey: int, dma_bytes: int) -> bytes:
    """RDMA extended transport header: IBTA 9.3.3."""
    return struct.pack(">QII", va, rkey, dma_bytes)


def aeth(syndrome: int = NO_CREDIT_LIMIT, msn: int = 0) -> bytes:
    """ACK extended transport header: IBTA 9.3.5; see :func:`nak` and :func:`rnr_nak`."""
    return struct.pack(">I", syndrome << 24 | msn)


def nak(code: int = 0) -> int:
    """The syndrome of a NAK: IBTA table 45."""
    return 3 << 5 | code


def rnr_nak(timer: int) -> int:
    """The syndrome of a receiver-not-ready NAK with a timer code: IBTA table 45."""
    return 1 << 5 | timer


def immdt(immediate: int) -> bytes:
    """Immediate data: IBTA 9.3.6."""
    return encode(IMMDT, immediate=immediate)


def atomiceth(va: int, rkey: int, swap: int, compare: int = 0) -> bytes:
    """Atomic extended transport header: IBTA 9.3.4."""
    return encode(ATOMICETH, va=va, rkey=rkey, swap=swap, compare=compare)


def atomicacketh(original: int) -> bytes:
    """Atomic ACK extended transport header: IBTA 9.5.3."""
    return encode(ATOMICACKETH, original=original)


def deth(qkey: int, src_qpn: int) -> bytes:
    """Datagram extended transport header: IBTA 9.3.2."""
    return encode(DETH, qkey=qkey, src_qpn=src_qpn)


def ieth(rkey: int) -> bytes:
    """Invalidate extended transport header: IBTA 9.3.7."""
    return encode(IETH, rkey=rkey)


def xrceth(xrc_srq: int) -> bytes:
    """XRC extended transport header: IBTA annex A14."""
    return encode(XRCETH, xrc_srq=xrc_srq)
