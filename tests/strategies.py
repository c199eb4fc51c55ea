"""Random frames with the columns they must decode to, written by ``fabric.wire``."""

from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

from fabric import roce, wire
from fabric.codes import (
    CNP_OPCODE,
    HEADER_BYTES,
    EtherType,
    FrameKind,
    Header,
    IpProtocol,
    LinkType,
    Wrap,
    headers_of,
)

OPCODES = tuple(opcode for opcode in range(256) if headers_of(opcode) is not None)
EXTENDED: dict[Header, tuple[tuple[str, int], ...]] = {  # in wire order
    Header.DETH: (("qkey", 32), ("src_qpn", 24)),
    Header.XRCETH: (("xrc_srq", 24),),
    Header.RETH: (("va", 64), ("rkey", 32), ("dma", 32)),
    Header.ATOMICETH: (("va", 64), ("rkey", 32), ("atomic_swap", 64), ("atomic_compare", 64)),
    Header.AETH: (("syndrome", 8), ("msn", 24)),
    Header.ATOMICACKETH: (("atomic_original", 64),),
    Header.IMMDT: (("imm", 32),),
    Header.IETH: (("rkey", 32),),
}
WRITERS: dict[Header, Callable[..., bytes]] = {
    Header.DETH: wire.deth,
    Header.XRCETH: wire.xrceth,
    Header.RETH: wire.reth,
    Header.ATOMICETH: wire.atomiceth,
    Header.AETH: wire.aeth,
    Header.ATOMICACKETH: wire.atomicacketh,
    Header.IMMDT: wire.immdt,
    Header.IETH: wire.ieth,
}
assert all(sum(bits for _, bits in fields) <= 8 * HEADER_BYTES[h] for h, fields in EXTENDED.items())

addresses4 = st.ip_addresses(v=4).map(str)
addresses6 = st.ip_addresses(v=6).map(str)
macs = st.binary(min_size=6, max_size=6).map(lambda data: data.hex(":"))


class Made(NamedTuple):
    """A frame, its link type, and columns that the twin and the kernel must find in it."""

    frame: bytes
    link_type: int
    columns: dict[str, Any]


def bits(width: int) -> st.SearchStrategy[int]:
    return st.integers(0, (1 << width) - 1)


def halves(address: str) -> tuple[int, int]:
    value = int.from_bytes(wire.ip_bytes(wire.gid(address)), "big")
    return value >> 64, value & (1 << 64) - 1


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """BTH, extended headers and payload, and their columns."""
    opcode = draw(st.sampled_from(OPCODES))
    headers = headers_of(opcode)
    assert headers is not None
    columns: dict[str, Any] = {"opcode": opcode, "headers": int(headers)}
    size = draw(st.integers(0, 60)) if opcode != CNP_OPCODE else 0
    flags = {
        name: draw(st.booleans())
        for name in ("solicited", "migration", "fecn", "becn", "ack_request")
    }
    columns |= {"qpn": draw(bits(24)), "psn": draw(bits(24)), "pkey": draw(bits(16))}
    columns |= {"payload": size, "ack_request": int(flags["ack_request"])}
    pad = -size % 4
    columns["bth1"] = flags["solicited"] << 7 | flags["migration"] << 6 | pad << 4
    columns["bth4"] = flags["fecn"] << 7 | flags["becn"] << 6
    body = wire.bth(opcode, columns["qpn"], columns["psn"], pad=pad, pkey=columns["pkey"], **flags)
    for header, fields in EXTENDED.items():
        if header & headers:
            values = {name: draw(bits(width)) for name, width in fields}
            columns |= values
            body += WRITERS[header](*values.values())
    body += bytes(16) if opcode == CNP_OPCODE else draw(st.binary(min_size=size, max_size=size))
    return body + bytes(pad), columns


@st.composite
def extensions(draw: st.DrawFn) -> tuple[wire.Extension, ...]:
    """IPv6 extension headers that leave the packet whole."""
    kinds = draw(st.lists(st.sampled_from((0, 43, 60, 135, 44)), max_size=3))
    return tuple(
        wire.fragment_extension(0, more=False, identification=7)
        if kind == IpProtocol.FRAGMENT
        else wire.option_extension(kind, draw(st.binary(max_size=20)))
        for kind in kinds
    )


@st.composite
def packets(draw: st.DrawFn) -> tuple[bytes, int, dict[str, Any]]:
    """A RoCE packet from its network header to the ICRC, its ethertype, and its columns."""
    body, columns = draw(bodies())
    kind = draw(st.sampled_from(("v4", "v6", "v1")))
    ends = addresses4 if kind == "v4" else addresses6
    route = roce.Route(
        draw(ends),
        draw(ends),
        sport=draw(bits(16)),
        options=draw(st.binary(max_size=40)),
        extensions=draw(extensions()),
        flow_label=draw(bits(20)),
        v1=kind == "v1",
    )
    tos, ip_id, ttl = draw(bits(8)), draw(bits(16)), draw(bits(8))
    packet = roce.roce_packet(route, body, tos=tos, ip_id=ip_id, ttl=ttl)
    columns |= {"tos": tos, "ttl": ttl, "ip_bytes": len(packet), "fault": 0}
    columns["src_hi"], columns["src_lo"] = halves(route.src)
    columns["dst_hi"], columns["dst_lo"] = halves(route.dst)
    columns["kind"] = FrameKind.ROCE_V1 if kind == "v1" else FrameKind.ROCE_V2
    columns["version"] = {"v4": 4, "v6": 6, "v1": 0}[kind]
    columns["ip_id"] = ip_id if kind == "v4" else 0
    columns["sport"] = 0 if kind == "v1" else route.sport
    columns["headers"] |= Header.GRH if kind == "v1" else 0
    types = {"v4": EtherType.IPV4, "v6": EtherType.IPV6, "v1": EtherType.ROCE_V1}
    return packet, types[kind], columns


@st.composite
def tagged(draw: st.DrawFn, packet: bytes, ethertype: int) -> tuple[bytes, dict[str, int]]:
    """An Ethernet frame around a packet, with up to two VLAN tags, and the columns of the inner."""
    tags = []
    columns = {"vlan": 0xFFFF, "priority": 255}
    for tpid in draw(st.sampled_from(((), (0x8100,), (0x88A8, 0x8100), (0x9100,)))):
        columns = {"vlan": draw(bits(12)), "priority": draw(bits(3))}
        tags.append(wire.tag(columns["vlan"], columns["priority"], tpid=tpid))
    return wire.ethernet(packet, draw(macs), draw(macs), ethertype, tags), columns


@st.composite
def wrapped(draw: st.DrawFn, frame: bytes) -> tuple[bytes, int]:
    """An IP packet that carries a frame, and the Wrap flag of how."""
    wrap = draw(
        st.sampled_from((
            Wrap.GRE, Wrap.ERSPAN_1, Wrap.ERSPAN_2, Wrap.ERSPAN_3, Wrap.VXLAN, Wrap.GENEVE,
        ))
    )  # fmt: skip
    protocol: int = IpProtocol.GRE
    if wrap == Wrap.GRE:
        key, sequence = draw(st.none() | bits(32)), draw(st.none() | bits(32))
        inner = wire.gre(
            frame, EtherType.TEB, key=key, sequence=sequence, check=draw(st.booleans())
        )
    elif wrap in (Wrap.VXLAN, Wrap.GENEVE):
        protocol = IpProtocol.UDP
        if wrap == Wrap.VXLAN:
            inner = wire.vxlan(frame, draw(bits(24)), dport=draw(st.sampled_from((4789, 8472))))
        else:
            options = bytes(4 * draw(st.integers(0, 5)))
            inner = wire.geneve(frame, draw(bits(24)), options=options)
    else:
        kind = {Wrap.ERSPAN_1: 1, Wrap.ERSPAN_2: 2, Wrap.ERSPAN_3: 3}[wrap]
        inner = wire.erspan(frame, kind, sequence=draw(bits(32)), session=draw(bits(10)))
    if draw(st.booleans()):
        return wire.ipv4(inner, "192.0.2.1", "192.0.2.2", protocol), wrap
    return wire.ipv6(inner, "2001:db8::1", "2001:db8::2", protocol), wrap


@st.composite
def roce_frames(draw: st.DrawFn) -> Made:
    """A whole RoCE frame: any link type that can carry it, up to four encapsulations."""
    packet, ethertype, columns = draw(packets())
    columns["wrap"] = 0
    innermost = None  # the tag of the innermost Ethernet header
    for _ in range(draw(st.sampled_from((0, 0, 1, 2, 4)))):
        frame, tag = draw(tagged(packet, ethertype))
        innermost = innermost or tag
        packet, wrap = draw(wrapped(frame))
        ethertype = EtherType.IPV4 if packet[0] >> 4 == 4 else EtherType.IPV6
        columns["wrap"] |= wrap
    link = draw(st.sampled_from((LinkType.ETHERNET, LinkType.LINUX_SLL, LinkType.LINUX_SLL2, 101)))
    if link == LinkType.RAW and ethertype == EtherType.ROCE_V1:
        link = LinkType.ETHERNET
    if link == LinkType.ETHERNET:
        frame, tag = draw(tagged(packet, ethertype))
        innermost = innermost or tag
    elif link == LinkType.RAW:
        frame = packet
    else:
        write = wire.sll if link == LinkType.LINUX_SLL else wire.sll2
        frame = write(packet, draw(macs), ethertype)
    return Made(frame, int(link), columns | (innermost or {"vlan": 0xFFFF, "priority": 255}))


@st.composite
def pause_frames(draw: st.DrawFn) -> Made:
    """A PFC or global pause frame."""
    src = draw(macs)
    source = int.from_bytes(wire.mac_bytes(src), "big")
    columns = {"src_lo": source, "dst_lo": 0x0180C2000001, "version": 0, "fault": 0}
    if draw(st.booleans()):
        quanta = draw(st.lists(bits(16), min_size=8, max_size=8))
        vector = draw(bits(8))
        frame = wire.pfc(src, dict(enumerate(quanta)), vector=vector)
        columns |= {"kind": FrameKind.PFC, "pause_vector": vector}
        return Made(frame, LinkType.ETHERNET, columns | {"quanta": quanta})
    quantum = draw(bits(16))
    columns |= {"kind": FrameKind.GLOBAL_PAUSE, "pause_vector": 0x100}
    return Made(
        wire.global_pause(src, quantum),
        LinkType.ETHERNET,
        columns | {"quanta": [quantum, 0, 0, 0, 0, 0, 0, 0]},
    )


frames = roce_frames() | pause_frames()
