"""The same packets as real frames in a file, through reader and decoder: the same events.

This is what joins the fast form of the injector, which fills columns, to what a user does.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analyzers.capture.batch import DTYPES
from analyzers.pipeline import Options, analyze
from tests.injector import faults
from tests.injector.capture import SPEED_BPS, Capture, make_capture
from tests.injector.columns import columns
from tests.injector.files import address, write_pcap
from tests.twin_sequence import Twin
from tests.twin_state import NONE, Event

WORDS = ("kind", "verdict", "place")
NUMBERS = ("psn", "psns", "ts", "end", "resent", "extent")
NULLABLE = {"delay_ns": NONE, "limit_ns": NONE, "frame": 0, "original_frame": 0, "reply_frame": 0,
            "resend_frame": 0}  # fmt: skip


@pytest.fixture(scope="module", params=["single", "chaos"])
def capture(request: pytest.FixtureRequest) -> Capture:
    chosen = None if request.param == "single" else [faults.chaos]
    return make_capture(31, pairs=8, bursts=10, chosen=chosen)


@pytest.fixture(scope="module")
def path(capture: Capture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("injected") / "tap.pcap"
    write_pcap(path, capture.packets)
    return path


def row(event: Event) -> tuple[object, ...]:
    src, dst, qpn = event.flow
    given = event._asdict()
    return (
        address(src), address(dst), qpn, *(given[name] for name in WORDS + NUMBERS),
        *(None if given[name] == none else given[name] for name, none in NULLABLE.items()),
    )  # fmt: skip


def test_events_are_those_of_the_twin(capture: Capture, path: Path) -> None:
    with analyze([str(path)], Options(speed_bps=SPEED_BPS)) as run:
        flows = run.tables.flows.select("flow", "src", "dst", "qpn")
        events = run.tables.events.join(flows, on="flow").collect()
    told = Counter(events.select("src", "dst", "qpn", *WORDS, *NUMBERS, *NULLABLE).rows())
    assert told == Counter(map(row, Twin(SPEED_BPS).run(capture.packets).events))
    assert len(told) > 20


def test_packets_are_what_was_injected(capture: Capture, path: Path) -> None:
    with analyze([str(path)], Options(packets=True)) as run:
        packets = run.tables.packets.sort("frame").collect()
    made = columns(capture.packets)
    same = {
        "ts": "ts", "wire_bytes": "wire", "headers": "headers", "ip_id": "ip_id", "ttl": "ttl",
        "ip_bytes": "ip_bytes", "sport": "sport", "opcode": "opcode", "qpn": "qpn", "psn": "psn",
        "ack_request": "ack_request", "payload_bytes": "payload", "pad": "bth1",
    }  # fmt: skip
    for table, batch in same.items():
        expected = made[batch].astype(DTYPES[batch])
        if batch == "bth1":
            expected = expected >> 4
        assert np.array_equal(packets[table].to_numpy(), expected), table
    for name, header in (("syndrome", 0x2), ("msn", 0x2), ("dma_bytes", 0x1)):
        have = packets.filter(pl.col("headers") & header != 0)
        kept = (made["headers"] & header) != 0
        batch = "dma" if name == "dma_bytes" else name
        assert np.array_equal(have[name].to_numpy(), made[batch][kept]), name
