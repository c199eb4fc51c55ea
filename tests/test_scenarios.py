"""Every shipped scenario runs and shows on the network what its label says."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analyzers.frames import schema
from fabric.counters import COUNTERS as CANONICAL
from fabric.inventory import load as load_fabric
from fabric.schema import COUNTERS
from fabric.simulator import state as st
from fabric.simulator.build import Built
from fabric.simulator.faults import changes
from fabric.simulator.outputs import RunFolder
from fabric.simulator.run import Keep, simulate
from fabric.simulator.scenario import load, parse
from fabric.simulator.shipped import find, shipped, table
from tests.accuracy.truth import seen
from tests.data import ROOT

SCENARIOS = sorted((ROOT / "fabric/simulator/scenarios").glob("*.toml"))


def run(path: Path, folder: Path) -> tuple[Built, dict]:
    scenario = load(path)
    built = scenario.build()
    with RunFolder(folder, scenario, built) as out:
        simulate(
            built, scenario.duration_ns, out, interval_ns=scenario.output.interval_ns,
            changes=changes(built, scenario.faults),
        )  # fmt: skip
        return built, out.finish()


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_shows_what_it_says(path: Path, tmp_path: Path) -> None:
    built, label = run(path, tmp_path)
    assert json.loads((tmp_path / "label.json").read_text()) == label
    scenario, classes = load(path), {fault["cls"] for fault in label["faults"]}
    shown = {f["cls"] for f in label["faults"] if seen(scenario, built, label, f)}
    assert shown == classes
    assert (label["cls"] == "healthy") == (path.stem in HEALTHY)
    frame = pl.read_parquet(tmp_path / "counters.parquet")
    assert frame.schema == schema(COUNTERS)
    told = set(frame.select("object", "counter").unique().iter_rows())
    assert told <= {(c.object, c.name) for c in CANONICAL.values()}
    kinds = {(c.object, c.name): c.kind for c in CANONICAL.values()}
    grows = [what for what in told if kinds[what] == "cumulative"]
    named = pl.DataFrame(grows, schema=["object", "counter"], orient="row")
    cumulative = frame.join(named, on=["object", "counter"], how="semi").sort("ts")
    falls = cumulative.with_columns(
        d=pl.col("value").diff().over("device", "port", "object", "index", "counter")
    ).filter(pl.col("d") < 0)
    assert falls.is_empty() or path.stem == "counter_fault"
    assert load_fabric([tmp_path / "topology.json"]).fabric.devices


HEALTHY = {"healthy", "all_to_all", "kv_cache", "kv_cache_pull"}


def test_a_deadlock_stays_after_its_traffic_would_have_gone(tmp_path: Path) -> None:
    built, _ = run(next(p for p in SCENARIOS if p.stem == "deadlock"), tmp_path)
    cycle = [built.port_of[f"sw{i}:1"] for i in range(4)]
    assert (built.state.queue["held_from"][cycle, 3] != st.NEVER).all()
    assert not (built.state.message["delivered"] >= 0).any()


def test_counters_that_stand_still_are_told_and_the_network_goes_on(tmp_path: Path) -> None:
    built, _ = run(next(p for p in SCENARIOS if p.stem == "counter_fault"), tmp_path)
    frame = pl.read_parquet(tmp_path / "counters.parquet").filter(
        (pl.col("device") == "leaf1") & (pl.col("port") == "5") & (pl.col("counter") == "tx_bytes")
        & (pl.col("object") == "port")
    ).sort("ts")  # fmt: skip
    told = frame["value"].to_list()
    assert told[-2] == told[len(told) // 2]
    assert built.state.port["tx_bytes"][built.port_of["leaf1:5"]] > told[-2]


def test_taps_hold_what_counters_count(tmp_path: Path) -> None:
    text = {
        "duration_us": 300,
        "fabric": {
            "kind": "clos2",
            "leaves": 2,
            "spines": 1,
            "hosts_per_leaf": 2,
            "host_gbps": 100,
        },
        "workload": [{"kind": "all_reduce", "hosts": "all", "size": 262144}],
        "output": {"taps": ["leaf0:1"], "interval_us": 50},
    }
    scenario = parse(text, "small")
    built = scenario.build()
    with RunFolder(tmp_path, scenario, built) as out:
        simulate(built, scenario.duration_ns, out, interval_ns=50_000)
        out.finish()
    from tests.twin_reader import read

    frames = read((tmp_path / "tap_leaf0_1.pcap").read_bytes()).packets
    port = built.state.port[built.port_of["leaf0:1"]]
    assert len(frames) == port["rx_packets"] + port["tx_packets"] > 100
    assert sum(frame.wire for frame in frames) == port["rx_bytes"] + port["tx_bytes"]
    assert np.all(np.diff([frame.ts for frame in frames]) >= 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fabric": {"kind": "moebius"}}, "fabric.kind"),
        ({"workload": [{"kind": "nothing"}]}, "workload[0].kind"),
        (
            {
                "workload": [
                    {"kind": "incast", "senders": ["host77"], "receiver": "host0", "size": 1}
                ]
            },
            "host77",
        ),
        ({"fault": [{"kind": "pfc_storm", "place": "host0"}]}, "start_ns is missing"),
        ({"fault": [{"kind": "gremlin", "place": "host0", "start_us": 1}]}, "fault[0].kind"),
        ({"fault": [{"kind": "pfc_storm", "place": "host9", "start_us": 1}]}, "fault[0].place"),
        ({"fault": [{"kind": "lossy_link", "place": "leaf0", "start_us": 1}]}, "fault[0].place"),
        (
            {"fabric": {"kind": "clos2", "leaves": 1, "spines": 1}},
            "fabric: hosts_per_leaf is missing",
        ),
        ({"fabric": {"kind": "clos2", "leafs": 1}}, "fabric.leafs: unknown"),
        (
            {"fabric": {"kind": "clos2", "leaves": 0, "spines": 1, "hosts_per_leaf": 1}},
            "fabric.leaves: a whole number above 0",
        ),
        ({"switching": {"bufer": 1}}, "switching.bufer"),
        ({"traffic": {"mtuu": 1}}, "traffic.mtuu"),
        ({"output": {"taps": ["leaf9:1"]}}, "output.taps"),
        ({"output": {"silent": ["leaf9"]}}, "output.silent"),
        ({"output": {"interval_us": 0}}, "output.interval_us"),
        ({"duration_us": -5}, "duration_us"),
        (
            {"workload": [{"kind": "incast", "senders": ["host1"], "receiver": "host0"}]},
            "size is missing",
        ),
        (
            {
                "workload": [
                    {"kind": "incast", "senders": ["host1"], "receiver": "host9", "size": 9}
                ]
            },
            "workload[0]: no host 'host9'",
        ),
        ({"workload": [{"kind": "flows", "paths": ["host0>x>host1"], "size": 9}]}, "no device 'x'"),
        (
            {"workload": [{"kind": "poisson", "hosts": "all", "load": "x", "until_us": 9}]},
            "workload[0]: ",
        ),
        (
            {"fault": [{"kind": "pfc_storm", "place": "host0", "start_us": 9, "end_us": 3}]},
            "fault[0].end_us",
        ),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_wrong_scenario_names_the_key(change: dict, words: str) -> None:
    text = {
        "duration_us": 10,
        "fabric": {"kind": "clos2", "leaves": 1, "spines": 1, "hosts_per_leaf": 2},
    }
    with pytest.raises(ValueError, match=re.escape(words)):
        parse(text | change, "wrong")


def test_every_class_of_cause_has_a_scenario() -> None:
    covered = {number for one in shipped() for number in one.classes}
    assert covered == set(range(1, 31))
    alone = {one.classes[0] for one in shipped() if len(one.classes) == 1}
    assert alone == covered
    assert {2, 3} <= {len(one.classes) for one in shipped()}, "together, too"
    assert table() in (ROOT / "docs/simulator.md").read_text()


def test_a_run_declares_its_routing_rails_and_addresses(tmp_path: Path) -> None:
    run(find("reordering"), tmp_path / "sprayed")
    assert load_fabric([tmp_path / "sprayed/topology.json"]).fabric.routing == "spray"
    _, _ = run(find("rail_misplacement"), tmp_path / "rails")
    fabric = load_fabric([tmp_path / "rails/topology.json"]).fabric
    assert fabric.routing == "ecmp"
    assert {link.rail for link in fabric.links} == {0, 1}
    flows = pl.read_csv(tmp_path / "rails/flows.csv")
    for port, address in flows.select("src", "src_ip").unique().iter_rows():
        assert str(fabric.locate(address)) == port


def test_priorities_are_held_apart() -> None:
    """An incast in priority 4 is paused there; what shares its links in priority 3 is not."""
    text = {
        "duration_us": 1500,
        "fabric": {"kind": "clos2", "leaves": 2, "spines": 1, "hosts_per_leaf": 6, "host_gbps": 100,
                   "uplink_gbps": 800},
        "switching": {"lossless": [3, 4], "buffer_bytes": 4000000},
        "traffic": {"rate_control": False},
        "workload": [
            {"kind": "incast", "senders": ["host1-5"], "receiver": "host6", "size": 2000000,
             "priority": 4, "reply_priority": 4},
            {"kind": "incast", "senders": ["host0"], "receiver": "host7", "size": 8000000},
        ],
    }  # fmt: skip
    scenario = parse(text, "two")
    built = scenario.build()
    simulate(built, scenario.duration_ns, Keep(), interval_ns=100_000)
    held = built.state.queue["rx_xoff"].sum(axis=0)
    assert held[4] > 0
    assert held[3] == 0
    assert built.state.message["delivered"][-1] >= 0
    alone = 8000000 * (1024 + 58 + 24) / 1024 * 8 / 100  # ns at line rate
    took = (built.state.message["delivered"][-1] - built.state.message["started"][-1]) / 1000
    assert took < 1.1 * alone
