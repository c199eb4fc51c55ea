"""Arithmetic of a lossless fabric: pause quanta, bytes on the wire, headroom, transport timers.

Speeds are bit/s, times ns, lengths m. IEEE 802.3 clause numbers are those of the 2022 edition.
"""

from math import ceil
from typing import NamedTuple

from fabric.codes import MAX_QUANTA, PSN_BITS, QUANTUM_BITS, RNR_TIMER_US
from fabric.wire import MIN_FRAME_BYTES

GBPS = 1_000_000_000
SECOND_NS = 1_000_000_000
SPEEDS_BPS = tuple(
    speed * GBPS for speed in (1, 10, 25, 40, 50, 100, 200, 400, 800, 1600)
)  # of Ethernet ports that carry RoCE

FCS_BYTES = 4
FRAMING_BYTES = 20  # IEEE 802.3 3.1.1 and 4.4.2: preamble and delimiter 8, interpacket gap 12

# IEEE 802.3 31B.3.7: quanta within which a port must stop after a PAUSE or PFC frame arrived. The
# standard has no figure for 800 Gb/s; switch software uses that of 400.
RESPONSE_QUANTA = {10: 67, 25: 80, 40: 118, 50: 147, 100: 394, 200: 453, 400: 905, 800: 905}

LIGHT_M_PER_S = 198_000_000  # in fibre and copper alike, two thirds of c
ACK_TIMEOUT_NS = 4096  # IBTA 9.7.6.1.3: the base of the local ACK timeout
KIBIBYTE = 1024


# Pauses


def quantum_ns(speed_bps: int) -> float:
    """How long one pause quantum lasts: 512 bit times (IEEE 802.3 31B.2)."""
    return QUANTUM_BITS * SECOND_NS / speed_bps


def quanta_ns(quanta: int, speed_bps: int) -> int:
    """How long ``quanta`` hold a port of this speed, to the nearest ns."""
    return round(quanta * QUANTUM_BITS * SECOND_NS / speed_bps)


def ns_quanta(time_ns: int, speed_bps: int) -> int:
    """The least number of quanta that last ``time_ns``, at most what a frame can ask for."""
    return min(ceil(time_ns * speed_bps / (QUANTUM_BITS * SECOND_NS)), MAX_QUANTA)


def response_quanta(speed_bps: int) -> int:
    """Quanta a port may take to obey a pause; a speed not listed takes the next listed one."""
    listed = [speed for speed in RESPONSE_QUANTA if speed * GBPS >= speed_bps]
    return RESPONSE_QUANTA[min(listed, default=max(RESPONSE_QUANTA))]


# Frames


def on_wire_bytes(frame_bytes: int) -> int:
    """What a frame (without FCS, as captured) occupies of the link: FCS, preamble and gap added."""
    return max(frame_bytes, MIN_FRAME_BYTES) + FCS_BYTES + FRAMING_BYTES


def serialisation_ns(frame_bytes: int, speed_bps: int) -> float:
    """How long a frame (without FCS) occupies a link of this speed."""
    return on_wire_bytes(frame_bytes) * 8 * SECOND_NS / speed_bps


def standard_speed(at_least_bps: float) -> int:
    """The least standard port speed that is not below a measured rate; the highest for more."""
    return next((speed for speed in SPEEDS_BPS if speed >= at_least_bps), SPEEDS_BPS[-1])


# Headroom


class Headroom(NamedTuple):
    """The buffer a lossless priority needs, and what it is made of; all bytes but the factor."""

    xoff_bytes: int  # arrives after the pause was sent: must fit above the XOFF threshold
    xon_bytes: int  # keeps the pipeline busy while the peer starts again
    size_bytes: int  # to reserve for the priority group
    cell_factor: float  # buffer taken per byte that arrives, small packets filling cells badly
    cable_bytes: float  # in flight on the cable, there and back
    response_bytes: float  # sent while the peer reacts
    propagation_bytes: float  # all that arrives after XOFF, before the cell factor


def headroom(
    *,
    speed_bps: int,
    cable_m: float,
    mtu_bytes: int,
    lossless_mtu_bytes: int,
    cell_bytes: int,
    small_share: float,
    gearbox_bytes: float = 0,
    mac_phy_bytes: float = 0,
    on_tile_bytes: float = 0,
    pipeline_bytes: float = 0,
    response: int | None = None,
    shared_pool: bool = False,
) -> Headroom:
    """Headroom of one lossless priority of a port, as SONiC computes it for shared-buffer switches.

    Parameters
    ----------
    speed_bps, cable_m:
        port speed and cable length
    mtu_bytes, lossless_mtu_bytes:
        a frame that had just begun when XOFF was due; the largest frame of the lossless priority
    cell_bytes, small_share:
        cell size of the buffer; share by bytes (0..1) of packets that fill cells worst
    gearbox_bytes, mac_phy_bytes, on_tile_bytes:
        data inside a gearbox (passed twice), the MAC and PHY, the chip's own tile
    pipeline_bytes:
        pipeline latency as bytes: the distance between XON and XOFF
    response:
        quanta the peer takes to stop; None takes IEEE 802.3 31B.3.7
    shared_pool:
        XOFF space comes from a pool shared by the ports, so the group reserves only XON
    """
    if cell_bytes > 2 * 64:
        worst = ceil(cell_bytes / 64)  # a 64-byte packet takes a whole cell
    else:
        worst = ceil(2 * cell_bytes / (1 + cell_bytes))  # one byte more than a cell takes two
    factor = 1 - small_share + small_share * worst
    quanta = response_quanta(speed_bps) if response is None else response
    reaction = quanta * QUANTUM_BITS / 8
    cable = 2 * cable_m * speed_bps / LIGHT_M_PER_S / 8
    arriving = mtu_bytes + cable + 2 * gearbox_bytes + mac_phy_bytes + reaction + on_tile_bytes
    xoff = ceil((lossless_mtu_bytes + arriving * factor) / KIBIBYTE) * KIBIBYTE
    xon = ceil(pipeline_bytes / KIBIBYTE) * KIBIBYTE
    size = xon if shared_pool else xoff + xon
    return Headroom(xoff, xon, size, factor, cable, reaction, arriving)


# Transport timers


def rnr_timer_ns(code: int) -> int:
    """How long a receiver-not-ready NAK with this timer code asks to wait: IBTA table 46."""
    return RNR_TIMER_US[code] * 1000


def ack_timeout_ns(code: int) -> int:
    """The local ACK timeout 4.096 us * 2^code; 0 switches it off (reported as 0).

    IBTA 9.7.6.1.3 lets a NIC fire at up to four times this value.
    """
    return ACK_TIMEOUT_NS << code if code else 0


def half_wrap_ns(pmtu_bytes: int, speed_bps: int) -> int:
    """The shortest time in which one queue pair passes half its sequence numbers.

    After a silence of this length the difference of two PSNs does not tell forward from backward.
    """
    return (pmtu_bytes * 8 * SECOND_NS << (PSN_BITS - 1)) // speed_bps
