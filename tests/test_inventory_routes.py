"""Forwarding tables as SONiC and OpenConfig dump them, and a broken twin for every error."""

import json
from pathlib import Path
from typing import Any

import pytest

from fabric.inventory import load
from fabric.inventory.found import Hop, Route, device_of_file


def loaded(path: Path, data: object) -> dict[str, list[Route]]:
    path.write_text(json.dumps(data, indent=1))
    return load([path]).routes


def test_sonic_dump(tmp_path: Path) -> None:
    data = {
        "ROUTE_TABLE:0.0.0.0/0": {
            "type": "hash",
            "value": {
                "nexthop": "10.1.0.1,10.1.0.3",
                "ifname": "Ethernet0,Ethernet8",
                "weight": "1,3",
            },
        },
        "ROUTE_TABLE:10.2.0.7": {"nexthop": "10.1.0.1", "ifname": "PortChannel1"},
        "ROUTE_TABLE:fc00::/64": {"nexthop": "", "ifname": "Vlan10"},
        "ROUTE_TABLE:10.3.0.0/16": {"nexthop_group": "g1"},
        "ROUTE_TABLE:10.4.0.0/16": {"blackhole": "true"},
        "ROUTE_TABLE:Vrf1:10.0.0.0/8": {"ifname": "Ethernet0", "nexthop": "1.1.1.1"},
        "NEXTHOP_GROUP_TABLE:g1": {"nexthop": "10.1.0.3", "ifname": "Ethernet8"},
        "PORT_TABLE:Ethernet0": {"speed": "1"},
    }
    assert loaded(tmp_path / "leaf0.appl_db.json", data) == {
        "leaf0": [
            Route("0.0.0.0/0", (Hop("Ethernet0", "10.1.0.1", 1), Hop("Ethernet8", "10.1.0.3", 3))),
            Route("10.2.0.7/32", (Hop("PortChannel1", "10.1.0.1"),)),
            Route("fc00::/64", (Hop("Vlan10"),)),
            Route("10.3.0.0/16", (Hop("Ethernet8", "10.1.0.3"),)),
        ]
    }


def aft() -> dict[str, Any]:
    return {
        "openconfig-network-instance:network-instances": {
            "network-instance": [
                {"name": "mgmt", "afts": {}},
                {
                    "name": "default",
                    "afts": {
                        "openconfig-aft:ipv4-unicast": {
                            "ipv4-entry": [
                                {"prefix": "10.0.0.0/24", "state": {"next-hop-group": "7"}},
                                {"prefix": "10.9.0.0/24", "state": {}},
                            ]
                        },
                        "ipv6-unicast": {
                            "ipv6-entry": [
                                {"prefix": "2001:db8::/64", "state": {"next-hop-group": 7}}
                            ]
                        },
                        "next-hop-groups": {
                            "next-hop-group": [
                                {
                                    "id": "7",
                                    "next-hops": {
                                        "next-hop": [
                                            {"index": "1", "state": {"weight": "2"}},
                                            {"index": "2"},
                                        ]
                                    },
                                }
                            ]
                        },
                        "next-hops": {
                            "next-hop": [
                                {
                                    "index": "1",
                                    "state": {"ip-address": "10.1.0.1"},
                                    "interface-ref": {"state": {"interface": "Ethernet1/1"}},
                                },
                                {"index": "2", "state": {"ip-address": "10.1.0.3"}},
                            ]
                        },
                    },
                },
            ]
        }
    }


def test_openconfig_tree(tmp_path: Path) -> None:
    hops = (Hop("Ethernet1/1", "10.1.0.1", 2), Hop("", "10.1.0.3", 1))
    expected = {"spine3": [Route("10.0.0.0/24", hops), Route("2001:db8::/64", hops)]}
    assert loaded(tmp_path / "spine3_aft.json", aft()) == expected
    instance = aft()["openconfig-network-instance:network-instances"]["network-instance"][1]
    assert loaded(tmp_path / "spine3_aft.json", {"afts": instance["afts"]}) == expected
    assert loaded(tmp_path / "spine3_aft.json", instance["afts"]) == expected


def test_the_file_names_the_device() -> None:
    for name in ("leaf0.json", "leaf0.appl_db.json", "leaf0_routes.json", "leaf0-aft.json"):
        assert device_of_file(Path(name)) == "leaf0"
    assert device_of_file(Path("leaf0/appl_db.json")) == "leaf0"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"ROUTE_TABLE:10.0.0/33": {"ifname": "E0"}}, r"x.json:2: .*: not a prefix: '10.0.0/33'"),
        (
            {"ROUTE_TABLE:10.0.0.0/8": {"nexthop_group": "g"}},
            r"x.json:3: .*NEXTHOP_GROUP_TABLE:g is missing",
        ),
        (
            {"ROUTE_TABLE:10.0.0.0/8": {"ifname": "E0", "weight": "a"}},
            r"x.json:4: .*a weight is a whole",
        ),
        (
            {"ROUTE_TABLE:Vrf1:10.0.0.0/8": {"ifname": "E0"}},
            r"x.json:1: no route of the default instance",
        ),
        ({"ROUTE_TABLE:10.0.0.0/8": 7}, r"x.json:2: .*a mapping is expected, not 7"),
    ],
)
def test_sonic_errors(tmp_path: Path, data: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        loaded(tmp_path / "x.json", data)


def test_openconfig_errors(tmp_path: Path) -> None:
    def broken(find: str, put: str, complaint: str) -> None:
        text = json.dumps(aft())
        assert find in text
        (tmp_path / "x.json").write_text(text.replace(find, put))
        with pytest.raises(ValueError, match=complaint):
            load([tmp_path / "x.json"], kind="routes")

    broken('"id": "7"', '"id": "8"', r"next-hop-group 7 is missing")
    broken('{"index": "2"}', '{"index": "5"}', r"next-hop 5 is missing")
    broken('"weight": "2"', '"weight": "x"', r"weight: a whole number is expected")
    broken('"prefix": "10.0.0.0/24"', '"prefix": "ten"', r"not a prefix: 'ten'")
    broken('"name": "default"', '"name": "blue"', r"no default network-instance")
    broken('"index": "2", "state"', '"indx": "2", "state"', r"index is missing")
