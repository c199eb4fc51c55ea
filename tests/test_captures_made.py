"""The captures are what their makers make, and hold what is written beside them, by the twins."""

import json
from collections import Counter
from functools import cache
from typing import Any

import pytest

from analyzers.transport.verdicts import EventKind, Place, Verdict
from captures.make import HERE, contents
from fabric.codes import CNP_OPCODE, Fault, FrameKind, Header, Wrap
from fabric.roce import icrc
from tests import twin_decode, twin_pcap

NAMES = sorted(path.stem for path in HERE.glob("*.json"))


def expectation(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text())
    return found


@cache
def rows(name: str) -> list[tuple[twin_pcap.Record, dict[str, Any]]]:
    """Every packet of a case, with the columns that the twin reads; a record cut short is left."""
    found = []
    for file in expectation(name)["files"]:
        data = (HERE / file).read_bytes()
        for record in twin_pcap.read(data).records:
            if name == "cut_record" and _cut(record):
                continue
            found.append((record, twin_decode.decode(record.frame, record.link_type)))
    return found


def _cut(record: twin_pcap.Record) -> bool:
    return len(record.frame) < min(record.wire_bytes, 96)


def test_every_file_is_made_again_byte_by_byte() -> None:
    made = dict(contents())
    found = {
        path.name: path.read_bytes()
        for path in HERE.iterdir()
        if path.is_file() and path.suffix in (".pcap", ".pcapng", ".json")
    }
    assert sorted(made) == sorted(found)
    assert [name for name in made if made[name] != found[name]] == []


def test_captures_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in HERE.iterdir() if path.is_file()}
    assert max(sizes.values()) < 200_000
    assert sum(sizes.values()) < 3_000_000


@pytest.mark.parametrize("name", NAMES)
def test_counts(name: str) -> None:
    found = dict.fromkeys(("packets", "roce", "cnp", "pauses", "faults"), 0)
    for _, row in rows(name):
        found["packets"] += 1
        found["roce"] += bool(row["headers"] & Header.BTH)
        found["cnp"] += row["opcode"] == CNP_OPCODE
        found["pauses"] += row["kind"] in (FrameKind.PFC, FrameKind.GLOBAL_PAUSE)
        found["faults"] += row["fault"] != Fault.NONE
    assert found == expectation(name)["counts"]
    expected = expectation(name).get("faults", {})
    faults = Counter(Fault(row["fault"]).name for _, row in rows(name))
    del faults["NONE"]
    assert faults == expected


@pytest.mark.parametrize("name", [n for n in NAMES if expectation(n).get("shown")])
def test_columns_that_every_packet_shows(name: str) -> None:
    shown = expectation(name)["shown"]
    wrap = sum(Wrap[flag] for flag in shown.pop("wrap_flags", []))
    for _, row in rows(name):
        found = {**row, "dscp": row["tos"] >> 2}
        assert {key: found[key] for key in shown} == shown
        assert row["wrap"] == wrap


@pytest.mark.parametrize("name", [n for n in NAMES if "icrc" in expectation(n)])
def test_invariant_crc(name: str) -> None:
    good = [
        icrc(record.frame[row["l3_at"] : row["icrc_at"]])
        == record.frame[row["icrc_at"] : row["icrc_at"] + 4]
        for record, row in rows(name)
    ]
    assert {"valid": good.count(True), "bad": good.count(False)} == expectation(name)["icrc"]


@pytest.mark.parametrize("name", NAMES)
def test_expected_events_use_the_vocabulary_and_point_at_packets(name: str) -> None:
    expected = expectation(name)
    psns = {row["psn"] for _, row in rows(name) if row["psn"] is not None}
    for event in expected["events"]:
        assert EventKind[event["kind"].upper()].name
        assert Verdict[event["verdict"].upper()].name
        assert not event["place"] or Place[event["place"].upper()].name
        assert event["psn"] in psns or event["verdict"] in ("capture_loss", "undetermined")


def test_every_kind_of_event_and_every_verdict_has_a_capture() -> None:
    events = [event for name in NAMES for event in expectation(name)["events"]]
    kinds = {kind.name.lower() for kind in EventKind}
    assert kinds - {event["kind"] for event in events} == set()
    told = {event["verdict"] for event in events}
    assert {v.name.lower() for v in Verdict} - told == {
        "invalid_request",
        "remote_operational",
        "invalid_rd_request",
    }


def test_damaged_capture_ends_inside_a_record() -> None:
    data = (HERE / "cut_record.pcap").read_bytes()
    assert _cut(twin_pcap.read(data).records[-1])


def test_copies_differ_in_nothing_that_the_crc_covers() -> None:
    frames = Counter(record.frame[26:] for record, _ in rows("mirror_copies_ttl"))
    assert set(frames.values()) == {2}
