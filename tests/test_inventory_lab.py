"""containerlab and Graphviz dot files, each with a broken twin for every error."""

from pathlib import Path

import pytest

from fabric.inventory import load
from fabric.topology import Port

CLAB = """\
name: pod
topology:
  defaults: {kind: srl}
  kinds:
    linux: {labels: {rack: "9"}}
  groups:
    spines: {labels: {role: spine}}
  nodes:
    leaf1: {labels: {role: leaf, pod: p1}}
    sp1: {group: spines}
    gpu1: {kind: linux}
    srv: {group: server}
  links:
    - endpoints: ["leaf1:e1-49", "sp1:e1-1"]
      mtu: 9200
      labels: {speed: 100G, length: 10m, rail: "2"}
    - type: veth
      endpoints:
        - {node: leaf1, interface: ethernet-1/2}
        - {node: gpu1, interface: eth1}
    - endpoints: ["srv:eth1", "leaf1:e1-3"]
    - endpoints: ["leaf1:mgmt", "host:br0"]
    - type: mgmt-net
      endpoint: {node: leaf1, interface: x}
"""


def test_containerlab(tmp_path: Path) -> None:
    path = tmp_path / "pod.clab.yml"
    path.write_text(CLAB)
    inventory = load([path])
    fabric = inventory.fabric
    assert inventory.contradictions == ()
    assert {d.name: d.role for d in fabric.devices.values()} == {
        "leaf1": "leaf", "sp1": "spine", "gpu1": "host", "srv": "host",
    }  # fmt: skip
    assert fabric.devices["leaf1"].pod == "p1"
    assert fabric.peer(Port("gpu1", "eth1")) == Port("leaf1", "ethernet-1/2")
    assert len(fabric.links) == 3
    link = fabric.link(Port("sp1", "e1-1"))
    assert link is not None
    assert (link.speed_bps, link.length_m, link.rail) == (100_000_000_000, 10.0, 2)
    qos = inventory.qos.get(Port("leaf1", "e1-49"))
    assert qos is not None
    assert qos.mtu_bytes == 9200


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("topology:", "topologie:", r"yml:1: topology is missing"),
        ("  nodes:", "  nods:", r"yml:2: topology: nodes is missing"),
        ("sp1:e1-1", "sp9:e1-1", r"yml:14: topology.links.0.endpoints.1: unknown node 'sp9'"),
        ("sp1:e1-1", "sp1", r"yml:14: topology.links.0.endpoints.1: not device:port: 'sp1'"),
        (
            '"srv:eth1", ',
            "",
            r"yml:21: topology.links.2.endpoints: a link has two endpoints, not 1",
        ),
        ("interface: eth1", "iface: eth1", r"endpoints.1: interface is missing"),
        ("speed: 100G", "speed: quick", r"yml:16: topology.links.0.labels.speed: not a speed"),
        ("mtu: 9200", "mtu: big", r"yml:15: topology.links.0.mtu: a whole number"),
        ('rail: "2"', "rail: left", r"labels.rail: a whole number is expected, not 'left'"),
        (
            "leaf1: {labels: {role: leaf, pod: p1}}",
            "leaf1: [labels]",
            r"leaf1: a mapping is expected",
        ),
    ],
)
def test_containerlab_errors(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    path = tmp_path / "pod.clab.yml"
    assert old in CLAB
    path.write_text(CLAB.replace(old, new, 1))
    with pytest.raises(ValueError, match=complaint):
        load([path], kind="containerlab")


DOT = """\
// cabling as it should be
strict graph "pod" {
  hostidtype = "hostname"; version="1:0"
  # a comment of the old kind
  node [os="sonic"]
  edge [speed="400G"]
  leaf1 [function="leaf" pod=p1]; "leaf2" [function=tor]
  "spine1" [role="spine"]
  /* chains
     count twice */
  "leaf1":"swp51" -- "spine1":"swp1" [length="30m", rail=1];
  leaf2:swp51 -- "spine1":"swp2" -- leaf3:swp1
  subgraph cluster_hosts { edge [speed=100G] "host1":eth0 -- leaf1:"et-0/0/1":2:ne }
  "a" "b"
}
"""


def test_dot(tmp_path: Path) -> None:
    path = tmp_path / "pod.dot"
    path.write_text(DOT.replace('  leaf2:swp51 -- "spine1":"swp2" -- leaf3:swp1\n',
                                '  leaf2:swp51 -- "spine1":"swp2"\n'))  # fmt: skip
    inventory = load([path])
    fabric = inventory.fabric
    assert fabric.name == "pod"
    assert inventory.contradictions == ()
    assert {n: fabric.role(n) for n in ("leaf1", "leaf2", "spine1", "host1")} == {
        "leaf1": "leaf", "leaf2": "leaf", "spine1": "spine", "host1": "host",
    }  # fmt: skip
    link = fabric.link(Port("leaf1", "swp51"))
    assert link is not None
    assert (link.speed_bps, link.length_m, link.rail) == (400_000_000_000, 30.0, 1)
    host = fabric.link(Port("host1", "eth0"))
    assert host is not None
    assert (host.b, host.speed_bps) == (Port("leaf1", "et-0/0/1:2"), 100_000_000_000)


def test_dot_chain_that_reuses_a_port_is_a_contradiction(tmp_path: Path) -> None:
    path = tmp_path / "pod.dot"
    path.write_text(DOT)
    (row,) = load([path]).contradictions
    assert (row.kind, row.device, row.port) == ("two_cables", "spine1", "swp2")
    assert row.where[0].startswith(f"{path}:12: ")


def test_dot_edges_to_a_group(tmp_path: Path) -> None:
    path = tmp_path / "x.gv"
    path.write_text("digraph { {a:1 b:1} -> c:7 }")
    assert {row.kind for row in load([path]).contradictions} == {"two_cables"}
    path.write_text("graph { a:1 -- {b:1} }")
    assert load([path]).fabric.peer(Port("a", "1")) == Port("b", "1")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("graf { }", r"x.dot:1: graf: graph or digraph is expected"),
        ("graph {\n a:1 -- b:2", r"x.dot:2: end: '}' is missing"),
        ("graph {\n a:1 --\n}", r"x.dot:3: }: a name is expected"),
        ("graph {\n a -- b:2\n}", r"x.dot:2: a: an edge needs ports"),
        ("graph {\n a:1 -- b:2 [speed=fast]\n}", r"x.dot:2: a -- b: not a speed: 'fast'"),
        ("graph {\n a:1 -- b:2 [rail=left]\n}", r"x.dot:2: a -- b: invalid literal"),
        ("graph {\n a:1 -- b:2 [speed=\n}", r"x.dot:3: }: a name is expected"),
        ("graph {}\nmore", r"x.dot:2: more: nothing may follow the graph"),
        ("graph {\n ! }", r"x.dot:2: not DOT: '! }'"),
        ('graph {\n "open }', r"x.dot:2: not DOT"),
        ("graph " + "{" * 60, r"x.dot:1: {: nested too deeply"),
    ],
)
def test_dot_errors(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "x.dot"
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        load([path])
