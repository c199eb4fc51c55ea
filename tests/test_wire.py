"""What ``fabric.wire`` and ``fabric.roce`` write, read back by the twin, by scapy and by tshark."""

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric import wire
from fabric.codes import (
    EXTENSIONS,
    HEADER_BYTES,
    EtherType,
    Fault,
    FrameKind,
    Header,
    IpProtocol,
    Wrap,
    headers_of,
)
from fabric.roce import Route, cnp, icrc, link, roce, roce_packet
from tests import strategies, twin_decode
from tests.data import real_data

A, B = Route("10.0.0.1", "10.0.0.2"), Route("2001:db8::1", "2001:db8::2")


@given(strategies.frames)
@settings(max_examples=400, deadline=None)
def test_every_frame_decodes_to_what_was_encoded(made: strategies.Made) -> None:
    row = twin_decode.decode(made.frame, made.link_type)
    assert {name: row[name] for name in made.columns} == made.columns
    if row["icrc_at"] >= 0:
        at = row["icrc_at"]
        assert icrc(made.frame[row["l3_at"] : at]) == made.frame[at : at + 4]


@given(strategies.roce_frames(), st.data())
@settings(max_examples=200, deadline=None)
def test_a_cut_frame_keeps_what_stood_before_the_cut(
    made: strategies.Made, data: st.DataObject
) -> None:
    size = data.draw(st.integers(0, len(made.frame)))
    row = twin_decode.decode(made.frame[:size], made.link_type)
    assert row["fault"] in (Fault.NONE, Fault.TRUNCATED)
    if row["headers"] & Header.BTH:
        for name in ("opcode", "qpn", "psn", "payload", "ip_bytes", "src_lo", "dst_lo", "wrap"):
            assert row[name] == made.columns[name]
        assert row["headers"] & ~made.columns["headers"] == 0


@given(st.binary(max_size=200), st.sampled_from((1, 101, 113, 276, 147)))
@settings(max_examples=300, deadline=None)
def test_any_bytes_can_be_read(data: bytes, link_type: int) -> None:
    row = twin_decode.decode(data, link_type)
    assert (row["kind"] in (FrameKind.ROCE_V1, FrameKind.ROCE_V2)) == bool(
        row["headers"] & Header.BTH
    )


LAYOUTS = {
    "TAG": 4, "FRAGMENT": 8, "GRE": 4, "ERSPAN_2": 8, "ERSPAN_3": 12, "VXLAN": 8, "GENEVE": 8,
    **{h.name: HEADER_BYTES[h] for h in Header if h != Header.GRH},
}  # fmt: skip


@pytest.mark.parametrize(("name", "size"), LAYOUTS.items())
def test_a_layout_has_the_size_of_its_header(name: str, size: int) -> None:
    layout: wire.Layout = getattr(wire, name)
    assert len(wire.encode(layout)) == size
    ones = {field: (1 << bits) - 1 for field, bits in layout if field != "~"}
    reserved = sum(bits for field, bits in layout if field == "~")
    assert wire.encode(layout, **ones).count(0) * 8 <= reserved


def test_a_value_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="vni = 16777216 does not fit 24 bits"):
        wire.encode(wire.VXLAN, vni=1 << 24)
    with pytest.raises(ValueError, match="no such field: colour"):
        wire.encode(wire.VXLAN, colour=1)


@given(strategies.bits(8), strategies.bits(24), strategies.bits(24), st.booleans())
def test_the_fast_headers_follow_their_layouts(opcode: int, qpn: int, psn: int, flag: bool) -> None:
    fast = wire.bth(opcode, qpn, psn, ack_request=flag, solicited=flag, becn=flag, pad=2)
    fields = {"opcode": opcode, "qpn": qpn, "psn": psn, "pad": 2, "migration": 1, "pkey": 0xFFFF}
    slow = wire.encode(wire.BTH, ack_request=flag, solicited=flag, becn=flag, **fields)
    assert fast == slow
    reth = wire.encode(wire.RETH, va=psn, rkey=qpn, dma_bytes=opcode)
    assert wire.reth(psn, qpn, opcode) == reth
    assert wire.aeth(opcode, psn) == wire.encode(wire.AETH, syndrome=opcode, msn=psn)


def test_the_opcode_table_is_that_of_the_twin() -> None:
    for opcode in range(256):
        known = headers_of(opcode)
        assert (known is not None) == (opcode in twin_decode.OPCODES)
        if known is not None:
            size = sum(HEADER_BYTES[h] for h in EXTENSIONS_OF if h & known)
            assert size == sum(twin_decode.SIZES[c] for c in twin_decode.OPCODES[opcode])


EXTENSIONS_OF = [h for h in Header if h not in (Header.BTH, Header.GRH)]
assert set(EXTENSIONS.values()) <= {Header(n) for n in range(0x100)}


def pcap_frames(path: Path) -> list[bytes]:
    """All frames of a little-endian pcap."""
    data, at, frames = path.read_bytes(), 24, []
    while at < len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        frames.append(data[at + 16 : at + 16 + size])
        at += 16 + size
    return frames


RXE = ("pingpong_rc", "rdma_send_bw", "rdma_write_bw", "rdma_write_lat", "rping")
RXE += ("nccl/ring2_node0", "nccl/ring2_node1", "nccl/ring2_node2")


@pytest.mark.parametrize("name", RXE)
def test_icrc_is_what_a_kernel_computed(name: str) -> None:
    checked = 0
    for frame in pcap_frames(real_data("captures", "rdma_ib_tutorial", f"{name}.pcap")):
        row = twin_decode.decode(frame)
        if row["headers"] & Header.BTH:
            at = row["icrc_at"]
            assert icrc(frame[row["l3_at"] : at]) == frame[at : at + 4]
            checked += 1
    assert checked >= 20


def test_icrc_of_a_read_request_from_elsewhere() -> None:
    path = real_data("captures", "icrc", "pcapplusplus-fork-rxe-read-request.pcap")
    (frame,) = pcap_frames(path)
    row = twin_decode.decode(frame)
    at = row["icrc_at"]
    assert row["headers"] == Header.BTH | Header.RETH
    assert icrc(frame[row["l3_at"] : at]) == frame[at : at + 4]


@pytest.mark.parametrize("route", [A, B, B._replace(v1=True)])
def test_icrc_survives_what_routers_and_marking_change(route: Route) -> None:
    first = roce(route, 4, 7, 9, payload=b"abcd", ecn=2, ttl=64)
    later = roce(route._replace(dscp=3), 4, 7, 9, payload=b"abcd", ecn=3, ttl=61, fecn=True)
    other = roce(route, 4, 7, 10, payload=b"abcd")
    ends = [twin_decode.decode(frame)["icrc_at"] for frame in (first, later, other)]
    crcs = [frame[at : at + 4] for frame, at in zip((first, later, other), ends, strict=True)]
    assert crcs[0] == crcs[1] != crcs[2]


def test_icrc_knows_the_ip_identification() -> None:
    frames = [roce(A, 4, 7, 9, payload=bytes(20), ip_id=n) for n in (1, 2)]
    assert frames[0][-4:] != frames[1][-4:]


# scapy, where it knows the header


def test_scapy_makes_the_same_roce_frames() -> None:
    from scapy.contrib.roce import AETH, BTH
    from scapy.contrib.roce import cnp as scapy_cnp
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether

    macs = {"src": wire.mac_of("10.0.0.1"), "dst": wire.mac_of("10.0.0.2")}
    ip = Ether(**macs) / IP(src=A.src, dst=A.dst, tos=0x6A, id=77, flags="DF", ttl=64)
    udp = UDP(sport=49152, dport=4791, chksum=0)
    send = ip / udp / BTH(opcode=4, migreq=1, dqpn=0xABC, psn=0xFFFFFF, ackreq=1) / b"four"
    mine = roce(A, 4, 0xABC, 0xFFFFFF, payload=b"four", ack_request=True, ip_id=77)
    assert bytes(send).ljust(60, b"\0") == mine

    ack = ip / udp / BTH(opcode=17, migreq=1, dqpn=5, psn=6) / AETH(syndrome=0x60, msn=9)
    mine = roce(A, 17, 5, 6, extended=wire.aeth(wire.nak(), 9), ip_id=77)
    assert bytes(ack).ljust(60, b"\0") == mine

    ip.tos = 0x68
    notice = ip / udp / scapy_cnp(0x123456)
    notice[BTH].migreq = 1
    assert bytes(notice) == cnp(A, 0x123456, ip_id=77)

    macs = {"src": wire.mac_of(B.src), "dst": wire.mac_of(B.dst)}
    six = Ether(**macs) / IPv6(src=B.src, dst=B.dst, tc=0x6A, hlim=64, fl=5) / udp
    send = six / BTH(opcode=4, migreq=1, dqpn=1, psn=2) / b"four"
    assert bytes(send) == roce(B._replace(flow_label=5), 4, 1, 2, payload=b"four")


def test_scapy_makes_the_same_pause_frames() -> None:
    from scapy.contrib.mac_control import MACControlClassBasedFlowControl, MACControlPause
    from scapy.layers.l2 import Ether

    ether = Ether(src="02:00:00:00:00:09", dst="01:80:c2:00:00:01", type=0x8808)
    classes = MACControlClassBasedFlowControl(
        c3_enabled=1, c3_pause_time=0xFFFF, c5_enabled=1, c5_pause_time=0
    )
    assert bytes(ether / classes).ljust(60, b"\0") == wire.pfc(
        "02:00:00:00:00:09", {3: 0xFFFF, 5: 0}
    )
    pause = bytes(ether / MACControlPause(pause_time=7)).ljust(60, b"\0")
    assert pause == wire.global_pause("02:00:00:00:00:09", 7)


def test_scapy_makes_the_same_encapsulations() -> None:
    from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III
    from scapy.contrib.geneve import GENEVE
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import GRE, Ether
    from scapy.layers.vxlan import VXLAN

    inner = wire.ethernet(b"inside", "02:00:00:00:00:01", "02:00:00:00:00:02", 0x88B5)
    eth = Ether(inner)
    assert wire.gre(inner, EtherType.TEB, key=5, sequence=6) == bytes(
        GRE(proto=0x6558, key_present=1, key=5, seqnum_present=1, sequence_number=6) / eth
    )
    assert wire.gre(inner, EtherType.TEB, check=True) == bytes(
        GRE(proto=0x6558, chksum_present=1) / eth
    )
    head = GRE(proto=0x88BE, seqnum_present=1, sequence_number=3)
    mine = wire.erspan(inner, 2, sequence=3, session=9)
    assert mine == bytes(head / ERSPAN_II(session_id=9, vlan=0) / eth)
    head = GRE(proto=0x22EB, seqnum_present=1, sequence_number=3)
    mine = wire.erspan(inner, 3, sequence=3, session=9)
    three = ERSPAN_III(session_id=9, vlan=0, timestamp=0, d=0, p=0, gra=0)
    assert mine == bytes(head / three / eth)
    under = IP(src="10.0.0.1", dst="10.0.0.2", id=0, flags="DF")
    plain = UDP(sport=49152, dport=4789, chksum=0)
    mine = wire.ipv4(wire.vxlan(inner, 77), "10.0.0.1", "10.0.0.2")
    assert mine == bytes(under / plain / VXLAN(vni=77, flags=8) / eth)
    plain = UDP(sport=49152, dport=6081, chksum=0)
    mine = wire.ipv4(wire.geneve(inner, 77), "10.0.0.1", "10.0.0.2")
    assert mine == bytes(under / plain / GENEVE(vni=77, proto=0x6558) / eth)


def test_scapy_makes_the_same_ip_headers() -> None:
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import (
        IPv6,
        IPv6ExtHdrDestOpt,
        IPv6ExtHdrFragment,
        IPv6ExtHdrHopByHop,
        PadN,
    )

    options = b"\x94\x04\0\0"
    mine = wire.ipv4(b"data", A.src, A.dst, 253, tos=3, ttl=9, ip_id=7, options=options)
    assert mine == bytes(
        IP(src=A.src, dst=A.dst, tos=3, ttl=9, id=7, flags="DF", proto=253, options=options)
        / b"data"
    )
    pad = b"\x01\x04\0\0\0\0"
    chain = (
        wire.option_extension(IpProtocol.HOP_BY_HOP, pad),
        wire.option_extension(IpProtocol.DESTINATION, pad),
        wire.fragment_extension(5, more=True, identification=99),
    )
    mine = wire.ipv6(b"data", B.src, B.dst, 253, extensions=chain)
    options6 = [PadN(optdata=bytes(4))]
    assert mine == bytes(
        IPv6(src=B.src, dst=B.dst)
        / IPv6ExtHdrHopByHop(options=options6)
        / IPv6ExtHdrDestOpt(options=options6)
        / IPv6ExtHdrFragment(offset=5, m=1, id=99, nh=253)
        / b"data"
    )


# The twin's rules that no well-formed frame shows


def faulty(frame: bytes) -> tuple[int, int]:
    row = twin_decode.decode(frame)
    return row["kind"], row["fault"]


def on_port(body: bytes) -> bytes:
    return link(A, wire.ipv4(wire.udp(body, 1, 4791), A.src, A.dst))


def test_misuse_of_the_port_is_no_roce() -> None:
    assert faulty(on_port(b"short")) == (FrameKind.OTHER, Fault.NOT_ROCE)
    versioned = wire.bth(4, 1, 1)[:1] + b"\x01" + wire.bth(4, 1, 1)[2:] + bytes(4)
    assert faulty(on_port(versioned)) == (FrameKind.OTHER, Fault.NOT_ROCE)
    good = wire.bth(4, 1, 1) + bytes(4)
    assert faulty(on_port(good)) == (FrameKind.ROCE_V2, Fault.NONE)


def test_unknown_opcodes_keep_their_bth() -> None:
    for opcode in (0x15, 0x18, 0x1F, 0x2C, 0x40, 0x60, 0x80, 0xC0, 0xFF):
        row = twin_decode.decode(on_port(wire.bth(opcode, 5, 6) + bytes(8)))
        assert (row["fault"], row["qpn"], row["psn"]) == (Fault.UNKNOWN_OPCODE, 5, 6)
        assert row["payload"] == 4


def test_contradicting_lengths() -> None:
    assert faulty(on_port(wire.bth(12, 1, 1) + bytes(8)))[1] == Fault.BAD_LENGTH  # no RETH
    padded = wire.bth(4, 1, 1, pad=3) + bytes(4)
    assert faulty(on_port(padded))[1] == Fault.BAD_LENGTH
    frame = bytearray(roce(A, 4, 1, 1, payload=bytes(40)))
    frame[14] = 0x44  # a header of 16 bytes
    assert faulty(bytes(frame))[1] == Fault.BAD_LENGTH
    frame = bytearray(roce(A, 4, 1, 1, payload=bytes(40)))
    frame[38:40] = b"\0\x09"  # UDP length
    row = twin_decode.decode(bytes(frame))
    assert (row["fault"], row["psn"], row["payload"]) == (Fault.BAD_LENGTH, 1, 40)


def test_ethernet_padding_is_no_payload() -> None:
    ack = roce(A, 17, 1, 1, extended=wire.aeth())
    row = twin_decode.decode(ack + bytes(4))
    assert len(ack) == 62
    assert (row["payload"], row["icrc_at"]) == (0, 58)


def test_fragments() -> None:
    body = wire.bth(6, 1, 1) + wire.reth(1, 2, 3000) + bytes(1000)
    datagram = wire.udp(body, 1, 4791)
    first = link(A, wire.ipv4(datagram[:512], A.src, A.dst, fragment=0x2000))
    row = twin_decode.decode(first)
    assert (row["fault"], row["fragment"], row["icrc_at"]) == (Fault.NONE, True, -1)
    later = link(A, wire.ipv4(datagram[512:], A.src, A.dst, fragment=64))
    assert faulty(later) == (FrameKind.OTHER, Fault.FRAGMENT)
    tiny = link(A, wire.ipv4(datagram[:16], A.src, A.dst, fragment=0x2000))
    assert faulty(tiny) == (FrameKind.OTHER, Fault.FRAGMENT)


@pytest.mark.parametrize(("deep", "fault"), [(4, Fault.NONE), (5, Fault.NESTING)])
def test_encapsulations_are_followed_four_deep(deep: int, fault: Fault) -> None:
    frame = roce(A, 4, 1, 1)
    for _ in range(deep):
        frame = link(A, wire.ipv4(wire.vxlan(frame, 1), A.src, A.dst))
    row = twin_decode.decode(frame)
    assert (row["fault"], row["wrap"]) == (fault, Wrap.VXLAN)


def test_ip_in_ip_and_bare_ip_in_gre_and_geneve() -> None:
    body = wire.bth(4, 1, 1) + bytes(4)
    packet = roce_packet(A, body[:-4], tos=0x69, ip_id=1, ttl=9)
    cases = (
        (wire.ipv4(packet, "1.1.1.1", "2.2.2.2", IpProtocol.IPV4), Wrap.IP_IN_IP),
        (wire.ipv4(wire.gre(packet, EtherType.IPV4), "1.1.1.1", "2.2.2.2", 47), Wrap.GRE),
        (wire.ipv4(wire.geneve(packet, 1, EtherType.IPV4), "1.1.1.1", "2.2.2.2"), Wrap.GENEVE),
    )
    for outer, wrap in cases:
        tags = (wire.tag(100, 4),)
        row = twin_decode.decode(link(A._replace(tags=tags), outer))
        assert (row["wrap"], row["tos"], row["ttl"]) == (wrap, 0x69, 9)
        assert (row["vlan"], row["priority"]) == (100, 4)


@pytest.mark.parametrize("payload", [b"\x89\x15" * 30, b"\x88\x08\x01\x01" * 15, b"\x12\xb7" * 30])
def test_headers_are_parsed_never_grepped(payload: bytes) -> None:
    for protocol, carrier in ((17, wire.udp(payload, 4791, 53)), (6, payload), (1, payload)):
        frame = link(A, wire.ipv4(carrier, A.src, A.dst, protocol))
        assert faulty(frame) == (FrameKind.OTHER, Fault.NONE)
