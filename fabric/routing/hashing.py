"""How a switch picks one of several equal ways: a hash of the packet's addresses and ports.

The functions of real ASICs are not published; these are the families they come from. Which one a
device uses, over which fields and with which seed, is a setting, and a prediction made with it stays
unverified until packets are seen where it says (:mod:`fabric.routing.router`).
"""

import binascii
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from fabric.codes import ROCE_V2_PORT, IpProtocol

MASK = 0xFFFFFFFF


class Flow(NamedTuple):
    """What a hash sees of a packet. ``qpn`` is the destination queue pair; -1 where not known."""

    src: str
    dst: str
    sport: int
    dport: int = ROCE_V2_PORT
    protocol: int = IpProtocol.UDP
    qpn: int = -1


@lru_cache(maxsize=1 << 16)
def address_bytes(address: str) -> bytes:
    """Packed address in network order; ValueError where it is none."""
    return ip_address(address).packed


FIELDS: dict[str, Callable[[Flow], bytes]] = {
    "src": lambda flow: address_bytes(flow.src),
    "dst": lambda flow: address_bytes(flow.dst),
    "protocol": lambda flow: bytes((flow.protocol,)),
    "sport": lambda flow: flow.sport.to_bytes(2, "big"),
    "dport": lambda flow: flow.dport.to_bytes(2, "big"),
    "qpn": lambda flow: max(flow.qpn, 0).to_bytes(3, "big"),
}
FIVE_TUPLE = ("src", "dst", "protocol", "sport", "dport")


def crc32(key: bytes, seed: int) -> int:
    """CRC-32 of IEEE 802.3, started from the seed."""
    return zlib.crc32(key, seed & MASK)


def crc16(key: bytes, seed: int) -> int:
    """CRC-16 with the CCITT polynomial."""
    return binascii.crc_hqx(key, seed & 0xFFFF)


def xor16(key: bytes, seed: int) -> int:
    """The 16-bit words folded with exclusive or: equal words cancel."""
    value = seed & 0xFFFF
    for (word,) in struct.iter_unpack(">H", key + b"\0" * (len(key) % 2)):
        value ^= word
    return value


def murmur3(key: bytes, seed: int) -> int:
    """MurmurHash3, 32 bits: well mixed, what simulators and software switches use."""
    value = seed & MASK
    whole = len(key) - len(key) % 4
    for (word,) in struct.iter_unpack("<I", key[:whole]):
        value ^= _scrambled(word)
        value = (value << 13 | value >> 19) & MASK
        value = (value * 5 + 0xE6546B64) & MASK
    tail = key[whole:]
    if tail:
        value ^= _scrambled(int.from_bytes(tail, "little"))
    value ^= len(key)
    value = (value ^ value >> 16) * 0x85EBCA6B & MASK
    value = (value ^ value >> 13) * 0xC2B2AE35 & MASK
    return value ^ value >> 16


def _scrambled(word: int) -> int:
    word = word * 0xCC9E2D51 & MASK
    return (word << 15 | word >> 17) * 0x1B873593 & MASK


FUNCTIONS: dict[str, Callable[[bytes, int], int]] = {
    "crc32": crc32,
    "crc16": crc16,
    "xor": xor16,
    "murmur3": murmur3,
}


@dataclass(frozen=True, slots=True)
class HashSetting:
    """A device's hash: function, seed, the fields in their order, bits dropped from the right.

    ``reverse``: the device lists its ways from the last port to the first.
    ``words`` packs the key as a simulator does: source, destination, and both ports in one word, each
    a 32-bit little-endian number; ``fields`` is then ignored. ValueError for unknown names.
    """

    function: str = "crc32"
    seed: int = 0
    fields: tuple[str, ...] = FIVE_TUPLE
    shift: int = 0
    words: bool = False
    reverse: bool = False

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise ValueError(
                f"no hash function {self.function!r}; known are {', '.join(FUNCTIONS)}"
            )
        for name in self.fields:
            if name not in FIELDS:
                raise ValueError(f"no hash field {name!r}; known are {', '.join(FIELDS)}")

    def key(self, flow: Flow) -> bytes:
        """The bytes that are hashed."""
        if self.words:
            src, dst = (int.from_bytes(address_bytes(a), "big") for a in (flow.src, flow.dst))
            return struct.pack("<III", src & MASK, dst & MASK, flow.sport | flow.dport << 16)
        return b"".join(FIELDS[name](flow) for name in self.fields)

    def value(self, flow: Flow) -> int:
        """The hash before it is folded to a choice."""
        return FUNCTIONS[self.function](self.key(flow), self.seed) >> self.shift

    def choose(self, flow: Flow, ways: int, weights: Sequence[int] = ()) -> int:
        """Index of one of ``ways``; weighted ways take as many slots as they weigh."""
        if not weights:
            index = self.value(flow) % ways
            return ways - 1 - index if self.reverse else index
        slot = self.value(flow) % sum(weights)
        for i, weight in enumerate(weights):
            slot -= weight
            if slot < 0:
                return i
        return ways - 1
