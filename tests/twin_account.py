"""The slow and obvious accountant: one packet after the other, lists and dictionaries.

It calls no kernel and imports no kernel module. Packets are dictionaries with the columns of a batch;
rows come out as dictionaries with the columns of the tables, flows by their number.
"""

from collections import defaultdict
from typing import Any

from fabric.codes import CNP_OPCODE, FrameKind, Header, Operation, Wrap

NEW, COPY, RESENT, FILL, LATE = range(5)
FLOW_BIN, HOST_BIN = 1_000_000, 10_000
ECN_WINDOW, NAK_WINDOW = 100_000, 10_000
MOST_FRAGMENTS, MOST_READS, MOST_ANSWERS = 8, 16, 8

Packet = dict[str, Any]
FIRSTS = {0x00, 0x06}
MIDDLES = {0x01, 0x07}
LASTS = {0x02, 0x03, 0x16, 0x08, 0x09}
ONLIES = {0x04, 0x05, 0x17, 0x0A, 0x0B}
WRITES = {0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B}
ASKS = {0x0C, 0x13, 0x14}
ANSWERS = {0x0D, 0x0E, 0x0F, 0x10, 0x12}
MASK = 0xFFFFFF


def d24(a: int, b: int) -> int:
    d = (a - b) & MASK
    return d - (1 << 24) if d >= 1 << 23 else d


def framed(p: Packet) -> int:
    size = p["wire"]
    if p["wrap"] & (Wrap.ERSPAN_1 | Wrap.ERSPAN_2 | Wrap.ERSPAN_3) and p["ip_bytes"]:
        size = 14 + p["ip_bytes"] + (4 if p["vlan"] != 0xFFFF else 0)
    return max(size, 60) + 24


def splitmix(x: int) -> int:
    wrap = (1 << 64) - 1
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & wrap
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & wrap
    return x ^ (x >> 31)


def fingerprint(p: Packet) -> int:
    ip_id = p["ip_id"] if p["version"] == 4 else 0
    return splitmix(p["psn"] | p["opcode"] << 24 | ip_id << 32 | (p["payload"] & 0xFFFF) << 48)


class Bin:
    """A time bin that is open: its beginning, its end, its sums."""

    def __init__(self, ts: int, width: int) -> None:
        self.start = ts - ts % width
        self.width = width
        self.sums: dict[str, int] = defaultdict(int)
        self.sources: set[Any] = set()
        self.flows: set[Any] = set()

    def takes(self, ts: int) -> bool:
        return self.start - self.width <= ts < self.start + self.width


class Flow:
    """What is known of a flow."""

    def __init__(self, number: int, key: tuple[Any, ...]) -> None:
        self.number = number
        self.key = key
        self.bin: Bin | None = None
        self.sums: dict[str, int] = defaultdict(int)
        self.first: Packet | None = None
        self.service = -1
        self.sports: list[int] = []
        self.rtts: list[int] = []
        self.fragments: list[list[Packet]] = []
        self.grown: list[Packet] | None = None
        self.reads: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        self.cnp: dict[str, Any] | None = None
        self.ce: int | None = None
        self.nak: int | None = None
        self.last_cnp: int | None = None


class Accountant:
    """``take`` packets in order, then ``finish``; rows are in the lists."""

    def __init__(self) -> None:
        self.flows: dict[tuple[Any, ...], Flow] = {}
        self.by_number: dict[int, Flow] = {}
        self.hosts: dict[tuple[Any, ...], Bin] = {}
        self.peaks: dict[tuple[Any, ...], int] = defaultdict(int)
        self.pair_ce: dict[tuple[Any, ...], int] = {}
        self.flow_windows: list[dict[str, Any]] = []
        self.host_windows: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self.cnps: list[dict[str, Any]] = []
        self.pause_frames: list[dict[str, Any]] = []

    def take(self, p: Packet) -> None:
        if not p["headers"] & Header.BTH:
            if p["kind"] in (FrameKind.PFC, FrameKind.GLOBAL_PAUSE) and not p["fault"]:
                self.pause(p)
            return
        flow = self.flow(p)
        if p["mark"] == COPY:
            flow.sums["copies"] += 1
            return
        self.count(flow, p)
        if flow.cnp:
            self.cnps.append(flow.cnp)
            flow.cnp = None
        if p["opcode"] == CNP_OPCODE:
            self.congestion(flow, p)
            return
        if flow.service == 4:
            flow.service = p["opcode"] >> 5
        low = p["opcode"] & 31
        response = low in ANSWERS or low == Operation.ACKNOWLEDGE
        flow.sums["responses"] += response
        flow.sums["unknown"] += low > 0x17
        if p["mark"] in (RESENT, FILL):
            flow.bin.sums["resent"] += 1
        peer = self.peer(p)
        if response and peer and p["rtt_ns"] >= 0:
            self.open_bin(peer, p["ts"])
            peer.rtts.append(p["rtt_ns"])
            peer.bin.sums["rtt_count"] += 1
            peer.bin.sums["rtt_sum_ns"] += p["rtt_ns"]
            peer.bin.sums["rtt_max_ns"] = max(peer.bin.sums["rtt_max_ns"], p["rtt_ns"])
        if p["mark"] == RESENT:
            flow.sums["resent_payload"] += p["payload"]
        elif low in ANSWERS:
            self.answer(flow, peer, p)
        elif low in ASKS:
            self.ask(flow, p)
        elif low <= 0x17 and low != Operation.RESYNC and not response:
            self.part(flow, p)

    def flow(self, p: Packet) -> Flow:
        key = (p["iface"], p["src"], p["dst"], p["qpn"])
        if key not in self.flows:
            self.flows[key] = flow = Flow(len(self.flows) + 1, key)
            self.by_number[flow.number] = flow
        return self.flows[key]

    def peer(self, p: Packet) -> Flow | None:
        return self.flows.get(p["peer_key"]) if p["peer_key"] else None

    def count(self, flow: Flow, p: Packet) -> None:
        if flow.first is None:
            flow.first = p
            flow.service = p["opcode"] >> 5
            flow.sums["last"] = p["ts"]
        if not flow.sports or flow.sports[-1] != p["sport"]:
            flow.sports.append(p["sport"])
        self.open_bin(flow, p["ts"])
        s = flow.sums
        s["last"] = max(s["last"], p["ts"])
        s["bytes"] += p["ip_bytes"]
        s["fingerprint"] = (s["fingerprint"] + fingerprint(p)) % (1 << 64)
        b = flow.bin.sums
        b["packets"] += 1
        b["bytes"] += framed(p)
        b["payload_bytes"] += p["payload"]
        b["ect"] += p["tos"] & 3 != 0
        b["ce"] += p["tos"] & 3 == 3
        b["cnp"] += p["opcode"] == CNP_OPCODE
        b["inflight_bytes"] = max(b["inflight_bytes"], p["inflight"])
        if p["tos"] & 3 == 3:
            flow.ce = p["ts"]
            self.pair_ce[flow.key[:3]] = p["ts"]
        self.at_host(flow, p)
        if p["headers"] & Header.AETH:
            if p["syndrome"] == 0x60:
                s["naks"] += 1
                flow.nak = p["ts"]
                if flow.cnp and 0 <= p["ts"] - flow.cnp["ts"] <= NAK_WINDOW:
                    flow.cnp["since_nak_ns"] = flow.cnp["ts"] - p["ts"]
                    if flow.cnp["cause"] == "unexplained":
                        flow.cnp["cause"] = "nak"
            elif p["syndrome"] >> 5 == 1:
                s["rnr_naks"] += 1

    # -- bins

    def open_bin(self, flow: Flow, ts: int) -> None:
        if flow.bin is None or not flow.bin.takes(ts):
            self.close_bin(flow)
            flow.bin = Bin(ts, FLOW_BIN)

    def close_bin(self, flow: Flow) -> None:
        if flow.bin is None:
            return
        names = ("packets", "bytes", "payload_bytes", "ect", "ce", "cnp", "resent", "rtt_sum_ns",
                 "rtt_count", "rtt_max_ns", "inflight_bytes")  # fmt: skip
        row = {name: flow.bin.sums[name] for name in names}
        self.flow_windows.append(
            {"flow": flow.number, "start": flow.bin.start, "width_ns": flow.bin.width, **row}
        )
        for name in ("packets", "payload_bytes", "ect", "ce", "cnp", "resent"):
            flow.sums[name] += row[name]
        flow.sums["wire_bytes"] += row["bytes"]
        flow.sums["inflight"] = max(flow.sums["inflight"], row["inflight_bytes"])
        flow.bin = None

    def at_host(self, flow: Flow, p: Packet) -> None:
        key = (p["iface"], p["dst"])
        if key not in self.hosts or not self.hosts[key].takes(p["ts"]):
            self.close_host(key)
            self.hosts[key] = Bin(p["ts"], HOST_BIN)
        b = self.hosts[key]
        b.sums["bytes"] += framed(p)
        b.sums["packets"] += 1
        b.sums["ce"] += p["tos"] & 3 == 3
        if p["payload"]:
            b.sources.add(p["src"])
            b.flows.add(flow.key)

    def close_host(self, key: tuple[Any, ...]) -> None:
        b = self.hosts.pop(key, None)
        if b is None:
            return
        sources = len(b.sources)
        heavy = (4 if sources >= 3 else 2) * b.sums["bytes"] >= self.peaks[key]
        self.peaks[key] = max(self.peaks[key], b.sums["bytes"])
        if b.sums["packets"] >= 4 and sources and heavy:
            self.host_windows.append(
                {"iface": key[0], "dst": key[1], "start": b.start, "width_ns": b.width,
                 "bytes": b.sums["bytes"], "packets": b.sums["packets"], "sources": sources,
                 "flows": len(b.flows), "ce": b.sums["ce"]}
            )  # fmt: skip

    # -- congestion notifications and pauses

    def congestion(self, flow: Flow, p: Packet) -> None:
        peer = self.peer(p)
        iface, src, dst, _ = flow.key
        ce = peer.ce if peer else self.pair_ce.get((iface, dst, src))
        since = {
            "since_mark_ns": None if ce is None else p["ts"] - ce,
            "since_nak_ns": None if flow.nak is None else p["ts"] - flow.nak,
            "since_cnp_ns": None if flow.last_cnp is None else p["ts"] - flow.last_cnp,
        }
        cause = "unexplained"
        if since["since_mark_ns"] is not None and since["since_mark_ns"] <= ECN_WINDOW:
            cause = "ecn"
        elif since["since_nak_ns"] is not None and since["since_nak_ns"] <= NAK_WINDOW:
            cause = "nak"
        flow.last_cnp = p["ts"]
        flow.cnp = {"ts": p["ts"], "frame": p["frame"], "flow": flow.number,
                    "peer_flow": peer.number if peer else None, "cause": cause, **since}  # fmt: skip

    def pause(self, p: Packet) -> None:
        quanta = list(p["quanta"])
        if p["pause_vector"] == 0x100:
            quanta[1:] = [0] * 7
        row = {f"quanta_{n}": quanta[n] for n in range(8)}
        self.pause_frames.append(
            {
                "ts": p["ts"],
                "frame": p["frame"],
                "src": p["src"][1],
                "vector": p["pause_vector"],
                **row,
            }
        )

    # -- messages

    def part(self, flow: Flow, p: Packet) -> None:
        low = p["opcode"] & 31
        if low in ONLIES:
            self.message(flow, [p], True)
            return
        kind = low in WRITES
        before = after = None
        candidates = ([flow.grown] if flow.grown else []) + flow.fragments
        for f in candidates:
            tail = f[-1]
            if (
                before is None and low not in FIRSTS
                and (tail["psn"] + 1) & MASK == p["psn"]
                and tail["opcode"] & 31 not in LASTS
                and (tail["opcode"] & 31 in WRITES) == kind
            ):  # fmt: skip
                before = f
        for f in flow.fragments:
            head = f[0]
            if (
                after is None and p["mark"] != NEW and low not in LASTS
                and (p["psn"] + 1) & MASK == head["psn"]
                and head["opcode"] & 31 not in FIRSTS
                and (head["opcode"] & 31 in WRITES) == kind
            ):  # fmt: skip
                after = f
        if before is not None:
            before.append(p)
            if after is not None and after is not before:
                before.extend(after)
                flow.fragments = [f for f in flow.fragments if f is not after]
            grown = before
        elif after is not None:
            after.insert(0, p)
            grown = after
        else:
            grown = [p]
            flow.fragments.append(grown)
        flow.grown = grown
        if grown[0]["opcode"] & 31 in FIRSTS and grown[-1]["opcode"] & 31 in LASTS:
            self.drop(flow, grown, True)
        elif len(flow.fragments) == MOST_FRAGMENTS:
            self.drop(flow, flow.fragments[0], False)

    def drop(self, flow: Flow, fragment: list[Packet], whole: bool) -> None:
        flow.fragments = [f for f in flow.fragments if f is not fragment]
        if flow.grown is fragment:
            flow.grown = None
        self.message(flow, fragment, whole)

    def message(self, flow: Flow, packets: list[Packet], whole: bool) -> None:
        head, tail = packets[0], packets[-1]
        low = head["opcode"] & 31
        declared, va = -1, 0
        if low in FIRSTS | ONLIES and head["headers"] & Header.RETH:
            declared, va = head["dma"], head["va"]
        ends = tail["opcode"] & 31 in LASTS | ONLIES
        immediate = tail["imm"] if ends and tail["headers"] & Header.IMMDT else -1
        size = sum(p["payload"] for p in packets)
        self.say(
            flow, 1 if low in WRITES else 0, min(p["ts"] for p in packets),
            max(p["ts"] for p in packets), head["psn"], len(packets), size, declared, whole, va,
            immediate,
        )  # fmt: skip

    def say(
        self, flow: Flow, operation: int, start: int, end: int, psn: int, packets: int, size: int,
        declared: int, whole: bool, va: int, immediate: int,
    ) -> None:  # fmt: skip
        complete = whole and (declared < 0 or size == declared)
        flow.sums["messages"] += complete
        self.messages.append(
            {"flow": flow.number, "operation": operation, "start": start, "end": end,
             "first_psn": psn, "packets": packets, "bytes": size, "declared_bytes": declared,
             "complete": complete, "va": va, "immediate": immediate}
        )  # fmt: skip

    def ask(self, flow: Flow, p: Packet) -> None:
        atomic = p["opcode"] & 31 != Operation.READ_REQUEST
        declared, va = (8, 0) if atomic else (-1, 0)
        if p["headers"] & Header.RETH:
            declared, va = p["dma"], p["va"]
        elif atomic and p["headers"] & Header.ATOMICETH:
            va = p["va"]
        if not atomic:
            for r in flow.reads:
                inside = 0 < va - r["va"] < r["declared"]
                if (
                    r["operation"] == 2 and inside and d24(p["psn"], r["psn"]) > 0
                    and va + declared == r["va"] + r["declared"]
                ):  # fmt: skip
                    return
        flow.reads.append(
            {"operation": 3 if atomic else 2, "start": p["ts"], "end": p["ts"], "psn": p["psn"],
             "next": p["psn"], "holes": 0, "packets": 0, "bytes": 0, "declared": declared, "va": va}
        )  # fmt: skip
        if len(flow.reads) == MOST_READS:
            self.end_read(flow, flow.reads[0], False)

    def end_read(self, flow: Flow, r: dict[str, Any], whole: bool) -> None:
        flow.reads = [other for other in flow.reads if other is not r]
        self.say(flow, r["operation"], r["start"], r["end"], r["psn"], r["packets"], r["bytes"],
                 r["declared"], whole, r["va"], -1)  # fmt: skip

    def answer(self, flow: Flow, peer: Flow | None, p: Packet) -> None:
        low = p["opcode"] & 31
        begins, ends = low in (0x0D, 0x10, 0x12), low in (0x0F, 0x10, 0x12)
        size = 8 if low == 0x12 else p["payload"]
        run = flow.answers[-1] if flow.answers else None
        if (
            run and not begins and not run["last"]
            and (run["psn"] + run["packets"]) & MASK == p["psn"]
        ):  # fmt: skip
            run.update(
                packets=run["packets"] + 1, bytes=run["bytes"] + size, end=p["ts"], last=ends
            )
        else:
            if len(flow.answers) == MOST_ANSWERS:
                flow.answers.pop(0)
            flow.answers.append(
                {"psn": p["psn"], "packets": 1, "bytes": size, "end": p["ts"], "last": ends}
            )
        if peer:
            self.tell(flow, peer)

    def tell(self, flow: Flow, asker: Flow) -> None:
        for run in flow.answers:
            asked = [r for r in asker.reads if d24(run["psn"], r["psn"]) >= 0]
            if not asked:
                continue
            r = asked[-1]
            ahead = d24(run["psn"], r["next"])
            if ahead >= 0:
                r["holes"] += ahead
                r["next"] = (run["psn"] + run["packets"]) & MASK
            elif r["holes"] >= run["packets"]:
                r["holes"] -= run["packets"]
            else:
                continue
            r["packets"] += run["packets"]
            r["bytes"] += run["bytes"]
            r["end"] = max(r["end"], run["end"])
            if r["declared"] >= 0:
                if r["bytes"] >= r["declared"]:
                    self.end_read(asker, r, True)
            elif run["last"]:
                self.end_read(asker, r, r["holes"] == 0)
        flow.answers = []

    def finish(self) -> None:
        for flow in self.flows.values():
            if flow.cnp:
                self.cnps.append(flow.cnp)
            self.close_bin(flow)
            while flow.fragments:
                self.drop(flow, flow.fragments[0], False)
            while flow.reads:
                self.end_read(flow, flow.reads[0], False)
        for key in list(self.hosts):
            self.close_host(key)
