"""The diagnosis on runs whose cause is known: our twin's families and other people's simulators."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from analyzers.diagnosis.incidents import DECIDED, diagnose, read_run
from analyzers.frames import empty, schema
from dashboards import cli
from dashboards.score.outcome import compare
from dashboards.score.truth import read
from fabric import builders
from fabric.inventory import load
from fabric.schema import COUNTERS, INCIDENTS
from tests.accuracy.families import make
from tests.data import ROOT, real_data

# Classes that counters of any switch decide; the others are in the long form (make accuracy).
CLEAR = (
    "healthy", "pfc_storm", "slow_receiver", "lossy_link", "deadlock", "pfc_ignored",
    "congestion_drop", "watchdog_drop", "cnp_starvation",
)  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """A run of a class, made once."""
    folder = tmp_path_factory.mktemp("runs")

    def run(cls: str, seed: int) -> Path:
        path = folder / f"{cls}-{seed}"
        if not path.exists():
            make(cls, seed, path)
        return path

    return run


@pytest.mark.parametrize("cls", CLEAR)
def test_drawn_faults_are_named_and_placed(cls: str, drawn: Callable[[str, int], Path]) -> None:
    for seed in (2001, 2003):
        folder = drawn(cls, seed)
        incidents = diagnose(*read_run(folder)).to_dicts()
        start = int(read_run(folder)[0]["ts"].min())  # type: ignore[arg-type]
        told = {"incidents": incidents, "edges": [], "start": start, "seconds": 0.0}
        for answer in compare(read(folder / "label.json"), told).answers:
            assert not answer.wrong, (cls, seed, answer, [one["cls"] for one in incidents])
            assert answer.root in (-1, 1), (cls, seed, answer)


def renamed(folder: Path) -> tuple[pl.DataFrame, Path]:
    """Counters and topology of a run in which every device has another name, in another order."""
    counters, fabric = read_run(folder)
    names = sorted(fabric.devices, reverse=True)
    new = {name: f"x{number * 7 % 1000:03d}y" for number, name in enumerate(names)}
    text = json.loads((folder / "topology.json").read_text())
    for node in text["nodes"]:
        node["name"] = new[node["name"]]
    for link in text["links"]:
        for end in ("a", "b"):
            device, _, port = link[end].partition(":")
            link[end] = f"{new[device]}:{port}"
    path = folder.parent / "renamed"
    path.mkdir(exist_ok=True)
    (path / "topology.json").write_text(json.dumps(text))
    (path / "names.json").write_text(json.dumps({b: a for a, b in new.items()}))
    return counters.with_columns(pl.col("device").replace_strict(new)), path


@pytest.mark.parametrize(
    "name", ["pfc_storm-s1", "incast15-s1", "cbd_deadlock-s1", "healthy_poisson-s1"]
)
def test_names_do_not_matter(name: str, tmp_path: Path) -> None:
    given = real_data() / "groundtruth" / name
    folder = tmp_path / "given"
    folder.symlink_to(given, target_is_directory=True)
    before = diagnose(*read_run(folder))
    counters, path = renamed(folder)
    after = diagnose(counters, load([path / "topology.json"]).fabric)
    back = json.loads((path / "names.json").read_text())
    roots = [
        {back[r.partition(":")[0]] + ":" + r.partition(":")[2] for r in row}
        for row in after["roots"]
    ]
    assert after["cls"].to_list() == before["cls"].to_list()
    assert roots == [set(row) for row in before["roots"].to_list()]
    assert after["confidence"].to_list() == before["confidence"].to_list()


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("inet_pfc_storm-s1", ["pfc_storm"]),
        ("slow_link-s1", ["degraded_link"]),
        ("multi_storm_incast-s1", ["pfc_storm", "incast"]),
        ("inetx_cbd_deadlock-s2", ["pfc_backpressure"]),
        ("inet_all_to_all-s1", []),
    ],
)  # fmt: skip
def test_other_simulators(name: str, classes: list[str]) -> None:
    found = diagnose(*read_run(real_data() / "groundtruth" / name))
    assert found.filter(pl.col("confidence") >= DECIDED)["cls"].to_list() == classes


def test_a_locked_ring_has_exactly_its_ports_and_its_trigger() -> None:
    found = diagnose(*read_run(real_data() / "groundtruth" / "cbd_deadlock-s1")).row(0, named=True)
    assert sorted(found["roots"]) == ["sw0:1:3", "sw1:2:3", "sw2:1:3", "sw3:2:3"]
    assert any("sw1:2" in text and "trigger" in text for text in found["evidence"])
    assert "sw0:1 ← sw1:2" in found["tree"]


def test_rows_are_incidents_and_ids_stay(drawn: Callable[[str, int], Path]) -> None:
    counters, fabric = read_run(drawn("pfc_storm", 2001))
    found = diagnose(counters, fabric)
    assert found.schema == schema(INCIDENTS)
    later = diagnose(counters.filter(pl.col("ts") > counters["ts"].min() + 300_000), fabric)
    assert found["id"][0] == later["id"][0]
    shuffled = diagnose(counters.sample(fraction=1.0, shuffle=True, seed=1), fabric)
    assert shuffled.equals(found)


def test_silent_switches_are_named_as_missing(drawn: Callable[[str, int], Path]) -> None:
    counters, fabric = read_run(drawn("pfc_storm", 2001))
    quiet = next(name for name in fabric.devices if fabric.role(name) in ("spine", "leaf"))
    found = diagnose(counters.filter(pl.col("device") != quiet), fabric)
    assert all(f"counters of {quiet}" in row for row in found["missing"])


def test_nothing_read_is_nothing_said() -> None:
    fabric = builders.clos2(2, 2, 2)
    assert diagnose(empty(COUNTERS), fabric).is_empty()
    one = pl.DataFrame(
        {"ts": [1], "seen": [1], "device": ["leaf0"], "port": ["1"], "object": ["port"], "index": [-1],
         "counter": ["tx_bytes"], "value": [5]},
        schema=schema(COUNTERS),
    )  # fmt: skip
    assert diagnose(one, fabric).is_empty()


def test_a_tap_decides_what_counters_leave_open(capsys: pytest.CaptureFixture[str]) -> None:
    """A NIC went on for less than a sample: the overflow is counted, who is to blame is on the wire."""
    run = real_data() / "groundtruth" / "pfc_ignored-s1"
    assert cli.run(["analyze", str(run), "--json"]) == 1
    first = json.loads(capsys.readouterr().out)["incidents"][0]
    assert (first["cls"], first["tier"], first["roots"][0]) == ("pfc_ignored", "both", "host8:1:3")
    assert any(text.startswith("captured: ") for text in first["evidence"])
    assert first["findings"]


def test_captures_alone_end_in_incidents(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        cli.run(["analyze", str(ROOT / "captures" / "pfc_storm.pcap"), "--speed", "100G", "--json"])
        == 1
    )
    first = json.loads(capsys.readouterr().out)["incidents"][0]
    assert (first["cls"], first["tier"]) == ("pfc_storm", "captures")
    assert first["confidence"] >= DECIDED


def test_what_ports_show_is_told_once_for_all_priorities(drawn: Callable[[str, int], Path]) -> None:
    counters, fabric = read_run(drawn("lossy_link", 2001))
    once = diagnose(counters, fabric)["cls"].to_list()
    other = counters.filter(pl.col("index") >= 0).with_columns(index=pl.lit(5, pl.Int32))
    twice = diagnose(pl.concat([counters, other]), fabric)["cls"].to_list()
    assert once.count("lossy_link") == twice.count("lossy_link") == 1
