"""The accounting kernels against the slow accountant, on random packets, cut anyhow."""

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from analyzers.capture.batch import Batch, make_batch
from analyzers.transport import account_state, windows
from analyzers.transport.account import account, close_accounts, close_endpoints
from analyzers.transport.account_state import Cause, Fill, Ledger, Setting, make_ledger
from analyzers.transport.number import Book, make_book, number
from fabric.codes import CNP_OPCODE, Header
from tests import twin_account
from tests.accounting import fill, packet, traffic
from tests.twin_account import COPY, FILL, NEW, RESENT, Accountant, Packet

SLOTS = 1024
Row = dict[str, Any]


class Kernels:
    """The kernels as the pipeline calls them, without tracking: marks are in the packets."""

    def __init__(self) -> None:
        self.book: Book = make_book(SLOTS)
        self.ledger: Ledger = make_ledger(SLOTS)
        self.rows: dict[str, list[Row]] = {name.name.lower(): [] for name in Fill}
        self.slots: dict[Any, int] = {}
        for setting, value in (
            (Setting.FLOW_BIN_NS, twin_account.FLOW_BIN),
            (Setting.HOST_BIN_NS, twin_account.HOST_BIN),
            (Setting.ECN_WINDOW_NS, twin_account.ECN_WINDOW),
            (Setting.NAK_WINDOW_NS, twin_account.NAK_WINDOW),
        ):
            self.ledger.settings[setting] = value

    def take(self, batch: Batch, packets: list[Packet]) -> None:
        fill(batch, packets)
        assert number(batch, 0, len(packets), self.book, self.ledger) == len(packets)
        for i, p in enumerate(packets):
            if p["headers"] & Header.BTH:
                self.slots[p["iface"], p["src"], p["dst"], p["qpn"]] = int(batch.slot[i])
            else:
                assert batch.slot[i] == -1
        for i, p in enumerate(packets):
            batch.peer[i] = self.slots.get(p["peer_key"], -1)
        row = 0
        while row < len(packets):
            row = account(batch, row, len(packets), self.ledger)
            if row < len(packets):
                self.drain()

    def finish(self) -> None:
        live = np.flatnonzero(self.book.flows["live"]).astype(np.int32)
        live = live[np.argsort(self.book.flows["serial"][live])]
        assert close_accounts(live, np.full(len(live), -1, np.int32), self.ledger)
        everything = np.arange(len(self.ledger.endpoints), dtype=np.int32)
        assert close_endpoints(everything, self.ledger) == len(everything)
        self.drain()

    def drain(self) -> None:
        rings = self.ledger.rings
        for n, name in enumerate(self.rows):
            ring: Any = rings[n]
            count = int(rings.fill[n])
            found = [ring[field][0, :count].tolist() for field in ring.dtype.names]
            self.rows[name] += [
                dict(zip(ring.dtype.names, row, strict=True)) for row in zip(*found, strict=True)
            ]
        rings.fill[:] = 0


class Account:
    """Both records of a flow."""

    def __init__(self, ledger: Ledger, slot: int) -> None:
        self.records = (ledger.flows[slot], ledger.totals[slot])

    def __getitem__(self, name: str) -> Any:
        hot, cold = self.records
        return hot[name] if name in hot.dtype.names else cold[name]


def run(packets: list[Packet], cuts: random.Random | None = None, rows: int = 300) -> Kernels:
    kernels = Kernels()
    batch = make_batch(rows)
    at = 0
    while at < len(packets):
        size = cuts.randrange(1, rows) if cuts else rows
        kernels.take(batch, packets[at : at + size])
        at += size
    kernels.finish()
    return kernels


def slow(packets: list[Packet]) -> Accountant:
    twin = Accountant()
    for p in packets:
        twin.take(p)
    twin.finish()
    return twin


def key(row: Row) -> str:
    return repr(sorted(row.items(), key=str))


def compare(found: list[Row], expected: list[Row]) -> None:
    one, two = Counter(map(key, found)), Counter(map(key, expected))
    assert (list(one - two), list(two - one)) == ([], [])


def plain(kernels: Kernels) -> dict[str, list[Row]]:
    """Ring rows in the twin's words."""
    found = {name: [dict(row) for row in some] for name, some in kernels.rows.items()}
    for row in found["messages"]:
        row["complete"] = bool(row["complete"])
    for row in found["host_windows"]:
        row["dst"] = tuple(map(int, kernels.book.hosts.keys[row.pop("host")]))
    for row in found["cnps"]:
        del row["iface"]
        row["cause"] = Cause(row["cause"]).name.lower()
        row["peer_flow"] = row["peer_flow"] or None
        for name in ("since_mark_ns", "since_nak_ns", "since_cnp_ns"):
            row[name] = None if row[name] == account_state.NEVER else row[name]
    for row in found["pause_frames"]:
        del row["iface"]
    return found


@pytest.mark.parametrize("seed", range(12))
def test_rows_equal_the_twin(seed: int) -> None:
    packets = traffic(seed, 1500)
    kernels, twin = run(packets, random.Random(seed)), slow(packets)
    found = plain(kernels)
    assert twin.messages
    assert twin.cnps
    for name in found:
        compare(found[name], getattr(twin, name))


@pytest.mark.parametrize("seed", range(12))
def test_flows_equal_the_twin(seed: int) -> None:
    packets = traffic(seed, 1500, hosts=3)
    kernels, twin = run(packets), slow(packets)
    for flow in twin.flows.values():
        slot = kernels.slots[flow.key]
        who, a = kernels.book.flows[slot], Account(kernels.ledger, slot)
        first, s = flow.first, flow.sums
        assert who["serial"] == flow.number
        assert first is not None
        assert (a["first"], a["first_frame"]) == (first["ts"], first["frame"])
        assert (a["dscp"], a["priority"]) == (first["tos"] >> 2, first["priority"])
        assert (a["service"], a["first_sport"], a["sports"]) == (
            flow.service, first["sport"], len(flow.sports)
        )  # fmt: skip
        assert a["last"] == s["last"]
        assert a["ip_bytes"] == s["bytes"]
        assert a["inflight_max"] == s["inflight"]
        for name in (
            "packets", "copies", "responses", "unknown", "cnp", "wire_bytes", "payload_bytes",
            "resent", "resent_payload", "ect", "ce", "naks", "rnr_naks", "messages", "fingerprint",
        ):  # fmt: skip
            assert int(a[name]) == s[name], name
        assert a["rtt_count"] == len(flow.rtts)
        if flow.rtts:
            assert (a["rtt_min"], a["rtt_max"]) == (min(flow.rtts), max(flow.rtts))


def test_cutting_changes_nothing() -> None:
    packets = traffic(99, 3000)
    whole = plain(run(packets, rows=4000))
    for seed in range(3):
        assert plain(run(packets, random.Random(seed), rows=70)) == whole


def test_full_rings_are_drained_and_lose_nothing() -> None:
    packets = [packet(ts=n * 2_000_000, frame=n, psn=n, payload=1) for n in range(20_000)]
    kernels = run(packets, rows=8192)
    assert [row["first_psn"] for row in kernels.rows["messages"]] == list(range(20_000))
    assert sum(row["packets"] for row in kernels.rows["flow_windows"]) == 20_000


def test_bins_that_hold_little_grow_wider() -> None:
    look = windows.BINS_PER_LOOK
    packets = [packet(ts=n * 1_000_000, psn=n) for n in range(look + 4096)]
    rows = run(packets, rows=8192).rows["flow_windows"]
    assert {row["width_ns"] for row in rows[:look]} == {1_000_000}
    assert {row["width_ns"] for row in rows[look + 1 :]} == {2_000_000}
    assert all(row["start"] % row["width_ns"] == 0 for row in rows)
    assert sum(row["packets"] for row in rows) == len(packets)


def test_bins_that_hold_enough_keep_their_width() -> None:
    per_bin = windows.PACKETS_PER_BIN
    kernels = Kernels()
    kernels.ledger.settings[Setting.BINS] = windows.BINS_PER_LOOK - 10
    kernels.ledger.settings[Setting.PACKETS] = per_bin * (windows.BINS_PER_LOOK - 10)
    packets = [packet(ts=n * 1_000_000 // per_bin, psn=n) for n in range(per_bin * 20)]
    kernels.take(make_batch(len(packets)), packets)
    assert kernels.ledger.settings[Setting.FLOW_BIN_NS] == 1_000_000


# The fingerprint is compared between taps, so its value is fixed, not only its sameness.
def test_the_fingerprint_ignores_what_hops_change() -> None:
    def print_of(**given: Any) -> int:
        kernels = run([packet(psn=5, ip_id=77, **given)])
        return int(kernels.ledger.flows["fingerprint"][kernels.slots[0, (0, 0xFFFF0A000001),
                   packet()["dst"], 1]])  # fmt: skip

    base = print_of()
    assert base == print_of(tos=0x6B, vlan=7, priority=3, wrap=8, wire=1200, ts=5, sport=9)
    assert base != print_of(payload=1023)
    assert base != print_of(opcode=5)


def test_a_fingerprint_does_not_depend_on_order() -> None:
    packets = [packet(psn=n, ip_id=n * 7, payload=n) for n in range(50)]
    turned = run(packets[::-1])
    assert (
        turned.ledger.flows["fingerprint"].sum() == run(packets).ledger.flows["fingerprint"].sum()
    )


def test_rtt_quantiles_are_right_to_an_eighth_of_an_octave() -> None:
    rng = random.Random(5)
    data = packet()
    forward = (0, data["src"], data["dst"], 1)
    samples = [rng.choice([3, 17, 900, rng.randrange(1 << 36)]) for _ in range(999)]
    acks = [
        packet(src=data["dst"], dst=data["src"], qpn=2, opcode=0x11, payload=0, rtt_ns=ns,
               peer_key=forward, psn=n) for n, ns in enumerate(samples)
    ]  # fmt: skip
    kernels = run([data, *acks])
    slot = kernels.slots[forward]
    found = [kernels.ledger.totals[slot][name] for name in ("rtt_p50", "rtt_p99")]
    samples.sort()
    for share, value in zip((0.5, 0.99), found, strict=True):
        exact = samples[int(np.ceil(share * len(samples))) - 1]
        assert value == pytest.approx(exact, rel=1 / 16)


@pytest.mark.parametrize("ns", [0, 1, 7, 8, 9, 15, 16, 1023, 1024, 1 << 20, (1 << 36) + 12345])
def test_every_rtt_lies_near_the_middle_of_its_bin(ns: int) -> None:
    data = packet()
    ack = packet(src=data["dst"], dst=data["src"], qpn=2, opcode=0x11, rtt_ns=ns, psn=1,
                 peer_key=(0, data["src"], data["dst"], 1))  # fmt: skip
    kernels = run([data, ack])
    found = kernels.ledger.totals[kernels.slots[ack["peer_key"]]]
    assert found["rtt_count"] == 1
    assert found["rtt_p99"] == ns  # never outside what was measured
    assert not kernels.ledger.rtt.any()  # ready for the next flow of the slot
    number: Any = windows.rtt_bin  # the functions in these, which kernels fold in
    middle: Any = windows.rtt_bin_middle
    assert middle.py_func(number.py_func(ns)) == pytest.approx(ns, rel=1 / 16, abs=0.5)


def test_a_read_answered_before_its_flow_was_paired() -> None:
    read = packet(opcode=0x0C, psn=100, payload=0, va=0x1000, dma=3000,
                  headers=int(Header.BTH | Header.RETH))  # fmt: skip
    other = {"src": read["dst"], "dst": read["src"], "qpn": 2}
    forward = (0, read["src"], read["dst"], 1)
    answers = [
        packet(opcode=0x0D, psn=100, payload=1024, ts=10, **other),
        packet(opcode=0x0E, psn=101, payload=1024, ts=20, **other),
        packet(opcode=0x0F, psn=102, payload=952, ts=30, peer_key=forward, **other),
    ]
    (message,) = run([read, *answers]).rows["messages"]
    assert message["complete"]
    assert (message["operation"], message["bytes"], message["packets"]) == (2, 3000, 3)
    assert (message["start"], message["end"], message["va"]) == (0, 30, 0x1000)


def test_a_read_asked_again_for_its_tail_is_one_message() -> None:
    def ask(psn: int, va: int, dma: int, mark: int) -> Packet:
        return packet(opcode=0x0C, psn=psn, payload=0, va=va, dma=dma, mark=mark,
                      headers=int(Header.BTH | Header.RETH))  # fmt: skip

    other = {"src": packet()["dst"], "dst": packet()["src"], "qpn": 2,
             "peer_key": (0, packet()["src"], packet()["dst"], 1)}  # fmt: skip
    packets = [
        ask(7, 0x1000, 3000, NEW),
        packet(opcode=0x0D, psn=7, payload=1024, ts=10, **other),
        packet(opcode=0x0F, psn=9, payload=952, ts=30, **other),
        ask(8, 0x1400, 1976, RESENT),
        packet(opcode=0x0D, psn=8, payload=1024, ts=40, mark=FILL, **other),
        packet(opcode=0x0F, psn=9, payload=952, ts=50, mark=RESENT, **other),
    ]
    for first in (RESENT, NEW):  # NEW: the tracker did not see that it was asked again
        packets[3]["mark"] = first
        (message,) = run(packets).rows["messages"]
        assert (message["bytes"], message["complete"], message["packets"]) == (3000, True, 3)


def cnp_cause(*before: Packet, after: tuple[Packet, ...] = ()) -> tuple[str, Row]:
    data = packet()
    cnp = packet(src=data["dst"], dst=data["src"], qpn=2, opcode=CNP_OPCODE, payload=0, ts=200_000)
    (row,) = plain(run([*before, cnp, *after]))["cnps"]
    return row["cause"], row


def test_a_cnp_is_explained_by_a_mark_of_the_pair_where_pairing_is_unknown() -> None:
    assert cnp_cause(packet(tos=3, ts=150_000))[0] == "ecn"
    assert cnp_cause(packet(tos=3, ts=99_999))[0] == "unexplained"
    assert cnp_cause(packet(tos=2, ts=150_000))[0] == "unexplained"
    assert cnp_cause(packet(tos=3, ts=150_000, mark=NEW), packet(mark=COPY, ts=1))[0] == "ecn"


def test_a_cnp_is_explained_by_a_nak_before_or_just_after_it() -> None:
    data = packet()
    nak = packet(src=data["dst"], dst=data["src"], qpn=2, opcode=0x11, syndrome=0x60,
                 headers=int(Header.BTH | Header.AETH))  # fmt: skip
    assert cnp_cause(nak | {"ts": 195_000})[0] == "nak"
    assert cnp_cause(nak | {"ts": 150_000})[0] == "unexplained"
    cause, row = cnp_cause(data, after=(nak | {"ts": 201_000},))
    assert (cause, row["since_nak_ns"]) == ("nak", -1000)
    assert cnp_cause(data, after=(nak | {"ts": 220_000},))[0] == "unexplained"


def test_an_erspan_mirror_counts_the_frame_that_was_mirrored() -> None:
    plain_frame = run([packet(wire=1100, ip_bytes=1086)])
    mirrored = run([packet(wire=1150, ip_bytes=1086, wrap=4)])
    tagged = run([packet(wire=1150, ip_bytes=1086, wrap=4, vlan=9)])
    sizes = [k.rows["flow_windows"][0]["bytes"] for k in (plain_frame, mirrored, tagged)]
    assert sizes == [1124, 1124, 1128]


def rates_of(packets: list[Packet]) -> float:
    kernels = run(packets)
    return windows.peak_rate_bps(kernels.ledger.rates[0])


def test_the_peak_rate_is_that_of_back_to_back_frames() -> None:
    # 1,124 bytes with framing at 100 Gb/s take 89.92 ns; every 64 packets the sender is silent.
    times = [n * 8992 // 100 + n // 64 * 50_000 for n in range(1000)]
    packets = [packet(ts=ts, psn=n) for n, ts in enumerate(times)]
    assert rates_of(packets) == pytest.approx(100e9, rel=0.02)
    # The other direction of the link at the same time is another matter.
    back = {"src": packet()["dst"], "dst": packet()["src"], "qpn": 2}
    both = sorted(packets + [packet(ts=ts + 3, **back) for ts in times], key=lambda p: p["ts"])
    assert rates_of(both) == pytest.approx(100e9, rel=0.02)


def test_packets_far_apart_tell_no_speed() -> None:
    assert rates_of([packet(ts=n * 20_001, psn=n) for n in range(500)]) == 0


def test_microsecond_clocks_need_longer_trains() -> None:
    times = [n * 8992 // 100 // 1000 * 1000 for n in range(5000)]
    packets = [packet(ts=ts, psn=n) for n, ts in enumerate(times)]
    assert rates_of(packets) == pytest.approx(100e9, rel=0.03)


def test_a_single_wrong_timestamp_is_no_speed() -> None:
    times = [n * 900 + 1 for n in range(2000)]
    times[500:516] = [times[500]] * 16
    packets = [packet(ts=ts, psn=n) for n, ts in enumerate(times)]
    assert rates_of(packets) == pytest.approx(1124 * 8 / 900e-9, rel=0.02)
