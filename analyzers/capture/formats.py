"""The numbers of capture files: magics, block types, options, and the names of link types.

pcap and pcapng are described in draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng; link types are
those of the LINKTYPE registry of draft-ietf-opsawg-pcaplinktype.
"""

import struct
from typing import Final, Literal, NamedTuple

from fabric import pcap
from fabric.codes import LinkType

MAX_RECORD_BYTES: Final = 16 << 20  # a longer record or block is damage, not data
MAX_PACKET_BYTES: Final = 262_144  # what a pcap may hold where its own snap length says less
HEAD_BYTES: Final = 65_536  # enough of a file to tell what it is
MAX_INTERFACES: Final = 0xFFFE  # 0xFFFF marks a packet of an interface never described

# pcap: first four bytes -> (big-endian, ns per unit of the fraction, bytes of a record header).
# In the modified format the record header goes on with interface index, protocol and packet type.
PCAP_HEADER_BYTES: Final = 24
PCAP_MAGICS: Final = {
    struct.pack(order + "I", magic): (order == ">", scale, header)
    for order in "<>"
    for magic, scale, header in (
        (pcap.MAGIC_MICRO, 1000, 16),
        (pcap.MAGIC_NANO, 1, 16),
        (pcap.MAGIC_MODIFIED, 1000, 24),
    )
}
LINK_TYPE_MASK: Final = 0x03FF_FFFF  # above it stand the length of the FCS and its flag

SECTION_MAGIC: Final = struct.pack("<I", pcap.SECTION_HEADER)  # the same in both byte orders
ORDER_MAGICS: Final = {struct.pack(order + "I", pcap.BYTE_ORDER_MAGIC) for order in "<>"}

# What a file is compressed with, by its first bytes.
COMPRESSIONS: Final = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
}

# Captures of other kinds: named, not read.
FOREIGN: Final = {
    b"snoop\0\0\0": "a Solaris snoop capture",
    b"TRSNIFF data    \x1a": "a Sniffer (DOS) capture",
    b"XCP\0": "a NetXRay or Sniffer (Windows) capture",
    b"VL\0\0": "a NetXRay 1.0 capture",
    b"RTSS": "a Network Monitor 1 capture",
    b"GMBU": "a Network Monitor 2 capture",
    b"iptrace ": "an AIX iptrace capture",
    b"\x7fver": "an Omnipeek capture",
    b"ObserverPktBuffe": "an Observer capture",
    b"btsnoop\0": "a Bluetooth btsnoop capture",
    b"\xac\x01\x00\x1c": "an Ixia hardware capture",
    b"\xab\x01\x00\x1c": "an Ixia software capture",
}
# Containers: a capture may be inside, but it has to be taken out first.
CONTAINERS: Final = {
    b"\x04\x22\x4d\x18": "LZ4-compressed",
    b"\x1f\x9d": "compressed by compress(1)",
    b"PK\x03\x04": "a zip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
}

READ: Final = frozenset(LinkType)

# fmt: off
LINK_TYPES: Final = {
    0: "NULL", 1: "ETHERNET", 2: "EXP_ETHERNET", 3: "AX25", 4: "PRONET", 5: "CHAOS",
    6: "IEEE802_5", 7: "ARCNET_BSD", 8: "SLIP", 9: "PPP", 10: "FDDI", 12: "RAW", 14: "RAW",
    50: "PPP_HDLC", 51: "PPP_ETHER", 99: "SYMANTEC_FIREWALL", 100: "ATM_RFC1483", 101: "RAW",
    104: "C_HDLC", 105: "IEEE802_11", 106: "ATM_CLIP", 107: "FRELAY", 108: "LOOP", 109: "ENC",
    113: "LINUX_SLL", 114: "LTALK", 115: "ECONET", 116: "IPFILTER", 117: "PFLOG",
    118: "CISCO_IOS", 119: "IEEE802_11_PRISM", 120: "IEEE802_11_AIRONET", 122: "IP_OVER_FC",
    123: "SUNATM", 127: "IEEE802_11_RADIOTAP", 128: "TZSP", 129: "ARCNET_LINUX",
    130: "JUNIPER_MLPPP", 131: "JUNIPER_MLFR", 132: "JUNIPER_ES", 133: "JUNIPER_GGSN",
    134: "JUNIPER_MFR", 135: "JUNIPER_ATM2", 136: "JUNIPER_SERVICES", 137: "JUNIPER_ATM1",
    138: "APPLE_IP_OVER_IEEE1394", 139: "MTP2_WITH_PHDR", 140: "MTP2", 141: "MTP3", 142: "SCCP",
    143: "DOCSIS", 144: "LINUX_IRDA", 161: "IBM_SP", 162: "IBM_SN", 163: "IEEE802_11_AVS",
    164: "JUNIPER_MONITOR", 165: "BACNET_MS_TP", 166: "PPP_PPPD", 167: "JUNIPER_PPPOE",
    168: "JUNIPER_PPPOE_ATM", 169: "GPRS_LLC", 170: "GPF_T", 171: "GPF_F", 172: "GCOM_T1E1",
    173: "GCOM_SERIAL", 174: "JUNIPER_PIC_PEER", 175: "ERF_ETH", 176: "ERF_POS",
    177: "LINUX_LAPD", 178: "JUNIPER_ETHER", 179: "JUNIPER_PPP", 180: "JUNIPER_FRELAY",
    181: "JUNIPER_CHDLC", 182: "MFR", 183: "JUNIPER_VP", 187: "BLUETOOTH_HCI_H4",
    188: "IEEE802_16_MAC_CPS", 189: "USB_LINUX", 190: "CAN20B", 191: "IEEE802_15_4_LINUX",
    192: "PPI", 193: "IEEE802_16_MAC_CPS_RADIO", 194: "JUNIPER_ISM", 195: "IEEE802_15_4_WITHFCS",
    196: "SITA", 197: "ERF", 198: "RAIF1", 199: "IPMB_KONTRON", 200: "JUNIPER_ST",
    201: "BLUETOOTH_HCI_H4_WITH_PHDR", 202: "AX25_KISS", 203: "LAPD", 204: "PPP_WITH_DIR",
    205: "C_HDLC_WITH_DIR", 206: "FRELAY_WITH_DIR", 207: "LAPB_WITH_DIR", 209: "IPMB_LINUX",
    210: "FLEXRAY", 211: "MOST", 212: "LIN", 213: "X2E_SERIAL", 214: "X2E_XORAYA",
    215: "IEEE802_15_4_NONASK_PHY", 216: "LINUX_EVDEV", 217: "GSMTAP_UM", 218: "GSMTAP_ABIS",
    219: "MPLS", 220: "USB_LINUX_MMAPPED", 221: "DECT", 222: "AOS", 223: "WIHART", 224: "FC_2",
    225: "FC_2_WITH_FRAME_DELIMS", 226: "IPNET", 227: "CAN_SOCKETCAN", 228: "IPV4", 229: "IPV6",
    230: "IEEE802_15_4_NOFCS", 231: "DBUS", 232: "JUNIPER_VS", 233: "JUNIPER_SRX_E2E",
    234: "JUNIPER_FIBRECHANNEL", 235: "DVB_CI", 236: "MUX27010", 237: "STANAG_5066_D_PDU",
    238: "JUNIPER_ATM_CEMIC", 239: "NFLOG", 240: "NETANALYZER", 241: "NETANALYZER_TRANSPARENT",
    242: "IPOIB", 243: "MPEG_2_TS", 244: "NG40", 245: "NFC_LLCP", 246: "PFSYNC",
    247: "INFINIBAND", 248: "SCTP", 249: "USBPCAP", 250: "RTAC_SERIAL", 251: "BLUETOOTH_LE_LL",
    252: "WIRESHARK_UPPER_PDU", 253: "NETLINK", 254: "BLUETOOTH_LINUX_MONITOR",
    255: "BLUETOOTH_BREDR_BB", 256: "BLUETOOTH_LE_LL_WITH_PHDR", 257: "PROFIBUS_DL", 258: "PKTAP",
    259: "EPON", 260: "IPMI_HPM_2", 261: "ZWAVE_R1_R2", 262: "ZWAVE_R3", 263: "WATTSTOPPER_DLM",
    264: "ISO_14443", 265: "RDS", 266: "USB_DARWIN", 267: "OPENFLOW", 268: "SDLC",
    269: "TI_LLN_SNIFFER", 270: "LORATAP", 271: "VSOCK", 272: "NORDIC_BLE", 273: "DOCSIS31_XRA31",
    274: "ETHERNET_MPACKET", 275: "DISPLAYPORT_AUX", 276: "LINUX_SLL2", 277: "SERCOS_MONITOR",
    278: "OPENVIZSLA", 279: "EBHSCR", 280: "VPP_DISPATCH", 281: "DSA_TAG_BRCM",
    282: "DSA_TAG_BRCM_PREPEND", 283: "IEEE802_15_4_TAP", 284: "DSA_TAG_DSA", 285: "DSA_TAG_EDSA",
    286: "ELEE", 287: "ZWAVE_SERIAL", 288: "USB_2_0", 289: "ATSC_ALP", 290: "ETW",
    292: "ZBOSS_NCP", 293: "USB_2_0_LOW_SPEED", 294: "USB_2_0_FULL_SPEED",
    295: "USB_2_0_HIGH_SPEED", 296: "AUERSWALD_LOG", 297: "ZWAVE_TAP", 298: "SILABS_DEBUG_CHANNEL",
    299: "FIRA_UCI", 300: "MDB",
}
# fmt: on


def link_type_name(number: int) -> str:
    """``LINKTYPE_IEEE802_11 (105)``; a number without a name keeps its number."""
    return (
        f"LINKTYPE_{LINK_TYPES[number]} ({number})"
        if number in LINK_TYPES
        else f"link type {number}"
    )


def compression(head: bytes) -> str:
    """What the file is compressed with, by its first six bytes; empty where it is not."""
    if head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:
        return "zstd"  # RFC 8878 section 3.1.2: a skippable frame, which pzstd puts first
    return next((name for magic, name in COMPRESSIONS.items() if head.startswith(magic)), "")


class Verdict(NamedTuple):
    """What a file is, and why it is not read (empty where it is)."""

    kind: Literal["pcap", "pcapng", "foreign", "other"]  # foreign: a capture of another kind
    reason: str = ""


def identify(head: bytes) -> Verdict:
    """Say what a decompressed file is by its first HEAD_BYTES (or all its bytes if it has fewer)."""
    known = head[:4] in PCAP_MAGICS or head[:4] == SECTION_MAGIC
    if known and len(head) < PCAP_HEADER_BYTES:
        return Verdict("foreign", "cut in the middle of the file header")
    if head[:4] in PCAP_MAGICS:
        link_type = pcap_header(head)[1]
        readable = link_type in READ
        return Verdict("pcap" if readable else "foreign", "" if readable else unread(link_type))
    if head[:4] == SECTION_MAGIC and head[8:12] in ORDER_MAGICS:
        return Verdict("pcapng")
    if what := foreign(head):
        return Verdict("foreign", f"{what}, which is not read")
    if what := container(head):
        return Verdict("other", f"{what}, which is not read")
    return Verdict("other", "not a capture (neither pcap nor pcapng)" if head else "empty file")


def pcap_header(head: bytes) -> tuple[int, int]:
    """Snap length and link type of the header of a pcap file."""
    order = ">" if PCAP_MAGICS[head[:4]][0] else "<"
    snaplen, link_type = struct.unpack(order + "II", head[16:24])
    return snaplen, link_type & LINK_TYPE_MASK


def unread(*link_types: int) -> str:
    """Refuse packets of these link types, by name."""
    return f"packets of {', '.join(map(link_type_name, link_types))} are not read"


def foreign(head: bytes) -> str:
    """The name of a capture format that is known and not read; empty for everything else."""
    for magic, name in FOREIGN.items():
        if head.startswith(magic):
            return name
    return _erf(head)


def container(head: bytes) -> str:
    """The name of an archive or a compression that is not unpacked; empty for everything else."""
    return next((name for magic, name in CONTAINERS.items() if head.startswith(magic)), "")


def _erf(head: bytes) -> str:
    """Recognise Endace ERF, which has no magic, by a chain of plausible record headers.

    A record header is a little-endian 32.32 timestamp, type, flags, and big-endian record length,
    loss counter and wire length. Four records in a row, or records up to the very end, are enough.
    A record of provenance (type 27), which newer cards put first, need not have a time.
    """
    at, count, previous, types = 0, 0, 0, set[int]()
    while at + 16 <= len(head) and count < 4:
        seconds = int.from_bytes(head[at + 4 : at + 8], "little")
        kind, size = head[at + 8] & 0x7F, int.from_bytes(head[at + 10 : at + 12], "big")
        timed = kind == 27 or (seconds and (not previous or 0 <= seconds - previous <= 3600))
        if not (1 <= kind <= 48 and size >= 16 and timed):
            return ""
        at, count, previous = at + size, count + 1, seconds
        types.add(kind)
    if count < 4 and (not count or at != len(head)):
        return ""
    return "an Endace ERF capture" + (" of InfiniBand" if types & {21, 25} else "")
