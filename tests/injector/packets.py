"""What the tap records, and what the injector knows about it.

Everything is a plain tuple, because a run makes millions of them. PSNs on the wire have 24 bits;
inside the model they are counted on without wrapping.
"""

from typing import NamedTuple

from fabric.codes import Operation

Flow = tuple[int, int, int]  # source address, destination address, destination QP number


class Packet(NamedTuple):
    """One frame as the tap records it; addresses are IPv4 numbers."""

    ts: int  # ns
    src: int
    dst: int
    qpn: int  # destination queue pair
    opcode: int
    psn: int
    ask: int  # 1: AckReq
    syndrome: int  # AETH, 0 without one
    msn: int  # AETH, 0 without one
    dma: int  # RETH length in bytes, 0 without one
    payload: int  # bytes
    ip_id: int
    ttl: int
    sport: int


class Truth(NamedTuple):
    """What happened to one flow, in the words of ``docs/sequence.md``."""

    flow: Flow
    kind: str
    verdict: str
    place: str
    psn: int
    psns: int  # -1: not to be compared, because the tap cannot count them
    decidable: bool
    reason: str  # why one tap can or cannot tell


class Trouble(NamedTuple):
    """PSNs among which something was done: only here may an answer be ``undetermined``."""

    flow: Flow
    lo: int  # unwrapped, as hi
    hi: int


WITH_PAYLOAD = frozenset(
    {
        *range(Operation.SEND_FIRST, Operation.WRITE_ONLY_IMM + 1),
        *range(Operation.READ_RESPONSE_FIRST, Operation.READ_RESPONSE_ONLY + 1),
        Operation.SEND_LAST_INVALIDATE,
        Operation.SEND_ONLY_INVALIDATE,
    }
)
WITH_RETH = frozenset(
    {
        Operation.WRITE_FIRST,
        Operation.WRITE_ONLY,
        Operation.WRITE_ONLY_IMM,
        Operation.READ_REQUEST,
    }
)
