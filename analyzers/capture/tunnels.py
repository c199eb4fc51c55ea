"""The encapsulations a mirrored or overlaid RoCE frame arrives in: GRE, ERSPAN, VXLAN, Geneve.

A header that does not fit its IP packet, or is of another version, means that the packet is none of
ours: no fault. See :mod:`analyzers.capture.layers` for how these functions are used.
"""

from typing import Final

from analyzers.capture.cursor import ETHERNET, IPV4, IPV6, RAW_IP, Cursor, cut, enter, stop
from analyzers.capture.loads import Memory, be16, u8
from fabric.codes import EtherType, Fault, Wrap
from fabric.kernel import inline

# GRE flags and version: RFC 1701, RFC 2784 section 2, RFC 2890 section 2.
CHECKSUM_BIT, ROUTING_BIT, KEY_BIT, SEQUENCE_BIT = 15, 14, 13, 12
REFUSED: Final = 1 << ROUTING_BIT | 0x0007  # source routes, and versions other than 0
VNI_VALID: Final = 0x08  # VXLAN flag I: RFC 7348 section 5


@inline
def gre(buffer: Memory, f: Cursor) -> int:
    """RFC 2784 and 2890; carries IP, Ethernet, or the mirrored frames of ERSPAN."""
    at = f.at
    if at + 4 > f.limit:
        return cut(f, at + 4)
    flags = be16(buffer, at)
    if flags & REFUSED:
        return stop(f, Fault.NONE.value)
    sequence = flags >> SEQUENCE_BIT & 1
    words = 1 + (flags >> CHECKSUM_BIT & 1) + (flags >> KEY_BIT & 1) + sequence
    inner = at + 4 * words
    if inner > f.limit:
        return cut(f, inner)
    kind = be16(buffer, at + 2)
    if kind == EtherType.ERSPAN and not sequence:
        return enter(f, ETHERNET, inner, Wrap.ERSPAN_1.value)
    if kind == EtherType.ERSPAN or kind == EtherType.ERSPAN_3:
        return erspan(buffer, f, inner, kind)
    return inside(f, inner, kind, Wrap.GRE.value)


@inline
def erspan(buffer: Memory, f: Cursor, at: int, kind: int) -> int:
    """Types II and III: draft-foschiano-erspan-03 sections 4.2 and 4.3.

    Type III may have a platform subheader of 8 bytes (its O bit) and may carry raw IP (frame
    type 2); other frame types are not Ethernet.
    """
    if at + 8 > f.limit:
        return cut(f, at + 8)
    version = u8(buffer, at) >> 4
    if version == 1 and kind == EtherType.ERSPAN:
        return enter(f, ETHERNET, at + 8, Wrap.ERSPAN_2.value)
    if version != 2:
        return stop(f, Fault.NONE.value)
    if at + 12 > f.limit:
        return cut(f, at + 12)
    word = be16(buffer, at + 10)
    inner = at + 12 + 8 * (word & 1)
    if inner > f.limit:
        return cut(f, inner)
    frame_type = word >> 10 & 0x1F
    if frame_type == 0:
        return enter(f, ETHERNET, inner, Wrap.ERSPAN_3.value)
    if frame_type == 2:
        return enter(f, RAW_IP, inner, Wrap.ERSPAN_3.value)
    return stop(f, Fault.NONE.value)


@inline
def vxlan(buffer: Memory, f: Cursor) -> int:
    """RFC 7348 section 5."""
    at = f.at
    if at + 8 > f.limit:
        return cut(f, at + 8)
    if not u8(buffer, at) & VNI_VALID:
        return stop(f, Fault.NONE.value)
    return enter(f, ETHERNET, at + 8, Wrap.VXLAN.value)


@inline
def geneve(buffer: Memory, f: Cursor) -> int:
    """RFC 8926 section 3.4; options are stepped over."""
    at = f.at
    if at + 8 > f.limit:
        return cut(f, at + 8)
    first = u8(buffer, at)
    if first >> 6:
        return stop(f, Fault.NONE.value)
    inner = at + 8 + (first & 0x3F) * 4
    if inner > f.limit:
        return cut(f, inner)
    return inside(f, inner, be16(buffer, at + 2), Wrap.GENEVE.value)


@inline
def inside(f: Cursor, at: int, kind: int, wrap: int) -> int:
    """What GRE and Geneve name by an ethertype."""
    if kind == EtherType.TEB:
        return enter(f, ETHERNET, at, wrap)
    if kind == EtherType.IPV4:
        return enter(f, IPV4, at, wrap)
    if kind == EtherType.IPV6:
        return enter(f, IPV6, at, wrap)
    return stop(f, Fault.NONE.value)
