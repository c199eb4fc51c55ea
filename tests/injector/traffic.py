"""What a requester is told to send: messages, cut into request packets of one path MTU."""

from random import Random
from typing import NamedTuple

from fabric.codes import Operation as Op


class Request(NamedTuple):
    """One request packet, before it has a PSN."""

    opcode: int
    span: int  # PSNs it takes: more than one for a READ
    payload: int  # bytes
    dma: int  # RETH length, 0 without one
    ask: int  # 1: AckReq


SENDS = (Op.SEND_FIRST, Op.SEND_MIDDLE, (Op.SEND_LAST, Op.SEND_LAST_IMM, Op.SEND_LAST_INVALIDATE),
         (Op.SEND_ONLY, Op.SEND_ONLY_IMM, Op.SEND_ONLY_INVALIDATE))  # fmt: skip
WRITES = (Op.WRITE_FIRST, Op.WRITE_MIDDLE, (Op.WRITE_LAST, Op.WRITE_LAST_IMM, Op.WRITE_LAST),
          (Op.WRITE_ONLY, Op.WRITE_ONLY_IMM, Op.WRITE_ONLY))  # fmt: skip


def message(rng: Random, pmtu: int, most: int, ask_every: int) -> list[Request]:
    """A SEND or WRITE of 1 to ``most`` packets; the last packet asks for an acknowledgement."""
    packets = 1 if rng.random() < 0.4 else rng.randint(1, most)
    first, middle, lasts, onlys = SENDS if rng.random() < 0.4 else WRITES
    tail = rng.choice((pmtu, rng.randint(1, pmtu), 0 if packets == 1 else pmtu))
    size = (packets - 1) * pmtu + tail
    reth = first == Op.WRITE_FIRST
    if packets == 1:
        return [Request(rng.choice(onlys), 1, tail, size if reth else 0, 1)]
    body = [
        Request(first if n == 0 else middle, 1, pmtu, size if reth and n == 0 else 0,
                int(n % ask_every == ask_every - 1))
        for n in range(packets - 1)
    ]  # fmt: skip
    return [*body, Request(rng.choice(lasts), 1, tail, 0, 1)]


def read(rng: Random, pmtu: int, most: int) -> list[Request]:
    """A READ that 1 to ``most`` response packets answer."""
    span = rng.randint(1, most)
    size = (span - 1) * pmtu + rng.randint(1, pmtu)
    return [Request(Op.READ_REQUEST, span, 0, size, 0)]


def atomic(rng: Random) -> list[Request]:
    """A compare-and-swap or fetch-and-add."""
    return [Request(rng.choice((Op.COMPARE_SWAP, Op.FETCH_ADD)), 1, 0, 0, 0)]


def burst(rng: Random, packets: int, pmtu: int, ask_every: int, exotic: float) -> list[Request]:
    """Messages of at least ``packets`` packets together; ``exotic``: share of READs and atomics."""
    out: list[Request] = []
    while len(out) < packets:
        dice = rng.random()
        if dice < exotic * 0.8:
            out += read(rng, pmtu, 8)
        elif dice < exotic:
            out += atomic(rng)
        else:
            out += message(rng, pmtu, 12, ask_every)
    return out
