"""What can stand around a RoCE packet: tags, IPv6, mirror wrappings, other link types.

Each holds one message that arrives, one with a packet lost upstream of the tap, and the recovery, so
that reading the headers wrongly shows in the verdict.
"""

from collections.abc import Callable
from itertools import count

from captures.makers.tape import HEADERS, US, WAY, Case, QueuePair, Tape, case, event
from fabric import wire
from fabric.codes import EtherType, IpProtocol, LinkType, Service
from fabric.roce import Route

MIRROR = ("192.0.2.1", "192.0.2.2")  # of the switch that mirrors, of the collector
SIX = Route("2001:db8::a", "2001:db8::b")


def told(
    name: str,
    text: str,
    *,
    route: Route | None = None,
    wrap: Callable[[bytes], bytes] | None = None,
    snap: int = HEADERS,
    link_type: int = LinkType.ETHERNET,
    service: Service = Service.RC,
    before: int = 1,
    **shown: object,
) -> Case:
    """The story of this module in some headers; ``shown`` are columns every RoCE packet has.

    ``before`` healthy messages come first: three where no UDP source port shows what is a pair.
    """
    tape = Tape(wrap)
    qp = QueuePair(tape, route, service=service)
    at = 0
    for n in range(before, 0, -1):
        at = qp.healthy(at, 108 - 8 * n) + 20 * US
    end = qp.message(at, 108, 8, missing=(110,))
    qp.nak(end, 110)
    end = qp.again(end + 2 * US, 110, 6)
    qp.ack(end - US + WAY, 115)
    return case(
        name,
        text,
        tape,
        events=(event("loss", "lost", "upstream", 110, resent=6),),
        findings=("loss_upstream",),
        snap=snap,
        link_type=link_type,
        shown=shown,
    )


def mirrored(carry: Callable[[bytes], bytes], protocol: int) -> Callable[[bytes], bytes]:
    """A frame in an outer frame of the mirror session; ``carry`` makes the outer IP's payload."""

    def wrap(frame: bytes) -> bytes:
        packet = wire.ipv4(carry(frame), *MIRROR, protocol, tos=0x20, ttl=250, ip_id=7)
        macs = (wire.mac_of(MIRROR[1]), wire.mac_of(MIRROR[0]))
        return wire.ethernet(packet, *macs, EtherType.IPV4, (wire.tag(999, 1),))

    return wrap


def erspan(kind: int) -> Callable[[bytes], bytes]:
    """ERSPAN with rising sequence numbers."""
    sequence = count(1)
    return mirrored(
        lambda frame: wire.erspan(frame, kind, sequence=next(sequence), session=77), IpProtocol.GRE
    )


def ipv6() -> Case:
    return told("ipv6", "RoCEv2 over IPv6", route=SIX, snap=128, version=6)


def ipv6_extensions() -> Case:
    extensions = (
        wire.option_extension(IpProtocol.HOP_BY_HOP, b"\x05\x02\0\0\x01\0"),
        wire.option_extension(IpProtocol.DESTINATION, b"\x01\x0c" + bytes(12)),
        wire.fragment_extension(0, more=False, identification=5),  # an atomic fragment, RFC 6946
    )
    text = "IPv6 with hop-by-hop, destination and (atomic) fragment headers"
    return told(
        "ipv6_extensions", text, route=SIX._replace(extensions=extensions), snap=160, version=6
    )


def ipv4_options() -> Case:
    route = Route("10.0.0.1", "10.0.0.2", options=b"\x94\x04\0\0")
    return told("ipv4_options", "an IPv4 header with a router alert option", route=route)


def vlan() -> Case:
    """Priority of the tag and DSCP disagree on purpose: both are told, neither is trusted."""
    route = Route("10.0.0.1", "10.0.0.2", tags=(wire.tag(120, 5),))
    return told("vlan", "802.1Q: VLAN 120, priority 5", route=route, vlan=120, priority=5, dscp=26)


def qinq() -> Case:
    outer = wire.tag(2000, 1, tpid=EtherType.QINQ)
    route = Route("10.0.0.1", "10.0.0.2", tags=(outer, wire.tag(120, 5)))
    text = "QinQ: the inner tag (VLAN 120, priority 5) is the one that counts"
    return told("qinq", text, route=route, vlan=120, priority=5)


def roce_v1() -> Case:
    route = Route("fe80::1", "fe80::2", v1=True)
    text = "RoCEv1: ethertype 0x8915 and a global route header"
    return told("roce_v1", text, route=route, before=3)


def gre() -> Case:
    def carry(frame: bytes) -> bytes:
        return wire.gre(frame, EtherType.TEB, key=5, sequence=1, check=True)

    return told(
        "gre", "mirrored in GRE with checksum, key and sequence number",
        wrap=mirrored(carry, IpProtocol.GRE), snap=192, wrap_flags=["GRE"],
    )  # fmt: skip


def erspan_1() -> Case:
    text = "mirrored in ERSPAN type I: GRE without sequence number, no ERSPAN header"
    return told("erspan_1", text, wrap=erspan(1), snap=192, wrap_flags=["ERSPAN_1"])


def erspan_2() -> Case:
    return told(
        "erspan_2", "mirrored in ERSPAN type II", wrap=erspan(2), snap=192, wrap_flags=["ERSPAN_2"]
    )


def erspan_3() -> Case:
    return told(
        "erspan_3", "mirrored in ERSPAN type III", wrap=erspan(3), snap=192, wrap_flags=["ERSPAN_3"]
    )


def vxlan() -> Case:
    wrap = mirrored(lambda frame: wire.vxlan(frame, 5001), IpProtocol.UDP)
    return told("vxlan", "RoCE in a VXLAN overlay", wrap=wrap, snap=192, wrap_flags=["VXLAN"])


def vxlan_8472() -> Case:
    wrap = mirrored(lambda frame: wire.vxlan(frame, 5001, dport=8472), IpProtocol.UDP)
    text = "VXLAN on the Linux kernel's older port"
    return told("vxlan_8472", text, wrap=wrap, snap=192, wrap_flags=["VXLAN"])


def geneve() -> Case:
    def carry(frame: bytes) -> bytes:
        return wire.geneve(frame, 5001, options=b"\x01\x02\x80\x01" + bytes(4))

    wrap = mirrored(carry, IpProtocol.UDP)
    text = "RoCE in a Geneve overlay, with an option"
    return told("geneve", text, wrap=wrap, snap=192, wrap_flags=["GENEVE"])


def nested() -> Case:
    overlay = mirrored(lambda frame: wire.vxlan(frame, 5001), IpProtocol.UDP)
    mirror = erspan(2)
    return told(
        "nested",
        "a VXLAN overlay, mirrored in ERSPAN type II",
        route=SIX._replace(tags=(wire.tag(44, 6),)),
        wrap=lambda frame: mirror(overlay(frame)),
        snap=256,
        wrap_flags=["VXLAN", "ERSPAN_2"],
        vlan=44,
        priority=6,
    )


def sll() -> Case:
    def wrap(frame: bytes) -> bytes:
        return wire.sll(frame[14:], "02:00:00:00:00:01", EtherType.IPV4)

    text = "Linux cooked capture (tcpdump -i any before libpcap 1.10)"
    return told("sll", text, wrap=wrap, link_type=LinkType.LINUX_SLL)


def sll2() -> Case:
    def wrap(frame: bytes) -> bytes:
        return wire.sll2(frame[14:], "02:00:00:00:00:01", EtherType.IPV4, interface=3)

    text = "Linux cooked capture version 2"
    return told("sll2", text, wrap=wrap, link_type=LinkType.LINUX_SLL2)


def raw_ip() -> Case:
    text = "raw IP without a link header"
    return told("raw_ip", text, wrap=lambda frame: frame[14:], link_type=LinkType.RAW)


def xrc() -> Case:
    """XRC: every request names its shared receive queue."""
    tape = Tape()
    qp = QueuePair(tape, service=Service.XRC)
    for index in range(8):
        extended = wire.xrceth(0x77) + (wire.reth(0x1000, 1, 8192) if index == 0 else b"")
        operation = 6 if index == 0 else 8 if index == 7 else 7
        qp.request(
            index * US, 50 + index, operation,
            extended=extended, payload=bytes(1024), ack_request=index == 7,
        )  # fmt: skip
    qp.ack(7 * US + WAY, 57)
    return case("xrc", "extended reliable connection: opcodes 0xA0 and up", tape)


CASES = (
    ipv6, ipv6_extensions, ipv4_options, vlan, qinq, roce_v1, gre, erspan_1, erspan_2, erspan_3,
    vxlan, vxlan_8472, geneve, nested, sll, sll2, raw_ip, xrc,
)  # fmt: skip
