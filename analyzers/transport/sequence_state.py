"""What the sequence tracker remembers of each flow slot, as arrays of C-like records.

Everything whose first axis is the flow slot starts as zeros; a slot is renewed by writing zeros over
its rows (:func:`clear_slot`). ``SEQ`` is the hot record that every packet touches; the others are
touched where packets are remembered, something is open, or no peer is known. The arrays are large but
paged by need: memory that no flow has used is not resident.

The words are those of ``docs/sequence.md``. A PSN kept here is unwrapped: 64 bits, of which the low
24 stand on the wire. Times are ns, frames are frame numbers (0: none).
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from analyzers.transport.account_state import aligned, whole_lines

Record: TypeAlias = Any  # one row of a structured array: kernels read its fields as attributes
Records: TypeAlias = NDArray[Any]
# A constant that kernels hand to helpers: plain integers are types of their own to the compiler,
# which would compile the helper once for each of them.
i64 = cast("Callable[[Any], int]", np.int64)
u64 = cast("Callable[[Any], int]", np.uint64)  # an index that cannot be negative

RECENT_PACKETS = 64  # packets remembered by PSN, requests and responses each; a power of two
OPEN_GAPS = 32
SKIPPED_RANGES = 8
RESPONSE_GAPS = 16
REMEMBERED_READS = 16
TIMED_REQUESTS = 16  # a power of two
LATE_ORIGINALS = 8
TOO_MANY_LIVES = 4096
DOUBTED = 2  # a gap that a NAK asked for before it was known whose NAK it was
CONTROLS = 8
CANDIDATES = 16  # flows that may still be the other direction
EVENT_ROWS = 8192
EVENTS_PER_ROW = 128  # no packet causes more: every gap of two flows closed, and what else was open

IDENTITY = np.dtype(
    [
        ("serial", np.int64),  # number of the flow in its input, never used twice, from 1
        ("src_id", np.uint32),
        ("dst_id", np.uint32),
        ("qpn", np.uint32),
        ("epoch", np.int32),
        ("iface", np.uint16),
        ("sport", np.uint16),  # of the first packet; 0 none
        ("service", np.uint8),  # Service of the first packet
    ],
    align=True,
)
"""Who a flow is; the flow table fills it before the tracker sees the slot's first packet."""

SEQ = whole_lines(
    [
        # What a request touches that is simply the next one.
        ("nxt", np.int64),  # one above the highest request PSN seen
        ("sent_bytes", np.int64),  # payload of the requests that advanced nxt
        ("acked_bytes", np.int64),  # the part of it that was acknowledged
        ("last_request", np.int64),  # time of the last request that was no copy
        ("wanted", np.int64),  # highest request PSN that asked for an answer
        ("peer", np.int32),  # slot of the flow that carries the responses; -1 none
        ("pmtu", np.int32),  # bytes; 0 unknown
        ("first_id", np.uint16),  # IP identification of the first packet
        ("slow", np.uint8),  # bits of Slow: what is open and sends each packet to the slow path
        ("known", np.uint8),  # 0 until the first packet
        ("asked", np.uint8),  # 1 once it carried a request: nxt, una, base mean something
        ("asks", np.uint8),  # 1 once it carried RC or XRC requests
        ("ids_vary", np.uint8),  # 1 once a packet differed from it
        ("unjudged", np.uint8),  # 1: carried a sequence-error NAK while it had no peer
        ("timed_head", np.int8),  # first place in use of ``timed``
        ("timed_count", np.int8),
        ("recovery", np.uint8),  # Recovery
        ("read", np.uint8),  # 1 once it carried a READ request
        ("iface", np.uint16),
        ("peer_iface", np.uint16),
        # Up to here one cache line; from here on what responses touch too, and the rest.
        ("una", np.int64),  # one above the highest acknowledged
        ("rtt_ns", np.int64),  # least round trip of this flow's requests; 0 not measured
        ("base", np.int64),  # the first request PSN seen
        ("serial", np.int64),
        ("peer_serial", np.int64),  # of the flow last paired with, kept when that goes; 0 none
        ("pair_confidence", np.float32),  # 0 where never paired
    ]
)

RECENT = np.dtype(
    [
        ("ts", np.int64),
        ("bytes", np.uint32),  # low half of ``sent_bytes`` after it (requests)
        ("frame", np.uint32),  # low half
        ("key", np.uint32),  # opcode << 24 | PSN
        ("ip_id", np.uint16),
        ("older_id", np.uint16),  # of the packet of the same PSN that it replaced
        ("ttl", np.uint8),
        ("replaced", np.uint8),  # 1: there was such a packet
        ("copies", np.uint8),  # of a request, seen so far
        ("detail", np.uint8),  # 0: empty; of requests 1, of responses the syndrome plus 1
    ],
    align=True,
)
"""A packet remembered; a response without AETH has the syndrome 0."""

TIMED = np.dtype([("psn", np.int64), ("ts", np.int64)], align=True)
"""A request whose answer is timed."""

MEMORY = whole_lines(
    [
        ("recent", RECENT, (RECENT_PACKETS,)),  # requests, by PSN
        ("answers", RECENT, (RECENT_PACKETS,)),  # responses, by PSN
        ("timed", TIMED, (TIMED_REQUESTS,)),  # a ring
    ]
)
"""The packets of a flow that are remembered."""

RECOVERY = np.dtype(
    [
        ("e", np.int64),  # first PSN asked for, or first sent again
        ("psns", np.int64),
        ("own_hi", np.int64),  # end of the gap that begins with e; e + 1 where e was in none
        ("ts", np.int64),  # time of ``frame``
        ("frame", np.int64),  # that showed it
        ("original_frame", np.int64),
        ("reply_ts", np.int64),  # the NAK
        ("reply_frame", np.int64),  # the NAK, or the response that decided a timeout
        ("limit_ns", np.int64),  # RNR timer
        ("acked_ts", np.int64),  # first ACK that covered e while it waited
        ("first_ts", np.int64),  # first packet of its run
        ("first_frame", np.int64),
        ("last_ts", np.int64),
        ("resent", np.int64),
        ("extent", np.int64),  # of the first packet of its run
        ("silence_ns", np.int64),  # before a timeout
        ("again", np.int64),  # highest e of the NAKs that were only counted, see rule 5b
        ("agains", np.int64),  # their number, less those that were answered
        ("gap_lo", np.int64),  # a timeout's lowest gap above u when its run began
        ("gap_hi", np.int64),
        ("nxt", np.int64),  # of the flow when the NAK came
        ("first_u", np.int64),  # first PSN of its run
        ("held", np.int64),  # PSNs of its run that filled gaps
        ("kind", np.int64),  # Kind
        ("phase", np.int64),  # Phase
        ("verdict", np.int64),  # Verdict
        ("place", np.int64),  # Place
        ("seen", np.int64),  # 1: e had passed when it was asked for
        ("filled", np.int64),  # 1: all packets of its run filled gaps
        ("decided", np.int64),  # a timeout's verdict stands
        ("wanted", np.int64),  # a timeout: something not acknowledged had asked for an answer
        ("acked", np.int64),  # 1: e was acknowledged while it waited
    ],
    align=True,
)
"""A recovery: why packets are sent again."""

GAP = np.dtype(
    [
        ("lo", np.int64),
        ("hi", np.int64),
        ("opened", np.int64),
        ("frame", np.int64),  # that showed it
        ("acked_ts", np.int64),  # last acknowledgement of it
        ("acked_frame", np.int64),  # the first one
        ("acked", np.int64),
        ("told", np.int64),  # 1: another event speaks of it, it leaves silently; or DOUBTED
    ],
    align=True,
)
"""PSNs that were not seen: [lo, hi). Also a range that a run skipped, and missing responses."""

SPAN = np.dtype(
    [
        ("p", np.int64),
        ("hi", np.int64),
        ("exp", np.int64),  # next response expected
        ("top", np.int64),  # highest ``exp`` so far
        ("asked_frame", np.int64),  # request that asked for it again last
    ],
    align=True,
)
"""A READ request, PSNs [p, hi)."""

LATE = np.dtype([("psn", np.int64), ("frame", np.int64)], align=True)
"""A late original, or another first sight of a PSN; frame 0: none."""

OPEN = whole_lines(
    [
        # What a READ response touches.
        ("span_head", np.int64),  # place of ``spans`` that is written next
        ("span_count", np.int64),
        ("response_gap_count", np.int64),
        ("spans", SPAN, (REMEMBERED_READS,)),  # a ring
        # The last run.
        ("start", np.int64),
        ("cur", np.int64),
        ("top", np.int64),
        ("run_frame", np.int64),  # its first packet
        ("run_ts", np.int64),
        # The run before a timeout's.
        ("before_cur", np.int64),
        ("before_top", np.int64),
        ("before_skips", np.int64),  # number in use
        # Others.
        ("refused", np.int64),  # PSN of the last NAK other than a sequence error, plus 1; 0 none
        ("asked_for", np.int64),  # e of the last sequence error NAK, plus 1; 0 none
        ("doubt", np.int64),  # PSNs below may have been asked for by a NAK that nobody judged
        ("span_u", np.int64),  # READ request whose span is provisional
        ("span_hi", np.int64),  # the end it has now
        ("span_bytes", np.int64),
        ("refused_code", np.int64),
        ("run", np.int64),  # Run
        ("short", np.int64),  # 1: the last run ended below its top
        ("served", np.int64),  # 1: the run is that of the open recovery
        ("copies_same", np.int64),  # most copies of one request, with the same TTL
        ("copies_other", np.int64),  # and with another
        ("provisional", np.int64),
        ("gap_count", np.int64),
        ("skip_count", np.int64),
        ("late_head", np.int64),  # place of ``lates`` that is written next
        ("sight_head", np.int64),
        ("recoveries", RECOVERY, (2,)),  # the open one, the one beside it
        ("lates", LATE, (LATE_ORIGINALS,)),  # a ring
        ("sights", LATE, (LATE_ORIGINALS,)),  # a ring: first sights in unexplained runs
    ]
)
"""The questions that are open in a flow."""

RANGES = whole_lines(
    [
        ("gaps", GAP, (OPEN_GAPS,)),  # by rising PSN
        ("skips", GAP, (SKIPPED_RANGES,)),  # by age
        ("response_gaps", GAP, (RESPONSE_GAPS,)),  # by age
        ("before", GAP, (SKIPPED_RANGES,)),  # skipped by the run before a timeout's
    ]
)
"""Their ranges of PSNs; few flows ever have one, so that most of this memory is never claimed."""

CANDIDATE = np.dtype([("serial", np.int64), ("slot", np.int64), ("hits", np.int64)], align=True)

LINK = np.dtype(
    [
        ("key", np.int64),  # src_id << 32 | dst_id
        ("reverse", np.int64),
        ("birth", np.int64),  # when it entered its list, counted
        ("asked_birth", np.int64),  # candidates born up to here were asked
        ("prev", np.int64),  # neighbours in the list of its host pair, plus 1; 0 none
        ("next", np.int64),
        ("claims", np.int64),
        ("sport", np.int64),
        ("listed", np.int64),
        ("candidate_count", np.int64),
        ("candidates", CANDIDATE, (CANDIDATES,)),
    ],
    align=True,
)
"""A flow's place among the candidates of its host pair."""

PAIR = np.dtype(
    [
        ("key", np.int64),
        ("ifaces", np.int64),  # bit (interface mod 64): a flow was seen there
        ("head", np.int64),  # newest candidate, plus 1
        ("count", np.int64),  # candidates in the list
        ("used", np.int64),
    ],
    align=True,
)
"""A host pair (source, destination) in an open-addressing hash table."""

EVENT = np.dtype(
    [
        ("serial", np.int64),  # of the flow
        ("ts", np.int64),
        ("end", np.int64),
        ("psns", np.int64),
        ("resent", np.int64),
        ("delay_ns", np.int64),  # -1 none
        ("limit_ns", np.int64),  # -1 none
        ("extent", np.int64),
        ("frame", np.int64),
        ("original_frame", np.int64),
        ("reply_frame", np.int64),
        ("resend_frame", np.int64),
        ("psn", np.uint32),
        ("iface", np.uint16),  # the point
        ("kind", np.uint8),  # EventKind
        ("verdict", np.uint8),  # Verdict
        ("place", np.uint8),  # Place
    ],
    align=True,
)

TAP = np.dtype([("control", np.int64, (CONTROLS,)), ("events", EVENT, (EVENT_ROWS,))], align=True)
"""What the flows of a tap share: ``Control`` and the ring of events."""


class Slow(IntEnum):
    """Bits of ``SEQ.slow``."""

    GAPS = 1
    RECOVERY = 2
    RUN = 4
    PROVISIONAL = 8
    UNJUDGED = 16  # too many lives of this queue pair number


class Kind(IntEnum):
    """What a recovery follows from."""

    NONE = 0
    NAK = 1
    RNR = 2
    TIMEOUT = 3
    UNEXPLAINED = 4


class Phase(IntEnum):
    """How far a recovery is."""

    WAITING = 0  # asked for, nothing sent again yet
    RUNNING = 1
    STAYING = 2  # its run ended, but it stays open


class Run(IntEnum):
    """State of the last run."""

    ENDED = 0
    OPEN = 1
    ACKED = 2  # ended by an ACK: more of it may be on the way


class Reason(IntEnum):
    """Why :func:`analyzers.transport.track.track` returned."""

    DONE = 0  # all rows are done
    RING_FULL = 1  # drain ``events`` and call again from the row returned
    REUSE = 2  # the slot of the row returned ends here: renew it and call again from that row


class Control(IntEnum):
    """Indices into ``Sequences.control``."""

    EVENTS = 0  # rows of ``events`` in use; whoever drains the ring sets it to 0
    CAPTURE_LOSS = 1  # events of kind CAPTURE_LOSS so far: does this tap lose packets?
    DROPS = 2  # packets that the capturing system says it dropped
    SPEED_BPS = 3
    BIRTHS = 4  # candidates listed so far
    PAIRS = 5  # host pairs in the table


class Flow(NamedTuple):
    """The records of one flow, as the kernels hand them about: addresses.

    Where it has no peer, those of the peer are its own.
    """

    seq: Record  # SEQ
    peer: Record  # SEQ of the peer
    memory: Record  # MEMORY
    answers: Record  # MEMORY of the peer
    open: Record  # OPEN
    ranges: Record  # RANGES
    tap: Record  # TAP


class Sequences(NamedTuple):
    """The tracker's memory; first axis: flow slot, unless said otherwise."""

    seq: Records  # SEQ
    memory: Records  # MEMORY
    open: Records  # OPEN
    ranges: Records  # RANGES
    links: Records  # LINK
    pairs: Records  # PAIR, (a power of two,): hash table
    tap: Records  # TAP, (1,)
    events: Records  # EVENT, (EVENT_ROWS,): to be drained; part of ``tap``
    control: NDArray[np.int64]  # see Control; part of ``tap``


PER_SLOT = {"seq": SEQ, "memory": MEMORY, "open": OPEN, "ranges": RANGES, "links": LINK}
DENSE = ("memory", "open")  # large, and all of a flow's in use


def make_sequences(slots: int) -> Sequences:
    """Fresh memory for ``slots`` flows."""
    arrays = {name: aligned(slots, dtype, dense=name in DENSE) for name, dtype in PER_SLOT.items()}
    pairs = np.zeros(1 << max(4, (2 * slots - 1).bit_length()), PAIR)
    tap = np.zeros(1, TAP)
    return Sequences(
        **arrays, pairs=pairs, tap=tap, events=tap["events"][0], control=tap["control"][0]
    )


def grow_sequences(state: Sequences, slots: int) -> Sequences:
    """The same memory with room for ``slots`` flows; the event ring is the same array."""
    from analyzers.transport.pairing import rebuild_pairs

    grown = make_sequences(slots)
    used = np.flatnonzero(state.seq["known"])
    for name in PER_SLOT:
        getattr(grown, name)[used] = getattr(state, name)[used]
    grown = grown._replace(tap=state.tap, events=state.events, control=state.control)
    rebuild_pairs(grown)
    return grown


def clear_slot(state: Sequences, slot: int) -> None:
    """Make ``slot``, which was closed, ready for another flow."""
    for name in PER_SLOT:
        getattr(state, name)[slot] = 0
