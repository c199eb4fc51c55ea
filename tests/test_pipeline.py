"""From captures to tables: what may not matter, and what several taps say together.

What each capture of our own must yield stands in test_captures_found.py.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analyzers.detectors import run_detectors
from analyzers.frames import schema
from analyzers.merge import distinct, place_losses
from analyzers.pipeline import Options, Run, analyze
from analyzers.tables import NAMES
from analyzers.taps import nominal_bps
from analyzers.transport.verdicts import EventKind
from fabric.codes import CNP_OPCODE, Fault, FrameKind, Header
from fabric.pcap import PcapngWriter
from fabric.roce import Route, roce
from fabric.schema import EVENTS, FLOWS
from tests.data import ROOT, real_data

CAPTURES = ROOT / "captures"
WIDE_TABLES = [name for name in NAMES if name not in ("findings", "incidents")]


def case(name: str) -> dict[str, Any]:
    return dict(json.loads((CAPTURES / f"{name}.json").read_text()))


def files(name: str) -> list[str]:
    return [str(CAPTURES / file) for file in case(name)["files"]]


def read(name: str, **options: Any) -> Run:
    return analyze(files(name), Options(speed_bps=case(name).get("speed_bps", 0), **options))


def rows(frame: pl.LazyFrame) -> Counter[str]:
    return Counter(map(repr, frame.collect().rows()))


@pytest.mark.parametrize(
    "name", ["all_to_all", "incast", "pfc_pressure", "pcapng_interfaces", "read"]
)
def test_windows_and_batches_change_no_row(name: str) -> None:
    with read(name, packets=True) as whole:
        expected = {table: rows(getattr(whole.tables, table)) for table in WIDE_TABLES}
    for window, batch in ((4096, 8192), (1 << 19, 7)):
        with read(name, packets=True, window_bytes=window, batch_rows=batch) as run:
            for table in WIDE_TABLES:
                assert rows(getattr(run.tables, table)) == expected[table], table


def test_jobs_change_no_row() -> None:
    paths = [path for name in ("two_taps", "pfc_pressure", "cut_record") for path in files(name)]
    with analyze(paths) as alone, analyze(paths, Options(jobs=2)) as together:
        for table in WIDE_TABLES:
            assert rows(getattr(alone.tables, table)) == rows(getattr(together.tables, table)), (
                table
            )
        assert alone.summary == together.summary


def test_every_table_has_its_schema() -> None:
    with read("incast", packets=True) as run:
        for name in WIDE_TABLES:
            frame: pl.LazyFrame = getattr(run.tables, name)
            assert frame.collect().schema == frame.collect_schema()


def test_packets_are_counted_once_over_several_taps() -> None:
    folder = real_data("captures", "rdma_ib_tutorial", "nccl")
    with analyze([str(folder)]) as run:
        summary = run.summary
        flows = run.tables.flows.collect()
        traffic = run.tables.traffic.collect()
    assert (summary["points"], summary["roce"]) == (3, 552)
    assert (summary["distinct"], summary["exact"]) == (276, True)
    assert (summary["resent"], summary["copies"]) == (0, 0)
    assert flows.height == 12
    edges = dict(traffic.group_by("src", "dst").agg(pl.col("payload_bytes").max()).select(
        pl.concat_str("src", "dst", separator=">"), "payload_bytes").rows())  # fmt: skip
    heavy = {edge for edge, size in edges.items() if size > 10_000}
    assert heavy == {
        "172.30.0.25>172.30.0.11", "172.30.0.11>172.30.0.12", "172.30.0.12>172.30.0.25"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("file", "roce"),
    [("rdma_write_bw", 20), ("rdma_send_bw", 20), ("rdma_write_lat", 20), ("pingpong_rc", 20),
     ("rping", 65)],
)  # fmt: skip
def test_captures_of_others_are_clean(file: str, roce: int) -> None:
    with analyze([str(real_data("captures", "rdma_ib_tutorial", f"{file}.pcap"))]) as run:
        flows, messages = run.tables.flows.collect(), run.tables.messages.collect()
        assert run.summary["distinct"] == flows["packets"].sum() == roce
        assert (flows["resent"].sum(), flows["naks"].sum(), flows["ce"].sum()) == (0, 0, 0)
        assert messages["complete"].all()
        assert run.tables.events.collect().is_empty()


def test_a_loss_between_two_taps_is_placed() -> None:
    with read("two_taps") as run:
        events = run.tables.events.collect()
    assert events["place"].to_list() == ["between two_taps-a and two_taps-b"] * 2
    assert all(proof.endswith("It was seen at two_taps-a and not at two_taps-b.")
               for proof in events["proof"])  # fmt: skip


def loss(flow: int, point: str, place: str, ts: int, psn: int = 5) -> dict[str, Any]:
    return {"flow": flow, "point": point, "place": place, "ts": ts, "psn": psn, "frame": ts,
            "kind": "loss", "proof": "P."}  # fmt: skip


def places(events: list[dict[str, Any]], points: dict[int, str]) -> list[str]:
    columns = schema(EVENTS)
    table = pl.LazyFrame(
        [{name: event.get(name) for name in columns} for event in events], schema=columns
    )
    flows = pl.LazyFrame(
        [
            {"flow": n, "point": point, "src": "a", "dst": "b", "qpn": 7, "epoch": 0}
            for n, point in points.items()
        ],
        schema={name: kind for name, kind in schema(FLOWS).items() if name in
                ("flow", "point", "src", "dst", "qpn", "epoch")},
    )  # fmt: skip
    placed = place_losses(table, flows)
    assert placed.collect_schema() == columns
    return placed.collect()["place"].to_list()


def test_losses_of_one_packet_are_matched_by_their_order() -> None:
    points = {1: "x", 2: "y", 3: "z"}
    # The packet is lost twice: first between x and y, then behind both.
    events = [
        loss(1, "x", "downstream", 10), loss(1, "x", "downstream", 20),
        loss(2, "y", "upstream", 1_000_010), loss(2, "y", "downstream", 1_000_020),
        loss(1, "x", "downstream", 30, psn=6),
    ]  # fmt: skip
    assert places(events, points) == [
        "between x and y", "downstream", "between x and y", "downstream", "downstream",
    ]  # fmt: skip
    three = [
        loss(1, "x", "downstream", 1),
        loss(2, "y", "upstream", 2),
        loss(3, "z", "upstream", 3),
    ]
    assert places(three, points) == ["between x and y or z"] * 3
    other = [loss(1, "x", "downstream", 1), loss(2, "y", "upstream", 2) | {"kind": "gap"}]
    assert places(other, points) == ["downstream", "upstream"]


def test_points_that_saw_different_packets_are_not_exact() -> None:
    def flow(point: str, packets: int, fingerprint: int, qpn: int = 1) -> dict[str, Any]:
        return {"src": "a", "dst": "b", "qpn": qpn, "epoch": 0, "point": point, "packets": packets,
                "fingerprint": fingerprint}  # fmt: skip

    def sums(*flows: dict[str, Any]) -> tuple[Any, ...]:
        kinds = {n: k for n, k in schema(FLOWS).items() if n in flows[0]}
        return distinct(pl.LazyFrame(list(flows), schema=kinds)).collect().row(0)

    same = flow("x", 10, 99), flow("y", 10, 99)
    assert sums(*same) == (20, 10, True)
    assert sums(*same, flow("x", 5, 1, qpn=2)) == (25, 15, True)
    assert sums(flow("x", 10, 99), flow("y", 8, 50)) == (18, 10, False)
    assert sums(flow("x", 10, 99), flow("y", 10, 98)) == (20, 10, False)
    # A flow that was forgotten and came back is still the flow that another point saw in one piece.
    top = (1 << 64) - 1  # sums wrap
    assert sums(flow("x", 4, top), flow("x", 6, 100), flow("y", 10, 99)) == (20, 10, True)


def test_speed_is_given_or_inferred_or_unknown() -> None:
    def speed(name: str, options: Options) -> tuple[Any, ...]:
        with analyze(files(name), options) as run:
            return run.tables.points.select("speed_bps", "speed_source").collect().row(0)

    assert speed("incast", Options(speed_bps=400 * 10**9)) == (400 * 10**9, "given")
    single = Options(speed_bps=1, speeds={"incast": 25 * 10**9})
    assert speed("incast", single) == (25 * 10**9, "given")
    assert speed("incast", Options()) == (10**11, "inferred")
    assert speed("no_packets", Options()) == (0, "unknown")


@pytest.mark.parametrize(
    ("rate", "speed"),
    [(0, 0), (93e9, 100), (100e9, 100), (102.9e9, 100), (103.1e9, 200), (26e9, 40), (2e12, 2000)],
)
def test_rates_are_rounded_up_to_nominal_speeds(rate: float, speed: int) -> None:
    assert nominal_bps(rate) == speed * 10**9


def test_pauses_of_unknown_length_are_null() -> None:
    with analyze(files("xoff_expiry")) as run:
        (pause,) = run.tables.pauses.collect().to_dicts()
        (window,) = run.tables.pause_windows.collect().to_dicts()
        assert run.tables.points.collect()["speed_source"].to_list() == ["unknown"]
    assert pause["paused_ns"] is None
    assert (window["paused_ns"], window["duty"], window["transitions"]) == (None, None, 1)


def test_packets_only_when_asked() -> None:
    with read("ecn_cnp") as run:
        assert run.tables.packets.collect().is_empty()
    with read("ecn_cnp", packets=True) as run:
        packets, flows = run.tables.packets.collect(), run.tables.flows.collect()
        points = run.tables.points.collect()
    assert packets.height == int(points["roce"].sum()) + int(points["pauses"].sum())
    assert packets["frame"].is_sorted()
    cnps = packets.filter(opcode=CNP_OPCODE)
    assert cnps.height == points["cnp"].sum()
    counted = packets.group_by("flow").len().sort("flow")
    assert counted["len"].to_list() == flows.sort("flow").select(
        pl.col("packets") + pl.col("copies")
    ).to_series().to_list()  # fmt: skip


@pytest.mark.parametrize(
    "name", ["pfc_vector", "global_pause", "roce_v1", "vlan", "ipv6", "snap_40"]
)
def test_packets_have_what_their_headers_say(name: str) -> None:
    with read(name, packets=True) as run:
        packets = run.tables.packets.collect()
    assert packets.height
    for row in packets.to_dicts():
        bth = bool(row["headers"] & Header.BTH)
        pause = row["kind"] in (FrameKind.PFC, FrameKind.GLOBAL_PAUSE)
        assert (row["psn"] is not None) == (row["opcode"] is not None) == bth
        assert (row["flow"] is not None) == bth
        assert (row["syndrome"] is not None) == bool(row["headers"] & Header.AETH)
        assert (row["dma_bytes"] is not None) == bool(row["headers"] & Header.RETH)
        assert (row["quanta"] is not None) == pause
        if pause:
            assert len(row["quanta"]) == (8 if row["kind"] == FrameKind.PFC else 1)
            assert row["src"].count(":") == 5
            assert row["ttl"] is None
        if row["kind"] == FrameKind.ROCE_V1:
            assert row["sport"] is None
            assert row["ttl"] is not None


def test_what_cannot_be_read_is_one_line_each(tmp_path: Path) -> None:
    text = tmp_path / "notes.pcap"
    text.write_text("no capture")
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(b"")
    missing = str(tmp_path / "missing.pcap")
    with analyze([str(text), str(empty), missing, *files("vlan")]) as run:
        assert len(run.refused) == 3
        for path, line in zip((str(text), str(empty), missing), run.refused, strict=True):
            assert line.startswith(path)
            assert "\n" not in line
        assert run.tables.points.collect().height == 1


def test_nothing_to_read_is_an_empty_run(tmp_path: Path) -> None:
    with analyze([str(tmp_path)]) as run:
        assert len(run.refused) == 1
        for name in WIDE_TABLES:
            assert getattr(run.tables, name).collect().is_empty()
        assert run.summary["distinct"] == 0


def test_damage_is_told_and_what_came_before_is_kept() -> None:
    with read("cut_record") as run:
        (point,) = run.tables.points.collect().to_dicts()
    assert "cut in the middle" in point["damage"]
    assert point["packets"] == case("cut_record")["counts"]["packets"]


def test_the_folder_goes_with_the_run() -> None:
    with read("incast") as run:
        folder = Path(run.folder.name)
        assert folder.is_dir()
    assert not folder.exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_reaches_the_end(jobs: int) -> None:
    seen: list[tuple[int, int]] = []
    paths = files("two_taps")
    with analyze(paths, Options(jobs=jobs), lambda done, total: seen.append((done, total))):
        pass
    total = sum(Path(path).stat().st_size for path in paths)
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_icrc_is_checked_when_asked() -> None:
    with read("bad_icrc", packets=True) as run:
        assert run.tables.packets.collect()["icrc_ok"].is_null().all()
        assert run.tables.points.collect()["faults"].sum() == 0
    with read("bad_icrc", packets=True, icrc=True) as run:
        found = run.tables.packets.collect()["icrc_ok"]
        faults = run.tables.points.collect()["faults_by_kind"].to_list()[0]
    must = case("bad_icrc")["icrc"]
    assert (found.sum(), (~found).sum()) == (must["valid"], must["bad"])
    assert faults[Fault.BAD_ICRC] == must["bad"]


def test_a_flow_belongs_to_its_input() -> None:
    with read("two_taps") as run:
        flows = run.tables.flows.collect()
        events = run.tables.events.collect()
    points = dict(flows.select("flow", "point").rows())
    assert {flow >> 32 for flow in points} == {0, 1}
    assert all(points[row["flow"]] == row["point"] for row in events.to_dicts())
    assert {name.lower() for name in EventKind.__members__} >= set(events["kind"])


def test_packets_without_a_time_are_counted_and_told(tmp_path: Path) -> None:
    path = tmp_path / "untimed.pcapng"
    with PcapngWriter(path) as writer:
        writer.section()
        writer.interface(name="first")
        writer.interface(name="second")
        for psn in range(30):
            frame = roce(Route("10.0.0.1", "10.0.0.2"), 0x04, 17, psn)
            if psn < 20:
                writer.simple(frame)
            else:
                writer.packet(10**18 + psn, frame, interface=1)
    with analyze([str(path)]) as run:
        points = run.tables.points.collect()
        found = run_detectors(run.tables).filter(pl.col("kind") == "untimed_packets")
    assert points["untimed"].to_list() == [20, 0]
    assert points["packets"].to_list() == [20, 10]
    assert found["point"].to_list() == [points["point"][0]]
    with analyze([str(ROOT / "captures" / "healthy.pcap")]) as run:
        assert run.tables.points.collect()["untimed"].to_list() == [0]
