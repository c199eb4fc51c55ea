"""What the sequence tracker says of a packet: which counters it may enter."""

from enum import IntEnum


class Mark(IntEnum):
    """Value of ``Batch.mark``."""

    NEW = 0  # seen for the first time, or without a place in a sequence
    COPY = 1  # a mirror's copy of a packet already seen at this point: counts only as a copy
    RESENT = 2  # sent again, and its PSN was already seen here: not unique bytes
    FILL = 3  # sent again, and its PSN is seen here for the first time: unique bytes
    LATE = 4  # a late original: unique bytes, not sent again
