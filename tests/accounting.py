"""Random packets for the accounting tests, and the way from packets to batches and back."""

import random
from typing import Any

from analyzers.capture.batch import Batch, make_batch
from fabric.codes import CNP_OPCODE, FrameKind, Header, Wrap
from tests.twin_account import COPY, FILL, LATE, NEW, RESENT, Packet

COLUMNS = (
    "ts", "frame", "wire", "iface", "kind", "fault", "headers", "version", "ip_bytes", "ip_id",
    "tos", "vlan", "priority", "wrap", "sport", "opcode", "qpn", "psn", "payload", "syndrome", "va",
    "dma", "imm", "pause_vector", "mark", "rtt_ns", "inflight",
)  # fmt: skip


def address(n: int) -> tuple[int, int]:
    return (0, 0xFFFF_0A00_0000 + n) if n % 3 else (0xFD00 << 48, n)


def packet(**given: Any) -> Packet:
    """A RoCE packet of no consequence, with what is given."""
    plain = {
        "ts": 0, "frame": 1, "wire": 1100, "iface": 0, "kind": FrameKind.ROCE_V2, "fault": 0,
        "headers": int(Header.BTH), "version": 4, "ip_bytes": 1086, "ip_id": 0, "tos": 0,
        "vlan": 0xFFFF, "priority": 255, "wrap": 0, "sport": 50000, "opcode": 4, "qpn": 1, "psn": 0,
        "payload": 1024, "syndrome": 0, "va": 0, "dma": 0, "imm": 0, "pause_vector": 0,
        "quanta": [0] * 8, "mark": NEW, "rtt_ns": -1, "inflight": -1, "src": address(1),
        "dst": address(2), "peer_key": None,
    }  # fmt: skip
    return plain | given


def fill(batch: Batch, packets: list[Packet]) -> None:
    """Write packets to the first rows of a batch; peers are not known here."""
    for i, p in enumerate(packets):
        for name in COLUMNS:
            getattr(batch, name)[i] = p[name]
        batch.src_hi[i], batch.src_lo[i] = p["src"]
        batch.dst_hi[i], batch.dst_lo[i] = p["dst"]
        batch.quanta[i] = p["quanta"]
        batch.peer[i] = -1


def batches(packets: list[Packet], rows: int) -> list[Batch]:
    """The packets as batches of ``rows`` rows."""
    found = []
    for at in range(0, len(packets), rows):
        batch = make_batch(rows)
        fill(batch, packets[at : at + rows])
        found.append(batch)
    return found


class Sender:
    """A flow that sends messages, loses some packets and sends them again."""

    def __init__(self, rng: random.Random, iface: int, src: int, dst: int, qpn: int) -> None:
        self.rng = rng
        self.base: dict[str, Any] = {
            "iface": iface, "src": address(src), "dst": address(dst), "qpn": qpn,
            "sport": rng.randrange(49152, 65536),
        }  # fmt: skip
        self.key = (iface, address(src), address(dst), qpn)
        self.psn = rng.choice([rng.randrange(1 << 24), (1 << 24) - 5])
        self.plan: list[dict[str, Any]] = []
        self.held: list[dict[str, Any]] = []

    def next(self) -> dict[str, Any]:
        rng = self.rng
        if self.held and rng.random() < 0.3:
            late = self.held.pop(rng.randrange(len(self.held)))
            return late | {"mark": rng.choice([FILL, LATE])}
        if not self.plan:
            self.plan = self.message()
        step = self.plan.pop(0)
        if rng.random() < 0.05:
            self.held.append(step)
            return self.next()
        return step

    def message(self) -> list[dict[str, Any]]:
        """The packets of one SEND, WRITE, READ request or atomic."""
        rng = self.rng
        kind = rng.choice(["send", "write", "write", "read", "atomic", "only"])
        if kind in ("read", "atomic"):
            size = 8 if kind == "atomic" else rng.randrange(0, 5000)
            header = Header.ATOMICETH if kind == "atomic" else Header.RETH
            opcode = rng.choice([0x13, 0x14]) if kind == "atomic" else 0x0C
            step = self.step(opcode, 0, header, va=rng.randrange(1 << 40), dma=size)
            self.psn = (self.psn + max(1, -(-size // 1024)) - 1) % (1 << 24)
            return [step]
        if kind == "only":
            opcode = rng.choice([0x04, 0x05, 0x17, 0x0A, 0x0B])
            return [self.step(opcode, 512, self.more(opcode), dma=512, va=7, imm=9)]
        count = rng.randrange(2, 7)
        first, middle = (0, 1) if kind == "send" else (6, 7)
        last = rng.choice([2, 3, 0x16] if kind == "send" else [8, 9])
        declared = 1024 * (count - 1) + 100 + (rng.random() < 0.05)
        steps = [self.step(first, 1024, self.more(first), va=rng.randrange(1 << 40), dma=declared)]
        steps += [self.step(middle, 1024, 0) for _ in range(count - 2)]
        return [*steps, self.step(last, 100, self.more(last), imm=rng.randrange(1 << 32))]

    def more(self, opcode: int) -> int:
        reth = (
            opcode in (0x06, 0x0A, 0x0B) and self.rng.random() < 0.95
        )  # else cut by a snap length
        return int(Header.RETH) * reth | int(Header.IMMDT) * (opcode in (3, 5, 9, 0x0B))

    def step(self, opcode: int, payload: int, more: int, **given: Any) -> dict[str, Any]:
        psn = self.psn
        self.psn = (psn + 1) % (1 << 24)
        headers = int(Header.BTH) | int(more)
        return {"opcode": opcode, "psn": psn, "payload": payload, "headers": headers, **given}


def traffic(seed: int, count: int, hosts: int = 6, qpns: int = 5) -> list[Packet]:
    """Random packets of several pairs of flows: messages, responses, CNPs, pauses, garbage."""
    rng = random.Random(seed)
    pairs = []
    for _ in range(6):
        iface, a, b = rng.randrange(2), rng.randrange(hosts), rng.randrange(hosts)
        one = Sender(rng, iface, a, b, rng.randrange(qpns))
        two = Sender(rng, iface, b, a, rng.randrange(qpns))
        pairs.append((one, two, rng.random() < 0.7))
    packets = []
    ts = 1_700_000_000_000_000_000
    asked: list[tuple[Sender, Sender, bool, dict[str, Any]]] = []
    for frame in range(1, count + 1):
        ts += rng.choice([0, 5, 80, 80, 80, 300, 5_000, 40_000])
        given: dict[str, Any] = {"ts": ts, "frame": frame, "tos": rng.choice([0, 2, 2, 2, 3])}
        one, two, paired = rng.choice(pairs)
        if rng.random() < 0.5:
            one, two = two, one
        roll = rng.random()
        if roll < 0.6:
            step = one.next()
            given |= one.base | step
            if step["opcode"] & 31 in (0x0C, 0x13, 0x14):
                asked.append((two, one, paired, step))
        elif roll < 0.75 and asked:
            given |= answer(rng, asked)
        elif roll < 0.85:
            nak = rng.choice([0x1F, 0x1F, 0x60, 0x60, 0x21, 0x63])
            given |= one.base | {
                "opcode": 0x11, "psn": two.psn, "payload": 0, "syndrome": nak,
                "headers": int(Header.BTH | Header.AETH), "wire": 62, "ip_bytes": 48,
                "rtt_ns": rng.choice([-1, rng.randrange(1, 10_000), rng.randrange(1 << 30)]),
                "peer_key": two.key if paired else None,
            }  # fmt: skip
        elif roll < 0.9:
            given |= one.base | {"opcode": CNP_OPCODE, "payload": 0, "wire": 74, "ip_bytes": 60}
            given["peer_key"] = two.key if paired else None
        elif roll < 0.93:
            kind = rng.choice([FrameKind.PFC, FrameKind.GLOBAL_PAUSE, FrameKind.OTHER])
            given |= {
                "kind": kind, "headers": 0, "fault": rng.choice([0, 0, 1]), "src": (0, rng.randrange(9)),
                "pause_vector": 0x100 if kind == FrameKind.GLOBAL_PAUSE else rng.randrange(256),
                "quanta": [rng.randrange(1 << 16)] + [
                    rng.randrange(1 << 16) * (kind != FrameKind.GLOBAL_PAUSE) for _ in range(7)
                ],
            }  # fmt: skip
        else:
            given |= garbage(rng, one)
        if rng.random() < 0.05:
            given["mark"] = rng.choice([COPY, RESENT, FILL, LATE])
        if rng.random() < 0.05:
            given["ts"] -= rng.choice([100, 15_000, 2_000_000, 60_000_000_000])
        if rng.random() < 0.02:
            given |= {"sport": rng.randrange(1 << 16), "wrap": int(rng.choice([*Wrap])), "vlan": 5}
        packets.append(packet(**given))
    return first_seen(packets)


def answer(rng: random.Random, asked: list[tuple[Sender, Sender, bool, Packet]]) -> Packet:
    """The response to something asked for, perhaps not the first, perhaps only part of it."""
    two, one, paired, step = asked.pop(0)
    psn, atomic = step["psn"], step["opcode"] & 31 != 0x0C
    rest = step.setdefault("rest", 8 if atomic else step["dma"])
    size = 0 if atomic else min(rest, 1024)
    begins, ends = "begun" not in step, rest <= 1024
    opcode = (
        0x12 if atomic else {(1, 1): 0x10, (1, 0): 0x0D, (0, 0): 0x0E, (0, 1): 0x0F}[begins, ends]
    )
    if not ends:
        asked.insert(0, (two, one, paired, step | {"psn": (psn + 1) % (1 << 24), "rest": rest - size,
                                                   "begun": True}))  # fmt: skip
    return two.base | {
        "opcode": opcode, "psn": psn, "payload": size, "rtt_ns": rng.choice([-1, 900]),
        "peer_key": one.key if paired and rng.random() < 0.8 else None,
        "mark": rng.choice([NEW] * 9 + [RESENT]),
    }  # fmt: skip


def garbage(rng: random.Random, one: Sender) -> dict[str, Any]:
    """A packet that belongs to no message, or a new flow."""
    return one.base | {
        "opcode": rng.randrange(256), "psn": rng.choice([one.psn, rng.randrange(1 << 24)]),
        "payload": rng.randrange(4096), "headers": int(Header.BTH) | rng.randrange(256),
        "syndrome": rng.randrange(256), "dma": rng.randrange(4096), "va": rng.randrange(1 << 64),
        "qpn": rng.choice([one.base["qpn"], rng.randrange(1 << 24)]), "version": rng.choice([4, 6, 0]),
        "ip_id": rng.randrange(1 << 16), "inflight": rng.randrange(-1, 1 << 40),
        "priority": rng.choice([255, 3]),
    }  # fmt: skip


def first_seen(packets: list[Packet]) -> list[Packet]:
    """The first packet of a flow is no copy, and only flows that were seen can be peers."""
    seen = set()
    for p in packets:
        key = (p["iface"], p["src"], p["dst"], p["qpn"])
        if p["headers"] & Header.BTH:
            if key not in seen and p["mark"] == COPY:
                p["mark"] = NEW
            seen.add(key)
        if p["peer_key"] not in seen:
            p["peer_key"] = None
    return packets
