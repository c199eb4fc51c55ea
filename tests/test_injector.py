"""The injector itself: what it makes is RoCE as the protocol has it, and its log is what happened."""

import ast
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from fabric.codes import PSN_MASK, RESPONSES
from tests.injector import faults
from tests.injector.capture import Capture, make_capture
from tests.injector.packets import Flow

FOLDER = Path(__file__).parent / "injector"
LONGEST_READ = 8  # packets


@pytest.fixture(scope="module")
def capture() -> Capture:
    return make_capture(7, pairs=40, bursts=16)


def test_it_imports_nothing_that_it_is_to_judge() -> None:
    allowed = {"fabric.codes", "fabric.wire", "fabric.pcap", "fabric.roce"}
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert not name.startswith("analyzers"), f"{path.name} imports {name}"
                assert not name.startswith("fabric") or name in allowed, f"{path.name}: {name}"


def test_the_same_seed_makes_the_same_capture() -> None:
    once, twice = make_capture(3, 4, 6), make_capture(3, 4, 6)
    assert once.packets == twice.packets
    assert once.truths == twice.truths
    assert make_capture(4, 4, 6).packets != once.packets


def test_every_fault_happens(capture: Capture) -> None:
    missing = {fault.__name__ for fault in faults.FAULTS} - set(capture.faults)
    assert not missing


def test_packets_are_in_the_order_of_time_and_fit_their_fields(capture: Capture) -> None:
    times = [packet.ts for packet in capture.packets]
    assert times == sorted(times)
    for packet in capture.packets:
        assert 0 <= packet.psn <= PSN_MASK
        assert 0 <= packet.ip_id < 65536
        assert packet.payload <= 4096


def test_psns_wrap_in_some_flows(capture: Capture) -> None:
    psns: dict[tuple[int, int, int], list[int]] = {}
    for packet in capture.packets:
        psns.setdefault(packet[1:4], []).append(packet.psn)
    wrapping = [1 for some in psns.values() if min(some) < 500 and max(some) > PSN_MASK - 500]
    assert len(wrapping) > 5


def test_numbers_of_queue_pairs_repeat_on_other_hosts(capture: Capture) -> None:
    flows = {packet[1:4] for packet in capture.packets}
    assert max(Counter(qpn for _, _, qpn in flows).values()) > 2


def test_traffic_without_faults_numbers_its_packets_without_gap_or_repeat() -> None:
    clean = make_capture(11, pairs=20, bursts=4, chosen=[faults.nothing])
    assert {truth.kind for truth in clean.truths} <= {"qpn_reuse"}
    reused = {truth.flow for truth in clean.truths}
    requests: dict[Flow, list[int]] = {}
    answered: dict[tuple[int, int, int], set[int]] = {}  # READ responses by hosts and source port
    for packet in {packet._replace(ts=packet.ts, ttl=64): None for packet in clean.packets}:
        if packet.opcode in RESPONSES:
            answered.setdefault((packet.dst, packet.src, packet.sport), set()).add(packet.psn)
        else:
            requests.setdefault(packet[1:4], []).append(packet.psn)
    plain = {flow: psns for flow, psns in requests.items() if len(psns) == len(set(psns))}
    assert len(plain) > 10
    for flow, psns in plain.items():
        if flow not in reused:
            steps = [(b - a) & PSN_MASK for a, b in pairwise(psns)]
            assert all(0 < step <= LONGEST_READ for step in steps), (flow, psns)


def test_a_packet_that_the_log_calls_lost_upstream_comes_after_its_successor() -> None:
    capture = make_capture(5, pairs=12, bursts=8, chosen=[faults.lost_up])
    firsts: dict[tuple[Flow, int], int] = {}
    for packet in capture.packets:
        firsts.setdefault((packet[1:4], packet.psn), packet.ts)
    lost = [truth for truth in capture.truths if truth.kind == "loss" and truth.decidable]
    assert len(lost) > 40
    for truth in lost:
        above = (truth.psn + truth.psns) & PSN_MASK
        assert firsts[truth.flow, above] < firsts[truth.flow, truth.psn]
