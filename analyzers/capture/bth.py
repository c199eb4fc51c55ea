"""Which headers follow a base transport header, by its opcode, and how many of them fit.

IBTA clauses 9.2 (BTH) and 9.3 (extended headers), annexes A14 (XRC), A16 (RoCEv1), A17 (RoCEv2).
The extended headers stand in the order DETH, XRCETH, RETH or AtomicETH, AETH, AtomicAckETH, ImmDt,
IETH.
"""

from typing import Final

import numpy as np

from fabric.codes import HEADER_BYTES, Header, headers_of
from fabric.kernel import inline

BTH_BYTES: Final = HEADER_BYTES[Header.BTH]
ORDER: Final = (
    Header.DETH, Header.XRCETH, Header.RETH, Header.ATOMICETH, Header.AETH, Header.ATOMICACKETH,
    Header.IMMDT, Header.IETH,
)  # fmt: skip
ICRC_BYTES: Final = 4

# By opcode: the headers from the BTH on (no bit at all where the opcode is not followed), and the
# bytes they take.
FOLLOW: Final = np.array([int(headers_of(opcode) or 0) for opcode in range(256)], np.uint16)
SIZE: Final = np.array(
    [
        sum(size for header, size in HEADER_BYTES.items() if header & (follow | Header.BTH))
        for follow in FOLLOW.tolist()
    ],
    np.uint8,
)
FLAGS: Final = np.array(ORDER, np.int64)
BYTES: Final = np.array([HEADER_BYTES[header] for header in ORDER], np.int64)


@inline
def fitting(follow: int, room: int) -> int:
    """Of the headers that ``follow`` names, those within ``room`` bytes from the begin of the BTH."""
    fits = Header.BTH.value
    room -= BTH_BYTES
    for n in range(len(FLAGS)):
        if follow & FLAGS[n]:
            room -= BYTES[n]
            if room < 0:
                break
            fits |= FLAGS[n]
    return fits
