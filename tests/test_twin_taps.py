"""The twin feeds the analysis: what its taps captured, analysed, shows what the label says."""

from pathlib import Path

import polars as pl
import pytest

from analyzers.detectors import run_detectors
from analyzers.pipeline import Options, analyze
from fabric.simulator.faults import changes
from fabric.simulator.outputs import RunFolder
from fabric.simulator.run import simulate
from fabric.simulator.scenario import parse
from tests.data import ROOT
from tests.test_scenarios import run

EXPECTED = {  # scenario: kinds of which one must be told as more than information
    "incast": {"incast", "ecn_marking"},
    "pfc_storm": {"pfc_storm", "pause_pressure"},
    "livelock": {"loss_downstream"},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_taps_show_what_the_label_says(name: str, tmp_path: Path) -> None:
    _, label = run(ROOT / f"fabric/simulator/scenarios/{name}.toml", tmp_path)
    assert label["cls"] == name
    taps = [str(path) for path in tmp_path.glob("tap_*.pcap")]
    with analyze(taps, Options(speed_bps=100_000_000_000)) as found:
        findings = run_detectors(found.tables)
        told = set(findings.filter(pl.col("severity") != "info")["kind"].to_list())
        points = found.tables.points.collect()
    assert points["faults"].sum() == 0
    assert points["roce"].sum() > 100
    assert told & EXPECTED[name]


def _pull(folder: Path, faults: list[dict]) -> dict:
    text = {
        "duration_us": 3000,
        "fabric": {"kind": "clos2", "leaves": 2, "spines": 1, "hosts_per_leaf": 2, "host_gbps": 100},
        "traffic": {"profile": "ns3", "timeout_us": 300, "mtu": 1024},
        "workload": [
            {"kind": "kv_cache", "prefill": ["host0"], "decode": ["host2"], "size": 1000000,
             "requests": 2, "pull": True},
            {"kind": "storage", "clients": ["host1"], "servers": ["host3"], "size": 5000,
             "until_us": 1000, "period_us": 20, "pull": True},
        ],
        "fault": faults,
        "output": {"taps": ["leaf0:1", "leaf1:2"], "interval_us": 100},
    }  # fmt: skip
    scenario = parse(text, "pull")
    built = scenario.build()
    with RunFolder(folder, scenario, built) as out:
        simulate(
            built, scenario.duration_ns, out, interval_ns=100_000,
            changes=changes(built, scenario.faults),
        )  # fmt: skip
        out.finish()
    assert (built.state.message["delivered"] >= 0).all()
    sent = built.state.message
    return {"reads": len(sent), "bytes": int(sent["bytes"].sum()), "built": built}


@pytest.mark.parametrize("tap", ["leaf0_1", "leaf1_2"])  # at hosts that have the data
def test_reads_of_the_twin_are_reads_to_the_analysis(tap: str, tmp_path: Path) -> None:
    _pull(tmp_path, [])
    with analyze([str(tmp_path / f"tap_{tap}.pcap")], Options(speed_bps=100_000_000_000)) as found:
        messages = found.tables.messages.collect()
        events = found.tables.events.collect()
        points = found.tables.points.collect()
        flows = pl.read_csv(tmp_path / "flows.csv")
    here = flows.filter(pl.col("src").str.starts_with("host0" if tap == "leaf0_1" else "host3"))
    assert points["faults"].sum() == 0
    assert events.is_empty()
    assert set(messages["operation"]) == {2}
    assert messages["complete"].all()
    assert sorted(messages["bytes"]) == sorted(here["size_bytes"])
    assert sorted(messages["declared_bytes"]) == sorted(here["size_bytes"])


def test_a_lost_response_is_asked_for_again(tmp_path: Path) -> None:
    fault = {"kind": "lossy_link", "place": "leaf0:1", "start_us": 0, "value": 0.004}
    truth = _pull(tmp_path, [fault])["built"]
    assert truth.state.port["implied_nak"].sum() > 0
    with analyze([str(tmp_path / "tap_leaf0_1.pcap")], Options(speed_bps=100_000_000_000)) as found:
        messages = found.tables.messages.collect()
        events = found.tables.events.collect()
    assert set(messages["operation"]) == {2}
    assert events.height > 0
    flows = pl.read_csv(tmp_path / "flows.csv").filter(pl.col("src").str.starts_with("host0"))
    assert messages.filter("complete")["declared_bytes"].sum() >= 0.5 * flows["size_bytes"].sum()
