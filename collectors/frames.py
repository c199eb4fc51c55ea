"""Which frames a live capture keeps, and how much of each: the headers, because payloads are private.

The kernel picks the frames with a small program (classic BPF, linux: Documentation/networking/filter.rst);
where the headers of one end depends on its opcode and is found here.
"""

import struct
import subprocess
from typing import Final, NamedTuple

from fabric.codes import HEADER_BYTES, EtherType, Header, IpProtocol, headers_of

ROCE_PORT: Final = 4791  # RFC-registered UDP destination port of RoCEv2 (IBTA annex A17)
ALL_BYTES: Final = 0x40000
REST_BYTES: Final = 96  # of a frame that a filter of the user's let through
TAGS: Final = (EtherType.VLAN, EtherType.QINQ, EtherType.QINQ_OLD)

# Bytes from the start of the BTH to the end of the last header, by opcode.
_TRANSPORT: Final = tuple(
    sum(HEADER_BYTES[h] for h in Header if h in (headers_of(opcode) or Header.BTH))
    for opcode in range(256)
)


class Kept(NamedTuple):
    """How many bytes of a frame are kept, and whether it is RoCE or a pause."""

    size: int
    roce: bool
    pause: bool


def kept(frame: bytes) -> Kept:
    """What is kept of an Ethernet frame: all headers up to the last one of its transport."""
    try:
        at, kind = 14, int.from_bytes(frame[12:14], "big")
        while kind in TAGS:
            kind = int.from_bytes(frame[at + 2 : at + 4], "big")
            at += 4
        if kind == EtherType.MAC_CONTROL:
            return Kept(len(frame), roce=False, pause=True)
        if kind == EtherType.ROCE_V1:
            at += HEADER_BYTES[Header.GRH]
            return Kept(min(at + _TRANSPORT[frame[at]], len(frame)), roce=True, pause=False)
        if kind == EtherType.IPV4:
            protocol, at = frame[at + 9], at + 4 * (frame[at] & 15)
        elif kind == EtherType.IPV6:
            protocol, at = frame[at + 6], at + 40
        else:
            protocol = -1
        if protocol == IpProtocol.UDP and frame[at + 2 : at + 4] == _PORT:
            at += 8
            return Kept(min(at + _TRANSPORT[frame[at]], len(frame)), roce=True, pause=False)
    except IndexError:  # cut short: all there is are headers
        pass
    return Kept(min(REST_BYTES, len(frame)), roce=False, pause=False)


_PORT: Final = ROCE_PORT.to_bytes(2, "big")

# Instruction codes: load half and byte, absolute and indexed; the IP header's length; jumps; return.
_LDH, _LDB, _LDH_X, _LDX_IHL, _JEQ, _JSET, _RET = 0x28, 0x30, 0x48, 0xB1, 0x15, 0x45, 0x06


def roce_filter() -> bytes:
    """A program that lets RoCEv2, RoCEv1 and pause frames through, with up to two tags in the frame."""
    tests = [_layer(14 + 4 * tags, last=tags == 2) for tags in range(3)]
    program = [step for layer in tests for step in layer] + [(_RET, 0, 0, 0)]
    return pack(program)


def _layer(at: int, *, last: bool) -> list[tuple[int, int, int, int]]:
    """Steps for frames whose payload starts at byte ``at``; a tag there leads on to the next layer."""
    return [
        (_LDH, 0, 0, at - 2),
        (_JEQ, 14, 0, EtherType.MAC_CONTROL),
        (_JEQ, 13, 0, EtherType.ROCE_V1),
        (_JEQ, 0, 7, EtherType.IPV4),
        (_LDB, 0, 0, at + 9),
        (_JEQ, 0, 11, IpProtocol.UDP),
        (_LDH, 0, 0, at + 6),
        (_JSET, 9, 0, 0x1FFF),  # a later fragment has no UDP header
        (_LDX_IHL, 0, 0, at),
        (_LDH_X, 0, 0, at + 2),
        (_JEQ, 5, 6, ROCE_PORT),
        (_JEQ, 0, 6, EtherType.IPV6),
        (_LDB, 0, 0, at + 6),
        (_JEQ, 0, 3, IpProtocol.UDP),
        (_LDH, 0, 0, at + 42),
        (_JEQ, 0, 1, ROCE_PORT),
        (_RET, 0, 0, ALL_BYTES),
        (_RET, 0, 0, 0),
        # anything else: a tag goes on in the next layer
        (_JEQ, 2 if not last else 0, 0, EtherType.VLAN),
        (_JEQ, 1 if not last else 0, 0, EtherType.QINQ),
        (_RET, 0, 0, 0),
    ]


def pack(program: list[tuple[int, int, int, int]]) -> bytes:
    """Instructions as the kernel takes them (struct sock_filter: code, jump if true, if false, value)."""
    return b"".join(struct.pack("HBBI", *step) for step in program)


def compiled(expression: str) -> bytes:
    """A filter of the user's, in tcpdump's language; ValueError where tcpdump does not understand it.

    OSError where tcpdump is not installed.
    """
    try:
        done = subprocess.run(
            ["tcpdump", "-y", "EN10MB", "-s", str(ALL_BYTES), "-ddd", expression],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise OSError("a filter of your own needs tcpdump, which is not installed") from error
    if done.returncode:
        raise ValueError(f"filter {expression!r}: {' '.join(done.stderr.split())}")
    lines = [tuple(map(int, line.split())) for line in done.stdout.splitlines()[1:]]
    return b"".join(struct.pack("HBBI", *line) for line in lines)
