"""Operations and services beyond the plain WRITE: READ, atomics, immediate data, UC, UD."""

from typing import Any

from captures.makers.tape import US, WAY, Case, QueuePair, Tape, case, event
from fabric import wire
from fabric.codes import Operation, Service
from fabric.roce import Route, roce


def read() -> Case:
    tape = Tape()
    qp = QueuePair(tape)
    at, psn = 0, 1000
    for packets in (8, 1, 5):
        qp.read(at, psn, 1024 * packets)
        at = qp.read_answer(at + WAY, psn, packets) + 5 * US
        psn += packets
        at = qp.healthy(at, psn, 2) + 5 * US
        psn += 2
    return case(
        "read",
        "READs span as many sequence numbers as their answers have packets; no gap between them",
        tape,
        messages=6,
    )


def read_lost(name: str, text: str, place: str, missing: tuple[int, ...]) -> Case:
    tape = Tape()
    qp = QueuePair(tape)
    at = qp.healthy(0, 1000) + 20 * US
    qp.read(at, 1008, 8 * 1024)
    end = qp.read_answer(at + WAY, 1008, 8, missing=missing)
    again = wire.reth(0x7F00_1000_0000 + 3 * 1024, 0x4321, 5 * 1024)
    qp.request(end + 5 * US, 1011, Operation.READ_REQUEST, extended=again, ack_request=True)
    end = qp.read_answer(end + 5 * US + WAY, 1011, 5)
    qp.healthy(end + 5 * US, 1016)
    lost = event("loss", "lost", place, 1011, resent=5, qpn=qp.back_qpn)
    findings = (f"loss_{place}",)
    return case(name, text, tape, events=(lost,), findings=findings)


def read_lost_upstream() -> Case:
    text = (
        "a READ response is lost before the tap; the requester asks again from there (implied NAK)"
    )
    return read_lost("read_lost_upstream", text, "upstream", (1011,))


def read_lost_downstream() -> Case:
    text = (
        "a READ response is lost behind the tap; the requester asks again from there (implied NAK)"
    )
    return read_lost("read_lost_downstream", text, "downstream", ())


def atomics() -> Case:
    tape = Tape()
    qp = QueuePair(tape)
    for number in range(6):
        at, psn = number * 30 * US, 700 + number
        swap = number % 2 == 0
        extended = wire.atomiceth(0x8000, 0x55, swap=number + 1, compare=number if swap else 0)
        operation = Operation.COMPARE_SWAP if swap else Operation.FETCH_ADD
        qp.request(at, psn, operation, extended=extended, ack_request=True)
        qp.msn += 1
        answer = wire.aeth(msn=qp.msn) + wire.atomicacketh(number)
        qp.answer(at + WAY, psn, Operation.ATOMIC_ACKNOWLEDGE, extended=answer)
    return case("atomics", "compare-and-swap and fetch-and-add with their answers", tape)


def write_immediate() -> Case:
    """As NCCL does: data by WRITE, then a WRITE of length zero whose immediate says the size."""
    tape = Tape()
    qp = QueuePair(tape)
    at, psn = 0, 300
    for number in range(4):
        qp.message(at, psn, 4)
        empty = wire.reth(0, 0, 0) + wire.immdt(4096 + number)
        qp.request(at + 4 * US, psn + 4, Operation.WRITE_ONLY_IMM, extended=empty, ack_request=True)
        qp.ack(at + 4 * US + WAY, psn + 4)
        at, psn = at + 40 * US, psn + 5
    return case(
        "write_immediate",
        "messages that end in a WRITE of length zero with immediate data",
        tape,
        messages=8,
    )


def send_invalidate() -> Case:
    tape = Tape()
    qp = QueuePair(tape)
    for number in range(4):
        at = number * 40 * US
        qp.request(
            at, 20 + number, Operation.SEND_ONLY_INVALIDATE,
            extended=wire.ieth(0x99), payload=bytes(50), ack_request=True,
        )  # fmt: skip
        qp.ack(at + WAY, 20 + number)
    return case("send_invalidate", "SEND with invalidate; payloads of 50 bytes need padding", tape)


def unreliable_connection() -> Case:
    tape = Tape()
    qp = QueuePair(tape, service=Service.UC)
    qp.message(0, 100, 12, missing=(103,), late={107: 1500})
    qp.message(400 * US, 112, 8)
    return case(
        "unreliable_connection",
        "UC has no acknowledgements: a missing packet stays open, a late one is reordering",
        tape,
        events=(
            event("gap", "undetermined", "", 103),
            event("reorder", "reordered", "upstream", 107, extent=1),
        ),
        findings=("gap", "reordering"),
    )


def datagrams() -> Case:
    """UD: connection management on QP 1, and a service whose packets of two senders mix."""
    tape = Tape()
    a = Route("10.0.0.1", "10.0.0.9", sport=50001)
    b = Route("10.0.0.2", "10.0.0.9", sport=50002)
    opcode = Service.UD << 5 | Operation.SEND_ONLY

    def datagram(at: int, route: Route, qpn: int, psn: int, source: int, **what: Any) -> None:
        extended = wire.deth(0x8001_0000 if qpn == 1 else 0x1111, source)
        frame = roce(route, opcode, qpn, psn, extended=extended, **what)
        tape.put(at, frame, "roce")

    for number in range(4):
        datagram(number * US, a, 1, 9 * number, 1, payload=bytes(256))
        datagram(number * US + 300, b, 0x40, 500 - 7 * number, 0x200, payload=bytes(64))
        datagram(number * US + 600, a, 0x40, 30 * number, 0x100, payload=bytes(64))
    return case(
        "datagrams", "UD: connection management and datagrams, no order is asked of them", tape
    )


CASES = (
    read, read_lost_upstream, read_lost_downstream, atomics, write_immediate, send_invalidate,
    unreliable_connection, datagrams,
)  # fmt: skip
