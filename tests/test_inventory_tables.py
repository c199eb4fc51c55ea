"""LINKS, QOS and RANKS of an inventory hold what it holds, in the declared schema."""

from pathlib import Path

from analyzers.inventory_tables import inventory_tables
from analyzers.tables import tables
from fabric.inventory import load

TEXT = """\
fabric: 1
devices: {leaf0: {role: leaf}, host0: {role: host}}
links:
  - host0:1 -- leaf0:1 400G rail=2
ranks:
  - {job: a, rank: 0, device: host0, port: "1"}
qos:
  - {ports: leaf0:1, dscp: {26: 3}, pfc: [3], ecn: {3: {kmin: 1K, kmax: 2K, pmax: 0.5}}}
"""


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(TEXT)
    given = tables(inventory_tables(load([path])))
    links = given.links.collect().sort("device").to_dicts()
    assert [(r["device"], r["peer_device"], r["role"], r["peer_role"], r["rail"]) for r in links] == [
        ("host0", "leaf0", "host", "leaf", 2), ("leaf0", "host0", "leaf", "host", 2),
    ]  # fmt: skip
    qos = given.qos.collect().filter(priority=3).to_dicts()
    assert [(r["pfc"], r["ecn"], r["kmin_bytes"], r["pmax"], r["dscp"]) for r in qos] == [
        (True, True, 1000, 0.5, [26])
    ]
    assert given.ranks.collect().row(0)[:4] == ("a", 0, "host0", "1")


def test_an_empty_inventory_gives_empty_tables(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("fabric: 1\n")
    given = tables(inventory_tables(load([path])))
    assert given.links.collect().height == given.qos.collect().height == 0
