"""The vocabulary of EVENTS: kinds, verdicts and places; the name in lower case is the column's value."""

from enum import IntEnum


class EventKind(IntEnum):
    """What happened to a sequence: ``EVENTS.kind``."""

    LOSS = 0  # a packet was lost and asked for again
    CAPTURE_LOSS = 1  # the tap missed a packet that arrived
    REORDER = 2  # an original arrived after a later one
    RETRANSMISSION = 3  # sent again, and no loss explains it
    TIMEOUT = 4  # sent again after a silence without being asked
    RNR = 5  # the receiver had no buffer posted and named a time to wait
    NAK = 6  # the receiver refused a request for good
    GAP = 7  # missing PSNs of which nothing more was seen
    HOLE = 8  # a silence long enough for the PSNs to wrap
    QPN_REUSE = 9  # the queue pair number began another life


class Verdict(IntEnum):
    """What it was: ``EVENTS.verdict``."""

    UNDETERMINED = 0
    LOST = 1
    CAPTURE_LOSS = 2
    REORDERED = 3
    SPURIOUS = 4  # the original had arrived: nothing was lost
    TAIL_LOSS = 5
    ACK_LOST = 6
    TIMER_HONOURED = 7
    TIMER_IGNORED = 8
    NO_RESEND = 9
    INVALID_REQUEST = 10  # the names of fabric.codes.NakCode from here on
    REMOTE_ACCESS = 11
    REMOTE_OPERATIONAL = 12
    INVALID_RD_REQUEST = 13
    REUSED = 14


class Place(IntEnum):
    """Where, seen from the packet that it happened to: ``EVENTS.place``; NOWHERE is empty."""

    NOWHERE = 0
    UPSTREAM = 1  # between the packet's sender and the tap
    DOWNSTREAM = 2  # between the tap and the packet's receiver
    RECEIVER = 3
    SENDER = 4
    TAP = 5


class Recovery(IntEnum):
    """How a sender recovers: ``FLOWS.recovery``; UNKNOWN is empty."""

    UNKNOWN = 0
    GO_BACK_N = 1
    SELECTIVE = 2
