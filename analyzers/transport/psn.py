"""The arithmetic of packet sequence numbers and the time limits of ``docs/sequence.md``."""

from analyzers.transport.sequence_state import Record, i64
from fabric.codes import PSN_BITS, PSN_MASK
from fabric.kernel import helper, inline

HALF = 1 << (PSN_BITS - 1)
UNMEASURED_RTT_NS = 50_000  # a round trip in a data centre that nobody measured is shorter
COPY_NS = 10_000  # the second mirror session is hardly later than this
LEAST_LONG_NS = 100_000
LONG_RTTS = 16
MIRROR_NS = 50_000  # by so much mirrors may swap an ACK and its packet
FAR = 65_536  # PSNs: no window is wider
LARGEST_PMTU = i64(4096)
SMALLEST_PMTU = i64(256)


@inline
def unwrap(psn: int, nxt: int) -> int:
    """The PSN next to ``nxt``: ``nxt + d24(psn, nxt)``."""
    return nxt + ((psn - nxt + HALF) & PSN_MASK) - HALF


@inline
def round_trip(s: Record) -> int:
    """Least round trip of the flow, or the one assumed."""
    return s.rtt_ns if s.rtt_ns > 0 else UNMEASURED_RTT_NS


@inline
def long_ns(s: Record) -> int:
    """After so long a silence nothing is on the way any more."""
    return max(LONG_RTTS * round_trip(s), LEAST_LONG_NS)


@inline
def span_of(length: int, pmtu: int) -> int:
    """PSNs that a READ of ``length`` bytes takes: IBTA 9.7.3."""
    return max(1, (length + pmtu - 1) // pmtu)


@helper
def learn_pmtu(s: Record, payload: int) -> None:
    """A FIRST or MIDDLE packet is as long as the path MTU."""
    pmtu = max(SMALLEST_PMTU, s.pmtu)
    while pmtu < min(payload, LARGEST_PMTU):
        pmtu *= 2
    s.pmtu = pmtu


@inline
def full_frame(low: int, frame: int) -> int:
    """The frame number whose low 32 bits are ``low``, not above ``frame``."""
    return frame - ((frame - low) & 0xFFFFFFFF)
