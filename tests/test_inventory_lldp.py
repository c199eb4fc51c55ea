"""LLDP rows in each spelling, one-way neighbours, and a broken twin for every error."""

import json
from pathlib import Path

import pytest

from fabric.inventory import load
from fabric.topology import Port

CSV = """\
device,port,peer_device,peer_port
leaf0,Ethernet0,spine0,Ethernet8
spine0.dc.example,Ethernet8,leaf0,Ethernet0
leaf0,Ethernet4,host0,eth0
leaf0,eth0,oob-switch,swp1
"""


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "lldp.csv"
    path.write_text(CSV.replace("spine0.dc.example", "spine0"))
    inventory = load([path])
    assert inventory.contradictions == ()
    assert inventory.fabric.peer(Port("leaf0", "Ethernet0")) == Port("spine0", "Ethernet8")
    assert "oob-switch" not in inventory.fabric.devices
    assert inventory.fabric.role("host0") == "host"


def test_long_names_mean_the_short_ones_that_others_use(tmp_path: Path) -> None:
    path = tmp_path / "lldp.csv"
    path.write_text(CSV.replace("Ethernet0,spine0,", "Ethernet0,spine0.dc.example,")
                    .replace("Ethernet8,leaf0,", "Ethernet8,leaf0.dc.example,"))  # fmt: skip
    inventory = load([path])
    assert inventory.contradictions == ()
    assert Port("leaf0", "Ethernet0") in {
        end for link in inventory.fabric.links for end in link[:2]
    }


def test_a_neighbour_that_knows_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "lldp.csv"
    path.write_text("device,port,peer_device,peer_port\na,1,b,1\nb,2,c,1\n")
    (row,) = load([path]).contradictions
    assert (row.kind, row.device, row.port) == ("one_way", "a", "1")
    assert row.where == (f"{path}:2",)


def test_two_sides_that_disagree(tmp_path: Path) -> None:
    path = tmp_path / "lldp.csv"
    path.write_text("device,port,peer_device,peer_port\na,1,b,1\nb,1,c,1\n")
    inventory = load([path])
    assert {row.kind for row in inventory.contradictions} == {"two_cables", "one_way"}
    assert inventory.fabric.links == ()


def test_a_dump_of_the_entry_table(tmp_path: Path) -> None:
    entry = {"lldp_rem_sys_name": "spine0", "lldp_rem_port_id": "Ethernet8"}
    for name, dump in {
        "leaf0.appl_db.json": {"LLDP_ENTRY_TABLE:Ethernet0": {"type": "hash", "value": entry}},
        "leaf0.json": {"LLDP_ENTRY_TABLE:Ethernet0": entry},
        "leaf0_lldp.json": {"LLDP_ENTRY_TABLE": {"Ethernet0": entry}},
    }.items():
        path = tmp_path / name
        path.write_text(json.dumps(dump))
        peer = load([path]).fabric.peer(Port("leaf0", "Ethernet0"))
        assert peer == Port("spine0", "Ethernet8"), name
        path.unlink()


def test_json_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(
        json.dumps([{"device": "a", "port": "1", "peer_device": "b", "peer_port": "2"}])
    )
    assert load([path]).fabric.peer(Port("a", "1")) == Port("b", "2")


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("x.csv", "device,port,peer_device,peer_port\na,1,b\n", r"x.csv:2: 4 columns are expected"),
        ("x.csv", "device,port,peer_device,peer_port\na,1,b,2,3\n", r"x.csv:2: 4 columns"),
        (
            "x.csv",
            "device,port,peer_device,peer_port\na,1,,2\n",
            r"x.csv:2: peer_device is missing",
        ),
        ("x.csv", "device,port,peer_device\na,1,b\n", r"x.csv:2: peer_port is missing"),
        (
            "x.json",
            '[{"device": "a", "peer_device": "b", "peer_port": "1"}]',
            r"row 0: port is missing",
        ),
        ("x.json", '{"LLDP_ENTRY_TABLE:E0": {"lldp_rem_sys_name": "b"}}', r"peer_port is missing"),
        (
            "x.json",
            '[\n{"device": [], "peer_device": "b", "peer_port": "1"}]',
            r"x.json:2: 0.device",
        ),
    ],
)
def test_lldp_errors(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        load([path], kind="lldp")
