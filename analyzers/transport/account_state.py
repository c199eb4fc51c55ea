"""What the accounting kernels remember: records per flow, address pair, endpoint and link.

Everything starts as zeros. The arrays are large but lazily paged: a row that no packet has touched
is not resident. ``Ledger`` is the memory of one input; its first axes follow the numbers that
:mod:`analyzers.transport.flows` gives out. Finished rows go to ``Rings``, which are drained to the
spill whenever a kernel returns early.
"""

import mmap
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

Record: TypeAlias = Any  # one row of a structured array: numba reads its fields as attributes
Records: TypeAlias = NDArray[Any]
# A column's value as the number that kernels count with: mixing unsigned 64-bit numbers with signed
# ones would make floats of them.
i64 = cast("Callable[[Any], int]", np.int64)
# An index that cannot be negative spares the kernel the look whether it counts from the end.
u64 = cast("Callable[[Any], int]", np.uint64)

RTT_OCTAVES = 40  # up to 2^40 ns, eighteen minutes
RTT_BINS = RTT_OCTAVES * 8
FRAGMENTS = 8  # parts of messages that wait for a missing packet; the oldest is given up
READS = 16  # READs and atomics outstanding per flow
ANSWERS = 8  # runs of READ responses kept until the other direction is known
TRAIN_PACKETS = 16  # shortest packet train that tells a link's speed
TRAIN_STEPS = 64  # steps per octave in which rates of trains are counted: 1.1 % each
TRAIN_LEAST_OCTAVE = 20  # from 2^20 bit/s
TRAIN_BINS = 24 * TRAIN_STEPS  # up to 2^44 bit/s
RING_ROWS = 1 << 15  # as many as make a part of a table on the disk
ROOM = 256  # free rows that a ring must have for the next sixteen packets: none writes over ten
NEVER = np.iinfo(np.int64).min

LINE = 64  # bytes of a cache line
HUGE_PAGE = 2 << 20


def whole_lines(fields: Sequence[tuple[Any, ...]]) -> np.dtype[np.void]:
    """A record of these fields in C's layout, as long as some whole cache lines."""
    packed = np.dtype(list(fields), align=True)
    names = packed.names or ()
    fields_of: Any = packed.fields
    layout: Any = {
        "names": names,
        "formats": [packed[name] for name in names],
        "offsets": [fields_of[name][1] for name in names],
        "itemsize": -(-packed.itemsize // LINE) * LINE,
        "aligned": True,
    }
    return cast("np.dtype[np.void]", np.dtype(layout))


def aligned(shape: int | tuple[int, ...], dtype: np.dtype[Any], *, dense: bool = False) -> Records:
    """Zeros that begin on a cache line; memory nobody touches stays unclaimed.

    ``dense`` asks for huge pages: the first touch of one claims and clears two megabytes, but the
    processor finds its way through large arrays by far fewer entries. NumPy by itself would ask for
    them everywhere.
    """
    size = int(np.prod(shape)) * dtype.itemsize
    pages = mmap.mmap(-1, size + HUGE_PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if not dense or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.ndarray(shape, dtype, pages)
    pages.madvise(mmap.MADV_HUGEPAGE)
    first = -np.frombuffer(pages, np.uint8).ctypes.data % HUGE_PAGE
    return np.ndarray(shape, dtype, pages, first)


ACCOUNT = whole_lines(
    [
        # The open FLOW_WINDOWS bin; its sums enter the totals when it closes.
        ("bin_start", np.int64),
        ("bin_end", np.int64),  # 0: none is open
        ("bin_bytes", np.int64),
        ("bin_payload", np.int64),
        ("bin_packets", np.uint32),
        ("bin_ect", np.uint32),
        ("last", np.int64),
        ("fingerprint", np.uint64),
        ("ip_bytes", np.int64),
        ("number", np.int64),  # of the flow
        ("bin_inflight", np.int64),
        ("responses", np.int64),
        ("messages", np.int64),
        ("host_bin", np.int64),  # number of the destination's bin that has counted this flow
        ("pair", np.int32),
        ("bin_ce", np.uint32),
        ("bin_cnp", np.uint32),
        ("bin_resent", np.uint32),
        ("sport", np.uint16),
        ("open", np.uint8),  # 1 + index of the fragment that grows; 0 none
        ("parked", np.uint8),  # fragments in use
        ("reads", np.uint8),  # READs and atomics outstanding
        ("answers", np.uint8),  # runs of READ responses that wait for pairing
        ("service", np.uint8),
        ("seen", np.uint8),  # Seen flags
    ]
)
"""What every packet of a flow touches: two cache lines."""

TOTALS = whole_lines(
    [
        ("bin_rtt_sum", np.int64),
        ("bin_rtt_max", np.int64),
        ("bin_rtt_count", np.uint32),
        ("sports", np.uint32),
        ("rtt_count", np.int64),
        ("rtt_min", np.int64),
        ("rtt_max", np.int64),
        ("packets", np.int64),
        ("wire_bytes", np.int64),
        ("payload_bytes", np.int64),
        ("resent", np.int64),
        ("ect", np.int64),
        ("ce", np.int64),
        ("cnp", np.int64),
        ("inflight_max", np.int64),
        ("resent_payload", np.int64),
        ("copies", np.int64),
        ("unknown", np.int64),  # packets whose opcode is not in IBTA table 38
        ("naks", np.int64),
        ("rnr_naks", np.int64),
        ("first", np.int64),
        ("first_frame", np.int64),
        ("first_sport", np.uint16),
        ("dscp", np.uint8),
        ("priority", np.uint8),  # of the first packet; 255 untagged
        ("last_ce", np.int64),  # times; ``seen`` tells whether there was one
        ("last_nak", np.int64),
        ("last_cnp", np.int64),
        # The CNP that waits (Seen.WAITING) came at ``last_cnp``.
        ("cnp_frame", np.int64),
        ("cnp_peer", np.int64),  # number of the paired flow; 0 none
        ("cnp_since_mark", np.int64),  # NEVER: none, as in the two below
        ("cnp_since_cnp", np.int64),
        ("cnp_since_nak", np.int64),
        ("rtt_p50", np.float64),  # ns; written when the flow ends
        ("rtt_p99", np.float64),
    ]
)
"""What is touched where there is a round trip, a mark, a CNP, a copy, or a bin ends."""


class Seen(IntEnum):
    """Bits of ``seen``."""

    CE = 1
    NAK = 2
    CNP = 4
    PACKET = 8
    WAITING = 16  # a CNP waits for the next packet of its flow: perhaps a NAK that explains it


FRAGMENT = np.dtype(
    [
        ("start", np.int64),
        ("end", np.int64),
        ("bytes", np.int64),
        ("declared", np.int64),  # RETH length; -1 none
        ("va", np.uint64),
        ("immediate", np.int64),  # -1 none
        ("first", np.uint32),  # PSN
        ("next", np.uint32),  # one above the last PSN
        ("packets", np.uint32),
        ("operation", np.uint8),  # MESSAGES.operation
        ("ends", np.uint8),  # Ends flags
    ],
    align=True,
)
"""Consecutive packets of one message of which the first or the last is still missing."""


class Ends(IntEnum):
    """Bits of ``FRAGMENT.ends``: which ends of the message were seen."""

    FIRST = 1
    LAST = 2


READ = np.dtype(
    [
        ("start", np.int64),
        ("end", np.int64),
        ("bytes", np.int64),
        ("declared", np.int64),
        ("va", np.uint64),
        ("first", np.uint32),
        ("next", np.uint32),
        ("packets", np.uint32),
        ("holes", np.uint32),  # PSNs below ``next`` that were not seen
        ("operation", np.uint8),
    ],
    align=True,
)
"""A READ or an atomic that waits for its response; kept with the flow that asked."""

ANSWER = np.dtype(
    [
        ("end", np.int64),
        ("bytes", np.int64),
        ("first", np.uint32),
        ("packets", np.uint32),
        ("last", np.uint8),  # 1: the last response was among them
    ],
    align=True,
)
"""Responses with consecutive PSNs to one READ, kept until it is known who asked."""

PAIR = np.dtype(
    [
        ("host_bin", np.int64),  # number of the destination's bin that has counted this source
        ("last_ce", np.int64),
        ("source", np.int32),  # endpoints
        ("destination", np.int32),
        ("reverse", np.int32),  # the pair the other way round; -1 none
        ("marked", np.uint8),  # 1: last_ce means something
        ("side", np.uint8),  # 0 or 1: the direction of its packets, as far as one can tell
    ],
    align=True,
)
"""An interface, a source and a destination."""

ENDPOINT = np.dtype(
    [
        ("start", np.int64),
        ("end", np.int64),  # 0: no bin is open
        ("number", np.int64),  # of the bin, counted up
        ("bytes", np.int64),
        ("peak", np.int64),  # most bytes in a bin so far
        ("packets", np.int64),
        ("sources", np.int64),
        ("flows", np.int64),
        ("ce", np.int64),
        ("host", np.uint32),
        ("iface", np.uint16),
        ("side", np.uint8),  # of the link: 1 or 2; 0 not known yet
    ],
    align=True,
)
"""A host at an interface, and the open HOST_WINDOWS bin of what it receives."""

TRAIN = np.dtype(
    [
        ("start", np.int64),
        ("bits", np.int64),  # after the packet at ``start``
        ("packets", np.int64),  # 0: none has begun
        ("last", np.int64),
        ("fine", np.uint8),  # 1: a timestamp was no multiple of a microsecond
    ],
    align=True,
)
"""The packet train that one direction of a link is sending, see ``windows.py``."""


def ring(*fields: tuple[str, DTypeLike]) -> np.dtype[np.void]:
    """A record of whole columns: rows are written one by one and leave as columns."""
    return np.dtype([(name, kind, (RING_ROWS,)) for name, kind in fields])


# The names are those of the tables; ``flow`` is the flow's number.
FLOW_WINDOW_RING = ring(
    ("flow", np.int64),
    ("start", np.int64),
    ("width_ns", np.int64),
    ("packets", np.int64),
    ("bytes", np.int64),
    ("payload_bytes", np.int64),
    ("ect", np.int64),
    ("ce", np.int64),
    ("cnp", np.int64),
    ("resent", np.int64),
    ("rtt_sum_ns", np.int64),
    ("rtt_count", np.int64),
    ("rtt_max_ns", np.int64),
    ("inflight_bytes", np.int64),
)
HOST_WINDOW_RING = ring(
    ("iface", np.int64),
    ("host", np.int64),
    ("start", np.int64),
    ("width_ns", np.int64),
    ("bytes", np.int64),
    ("packets", np.int64),
    ("sources", np.int64),
    ("flows", np.int64),
    ("ce", np.int64),
)
MESSAGE_RING = ring(
    ("flow", np.int64),
    ("start", np.int64),
    ("end", np.int64),
    ("bytes", np.int64),
    ("declared_bytes", np.int64),
    ("immediate", np.int64),
    ("va", np.uint64),
    ("first_psn", np.uint32),
    ("packets", np.uint32),
    ("operation", np.uint8),
    ("complete", np.uint8),
)
CNP_RING = ring(
    ("ts", np.int64),
    ("frame", np.int64),
    ("flow", np.int64),
    ("peer_flow", np.int64),
    ("since_mark_ns", np.int64),
    ("since_nak_ns", np.int64),
    ("since_cnp_ns", np.int64),
    ("iface", np.uint16),
    ("cause", np.uint8),  # Cause
)
PAUSE_RING = ring(
    ("ts", np.int64),
    ("frame", np.int64),
    ("src", np.uint64),
    ("iface", np.uint16),
    ("vector", np.uint16),
    *((f"quanta_{n}", np.uint16) for n in range(8)),
)


class Cause(IntEnum):
    """Why a CNP was sent: ``CNPS.cause`` in lower case."""

    UNEXPLAINED = 0
    ECN = 1
    NAK = 2


class Fill(IntEnum):
    """Indices into ``Rings.fill``: rows in use of each ring."""

    FLOW_WINDOWS = 0
    HOST_WINDOWS = 1
    MESSAGES = 2
    CNPS = 3
    PAUSE_FRAMES = 4


class Rings(NamedTuple):
    """Finished rows, shape (1,) each, columns of RING_ROWS; who drains one sets ``fill`` to 0."""

    flow_windows: Records
    host_windows: Records
    messages: Records
    cnps: Records
    pause_frames: Records
    fill: NDArray[np.int64]


class Setting(IntEnum):
    """Indices into ``Ledger.settings``."""

    FLOW_BIN_NS = 0  # width of FLOW_WINDOWS bins; doubled where they hold too little
    HOST_BIN_NS = 1
    FIRST_FLOW = 2  # added to a serial it makes the flow's number
    ECN_WINDOW_NS = 3
    NAK_WINDOW_NS = 4
    BINS = 5  # FLOW_WINDOWS rows since the width was last looked at
    PACKETS = 6  # packets in them
    FLOW_BEGIN = 7  # begin of the bin that a flow, and a host, opened last
    HOST_BEGIN = 8


class Ledger(NamedTuple):
    """The accounting memory of one input."""

    flows: Records  # ACCOUNT, by flow slot
    totals: Records  # TOTALS, by flow slot
    rtt: NDArray[np.uint32]  # shape (RTT_BINS, slots): few bins are ever used
    fragments: Records  # FRAGMENT, shape (FRAGMENTS, slots): the first ones lie side by side
    reads: Records  # READ, shape (READS, slots)
    answers: Records  # ANSWER, shape (ANSWERS, slots)
    pairs: Records  # PAIR, by pair
    endpoints: Records  # ENDPOINT, by endpoint
    trains: Records  # TRAIN, shape (interfaces, 2)
    rates: NDArray[np.uint32]  # trains by rate, shape (interfaces, TRAIN_BINS)
    settings: NDArray[np.int64]  # see Setting
    rings: Rings


def make_rings() -> Rings:
    """Empty rings."""
    return Rings(
        np.zeros(1, FLOW_WINDOW_RING),
        np.zeros(1, HOST_WINDOW_RING),
        np.zeros(1, MESSAGE_RING),
        np.zeros(1, CNP_RING),
        np.zeros(1, PAUSE_RING),
        np.zeros(len(Fill), np.int64),
    )


def make_ledger(slots: int, rings: Rings | None = None) -> Ledger:
    """Fresh memory for ``slots`` flows on one interface."""
    return Ledger(
        aligned(slots, ACCOUNT),
        aligned(slots, TOTALS),
        aligned((RTT_BINS, slots), np.dtype(np.uint32)),
        aligned((FRAGMENTS, slots), FRAGMENT),
        aligned((READS, slots), READ),
        aligned((ANSWERS, slots), ANSWER),
        aligned(slots, PAIR),
        aligned(2 * slots, ENDPOINT),
        np.zeros((1, 2), TRAIN),
        np.zeros((1, TRAIN_BINS), np.uint32),
        np.zeros(len(Setting), np.int64),
        rings or make_rings(),
    )
