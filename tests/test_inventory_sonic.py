"""SONiC configurations: cabling, names, QoS, and a broken twin for every error."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fabric.inventory import load
from fabric.qos import Buffer, Chain, Ecn, Scheduler, Watchdog
from fabric.topology import Port

Config = dict[str, Any]


def config(name: str = "leaf0", peer: str = "spine0") -> Config:
    """A switch with one port up, one to a host, and full RoCE settings."""
    return {
        "DEVICE_METADATA": {"localhost": {"hostname": name, "type": "ToRRouter"}},
        "PORT": {
            "Ethernet0": {"speed": "400000", "alias": "etp1", "mtu": "9216"},
            "Ethernet8": {"speed": "100000", "alias": "etp2a"},
            "Ethernet-BP0": {"speed": "100000", "role": "Int"},
        },
        "DEVICE_NEIGHBOR": {
            "Ethernet0": {"name": peer, "port": "Ethernet0"},
            "Ethernet8": {"name": f"host-{name}", "port": "eth0"},
            "Ethernet-BP0": {"name": "ASIC1", "port": "Ethernet-BP4"},
        },
        "PORTCHANNEL_MEMBER": {"PortChannel7|Ethernet0": {}},
        "PORTCHANNEL_INTERFACE": {"PortChannel7|10.1.0.0/31": {}, "PortChannel7": {}},
        "CABLE_LENGTH": {"AZURE": {"Ethernet0": "40m", "Ethernet8": "5m"}},
        "PORT_QOS_MAP": {
            "Ethernet0,Ethernet8": {
                "pfc_enable": "3,4",
                "dscp_to_tc_map": "AZURE",
                "tc_to_queue_map": "[TC_TO_QUEUE_MAP|AZURE]",
                "tc_to_pg_map": "AZURE",
                "pfc_to_queue_map": "AZURE",
                "pfc_to_pg_map": "AZURE",
            }
        },
        "DSCP_TO_TC_MAP": {"AZURE": {"26": "3", "48": "6", "10": "4"}},
        "TC_TO_QUEUE_MAP": {"AZURE": {"0": "0", "3": "3", "4": "4", "6": "6"}},
        "TC_TO_PRIORITY_GROUP_MAP": {"AZURE": {"0": "0", "3": "3", "4": "4", "6": "0"}},
        "MAP_PFC_PRIORITY_TO_QUEUE": {"AZURE": {"3": "3", "4": "4"}},
        "PFC_PRIORITY_TO_PRIORITY_GROUP_MAP": {"AZURE": {"3": "3", "4": "4"}},
        "QUEUE": {
            "Ethernet0,Ethernet8|3-4": {"wred_profile": "W", "scheduler": "roce"},
            "leaf0|asic0|Ethernet0|6": {"scheduler": "strict"},
        },
        "SCHEDULER": {"roce": {"type": "DWRR", "weight": "50"}, "strict": {"type": "STRICT"}},
        "WRED_PROFILE": {
            "W": {
                "ecn": "ecn_all",
                "green_min_threshold": "150000",
                "green_max_threshold": "1500000",
                "green_drop_probability": "5",
            }
        },
        "BUFFER_POOL": {"ing": {"type": "ingress", "mode": "dynamic", "size": "33000000"}},
        "BUFFER_PROFILE": {
            "p": {"pool": "[BUFFER_POOL|ing]", "size": "120000", "xon": "20000", "xoff": "100000",
                  "dynamic_th": "-1"},
        },
        "BUFFER_PG": {"Ethernet0|3-4": {"profile": "p"}, "Ethernet8|3-4": {"profile": "NULL"}},
        "PFC_WD": {
            "GLOBAL": {"POLL_INTERVAL": "100"},
            "Ethernet0": {"action": "drop", "detection_time": "200", "restoration_time": "400"},
        },
    }  # fmt: skip


def written(folder: Path, *configs: Config) -> Path:
    for i, data in enumerate(configs):
        (folder / f"config_db_{i}.json").write_text(json.dumps(data, indent=1))
    return folder


def test_cabling_and_names(tmp_path: Path) -> None:
    spine = config("spine0", "leaf0")
    spine["DEVICE_NEIGHBOR"]["Ethernet0"] = {"name": "leaf0.example.net", "port": "etp1"}
    inventory = load([written(tmp_path, config(), spine)])
    fabric = inventory.fabric
    assert inventory.contradictions == ()
    link = fabric.link(Port("leaf0", "Ethernet0"))
    assert link is not None
    assert (link.b, link.speed_bps, link.length_m) == (
        Port("spine0", "Ethernet0"),
        400_000_000_000,
        40.0,
    )
    assert fabric.role("spine0") == "spine"
    assert fabric.role("leaf0") == "leaf"
    assert fabric.role("host-leaf0") == "host"
    assert "ASIC1" not in fabric.devices
    assert inventory.lags[Port("leaf0", "PortChannel7")] == ("Ethernet0",)
    assert inventory.interfaces["10.1.0.0"] in {
        Port("leaf0", "PortChannel7"),
        Port("spine0", "PortChannel7"),
    }


def test_every_step_of_the_chain(tmp_path: Path) -> None:
    inventory = load([written(tmp_path, config())])
    qos = inventory.qos.get(Port("leaf0", "Ethernet0"))
    assert qos is not None
    assert qos.chain(26) == Chain(26, 3, 3, 3, 3, lossless=True)
    assert qos.chain(48) == Chain(48, 6, 6, 0, 6, lossless=False)
    assert qos.chain(0) == Chain(0, 0, 0, 0, 0, lossless=False)
    assert (qos.trust, qos.lag, qos.mtu_bytes, qos.speed_bps) == (
        "dscp",
        "PortChannel7",
        9216,
        400_000_000_000,
    )
    assert qos.marking(3) == Ecn(150_000, 1_500_000, 0.05, enabled=True)
    assert qos.marking(6) is None
    assert qos.schedulers == {
        3: Scheduler("dwrr", 50),
        4: Scheduler("dwrr", 50),
        6: Scheduler("strict"),
    }
    assert qos.buffers is not None
    assert qos.buffers[3] == Buffer(
        120_000, 20_000, 100_000, 0.5, -1, "ing", 33_000_000, lossless=True
    )
    assert qos.buffers[3].xoff_at_bytes() == 11_000_000
    assert qos.watchdog == Watchdog("drop", 200_000_000, 400_000_000, 100_000_000)
    other = inventory.qos.get(Port("leaf0", "Ethernet8"))
    assert other is not None
    assert other.mtu_bytes == 9100
    assert other.watchdog is None
    assert other.buffers is not None
    assert other.buffers[4].lossless
    assert math.isnan(other.buffers[4].xoff_at_bytes())


def test_rows_of_qos(tmp_path: Path) -> None:
    rows = {row[:3]: row for row in load([written(tmp_path, config())]).qos.rows()}
    assert len(rows) == 16
    roce = rows["leaf0", "Ethernet0", 3]
    assert roce[3:] == (3, [26], True, True, 150_000, 1_500_000, 0.05, 100_000, 9216)
    assert rows["leaf0", "Ethernet0", 6][4:6] == ([48], False)


def test_an_asic_each_or_all_in_one_file(tmp_path: Path) -> None:
    first, second = config(), config()
    first["DEVICE_METADATA"]["localhost"]["asic_name"] = "asic0"
    second["PORT"] = {"Ethernet64": {"speed": "100000"}}
    second["DEVICE_NEIGHBOR"] = {"Ethernet64": {"name": "spine1", "port": "Ethernet0"}}
    second["DEVICE_METADATA"]["localhost"]["asic_name"] = "asic1"
    apart = load([written(tmp_path, first, second)])
    together = tmp_path / "all"
    together.mkdir()
    (together / "leaf0.json").write_text(
        json.dumps(
            {
                "localhost": {"DEVICE_METADATA": config()["DEVICE_METADATA"]},
                "asic0": first,
                "asic1": second,
            }
        )
    )
    joined = load([together / "leaf0.json"], kind="sonic")
    for inventory in (apart, joined):
        assert inventory.contradictions == ()
        assert inventory.fabric.named("leaf") == ("leaf0",)
        assert len(inventory.fabric.ports("leaf0")) == 3
        qos = inventory.qos.get(Port("leaf0", "Ethernet64"))
        assert qos is not None
        assert qos.asic == "asic1"


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_dump_of_the_database_says_the_same(tmp_path: Path, wrapped: bool) -> None:
    def entry(value: object) -> object:
        return {"type": "hash", "ttl": -0.001, "value": value} if wrapped else value

    saved = load([written(tmp_path, config())])
    flat = {
        f"{table}|{key}": entry(value)
        for table, rows in config().items()
        for key, value in rows.items()
    }
    path = tmp_path / "dump.json"
    path.write_text(json.dumps(flat, indent=1))
    dumped = load([path])
    assert dumped.fabric.links == saved.fabric.links
    for port, qos in saved.qos.ports.items():
        other = dumped.qos.get(port)
        assert other is not None
        assert replace(other, source="") == replace(qos, source="")
    flat["PORT|Ethernet0"] = entry({"speed": "fast"})
    path.write_text(json.dumps(flat, indent=1))
    with pytest.raises(ValueError, match=r"dump.json:(7|10): PORT.Ethernet0.speed: a whole number"):
        load([path])


def test_tiers_by_type_unless_the_name_speaks(tmp_path: Path) -> None:
    data = config("sw-17", "sw-18")
    data["DEVICE_NEIGHBOR_METADATA"] = {"sw-18": {"type": "LeafRouter"}}
    fabric = load([written(tmp_path, data)]).fabric
    assert (fabric.role("sw-17"), fabric.role("sw-18")) == ("leaf", "spine")
    named = config("leaf3")
    named["DEVICE_METADATA"]["localhost"]["type"] = "LeafRouter"
    other = tmp_path / "other"
    other.mkdir()
    assert load([written(other, named)]).fabric.role("leaf3") == "leaf"


def test_newer_ecn_fields(tmp_path: Path) -> None:
    data = config()
    data["WRED_PROFILE"]["W"] |= {
        "ecn_green_min_threshold": "1000", "ecn_green_max_threshold": "2000",
        "ecn_green_mark_probability": "100",
    }  # fmt: skip
    qos = load([written(tmp_path, data)]).qos.get(Port("leaf0", "Ethernet0"))
    assert qos is not None
    assert qos.marking(3) == Ecn(1000, 2000, 1.0, enabled=True)


def test_headroom_that_is_computed_while_it_runs(tmp_path: Path) -> None:
    data = config()
    data["BUFFER_PROFILE"]["p"] = {"pool": "ing", "dynamic_th": "0", "headroom_type": "dynamic"}
    qos = load([written(tmp_path, data)]).qos.get(Port("leaf0", "Ethernet0"))
    assert qos is not None
    assert qos.buffers is not None
    assert (qos.buffers[3].lossless, qos.buffers[3].headroom_bytes) == (True, -1)


def test_contradictions(tmp_path: Path) -> None:
    leaf, spine = config(), config("spine0", "leaf0")
    spine["PORT"]["Ethernet0"]["speed"] = "100000"
    spine["CABLE_LENGTH"]["AZURE"]["Ethernet0"] = "300m"
    spine["DEVICE_NEIGHBOR"].pop("Ethernet0")
    leaf["DEVICE_NEIGHBOR"]["Ethernet99"] = {"name": "x", "port": "y"}
    leaf["PORT_QOS_MAP"]["Ethernet0,Ethernet8"]["pfc_to_pg_map"] = "absent"
    inventory = load([written(tmp_path, leaf, spine)])
    kinds = sorted(row.kind for row in inventory.contradictions)
    assert kinds == [
        "dangling_reference",
        "lengths_differ",
        "one_way",
        "speeds_differ",
        "unknown_port",
    ]
    assert all(row.where[0].startswith(str(tmp_path)) for row in inventory.contradictions)
    link = inventory.fabric.link(Port("leaf0", "Ethernet0"))
    assert link is not None
    assert (link.speed_bps, link.length_m) == (100_000_000_000, 300.0)


def change(*keys: str, to: object) -> Callable[[Config], object]:
    def apply(data: Config) -> None:
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = to

    return apply


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (change("PORT", "Ethernet0", "speed", to="fast"), r"config_db_0.json:10: PORT.Ethernet0.speed: a whole number"),
        (change("PORT", "Ethernet0", "speed", to="0"), r"config_db_0.json:10: PORT.Ethernet0.speed: a speed in Mb/s"),
        (change("PORT", "Ethernet0", to=[]), r"config_db_0.json:9: PORT.Ethernet0: a mapping is expected, not a list"),
        (change("PORT", "Ethernet0", "mtu", to="large"), r"PORT.Ethernet0.mtu: a whole number"),
        (change("DEVICE_NEIGHBOR", "Ethernet0", to={"port": "x"}), r"DEVICE_NEIGHBOR.Ethernet0: name is missing"),
        (change("DEVICE_NEIGHBOR", "Ethernet0", to={"name": "x"}), r"DEVICE_NEIGHBOR.Ethernet0: port is missing"),
        (change("PORTCHANNEL_MEMBER", to={"PortChannel7": {}}), r"a member is written PortChannelN"),
        (change("CABLE_LENGTH", "AZURE", "Ethernet0", to="far"), r"AZURE.Ethernet0: not a length: 'far'"),
        (change("PORT_QOS_MAP", "Ethernet0,Ethernet8", "pfc_enable", to="3,9"), r"pfc_enable: priorities are"),
        (change("DSCP_TO_TC_MAP", "AZURE", to={"x": "1"}), r"DSCP_TO_TC_MAP.AZURE.x: a number is expected"),
        (change("DSCP_TO_TC_MAP", "AZURE", to={"1": "x"}), r"DSCP_TO_TC_MAP.AZURE.1: a whole number"),
        (change("QUEUE", to={"Ethernet0": {}}), r"QUEUE.Ethernet0: a key is written PORT\|INDEX"),
        (change("QUEUE", to={"Ethernet0|a-b": {}}), r"a key is written PORT\|INDEX or PORT\|LOW-HIGH"),
        (change("WRED_PROFILE", "W", "green_max_threshold", to="1"), r"W.green_max_threshold: the maximum"),
        (change("WRED_PROFILE", "W", "green_drop_probability", to="x"), r"green_drop_probability: could not"),
        (change("BUFFER_PG", to={"Ethernet0|3": {}}), r"BUFFER_PG.Ethernet0\|3: profile is missing"),
        (change("BUFFER_PROFILE", "p", "xoff", to="much"), r"BUFFER_PROFILE.p.xoff: a whole number"),
        (change("SCHEDULER", "roce", "weight", to="heavy"), r"SCHEDULER.roce.weight: a whole number"),
        (change("PFC_WD", "Ethernet0", to={}), r"PFC_WD.Ethernet0: detection_time is missing"),
        (change("PFC_WD", "GLOBAL", to=7), r"PFC_WD.GLOBAL: a mapping is expected, not 7"),
        (change("PORT_QOS_MAP", to=[]), r"PORT_QOS_MAP: a mapping is expected"),
    ],
)  # fmt: skip
def test_each_error_names_its_place(
    tmp_path: Path, broken: Callable[[Config], object], complaint: str
) -> None:
    data = config()
    broken(data)
    written(tmp_path, data)
    with pytest.raises(ValueError, match=complaint) as error:
        load([tmp_path])
    assert re.match(r".*config_db_0\.json:\d+: \w", str(error.value))


def test_a_list_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "config_db.json").write_text("[]")
    with pytest.raises(ValueError, match=r"config_db.json:1: a mapping of tables is expected"):
        load([tmp_path])
