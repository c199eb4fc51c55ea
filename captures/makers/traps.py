"""What misleads a reader: misuse of the port, copies, reuse, look-alike bytes, one-sided taps."""

from captures.makers.headers import erspan
from captures.makers.loss import start
from captures.makers.tape import HEADERS, MS, US, WAY, Case, QueuePair, Tape, case, event
from fabric import wire
from fabric.codes import EtherType, IpProtocol, Operation
from fabric.roce import Route, link, roce

A = Route("10.0.0.1", "10.0.0.2")


def lookalikes() -> Case:
    """Over a hundred public captures hold these bytes in payloads; none of them is RoCE or PFC."""
    tape = Tape()
    baits = (b"\x89\x15", b"\x88\x08\x01\x01", b"\x12\xb7", b"\x01\x80\xc2\0\0\x01\x88\x08\0\x01")
    for number in range(24):
        bait = baits[number % 4]
        payload = bytes(number) + bait * (60 // len(bait))
        tcp = bytes.fromhex("12b712b7000000010000000250180100000000 00") + payload
        at = number * 10 * US
        tape.put(at, link(A, wire.ipv4(tcp, A.src, A.dst, 6)))
        tape.put(at + US, link(A, wire.ipv4(wire.udp(payload, 4791, 5000), A.src, A.dst)))
        tape.put(
            at + 2 * US, wire.ethernet(payload, "02:00:00:00:00:02", "02:00:00:00:00:01", 0x88B5)
        )
        llc = b"\xaa\xaa\x03\0\0\0\x89\x15" + payload
        tape.put(
            at + 3 * US, wire.ethernet(llc, "02:00:00:00:00:02", "02:00:00:00:00:01", len(llc))
        )
    text = "TCP, UDP and other frames whose payloads hold the bytes of RoCE and PFC ethertypes"
    return case("lookalikes", text, tape, snap=200)


def port_misuse() -> Case:
    tape = Tape()
    qp = QueuePair(tape)
    qp.healthy(0, 100)

    def datagram(at: int, payload: bytes) -> None:
        tape.put(at, link(A, wire.ipv4(wire.udp(payload, 40000, 4791), A.src, A.dst)), "faults")

    datagram(50 * US, b"hello")  # too short for a BTH
    datagram(60 * US, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")  # version field 5
    datagram(70 * US, b"\x04\x4f" + bytes(30))
    return case(
        "port_misuse",
        "datagrams to port 4791 that are no RoCE",
        tape,
        faults={"NOT_ROCE": 3},
        allowed=("unreadable_frames",),
    )


def unknown_opcodes() -> Case:
    tape = Tape()
    qp = QueuePair(tape)
    at = qp.healthy(0, 100) + 20 * US
    for number, opcode in enumerate((0x15, 0x44, 0x60, 0xC3)):  # reserved, RD, reserved, vendor
        frame = roce(A, opcode, 0x11, 108 + number, payload=bytes(16))
        tape.put(at + number * US, frame, "roce")
        tape.counts["faults"] += 1
    qp.healthy(at + 50 * US, 108)
    text = "opcodes that nobody defined, and RD: counted, no part of any sequence"
    return case(
        "unknown_opcodes", text, tape, faults={"UNKNOWN_OPCODE": 4}, allowed=("unreadable_frames",)
    )


def fragments() -> Case:
    tape = Tape()
    qp = QueuePair(tape)
    at = qp.healthy(0, 100, 4) + 20 * US
    for number in range(3):
        packet = roce(
            A, Operation.SEND_ONLY, 0x11, 104 + number, payload=bytes(1024), ack_request=True
        )[14:]
        datagram = packet[20:]
        for index, piece in enumerate((datagram[:544], datagram[544:])):
            fragment = 0x2000 if index == 0 else 544 // 8
            ip = wire.ipv4(piece, A.src, A.dst, tos=0x6A, ip_id=0x2000 + number, fragment=fragment)
            tape.put(at + index * US, link(A, ip), "faults" if index else "roce")
        at = qp.ack(at + WAY, 104 + number) + 20 * US
    qp.healthy(at, 107, 4)
    return case(
        "fragments",
        "a path that fragments: the first fragment is read, the others are counted",
        tape,
        faults={"FRAGMENT": 3},
        allowed=("unreadable_frames",),
    )


def copied(name: str, text: str, *, ttl: int, lag: int, lossy: bool) -> Case:
    """Every packet twice at one point, ``lag`` ns apart; resends are no copies."""
    tape = Tape()
    qp = QueuePair(tape, constant_id=not lossy)
    at = qp.healthy(0, 1000) + 20 * US
    if lossy:
        end = qp.message(at, 1008, 16, missing=(1012,), gap=4 * US)
        qp.nak(end, 1012)
        end = qp.again(end + 20 * US, 1012, 12, gap=4 * US)
        qp.ack(end + WAY, 1023)
    else:
        end = qp.healthy(at, 1008, 16, gap=4 * US)
    qp.healthy(end + 100 * US, 1024)
    for ts, frame, size in list(tape.frames):
        copy = bytearray(frame)
        copy[22] = ttl
        copy[24:26] = bytes(2)  # the header checksum follows
        copy[24:26] = wire.checksum(bytes(copy[14:34])).to_bytes(2, "big")
        tape.frames.append((ts + lag, bytes(copy), size))
    copies = tape.counts["packets"]
    tape.counts["packets"] *= 2
    tape.counts["roce"] *= 2
    events = (event("loss", "lost", "upstream", 1012, resent=12),) if lossy else ()
    findings = ("loss_upstream", "mirror_copies") if lossy else ("mirror_copies",)
    return case(name, text, tape, events=events, findings=findings, copies=copies)


def mirror_copies() -> Case:
    text = "two mirror sessions into one collector: every packet twice, identifications vary"
    return copied("mirror_copies", text, ttl=64, lag=700, lossy=True)


def mirror_copies_ttl() -> Case:
    text = "every packet before and after a router, identifications constant: the TTL tells"
    return copied("mirror_copies_ttl", text, ttl=63, lag=1300, lossy=False)


def qpn_reuse() -> Case:
    tape = Tape()
    first = QueuePair(tape)
    at = first.healthy(0, 1000, 16) + 20 * US
    first.healthy(at, 1016, 16)
    second = QueuePair(tape)  # the same numbers, another life
    second.healthy(2 * MS, 9_000_000, 16)
    second.healthy(2 * MS + 100 * US, 9_000_016, 16)
    return case(
        "qpn_reuse",
        "a job restarts 2 ms later and gets the same queue pair numbers: no gap of nine million",
        tape,
        events=(event("qpn_reuse", "reused", "", 9_000_000),),
        findings=("qpn_reuse",),
    )


def same_qpn() -> Case:
    """The same destination QP number on different NICs, and a bond's two ports."""
    tape = Tape()
    for number in range(4):
        route = Route("10.0.0.1", f"10.0.0.{number + 2}", sport=49152 + number)
        qp = QueuePair(tape, route, qpn=0x11, back_qpn=0x30 + number)
        qp.healthy(number * 300, 1_000_000 * number, 12)
        qp.healthy(60 * US + number * 300, 1_000_000 * number + 12, 12)
    text = "one queue pair number on four NICs, sequence numbers far apart: four flows"
    return case("same_qpn", text, tape, flows=8)


def pairing_by_psn() -> Case:
    """Different source ports in the two directions: only the sequence numbers pair them."""
    tape = Tape()
    for number in range(3):
        qp = QueuePair(tape, Route("10.0.0.1", "10.0.0.2", sport=50000 + number),
                       qpn=0x10 + number, back_qpn=0x90 - number)  # fmt: skip
        qp.back = qp.back._replace(sport=60000 - 7 * number)
        for step in range(6):
            at = step * 60 * US + number * 400
            qp.healthy(at, 100_000 * (number + 1) + 8 * step, 8)
    pairs = [[0x10 + number, 0x90 - number] for number in range(3)]
    text = "three queue pairs between two hosts whose directions share no source port"
    return case("pairing_by_psn", text, tape, pairs=pairs)


def one_sided() -> Case:
    tape = Tape()
    qp = QueuePair(tape)
    end = qp.message(0, 1000, 16, missing=(1004,))
    end = qp.again(end + 15 * US, 1004, 12)
    qp.message(end + 100 * US, 1016, 8)
    return case(
        "one_sided",
        "a link that carries one direction only: a packet is resent and no NAK was there to see",
        tape,
        events=(
            event("loss", "undetermined", "", 1004, resent=0),
            event("retransmission", "undetermined", "", 1004, resent=12),
        ),
        findings=("one_sided", "loss_undetermined", "unexplained_retransmission"),
    )


def snap_cut() -> Case:
    """Cut behind the BTH: requests can be followed, what was acknowledged is not known."""
    tape, qp, at, psn = start()
    end = qp.message(at, psn, 16, missing=(psn + 4,))
    qp.message(end + 50 * US, psn + 16, 8)
    tape.counts["faults"] = 4  # three FIRST packets with their RETH cut, an ACK with its AETH cut
    return case(
        "snap_cut",
        "a snap length of 54 bytes keeps every BTH and cuts RETH and AETH off",
        tape,
        events=(event("gap", "undetermined", "", psn + 4),),
        findings=("gap",),
        allowed=("one_sided", "unpaired", "unreadable_frames"),
        snap=54,
        faults={"TRUNCATED": 4},
    )


def snap_40() -> Case:
    tape, qp, at, psn = start()
    qp.healthy(at, psn)
    tape.counts["roce"] = 0
    tape.counts["faults"] = tape.counts["packets"]
    text = (
        "a snap length of 40 bytes cuts the UDP header: nothing can be said, every frame is counted"
    )
    faults = {"TRUNCATED": tape.counts["packets"]}
    return case("snap_40", text, tape, snap=40, faults=faults, allowed=("unreadable_frames",))


def ip_in_ip() -> Case:
    def wrap(frame: bytes) -> bytes:
        packet = wire.ipv4(frame[14:], "192.0.2.1", "192.0.2.2", IpProtocol.IPV4)
        return wire.ethernet(packet, "02:00:00:00:00:02", "02:00:00:00:00:01", EtherType.IPV4)

    tape = Tape(wrap)
    QueuePair(tape).healthy(0, 100)
    text = "IP in IP: addresses and DSCP of the inner header count"
    return case("ip_in_ip", text, tape, snap=HEADERS + 20, shown={"wrap_flags": ["IP_IN_IP"]})


def too_deep() -> Case:
    mirror = erspan(2)

    def wrap(frame: bytes) -> bytes:
        for _ in range(5):
            frame = mirror(frame)
        return frame

    tape = Tape(wrap)
    QueuePair(tape).healthy(0, 100, 3)
    tape.counts["roce"] = 0
    tape.counts["faults"] = tape.counts["packets"]
    text = "five encapsulations: one more than is followed; counted, not guessed"
    faults = {"NESTING": tape.counts["packets"]}
    return case("too_deep", text, tape, snap=400, faults=faults, allowed=("unreadable_frames",))


def clock_disorder() -> Case:
    """A mirror port that gathers queues: a few stamps run backwards, the file order is the truth."""
    tape, qp, at, psn = start()
    qp.healthy(at, psn, 16)
    tape.stamps = {12: -1150, 20: -1150}
    text = "two packets are stamped earlier than the packet before them in the file"
    return case("clock_disorder", text, tape, unordered=2, allowed=("clock_disorder",))


CASES = (
    lookalikes, port_misuse, unknown_opcodes, fragments, mirror_copies, mirror_copies_ttl,
    qpn_reuse, same_qpn, pairing_by_psn, one_sided, snap_cut, snap_40, ip_in_ip, too_deep,
    clock_disorder,
)  # fmt: skip
