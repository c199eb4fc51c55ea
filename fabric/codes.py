"""The numbers of the protocols, each beside the clause that defines it.

Unknown numbers stay numbers: tables keep the integer, these enums only name it.
IBTA = InfiniBand Architecture Specification Volume 1, Release 1.4 (and its annexes A16, A17).
"""

from enum import IntEnum, IntFlag

ROCE_V2_PORT = 4791  # IANA service name "roce"; IBTA annex A17.3.1
VXLAN_PORTS = (4789, 8472)  # RFC 7348 section 5; 8472 is the Linux kernel's older default
GENEVE_PORT = 6081  # RFC 8926 section 3.3
PSN_BITS = 24  # IBTA 9.2.3: the packet sequence number of the BTH
PSN_MASK = (1 << PSN_BITS) - 1
GRH_NEXT_HEADER = 0x1B  # IBTA 8.3.5: the global route header is followed by a BTH
PAUSE_DESTINATION = 0x0180C2000001  # IEEE 802.3 31B.1: the MAC control multicast address
QUANTUM_BITS = 512  # IEEE 802.3 31B.2: one pause quantum is 512 bit times
MAX_QUANTA = 0xFFFF
CNP_PADDING = 16  # IBTA A17.9.3: sixteen reserved bytes after the BTH


class LinkType(IntEnum):
    """Link types that are read: the tcpdump.org registry of LINKTYPE values."""

    ETHERNET = 1
    RAW_BSD = 12  # what BSD and Linux write for raw IP where the registry says 101
    RAW_OPENBSD = 14
    RAW = 101  # an IPv4 or IPv6 header first
    LINUX_SLL = 113
    IPV4 = 228
    IPV6 = 229
    LINUX_SLL2 = 276


class EtherType(IntEnum):
    """IEEE 802 numbers as IANA lists them."""

    IPV4 = 0x0800
    VLAN = 0x8100  # IEEE 802.1Q
    TEB = 0x6558  # transparent Ethernet bridging: a frame inside GRE or Geneve (RFC 1701, 8926)
    IPV6 = 0x86DD
    MAC_CONTROL = 0x8808  # IEEE 802.3 clause 31
    ERSPAN = 0x88BE  # types I and II, draft-foschiano-erspan-03
    QINQ = 0x88A8  # IEEE 802.1ad
    ROCE_V1 = 0x8915  # IBTA annex A16
    QINQ_OLD = 0x9100  # in use before 802.1ad
    ERSPAN_3 = 0x22EB


class IpProtocol(IntEnum):
    """IANA protocol numbers that the decoder follows."""

    HOP_BY_HOP = 0
    IPV4 = 4
    UDP = 17
    IPV6 = 41
    ROUTING = 43
    FRAGMENT = 44
    GRE = 47
    ESP = 50
    AH = 51
    DESTINATION = 60
    MOBILITY = 135


class Ecn(IntEnum):
    """RFC 3168 section 5: the two low bits of the traffic class."""

    NOT_ECT = 0
    ECT_1 = 1
    ECT_0 = 2
    CE = 3


class MacControl(IntEnum):
    """MAC control opcodes: IEEE 802.3 annex 31A."""

    PAUSE = 0x0001
    PFC = 0x0101  # priority-based flow control, IEEE 802.1Qbb; format in IEEE 802.3 31D


class Service(IntEnum):
    """Transport service: the top three bits of the BTH opcode, IBTA table 38."""

    RC = 0
    UC = 1
    RD = 2
    UD = 3
    CNP = 4
    XRC = 5


class Operation(IntEnum):
    """The low five bits of the BTH opcode, IBTA table 38."""

    SEND_FIRST = 0x00
    SEND_MIDDLE = 0x01
    SEND_LAST = 0x02
    SEND_LAST_IMM = 0x03
    SEND_ONLY = 0x04
    SEND_ONLY_IMM = 0x05
    WRITE_FIRST = 0x06
    WRITE_MIDDLE = 0x07
    WRITE_LAST = 0x08
    WRITE_LAST_IMM = 0x09
    WRITE_ONLY = 0x0A
    WRITE_ONLY_IMM = 0x0B
    READ_REQUEST = 0x0C
    READ_RESPONSE_FIRST = 0x0D
    READ_RESPONSE_MIDDLE = 0x0E
    READ_RESPONSE_LAST = 0x0F
    READ_RESPONSE_ONLY = 0x10
    ACKNOWLEDGE = 0x11
    ATOMIC_ACKNOWLEDGE = 0x12
    COMPARE_SWAP = 0x13
    FETCH_ADD = 0x14
    RESYNC = 0x15  # RD only
    SEND_LAST_INVALIDATE = 0x16
    SEND_ONLY_INVALIDATE = 0x17


CNP_OPCODE = 0x81  # IBTA A17.9.3: congestion notification packet


class Syndrome(IntEnum):
    """The top three bits of the AETH syndrome: IBTA table 45."""

    ACK = 0
    RNR_NAK = 1
    RESERVED = 2
    NAK = 3


class NakCode(IntEnum):
    """The low five bits of a NAK syndrome: IBTA table 46."""

    SEQUENCE_ERROR = 0
    INVALID_REQUEST = 1
    REMOTE_ACCESS = 2
    REMOTE_OPERATIONAL = 3
    INVALID_RD_REQUEST = 4


class Header(IntFlag):
    """Which extended transport headers a packet carries: bits of ``PACKETS.headers``."""

    RETH = 0x001
    AETH = 0x002
    IMMDT = 0x004
    ATOMICETH = 0x008
    ATOMICACKETH = 0x010
    DETH = 0x020
    IETH = 0x040
    XRCETH = 0x080
    BTH = 0x100
    GRH = 0x200  # RoCEv1: the addresses are GIDs of the global route header


# IBTA figures of clause 9.2 and annex A16: the size of each header in bytes.
HEADER_BYTES = {
    Header.RETH: 16, Header.AETH: 4, Header.IMMDT: 4, Header.ATOMICETH: 28, Header.ATOMICACKETH: 8,
    Header.DETH: 8, Header.IETH: 4, Header.XRCETH: 4, Header.BTH: 12, Header.GRH: 40,
}  # fmt: skip

# IBTA table 38: the extended headers behind the BTH, by operation. They stand in the order
# DETH, XRCETH, RETH or AtomicETH, AETH, AtomicAckETH, ImmDt, IETH.
EXTENSIONS = {
    Operation.SEND_LAST_IMM: Header.IMMDT,
    Operation.SEND_ONLY_IMM: Header.IMMDT,
    Operation.WRITE_FIRST: Header.RETH,
    Operation.WRITE_LAST_IMM: Header.IMMDT,
    Operation.WRITE_ONLY: Header.RETH,
    Operation.WRITE_ONLY_IMM: Header.RETH | Header.IMMDT,
    Operation.READ_REQUEST: Header.RETH,
    Operation.READ_RESPONSE_FIRST: Header.AETH,
    Operation.READ_RESPONSE_LAST: Header.AETH,
    Operation.READ_RESPONSE_ONLY: Header.AETH,
    Operation.ACKNOWLEDGE: Header.AETH,
    Operation.ATOMIC_ACKNOWLEDGE: Header.AETH | Header.ATOMICACKETH,
    Operation.COMPARE_SWAP: Header.ATOMICETH,
    Operation.FETCH_ADD: Header.ATOMICETH,
    Operation.SEND_LAST_INVALIDATE: Header.IETH,
    Operation.SEND_ONLY_INVALIDATE: Header.IETH,
}
RESPONSES = range(Operation.READ_RESPONSE_FIRST, Operation.ATOMIC_ACKNOWLEDGE + 1)


def headers_of(opcode: int) -> Header | None:
    """BTH and extended headers of a packet with this opcode; None where the opcode is not followed.

    Followed are RC, UC, UD, XRC and the CNP. Reliable datagram (RD) was never built and its
    packets are not followed; numbers outside IBTA table 38 are not either.
    """
    if opcode == CNP_OPCODE:
        return Header.BTH
    kind, operation = opcode >> 5, opcode & 0x1F
    extra = Header.BTH | EXTENSIONS.get(Operation(operation), 0) if operation < 0x18 else None
    if extra is None or operation == Operation.RESYNC:
        return None
    if kind == Service.RC:
        return extra
    if kind == Service.XRC:  # annex A14: every request names its shared receive queue
        return extra if operation in RESPONSES else extra | Header.XRCETH
    if kind == Service.UC:
        return extra if operation <= Operation.WRITE_ONLY_IMM else None
    if kind == Service.UD and operation in (Operation.SEND_ONLY, Operation.SEND_ONLY_IMM):
        return extra | Header.DETH
    return None


class FrameKind(IntEnum):
    """What a kept frame is."""

    OTHER = 0  # parsed, and none of ours; counted, never kept
    ROCE_V2 = 1
    ROCE_V1 = 2
    PFC = 3
    GLOBAL_PAUSE = 4


class Wrap(IntFlag):
    """Around which encapsulations a frame was found."""

    GRE = 0x01
    ERSPAN_1 = 0x02
    ERSPAN_2 = 0x04
    ERSPAN_3 = 0x08
    VXLAN = 0x10
    GENEVE = 0x20
    IP_IN_IP = 0x40


class Fault(IntEnum):
    """Why a frame could not be read to its end; a value in a row, counted in the report."""

    NONE = 0
    TRUNCATED = 1  # the snap length cut a header that was needed
    BAD_LENGTH = 2  # a length field contradicts the frame
    FRAGMENT = 3  # a later fragment of an IP packet: no transport header here
    UNKNOWN_OPCODE = 4  # BTH opcode outside IBTA table 38
    NOT_ROCE = 5  # UDP port 4791 but no BTH of version 0: another protocol's misuse of the port
    BAD_ICRC = 6
    NESTING = 7  # more encapsulations than the decoder follows
    UNKNOWN_MAC_CONTROL = 8  # ethertype 0x8808 with an opcode other than PAUSE and PFC
    LINK_TYPE = 9  # a packet of an interface whose link type is not read
    NO_INTERFACE = 10  # pcapng: a packet block names an interface that was never described


def service(opcode: int) -> int:
    """Transport service of a BTH opcode."""
    return opcode >> 5


def opcode_name(opcode: int) -> str:
    """``RC WRITE_ONLY`` and the like; a number that has no name keeps its number."""
    if opcode == CNP_OPCODE:
        return "CNP"
    try:
        return f"{Service(opcode >> 5).name} {Operation(opcode & 0x1F).name}"
    except ValueError:
        return f"OPCODE({opcode:#04x})"


# IBTA table 46 gives the codes, the values are those of the specification (the Linux rxe table
# says 61410 us for code 25; the specification's value is 61.44 ms).
RNR_TIMER_US = (
    655360, 10, 20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640, 960, 1280, 1920,
    2560, 3840, 5120, 7680, 10240, 15360, 20480, 30720, 40960, 61440, 81920, 122880,
    163840, 245760, 327680, 491520,
)  # fmt: skip

# IBTA table 45: limit sequence number a responder grants, by credit code; 31 means no limit.
CREDITS = (
    0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768,
    1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768,
)  # fmt: skip
