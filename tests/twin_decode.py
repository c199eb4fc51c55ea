"""The slow and obvious reader of one frame: what the compiled decoder must say, column by column.

Written from the specifications; it calls no kernel and shares no code with ``fabric.wire``.
``decode(frame, link_type)`` takes the captured bytes and returns the columns of a row. ``None``
means "not valid in this row" (a compiled row may hold anything there). ``kept`` tells whether the
frame is a row at all.

The rules, where a specification leaves room:

Row
 - ``kind`` is ROCE_V2 or ROCE_V1 exactly where a BTH was read (``headers & BTH``), PFC or
   GLOBAL_PAUSE exactly where the whole pause frame was read; everything else is OTHER. A row is
   kept where ``kind != OTHER`` or ``fault != NONE``.
 - Columns never reached have these values: src/dst the MAC addresses (in *_lo; SLL and SLL2: src
   from the address field where its length is 6, else 0, dst 0; raw IP: 0), version, ip_bytes,
   ip_id, ttl, tos, sport, payload and wrap 0, vlan 0xFFFF, priority 255, l3_at and icrc_at -1. The
   columns of BTH, extended headers and pauses are None unless ``headers`` (or ``kind``) says that
   they were read.
 - Two bounds: ``limit`` is where the captured bytes end, ``end`` where the IP packet ends by its
   own length. Inside an IP packet ``limit`` never lies beyond ``end`` (Ethernet padding is not
   data). Lengths in columns come from ``end``, what can be read comes from ``limit``.
 - What is not ours is OTHER without a fault: other ethertypes, protocols and ports; an IP header
   whose version field contradicts the ethertype; an encapsulation header of another version or
   that does not fit its IP packet.
Link, Ethernet
 - Ethernet needs 14 bytes, SLL 16, SLL2 20: fewer is TRUNCATED. Raw IP looks at the first nibble (no
   byte: TRUNCATED; neither 4 nor 6: OTHER). A link type that is not read is LINK_TYPE.
 - Tags 0x8100, 0x88A8, 0x9100, any number of them; the last one gives vlan and priority. A tag cut
   is TRUNCATED. Another Ethernet header inside an encapsulation resets vlan and priority to
   untagged: they belong to the frame that carries the BTH; an IP header directly inside does not.
MAC control (0x8808), also inside encapsulations
 - inside an encapsulation the IP columns return to "never reached", src_lo and dst_lo are the MAC
   addresses of the inner frame.
 - opcode cut: TRUNCATED. 0x0101 needs 2 + 2 + 16 bytes, 0x0001 needs 2 + 2; fewer: TRUNCATED. Other
   opcodes: UNKNOWN_MAC_CONTROL.
 - pause_vector is the low byte of the class-enable vector; a global pause has 0x100 and its
   quanta in quanta[0], zeros behind. Quanta of classes not enabled are kept as they stand.
IPv4
 - fewer than 20 bytes captured: TRUNCATED. Version not 4: OTHER. Protocol not UDP, GRE, IPv4 or
   IPv6: OTHER. Now the IP columns are set (also l3_at; end = l3_at + total length). Then: IHL
   below 5, or total length below IHL * 4: BAD_LENGTH; options cut: TRUNCATED.
 - fragment offset not 0: FRAGMENT. More-fragments with offset 0: the first fragment, read on.
IPv6
 - fewer than 40 bytes captured: TRUNCATED. Version not 6: OTHER. IP columns are set, ip_bytes =
   payload length + 40, end accordingly.
 - extension headers 0, 43, 60, 135 (length (n + 1) * 8), 44 (8), 51 ((n + 2) * 4), any number, in any
   order. For each: first 8 bytes beyond end: BAD_LENGTH; cut: TRUNCATED; whole header beyond end:
   BAD_LENGTH; cut: TRUNCATED. A fragment header with offset not 0: FRAGMENT where its next header
   is an extension or one of the protocols above, OTHER otherwise.
 - then a protocol not among UDP, GRE, IPv4, IPv6: OTHER.
UDP
 - 8 bytes beyond end: FRAGMENT in a first fragment, else BAD_LENGTH; cut: TRUNCATED. sport is set.
 - destination port 4791, whatever the source port: BTH. 4789, 8472: VXLAN. 6081: Geneve. Else OTHER.
 - a UDP length that is not the rest of the IP packet (first fragments excepted): BAD_LENGTH, but
   only for port 4791, only where nothing else was wrong, and everything is read all the same.
BTH (RoCEv2: behind UDP, RoCEv1: behind the GRH); ``rest`` is what lies between its start and end
 - rest below 16 (BTH and ICRC): FRAGMENT in a first fragment, else NOT_ROCE. 12 bytes cut: TRUNCATED.
   Version field not 0: NOT_ROCE. Now kind and the BTH columns are set.
 - opcode not RC, UC, UD, XRC or CNP: UNKNOWN_OPCODE, payload = rest - 16 - pad, at least 0.
 - CNP: payload 0, whatever follows.
 - rest below BTH + extended headers + ICRC: FRAGMENT in a first fragment, else BAD_LENGTH; no extended
   header, payload 0. Otherwise payload = rest - headers - pad - 4, and where this is below 0:
   BAD_LENGTH, payload 0, extended headers read.
 - extended headers are read one by one; the first that is cut: TRUNCATED, those before it stay.
   The payload may be cut without any fault.
 - icrc_at = end - 4 where limit reaches end and the packet is no fragment (of any IP header around
   it), for any row with a BTH; else -1.
RoCEv1
 - GRH 40 bytes: cut is TRUNCATED. IPVer not 6 or next header not 0x1B: NOT_ROCE, nothing is set.
   version 0, headers GRH, addresses = GIDs, ip_bytes = payload length + 40, end accordingly.
Encapsulations: at most four around a packet; a fifth is NESTING (after its header was found to be
   one that is followed; for IP in IP, on the protocol number). Their headers: does not fit ``end``:
   OTHER; cut: TRUNCATED. ``wrap`` collects the kinds, ``dscp`` and the rest are overwritten by
   every inner IP header.
 - GRE: version not 0 or the RFC 1701 routing bit set: OTHER. 4 bytes each for checksum, key,
   sequence. 0x0800, 0x86DD, 0x6558: Wrap.GRE. 0x88BE: ERSPAN I where no sequence number, else by the
   version nibble behind the GRE header (1: II, 8 bytes; 2: III). 0x22EB: ERSPAN III, version must be 2.
   ERSPAN III has 12 bytes, 20 with its O bit; frame type 0 is Ethernet, 2 is raw IP, else OTHER.
   ERSPAN sets its own Wrap flag only, not Wrap.GRE.
 - VXLAN: 8 bytes, the I bit (0x08) must be set, else OTHER.
 - Geneve: 8 bytes and the options; version must be 0; 0x6558, 0x0800, 0x86DD, else OTHER.
 - IPv4 or IPv6 as the IP protocol: Wrap.IP_IN_IP.
``fragment`` (not a column: for the tally) is True where any IPv4 header that was met (20 bytes, right
version, any protocol) has more-fragments or an offset, or any IPv6 fragment header that was met has.
"""

from typing import Any

from fabric.codes import Fault, FrameKind, Header, Wrap

Columns = dict[str, Any]
TAGS = (0x8100, 0x88A8, 0x9100)
CARRIED = (17, 47, 4, 41)  # UDP, GRE, IPv4, IPv6
EXTENSIONS = (0, 43, 60, 135, 44, 51)
MAX_WRAPS = 4

# IBTA table 38, written out. R RETH, A AETH, I ImmDt, T AtomicETH, K AtomicAckETH, E IETH.
RC_HEADERS = {
    0x00: "", 0x01: "", 0x02: "", 0x03: "I", 0x04: "", 0x05: "I",
    0x06: "R", 0x07: "", 0x08: "", 0x09: "I", 0x0A: "R", 0x0B: "RI",
    0x0C: "R", 0x0D: "A", 0x0E: "", 0x0F: "A", 0x10: "A",
    0x11: "A", 0x12: "AK", 0x13: "T", 0x14: "T", 0x16: "E", 0x17: "E",
}  # fmt: skip
OPCODES = {
    **RC_HEADERS,
    **{0x20 + low: text for low, text in RC_HEADERS.items() if low <= 0x0B},
    0x64: "D",
    0x65: "DI",
    0x81: "",
    **{0xA0 + n: ("" if 0x0D <= n <= 0x12 else "X") + t for n, t in RC_HEADERS.items()},
}
SIZES = {"R": 16, "A": 4, "I": 4, "T": 28, "K": 8, "E": 4, "D": 8, "X": 4}


class Stop(Exception):  # noqa: N818 it also ends a frame that has nothing wrong
    """Reading ends here, with this fault."""

    def __init__(self, fault: Fault = Fault.NONE) -> None:
        super().__init__(fault)
        self.fault = fault


class Frame:
    """One frame being read: its bytes, the columns so far, and how deep we are."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.limit = len(data)
        self.end = len(data)
        self.wraps = 0
        self.whole = True  # no fragment on the way
        self.row: Columns = {
            "kind": FrameKind.OTHER, "fault": Fault.NONE, "headers": 0,
            "src_hi": 0, "src_lo": 0, "dst_hi": 0, "dst_lo": 0, "version": 0,
            "ip_bytes": 0, "ip_id": 0, "ttl": 0, "tos": 0, "sport": 0, "payload": 0,
            "vlan": 0xFFFF, "priority": 255, "wrap": 0, "icrc_at": -1, "l3_at": -1,
            **dict.fromkeys((
                "opcode", "bth1", "pkey", "bth4", "qpn", "ack_request", "psn", "syndrome", "msn",
                "va", "rkey", "dma", "imm", "src_qpn", "qkey", "xrc_srq", "atomic_swap",
                "atomic_compare", "atomic_original", "pause_vector", "quanta",
            )),
        }  # fmt: skip

    def number(self, at: int, size: int) -> int:
        """A big-endian number."""
        return int.from_bytes(self.data[at : at + size], "big")

    def need(self, at: int, size: int) -> None:
        """Stop where these bytes were not captured."""
        if at + size > self.limit:
            raise Stop(Fault.TRUNCATED)

    def fits(self, at: int, size: int) -> None:
        """Stop where an encapsulation's header does not fit its packet, or was not captured."""
        if at + size > self.end:
            raise Stop
        self.need(at, size)

    def enter(self, wrap: Wrap) -> None:
        """One more encapsulation."""
        if self.wraps == MAX_WRAPS:
            raise Stop(Fault.NESTING)
        self.wraps += 1
        self.row["wrap"] |= wrap


def decode(data: bytes, link_type: int = 1) -> Columns:
    """The columns of one frame, ``data`` being its captured bytes."""
    frame = Frame(data)
    try:
        link(frame, link_type)
    except Stop as stop:
        frame.row["fault"] = stop.fault
    frame.row["fragment"] = not frame.whole
    return frame.row


def kept(row: Columns) -> bool:
    """Whether the frame is a row at all."""
    return row["kind"] != FrameKind.OTHER or row["fault"] != Fault.NONE


def link(f: Frame, link_type: int) -> None:
    if link_type == 1:
        ethernet(f, 0)
    elif link_type == 113:
        f.need(0, 16)
        source = f.number(6, 6) if f.number(4, 2) == 6 else 0
        ethertype(f, 16, f.number(14, 2), source, 0)
    elif link_type == 276:
        f.need(0, 20)
        source = f.number(12, 6) if f.number(11, 1) == 6 else 0
        ethertype(f, 20, f.number(0, 2), source, 0)
    elif link_type in (12, 14, 101, 228, 229):
        raw_ip(f, 0)
    else:
        raise Stop(Fault.LINK_TYPE)


def raw_ip(f: Frame, at: int) -> None:
    f.need(at, 1)
    version = f.data[at] >> 4
    if version == 4:
        ipv4(f, at)
    elif version == 6:
        ipv6(f, at)


def ethernet(f: Frame, at: int) -> None:
    f.need(at, 14)
    f.row["vlan"], f.row["priority"] = 0xFFFF, 255
    ethertype(f, at + 14, f.number(at + 12, 2), f.number(at + 6, 6), f.number(at, 6))


def ethertype(f: Frame, at: int, kind: int, source: int, destination: int) -> None:
    if f.row["l3_at"] < 0:
        f.row.update(src_lo=source, dst_lo=destination)
    while kind in TAGS:
        f.need(at, 4)
        tag = f.number(at, 2)
        f.row["priority"], f.row["vlan"] = tag >> 13, tag & 0xFFF
        kind = f.number(at + 2, 2)
        at += 4
    if kind == 0x0800:
        ipv4(f, at)
    elif kind == 0x86DD:
        ipv6(f, at)
    elif kind == 0x8915:
        grh(f, at)
    elif kind == 0x8808:
        f.row.update(src_hi=0, src_lo=source, dst_hi=0, dst_lo=destination)
        f.row.update(version=0, ip_bytes=0, ip_id=0, ttl=0, tos=0, sport=0, l3_at=-1)
        mac_control(f, at)


def mac_control(f: Frame, at: int) -> None:
    f.need(at, 2)
    opcode = f.number(at, 2)
    if opcode == 0x0101:
        f.need(at, 20)
        f.row["kind"] = FrameKind.PFC
        f.row["pause_vector"] = f.number(at + 2, 2) & 0xFF
        f.row["quanta"] = [f.number(at + 4 + 2 * n, 2) for n in range(8)]
    elif opcode == 0x0001:
        f.need(at, 4)
        f.row["kind"] = FrameKind.GLOBAL_PAUSE
        f.row["pause_vector"] = 0x100
        f.row["quanta"] = [f.number(at + 2, 2)] + 7 * [0]
    else:
        raise Stop(Fault.UNKNOWN_MAC_CONTROL)


def ipv4(f: Frame, at: int) -> None:
    f.need(at, 20)
    if f.data[at] >> 4 != 4:
        raise Stop
    protocol, flags = f.data[at + 9], f.number(at + 6, 2)
    if flags & 0x3FFF:
        f.whole = False
    if protocol not in CARRIED:
        raise Stop
    size, total = (f.data[at] & 0xF) * 4, f.number(at + 2, 2)
    mapped = 0xFFFF << 32
    f.row.update(src_hi=0, src_lo=mapped | f.number(at + 12, 4))
    f.row.update(dst_hi=0, dst_lo=mapped | f.number(at + 16, 4))
    f.row.update(version=4, ip_bytes=total, ip_id=f.number(at + 4, 2), l3_at=at, sport=0)
    f.row.update(tos=f.data[at + 1], ttl=f.data[at + 8])
    if size < 20 or total < size:
        raise Stop(Fault.BAD_LENGTH)
    f.end = at + total
    f.limit = min(f.limit, f.end)
    f.need(at, size)
    if flags & 0x1FFF:
        raise Stop(Fault.FRAGMENT)
    carried(f, at + size, protocol, more=bool(flags & 0x2000))


def ipv6(f: Frame, at: int) -> None:
    f.need(at, 40)
    if f.data[at] >> 4 != 6:
        raise Stop
    f.row.update(src_hi=f.number(at + 8, 8), src_lo=f.number(at + 16, 8))
    f.row.update(dst_hi=f.number(at + 24, 8), dst_lo=f.number(at + 32, 8))
    f.row.update(version=6, ip_bytes=f.number(at + 4, 2) + 40, ip_id=0, l3_at=at, sport=0)
    f.row.update(tos=f.number(at, 2) >> 4 & 0xFF, ttl=f.data[at + 7])
    f.end = at + f.row["ip_bytes"]
    f.limit = min(f.limit, f.end)
    protocol, at, more = f.data[at + 6], at + 40, False
    while protocol in EXTENSIONS:
        size = 8
        for _ in range(2):  # once for the fixed part, once for the whole header
            if at + size > f.end:
                raise Stop(Fault.BAD_LENGTH)
            f.need(at, size)
            if protocol == 51:
                size = (f.data[at + 1] + 2) * 4
            elif protocol != 44:
                size = (f.data[at + 1] + 1) * 8
        following = f.data[at]
        if protocol == 44:
            field = f.number(at + 2, 2)
            more = more or bool(field & 1)
            if field & ~7 or more:
                f.whole = False
            if field & ~7:
                wanted = following in EXTENSIONS or following in CARRIED
                raise Stop(Fault.FRAGMENT if wanted else Fault.NONE)
        protocol, at = following, at + size
    carried(f, at, protocol, more)


def carried(f: Frame, at: int, protocol: int, more: bool) -> None:
    if protocol == 17:
        udp(f, at, more)
    elif protocol == 47:
        gre(f, at)
    elif protocol == 4:
        f.enter(Wrap.IP_IN_IP)
        ipv4(f, at)
    elif protocol == 41:
        f.enter(Wrap.IP_IN_IP)
        ipv6(f, at)


def udp(f: Frame, at: int, more: bool) -> None:
    if at + 8 > f.end:
        raise Stop(Fault.FRAGMENT if more else Fault.BAD_LENGTH)
    f.need(at, 8)
    f.row["sport"] = f.number(at, 2)
    port = f.number(at + 2, 2)
    if port == 4791:
        bth(f, at + 8, FrameKind.ROCE_V2, more)
        if f.number(at + 4, 2) != f.end - at and not more:
            raise Stop(Fault.BAD_LENGTH)
    elif port in (4789, 8472):
        f.fits(at + 8, 8)
        if f.data[at + 8] & 0x08:
            f.enter(Wrap.VXLAN)
            ethernet(f, at + 16)
    elif port == 6081:
        geneve(f, at + 8)


def geneve(f: Frame, at: int) -> None:
    f.fits(at, 8)
    if f.data[at] >> 6:
        raise Stop
    size = 8 + (f.data[at] & 0x3F) * 4
    f.fits(at, size)
    inside(f, at + size, f.number(at + 2, 2), Wrap.GENEVE)


def inside(f: Frame, at: int, protocol: int, wrap: Wrap) -> None:
    """What GRE and Geneve carry, by its ethertype."""
    readers = {0x6558: ethernet, 0x0800: ipv4, 0x86DD: ipv6}
    if protocol in readers:
        f.enter(wrap)
        readers[protocol](f, at)


def gre(f: Frame, at: int) -> None:
    f.fits(at, 4)
    flags, protocol = f.number(at, 2), f.number(at + 2, 2)
    if flags & 0x4007:
        raise Stop
    sequence = bool(flags & 0x1000)
    size = 4 + 4 * sum(bool(flags & bit) for bit in (0x8000, 0x2000, 0x1000))
    f.fits(at, size)
    at += size
    if protocol == 0x88BE and not sequence:
        f.enter(Wrap.ERSPAN_1)
        ethernet(f, at)
    elif protocol in (0x88BE, 0x22EB):
        erspan(f, at, protocol)
    else:
        inside(f, at, protocol, Wrap.GRE)


def erspan(f: Frame, at: int, protocol: int) -> None:
    f.fits(at, 8)
    version = f.data[at] >> 4
    if version == 1 and protocol == 0x88BE:
        f.enter(Wrap.ERSPAN_2)
        ethernet(f, at + 8)
    elif version == 2:
        f.fits(at, 12)
        word = f.number(at + 10, 2)
        size = 20 if word & 1 else 12
        f.fits(at, size)
        frame_type = word >> 10 & 0x1F
        if frame_type == 0:
            f.enter(Wrap.ERSPAN_3)
            ethernet(f, at + size)
        elif frame_type == 2:
            f.enter(Wrap.ERSPAN_3)
            raw_ip(f, at + size)


def grh(f: Frame, at: int) -> None:
    f.need(at, 40)
    if f.data[at] >> 4 != 6 or f.data[at + 6] != 0x1B:
        raise Stop(Fault.NOT_ROCE)
    f.row.update(src_hi=f.number(at + 8, 8), src_lo=f.number(at + 16, 8))
    f.row.update(dst_hi=f.number(at + 24, 8), dst_lo=f.number(at + 32, 8))
    f.row.update(version=0, ip_bytes=f.number(at + 4, 2) + 40, ip_id=0, l3_at=at, sport=0)
    f.row.update(tos=f.number(at, 2) >> 4 & 0xFF, ttl=f.data[at + 7])
    f.row["headers"] = Header.GRH
    f.end = at + f.row["ip_bytes"]
    f.limit = min(f.limit, f.end)
    bth(f, at + 40, FrameKind.ROCE_V1, more=False)


def bth(f: Frame, at: int, kind: FrameKind, more: bool) -> None:
    rest = f.end - at
    if rest < 16:
        raise Stop(Fault.FRAGMENT if more else Fault.NOT_ROCE)
    f.need(at, 12)
    if f.data[at + 1] & 0x0F:
        raise Stop(Fault.NOT_ROCE)
    opcode, pad = f.data[at], f.data[at + 1] >> 4 & 3
    f.row.update(kind=kind, opcode=opcode, bth1=f.data[at + 1], pkey=f.number(at + 2, 2))
    f.row.update(bth4=f.data[at + 4], qpn=f.number(at + 5, 3), ack_request=f.data[at + 8] >> 7)
    f.row.update(psn=f.number(at + 9, 3), headers=f.row["headers"] | Header.BTH)
    if f.limit == f.end and f.whole:
        f.row["icrc_at"] = f.end - 4
    if opcode not in OPCODES:
        f.row["payload"] = max(rest - 16 - pad, 0)
        raise Stop(Fault.UNKNOWN_OPCODE)
    if opcode == 0x81:
        return
    letters = OPCODES[opcode]
    order = [letter for letter in "DXRTAKIE" if letter in letters]
    size = 12 + sum(SIZES[letter] for letter in order)
    if rest < size + 4:
        raise Stop(Fault.FRAGMENT if more else Fault.BAD_LENGTH)
    f.row["payload"] = max(rest - size - pad - 4, 0)
    at += 12
    for letter in order:
        f.need(at, SIZES[letter])
        extended(f, at, letter)
        at += SIZES[letter]
    if rest < size + pad + 4:
        raise Stop(Fault.BAD_LENGTH)


def extended(f: Frame, at: int, letter: str) -> None:
    row = f.row
    if letter == "R":
        row["headers"] |= Header.RETH
        row.update(va=f.number(at, 8), rkey=f.number(at + 8, 4), dma=f.number(at + 12, 4))
    elif letter == "A":
        row["headers"] |= Header.AETH
        row.update(syndrome=f.number(at, 1), msn=f.number(at + 1, 3))
    elif letter == "I":
        row["headers"] |= Header.IMMDT
        row["imm"] = f.number(at, 4)
    elif letter == "T":
        row["headers"] |= Header.ATOMICETH
        row.update(va=f.number(at, 8), rkey=f.number(at + 8, 4))
        row.update(atomic_swap=f.number(at + 12, 8), atomic_compare=f.number(at + 20, 8))
    elif letter == "K":
        row["headers"] |= Header.ATOMICACKETH
        row["atomic_original"] = f.number(at, 8)
    elif letter == "E":
        row["headers"] |= Header.IETH
        row["rkey"] = f.number(at, 4)
    elif letter == "D":
        row["headers"] |= Header.DETH
        row.update(qkey=f.number(at, 4), src_qpn=f.number(at + 5, 3))
    elif letter == "X":
        row["headers"] |= Header.XRCETH
        row["xrc_srq"] = f.number(at + 1, 3)
