"""What every maker uses: a tape that collects frames, a queue pair that talks, a case to hand over.

Times are ns from the start of the capture. A queue pair is scripted packet by packet as the *tap* sees
it: what the tap must not see is left out (``missing``), what was lost behind it is simply sent again.
The expectation beside each capture is written down by the maker, who knows what it did; nothing here
imports the analyzers.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from io import BytesIO
from typing import Any, NamedTuple

from fabric import wire
from fabric.codes import PSN_MASK, Ecn, LinkType, Operation, Service
from fabric.pcap import PcapWriter
from fabric.roce import Route, cnp, roce

US = 1_000
MS = 1_000_000
START = 1_700_000_000_000_000_000  # ns since the epoch: where the clock of every tape begins
WAY = 10 * US  # from a packet at the tap to the receiver and back to the tap
HEADERS = 96  # snap length that keeps every header of a plain frame and cuts the payload


class Tape:
    """Frames of one observation point with their times, and the counts that a reader must find."""

    def __init__(self, wrap: Callable[[bytes], bytes] | None = None) -> None:
        self.frames: list[tuple[int, bytes, int]] = []  # (ns, frame, bytes on the wire)
        self.counts: Counter[str] = Counter()
        self.stamps: dict[int, int] = {}  # position in the file -> how wrong its time stamp is
        self.wrap = wrap or (lambda frame: frame)

    def put(self, at: int, frame: bytes, kind: str = "other") -> None:
        """Add a frame; ``kind`` is what it counts as: roce, cnp, pauses, faults or other."""
        frame = self.wrap(frame)
        self.frames.append((START + at, frame, len(frame)))
        self.counts["packets"] += 1
        for name in ("roce", "cnp") if kind == "cnp" else (kind,):
            self.counts[name] += 1

    def expected_counts(self) -> dict[str, int]:
        """Counts of the whole tape."""
        return {name: self.counts[name] for name in ("packets", "roce", "cnp", "pauses", "faults")}

    def in_order(self) -> list[tuple[int, bytes, int]]:
        """The frames by time; equal times stay in the order of the script."""
        ordered = sorted(self.frames, key=lambda frame: frame[0])
        return [
            (ts + self.stamps.get(index, 0), frame, size)
            for index, (ts, frame, size) in enumerate(ordered)
        ]


class Case(NamedTuple):
    """A capture with what must be found in it.

    ``files`` maps file names to their bytes. ``expected`` becomes the JSON beside them, see
    ``captures/README.md``.
    """

    name: str
    files: dict[str, bytes]
    expected: dict[str, Any]


def event(
    kind: str, verdict: str, place: str, psn: int, psns: int = 1, **more: Any
) -> dict[str, Any]:
    """An expected row of EVENTS."""
    return {"kind": kind, "verdict": verdict, "place": place, "psn": psn, "psns": psns, **more}


class QueuePair:
    """Requests one way, responses the other, as one tap sees them.

    ``qpn`` is the responder's number (requests go to it), ``back_qpn`` the requester's. What was
    sent under a PSN is remembered, so that it can be sent again.
    """

    def __init__(
        self,
        tape: Tape,
        route: Route | None = None,
        *,
        qpn: int = 0x11,
        back_qpn: int = 0x22,
        pmtu: int = 1024,
        service: Service = Service.RC,
        constant_id: bool = False,
        way: int = WAY,
    ) -> None:
        self.tape = tape
        self.route = route or Route("10.0.0.1", "10.0.0.2")
        self.back = self.route.back()
        self.qpn, self.back_qpn, self.pmtu = qpn, back_qpn, pmtu
        self.service = service
        self.sent: dict[int, dict[str, Any]] = {}
        self.msn = 0
        self.way = way
        self._step = 0 if constant_id else 1
        self._ids = [0x1000, 0x5000]

    def _id(self, side: int) -> int:
        self._ids[side] = (self._ids[side] + self._step) & 0xFFFF
        return self._ids[side]

    def request(self, at: int, psn: int, operation: int, *, seen: bool = True, **what: Any) -> None:
        """One request packet; with ``seen`` false only remembered: lost or missed before the tap."""
        psn &= PSN_MASK
        opcode = self.service << 5 | operation
        self.sent[psn] = {"opcode": opcode, **what}
        ip_id = self._id(0)  # a lost packet has used its identification too
        if seen:
            frame = roce(self.route, qpn=self.qpn, psn=psn, ip_id=ip_id, opcode=opcode, **what)
            self.tape.put(at, frame, "roce")

    def message(
        self,
        at: int,
        psn: int,
        packets: int,
        *,
        gap: int = US,
        missing: Collection[int] = (),
        late: dict[int, int] | None = None,
        send: bool = False,
        ask_all: bool = False,
        immediate: int | None = None,
        ecn: int | Callable[[int], int] = Ecn.ECT_0,
        last_bytes: int | None = None,
    ) -> int:
        """A WRITE (or SEND) of full packets from ``psn`` on; returns the time after the last.

        The last packet asks for an acknowledgement, with ``ask_all`` every one does. ``missing``
        PSNs are not seen; ``late`` maps PSNs to the delay with which they are.
        """
        total = self.pmtu * (packets - 1) + (self.pmtu if last_bytes is None else last_bytes)
        for index in range(packets):
            first, last = index == 0, index == packets - 1
            number = (psn + index) & PSN_MASK
            extended = b""
            if first and not send:
                extended = wire.reth(0x7F00_0000_0000 + psn * self.pmtu, 0x1234, total)
            if last and immediate is not None:
                extended += wire.immdt(immediate)
            size = self.pmtu if not last or last_bytes is None else last_bytes
            self.request(
                at + index * gap + (late or {}).get(number, 0),
                number,
                _position(first, last, immediate is not None)
                + (Operation.SEND_FIRST if send else Operation.WRITE_FIRST),
                seen=number not in missing,
                extended=extended,
                payload=bytes((number & 0xFF,)) * size,
                ack_request=last or ask_all,
                ecn=ecn(number) if callable(ecn) else ecn,
            )
        return at + packets * gap

    def again(
        self, at: int, psn: int, packets: int, *, gap: int = US, missing: Collection[int] = ()
    ) -> int:
        """Send remembered packets once more; returns the time after the last."""
        for index in range(packets):
            number = (psn + index) & PSN_MASK
            what = dict(self.sent[number])
            operation = what.pop("opcode") & 0x1F
            self.request(at + index * gap, number, operation, seen=number not in missing, **what)
        return at + packets * gap

    def answer(self, at: int, psn: int, operation: int, **what: Any) -> None:
        """One response packet."""
        frame = roce(
            self.back,
            self.service << 5 | operation,
            self.back_qpn,
            psn & PSN_MASK,
            ip_id=self._id(1),
            **what,
        )
        self.tape.put(at, frame, "roce")

    def ack(self, at: int, psn: int, syndrome: int = wire.NO_CREDIT_LIMIT) -> int:
        """An ACK (or, by its syndrome, a NAK) naming ``psn``; returns ``at``."""
        self.msn += 1
        self.answer(at, psn, Operation.ACKNOWLEDGE, extended=wire.aeth(syndrome, self.msn))
        return at

    def nak(self, at: int, psn: int, code: int = 0) -> int:
        """A NAK: sequence error, unless another code is named."""
        return self.ack(at, psn, wire.nak(code))

    def cnp(self, at: int) -> None:
        """The receiver tells the sender of this queue pair to slow down."""
        self.tape.put(at, cnp(self.back, self.back_qpn, ip_id=self._id(1)), "cnp")

    def healthy(self, at: int, psn: int, packets: int = 8, **how: Any) -> int:
        """A whole message and its ACK; returns the time after the ACK."""
        end = self.message(at, psn, packets, **how)
        gap: int = how.get("gap", US)
        return self.ack(end - gap + self.way, psn + packets - 1) + gap

    def read(self, at: int, psn: int, size: int) -> None:
        """A READ request for ``size`` bytes."""
        extended = wire.reth(0x7F00_1000_0000, 0x4321, size)
        self.request(at, psn, Operation.READ_REQUEST, extended=extended, ack_request=True)

    def read_answer(
        self, at: int, psn: int, packets: int, *, gap: int = US, missing: Collection[int] = ()
    ) -> int:
        """The responses of a READ of full packets; returns the time after the last."""
        self.msn += 1
        for index in range(packets):
            first, last = index == 0, index == packets - 1
            number = (psn + index) & PSN_MASK
            if number in missing:
                self._id(1)
                continue
            operation = Operation.READ_RESPONSE_FIRST + (
                3 if first and last else 2 if last else 0 if first else 1
            )
            extended = wire.aeth(msn=self.msn) if first or last else b""
            self.answer(
                at + index * gap, number, operation, extended=extended, payload=bytes(self.pmtu)
            )
        return at + packets * gap


def _position(first: bool, last: bool, immediate: bool) -> int:
    """Offset of FIRST, MIDDLE, LAST, LAST_IMM, ONLY, ONLY_IMM: the order of IBTA table 38."""
    if first and last:
        return 4 + immediate
    if last:
        return 2 + immediate
    return 0 if first else 1


def psns(start: int, count: int) -> Iterator[int]:
    """PSNs from ``start`` on, wrapped."""
    return ((start + index) & PSN_MASK for index in range(count))


def pcap(tape: Tape, *, snap: int = HEADERS, **options: Any) -> bytes:
    """The tape as a nanosecond pcap file, payloads cut at ``snap``."""
    file = BytesIO()
    PcapWriter(file, snaplen=snap, **options).write_many(tape.in_order())
    return file.getvalue()


def case(
    name: str,
    description: str,
    tape: Tape,
    *,
    findings: tuple[str, ...] = (),
    events: tuple[dict[str, Any], ...] = (),
    snap: int = HEADERS,
    link_type: int = LinkType.ETHERNET,
    **expected: Any,
) -> Case:
    """The usual case: one tape, one nanosecond pcap."""
    files = {f"{name}.pcap": pcap(tape, snap=snap, link_type=link_type)}
    return several(name, description, files, [tape], findings, events, **expected)


def several(
    name: str,
    description: str,
    files: dict[str, bytes],
    tapes: list[Tape],
    findings: tuple[str, ...] = (),
    events: tuple[dict[str, Any], ...] = (),
    **expected: Any,
) -> Case:
    """A case of files that were written by hand from one tape each (or from one tape altogether)."""
    counts = [tape.expected_counts() for tape in tapes]
    total = {key: sum(count[key] for count in counts) for key in counts[0]}
    text = {"description": description, "files": list(files), "counts": total}
    return Case(name, files, {**text, "events": events, "findings": findings, **expected})
