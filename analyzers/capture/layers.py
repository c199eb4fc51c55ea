"""From the link layer of a frame down to its BTH, through tags, IP headers and encapsulations.

Every function reads the header at the cursor and answers with what stands next. :func:`walk` goes
from one to the next until it stands before a BTH, behind a pause frame, or has a reason to stop. It
only finds the way: columns are written from the offsets that it leaves in the cursor.
"""

from typing import Final

from analyzers.capture.bth import BTH_BYTES, ICRC_BYTES
from analyzers.capture.cursor import (
    ETHERNET,
    GENEVE,
    GLOBAL_PAUSE,
    GRE,
    GRH,
    IPV4,
    IPV6,
    MAC_CONTROL,
    PFC,
    RAW_IP,
    ROCE_V1,
    ROCE_V2,
    STOP,
    UDP,
    VXLAN,
    Cursor,
    enter,
    network,
    start,
    stop,
)
from analyzers.capture.loads import Memory, be16, u8
from analyzers.capture.tunnels import geneve, gre, vxlan
from fabric.codes import (
    GENEVE_PORT,
    GRH_NEXT_HEADER,
    ROCE_V2_PORT,
    VXLAN_PORTS,
    EtherType,
    Fault,
    IpProtocol,
    LinkType,
    MacControl,
    Wrap,
)
from fabric.kernel import inline

MAC_BYTES: Final = 6


@inline
def walk(buffer: Memory, f: Cursor, at: int, limit: int, link_type: int) -> int:
    """Go from the first byte of a frame as far as it leads; one of the stages up to ROCE_V1."""
    start(f, at, limit)
    stage = link(buffer, f, link_type)
    while stage > ROCE_V1:
        if stage == ETHERNET:
            stage = ethernet(buffer, f)
        elif stage == RAW_IP:
            stage = raw_ip(buffer, f)
        elif stage == IPV4:
            stage = ipv4(buffer, f)
        elif stage == IPV6:
            stage = ipv6(buffer, f)
        elif stage == UDP:
            stage = udp(buffer, f)
        elif stage == GRH:
            stage = grh(buffer, f)
        elif stage == MAC_CONTROL:
            stage = mac_control(buffer, f)
        elif stage == GRE:
            stage = gre(buffer, f)
        elif stage == VXLAN:
            stage = vxlan(buffer, f)
        else:
            stage = geneve(buffer, f)
    return stage


@inline
def link(buffer: Memory, f: Cursor, link_type: int) -> int:
    """The outermost header by the link type of the interface; below 0: it was never described."""
    if link_type == LinkType.ETHERNET:
        return ETHERNET
    if link_type == LinkType.LINUX_SLL:
        return sll(buffer, f)
    if link_type == LinkType.LINUX_SLL2:
        return sll2(buffer, f)
    if (
        link_type == LinkType.RAW
        or link_type == LinkType.RAW_BSD
        or link_type == LinkType.RAW_OPENBSD
        or link_type == LinkType.IPV4
        or link_type == LinkType.IPV6
    ):
        return RAW_IP
    return stop(f, Fault.NO_INTERFACE.value if link_type < 0 else Fault.LINK_TYPE.value)


@inline
def sll(buffer: Memory, f: Cursor) -> int:
    """Linux cooked capture: tcpdump.org LINKTYPE_LINUX_SLL."""
    at = f.at
    if at + 16 > f.limit:
        return stop(f, Fault.TRUNCATED.value)
    if be16(buffer, at + 4) == MAC_BYTES:
        f.source_at = at + 6
    f.at = at + 16
    return ethertype(buffer, f, be16(buffer, at + 14))


@inline
def sll2(buffer: Memory, f: Cursor) -> int:
    """Linux cooked capture, second version: tcpdump.org LINKTYPE_LINUX_SLL2."""
    at = f.at
    if at + 20 > f.limit:
        return stop(f, Fault.TRUNCATED.value)
    if u8(buffer, at + 11) == MAC_BYTES:
        f.source_at = at + 12
    f.at = at + 20
    return ethertype(buffer, f, be16(buffer, at))


@inline
def ethernet(buffer: Memory, f: Cursor) -> int:
    """IEEE 802.3 clause 3.2; a new frame has tags of its own."""
    at = f.at
    if at + 14 > f.limit:
        return stop(f, Fault.TRUNCATED.value)
    f.destination_at = at
    f.source_at = at + 6
    f.tag = -1
    f.at = at + 14
    return ethertype(buffer, f, be16(buffer, at + 12))


@inline
def ethertype(buffer: Memory, f: Cursor, kind: int) -> int:
    """Pass any number of tags (IEEE 802.1Q clause 9), then follow the type of what they carry."""
    while kind == EtherType.VLAN or kind == EtherType.QINQ or kind == EtherType.QINQ_OLD:
        at = f.at
        if at + 4 > f.limit:
            return stop(f, Fault.TRUNCATED.value)
        f.tag = be16(buffer, at)
        f.at = at + 4
        kind = be16(buffer, at + 2)
    if kind == EtherType.IPV4:
        return IPV4
    if kind == EtherType.IPV6:
        return IPV6
    if kind == EtherType.ROCE_V1:
        return GRH
    if kind == EtherType.MAC_CONTROL:
        return MAC_CONTROL
    return stop(f, Fault.NONE.value)


@inline
def raw_ip(buffer: Memory, f: Cursor) -> int:
    """An IP header without a link layer: its version decides."""
    if f.at >= f.limit:
        return stop(f, Fault.TRUNCATED.value)
    version = u8(buffer, f.at) >> 4
    if version == 4:
        return IPV4
    if version == 6:
        return IPV6
    return stop(f, Fault.NONE.value)


@inline
def ipv4(buffer: Memory, f: Cursor) -> int:
    """RFC 791 section 3.1."""
    at = f.at
    if at + 20 > f.limit:
        return stop(f, Fault.TRUNCATED.value)
    if u8(buffer, at) >> 4 != 4:
        return stop(f, Fault.NONE.value)
    fragment = be16(buffer, at + 6)
    f.fragmented |= fragment & 0x3FFF != 0
    protocol = u8(buffer, at + 9)
    if not followed(protocol):
        return stop(f, Fault.NONE.value)
    size = (u8(buffer, at) & 0xF) * 4
    total = be16(buffer, at + 2)
    network(f, 4, total)
    if size < 20 or total < size:
        return stop(f, Fault.BAD_LENGTH.value)
    if at + size > f.limit:
        return stop(f, Fault.TRUNCATED.value)
    f.first_fragment = fragment >> 13 & 1
    if fragment & 0x1FFF:
        return stop(f, Fault.FRAGMENT.value)
    f.at = at + size
    return carried(f, protocol)


@inline
def ipv6(buffer: Memory, f: Cursor) -> int:
    """RFC 8200 section 3, then the extension headers."""
    at = f.at
    if at + 40 > f.limit:
        return stop(f, Fault.TRUNCATED.value)
    if u8(buffer, at) >> 4 != 6:
        return stop(f, Fault.NONE.value)
    network(f, 6, be16(buffer, at + 4) + 40)
    f.at = at + 40
    protocol = u8(buffer, at + 6)
    while is_extension(protocol):
        following = extension(buffer, f, protocol)
        if following < 0:
            return STOP
        protocol = following
    return carried(f, protocol)


@inline
def extension(buffer: Memory, f: Cursor, protocol: int) -> int:
    """Pass one IPv6 extension header; the protocol behind it, or -1 with the fault set."""
    at = f.at
    size = extension_bytes(protocol, u8(buffer, at + 1) if at + 8 <= f.limit else 0)
    if at + size > f.limit:
        f.fault = Fault.BAD_LENGTH.value if at + size > f.end else Fault.TRUNCATED.value
        return -1
    following = u8(buffer, at)
    f.at = at + size
    if protocol == IpProtocol.FRAGMENT:
        fragment = be16(buffer, at + 2)
        f.first_fragment |= fragment & 1
        f.fragmented |= f.first_fragment | (fragment & 0xFFF8 != 0)
        if fragment & 0xFFF8:
            wanted = is_extension(following) or followed(following)
            f.fault = Fault.FRAGMENT.value if wanted else Fault.NONE.value
            return -1
    return following


@inline
def extension_bytes(protocol: int, length: int) -> int:
    """Bytes of an IPv6 extension header by its length field.

    RFC 8200 section 4, RFC 4302 section 2.2 (AH), RFC 6275 section 6.1 (mobility).
    """
    if protocol == IpProtocol.FRAGMENT:
        return 8
    return (length + 2) * 4 if protocol == IpProtocol.AH else (length + 1) * 8


@inline
def is_extension(protocol: int) -> bool:
    """Whether this is an IPv6 extension header that can be stepped over."""
    return (
        protocol == IpProtocol.HOP_BY_HOP
        or protocol == IpProtocol.ROUTING
        or protocol == IpProtocol.DESTINATION
        or protocol == IpProtocol.MOBILITY
        or protocol == IpProtocol.FRAGMENT
        or protocol == IpProtocol.AH
    )


@inline
def followed(protocol: int) -> bool:
    """Whether this IP protocol can lead to a BTH."""
    return (
        protocol == IpProtocol.UDP
        or protocol == IpProtocol.GRE
        or protocol == IpProtocol.IPV4
        or protocol == IpProtocol.IPV6
    )


@inline
def carried(f: Cursor, protocol: int) -> int:
    """What stands behind an IP header; IP in IP is RFC 2003 and RFC 2473."""
    if protocol == IpProtocol.UDP:
        return UDP
    if protocol == IpProtocol.GRE:
        return GRE
    if protocol == IpProtocol.IPV4:
        return enter(f, IPV4, f.at, Wrap.IP_IN_IP.value)
    if protocol == IpProtocol.IPV6:
        return enter(f, IPV6, f.at, Wrap.IP_IN_IP.value)
    return stop(f, Fault.NONE.value)


@inline
def udp(buffer: Memory, f: Cursor) -> int:
    """RFC 768. The destination port decides; the source port of RoCEv2 is entropy (A17.3.1)."""
    at = f.at
    if at + 8 > f.end:
        return stop(f, Fault.FRAGMENT.value if f.first_fragment else Fault.BAD_LENGTH.value)
    if at + 8 > f.limit:
        return stop(f, Fault.TRUNCATED.value)
    f.sport = be16(buffer, at)
    f.at = at + 8
    port = be16(buffer, at + 2)
    if port == ROCE_V2_PORT:
        return bth(buffer, f, ROCE_V2)
    if port == VXLAN_PORTS[0] or port == VXLAN_PORTS[1]:
        return VXLAN
    if port == GENEVE_PORT:
        return GENEVE
    return stop(f, Fault.NONE.value)


@inline
def grh(buffer: Memory, f: Cursor) -> int:
    """IBTA 8.3 and annex A16: RoCEv1 has the global route header of InfiniBand."""
    at = f.at
    if at + 40 > f.limit:
        return stop(f, Fault.TRUNCATED.value)
    if u8(buffer, at) >> 4 != 6 or u8(buffer, at + 6) != GRH_NEXT_HEADER:
        return stop(f, Fault.NOT_ROCE.value)
    network(f, 0, be16(buffer, at + 4) + 40)
    f.at = at + 40
    return bth(buffer, f, ROCE_V1)


@inline
def bth(buffer: Memory, f: Cursor, stage: int) -> int:
    """Whether a BTH of version 0 (IBTA 9.2.1) stands at the cursor and an ICRC fits behind it."""
    if f.at + BTH_BYTES + ICRC_BYTES > f.end:
        return stop(f, Fault.FRAGMENT.value if f.first_fragment else Fault.NOT_ROCE.value)
    if f.at + BTH_BYTES > f.limit:
        return stop(f, Fault.TRUNCATED.value)
    if u8(buffer, f.at + 1) & 0x0F:
        return stop(f, Fault.NOT_ROCE.value)
    return stage


@inline
def mac_control(buffer: Memory, f: Cursor) -> int:
    """IEEE 802.3 annexes 31B (pause) and 31D (PFC); an IP header around it is forgotten."""
    f.version = 0
    f.l3_at = -1
    f.sport = 0
    at = f.at
    if at + 2 > f.limit:
        return stop(f, Fault.TRUNCATED.value)
    opcode = be16(buffer, at)
    if opcode == MacControl.PFC and at + 20 <= f.limit:
        return PFC
    if opcode == MacControl.PAUSE and at + 4 <= f.limit:
        return GLOBAL_PAUSE
    known = opcode == MacControl.PFC or opcode == MacControl.PAUSE
    return stop(f, Fault.TRUNCATED.value if known else Fault.UNKNOWN_MAC_CONTROL.value)
