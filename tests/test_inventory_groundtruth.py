"""topology.json of the simulated runs, and that every path a flow really took is one of ours."""

import csv
import json
from pathlib import Path

import pytest

from fabric.inventory import load
from fabric.topology import Port
from tests.data import REAL_DATA, real_data

RUNS = sorted(path.parent.name for path in REAL_DATA.glob("groundtruth/*/topology.json"))

GOOD = {
    "nodes": [
        {"name": "host0", "id": 258, "kind": "host", "role": "host", "ip": "11.0.0.1"},
        {"name": "leaf0", "id": 1, "kind": "switch", "role": "leaf", "ip": None},
        {"name": "sw1", "id": 2, "kind": "switch", "role": "sw", "ip": None},
    ],
    "links": [
        {"a": "host0:1", "b": "leaf0:1", "bps": 100_000_000_000, "delay_ns": 1000},
        {"a": "leaf0:2", "b": "sw1:1", "bps": 50_000_000_000, "delay_ns": 5000},
    ],
    "mac_scheme": "02:00:00:<node_id hi>:<node_id lo>:<port>",
}


def written(tmp_path: Path, data: object) -> Path:
    path = tmp_path / "topology.json"
    path.write_text(json.dumps(data, indent=1))
    return path


def test_what_the_file_says(tmp_path: Path) -> None:
    inventory = load([written(tmp_path, GOOD)])
    fabric = inventory.fabric
    assert inventory.contradictions == ()
    assert [fabric.role(name) for name in ("host0", "leaf0", "sw1")] == ["host", "leaf", "switch"]
    assert fabric.locate("11.0.0.1") == Port("host0", "1")
    assert fabric.locate("02:00:00:01:02:01") == Port("host0", "1")
    assert fabric.locate("02:00:00:00:01:02") == Port("leaf0", "2")
    link = fabric.link(Port("sw1", "1"))
    assert link is not None
    assert link.speed_bps == 50_000_000_000
    assert link.length_m == pytest.approx(990)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d.pop("links"), r"topology.json:1: links is missing"),
        (lambda d: d["nodes"].append(d["nodes"][0]), r":24: nodes.3: a second node is named host0"),
        (lambda d: d["links"][1].update(b="sw9:1"), r":34: links.1.b: unknown node 'sw9'"),
        (lambda d: d["links"][1].update(b="sw1"), r":34: links.1.b: not device:port: 'sw1'"),
        (lambda d: d["links"][0].update(bps="fast"), r":29: links.0.bps: a whole number"),
        (lambda d: d["links"][0].update(bps=0), r":29: links.0.bps: a link has a positive rate"),
        (lambda d: d["links"][0].pop("b"), r":26: links.0: b is missing"),
        (lambda d: d.update(nodes={}), r":2: nodes: a list is expected, not a mapping"),
    ],
)
def test_each_error_names_its_place(tmp_path: Path, change: object, complaint: str) -> None:
    data = json.loads(json.dumps(GOOD))
    change(data)  # type: ignore[operator]
    with pytest.raises(ValueError, match=complaint):
        load([written(tmp_path, data)], kind="groundtruth")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"nodes": [\n1,', r"topology.json:2: not JSON"),
        ('{"nodes": [],\n "links": [],\n "nodes": []}', r":3: nodes: the key stands twice"),
        ("[" * 100_000, r"nested too deeply"),
    ],
)
def test_text_that_is_not_json(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "topology.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        load([path], kind="groundtruth")


def test_a_port_with_two_cables_is_a_contradiction(tmp_path: Path) -> None:
    data = json.loads(json.dumps(GOOD))
    data["links"].append({"a": "sw1:2", "b": "leaf0:2", "bps": 1, "delay_ns": 0})
    inventory = load([written(tmp_path, data)])
    (row,) = inventory.contradictions
    assert (row.kind, row.device, row.port) == ("two_cables", "leaf0", "2")
    assert all("topology.json:" in where for where in row.where)
    assert inventory.fabric.peer(Port("leaf0", "2")) is None
    assert inventory.fabric.peer(Port("host0", "1")) == Port("leaf0", "1")


@pytest.mark.parametrize("run", RUNS or ["absent"])
def test_every_path_taken_is_an_equal_cost_path(run: str) -> None:
    folder = real_data("groundtruth", run)
    inventory = load([folder / "topology.json"])
    fabric = inventory.fabric
    assert inventory.contradictions == ()
    flows = list(csv.DictReader((folder / "flows.csv").open()))
    taken = {tuple(map(Port.parse, flow["path"].split(">"))) for flow in flows if flow["path"]}
    assert taken
    for path in taken:
        last = fabric.peer(path[-1])
        assert last is not None
        assert path in set(fabric.equal_cost_paths(path[0].device, last.device))
    for flow in flows:
        port = fabric.locate(flow["src_ip"])
        assert port is not None
        assert port.device == flow["src"]
