"""COUNTERS from raw records: what a platform writes comes back as what was meant, and hostile values do not."""

import json
import math
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analyzers.frames import schema
from analyzers.telemetry.batch import batch_of, read_batch
from analyzers.telemetry.decode import Decoded, Decoder
from analyzers.telemetry.dictionary import Dictionary, builtin, load
from analyzers.telemetry.timelines import timelines
from collectors import messages as gnmi
from collectors.batches import compose
from collectors.messages import Encoding
from collectors.recorder import Recorder
from collectors.records import Method
from collectors.segments import segments
from collectors.trees import tree
from collectors.vocabulary import PLATFORMS
from fabric.counters import COUNTERS as CANONICAL
from fabric.schema import COUNTERS, QUALITY

NOW = 1_750_000_000_000_000_000
KEY = ["ts", "device", "port", "object", "index", "counter"]


def readings(platform: str, times: int = 3) -> pl.DataFrame:
    """Random readings of everything a platform has a word for."""
    random.seed(21)
    rows = []
    for t in range(times):
        for port in ("Ethernet0", "Ethernet4", "Ethernet120"):
            for (of, counter), leaf in PLATFORMS[platform].items():
                for index in [-1] if of == "port" else range(0, 8, 3):
                    value = random.getrandbits(40) // max(leaf.unit, 1) * max(leaf.unit, 1)
                    if counter == "link_bps":
                        value = 400_000_000_000
                    rows.append((NOW + t, NOW + t, "leaf1", port, of, index, counter, value))
    return pl.DataFrame(rows, schema=schema(COUNTERS), orient="row")


def responses(
    platform: str, wanted: pl.DataFrame, encoding: Encoding, grouped: bool
) -> list[bytes]:
    """The same as a device of the platform writes it."""
    (timeline,) = timelines(wanted)
    made = tree(platform, timeline)
    if platform == "openconfig":
        asked = [("", "/")]
    else:
        asked = [
            ("COUNTERS_DB", "COUNTERS/Ethernet*"), ("COUNTERS_DB", "COUNTERS/Ethernet*/Queues"),
            ("COUNTERS_DB", "COUNTERS/Ethernet*/Pfcwd"), ("APPL_DB", "PORT_TABLE/Ethernet*"),
            ("COUNTERS_DB", "PERIODIC_WATERMARKS/Ethernet*/PriorityGroups"),
        ]  # fmt: skip
    found = []
    for target, path in asked:
        prefix = gnmi.Path(target=target)
        selection = made.select(prefix, gnmi.path(path), encoding, grouped=grouped)
        for ts, row in zip(timeline.times, timeline.rows, strict=True):
            written = selection.responses(ts, row, selection.columns)
            found.extend(response.SerializeToString() for response in written)
    return found


def decode(
    payloads: list[bytes], method: int = Method.GNMI, peer: str = "leaf1", **kwargs: Any
) -> Decoded:
    batch = batch_of([(peer, method, payload, 0, NOW) for payload in payloads])
    return Decoder(**kwargs).decode(batch)


def one(path: str, target: str = "", **value: Any) -> bytes:
    note = gnmi.Notification(timestamp=NOW, prefix=gnmi.Path(target=target))
    note.update.add(path=gnmi.path(path), val=gnmi.TypedValue(**value))
    return gnmi.SubscribeResponse(update=note).SerializeToString()


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(
    ("platform", "encoding"),
    [
        ("openconfig", Encoding.PROTO),
        ("openconfig", Encoding.JSON),
        ("openconfig", Encoding.JSON_IETF),
        ("sonic", Encoding.JSON_IETF),
    ],
)
def test_what_a_platform_writes_is_what_was_meant(
    platform: str, encoding: Encoding, grouped: bool
) -> None:
    wanted = readings(platform)
    found = decode(responses(platform, wanted, encoding, grouped))
    assert found.counters.schema == schema(COUNTERS)
    assert found.faults == {}
    assert found.counters.drop("seen").sort(KEY).equals(wanted.drop("seen").sort(KEY))


def test_a_second_batch_says_the_same() -> None:
    wanted = readings("openconfig")
    payloads = responses("openconfig", wanted, Encoding.PROTO, False)
    batch = batch_of([("leaf1", Method.GNMI, p, 0, NOW) for p in payloads])
    decoder = Decoder()
    assert decoder.decode(batch).counters.equals(decoder.decode(batch).counters)
    assert decoder.known.new_series().height == wanted.select(KEY[1:]).unique().height
    assert decoder.known.new_series().height == 0


def test_tables_grow_while_they_work() -> None:
    leaf = "/interfaces/interface[name=E{}]/state/counters/in-octets"
    payloads = []
    for start in range(0, 9_000, 50):
        note = gnmi.Notification(timestamp=NOW)
        for i in range(start, start + 50):
            note.update.add(path=gnmi.path(leaf.format(i)), val=gnmi.TypedValue(uint_val=i))
        payloads.append(gnmi.SubscribeResponse(update=note).SerializeToString())
    found = decode(payloads * 20).counters
    assert found.height == 180_000
    assert (found["port"] == "E" + found["value"].cast(pl.String)).all()


VALUES: dict[str, tuple[dict[str, Any], int | None]] = {
    "uint": ({"uint_val": 7}, 7),
    "int": ({"int_val": 7}, 7),
    "text": ({"string_val": "7"}, 7),
    "ascii": ({"ascii_val": "7"}, 7),
    "ieee float": ({"float_val": 7.0}, 7),
    "double": ({"double_val": 6.6}, 7),
    "decimal": ({"decimal_val": {"digits": 700, "precision": 2}}, 7),
    "json": ({"json_val": b"7"}, 7),
    "json text": ({"json_ietf_val": b'"7"'}, 7),
    "largest": ({"uint_val": 2**63 - 1}, 2**63 - 1),
    "nineteen digits": ({"string_val": str(2**63 - 1)}, 2**63 - 1),
    "exponent": ({"json_val": b"7e0"}, 7),
    "four bytes": ({"bytes_val": b"\x40\xe0\0\0"}, 7),
    # no readings
    "not available": ({"string_val": "N/A"}, None),
    "too large": ({"uint_val": 2**63}, None),
    "too large a text": ({"string_val": "9" * 25}, None),
    "enormous": ({"string_val": "9" * 5000}, None),
    "negative": ({"int_val": -1}, None),
    "NaN": ({"double_val": math.nan}, None),
    "infinite": ({"float_val": math.inf}, None),
    "NaN as text": ({"string_val": "NaN"}, None),
    "word": ({"string_val": "many"}, None),
    "no JSON": ({"json_val": b"{"}, None),
    "deep JSON": ({"json_val": b"[" * 100_000}, None),
    "three bytes": ({"bytes_val": b"123"}, None),
    "nothing": ({}, None),
}
SILENT = {"not available", "nothing"}


@pytest.mark.parametrize("name", VALUES)
def test_values_in_every_form(name: str) -> None:
    given, expected = VALUES[name]
    found = decode([one("/interfaces/interface[name=E1]/state/counters/in-octets", **given)])
    assert found.counters["value"].to_list() == ([] if expected is None else [expected])
    if expected is None:
        assert sum(found.faults.values()) == (name not in SILENT)
        assert found.quality.height == (name not in SILENT)
        assert set(found.quality["kind"]) <= {"fault"}
        assert found.quality.schema == schema(QUALITY)


def test_units_words_and_places() -> None:
    ns = one("/interfaces/interface[name=E1]/ethernet/pfc/priorities/priority[index=3]/state/pfc-on-total-rx-time", uint_val=5)  # fmt: skip
    us = one(
        "COUNTERS/Ethernet0/SAI_PORT_STAT_PFC_3_RX_PAUSE_DURATION_US", "COUNTERS_DB", string_val="5"
    )
    quanta = one(
        "COUNTERS/Ethernet0/SAI_PORT_STAT_PFC_3_RX_PAUSE_DURATION", "COUNTERS_DB", string_val="5"
    )
    speed = one("/interfaces/interface[name=E1]/ethernet/state/port-speed", string_val="openconfig-if-ethernet:SPEED_400GB")  # fmt: skip
    down = one(
        "/openconfig-interfaces:interfaces/interface[name=E1]/state/oper-status", string_val="DOWN"
    )
    ber = one("/interfaces/interface[name=E1]/ethernet/state/pre-fec-ber/instant", decimal_val={"digits": 25, "precision": 10})  # fmt: skip
    power = one("/components/component[name=E1]/transceiver/physical-channels/channel[index=2]/state/input-power/instant", double_val=-3.25)  # fmt: skip
    storm = one("COUNTERS/Ethernet0/Pfcwd", "COUNTERS_DB", json_ietf_val=b'{"Ethernet0:3":{"PFC_WD_STATUS":"stormed"}}')  # fmt: skip
    share = one("/ofa/stats/nodes/node[node-name=0/0/CPU0]/pause-duration-stats/rx-interfaces/rx-interface[interface-name=Hu0]/default/entry[tc=3]/pause-percent", uint_val=40)  # fmt: skip
    lanes = one("/ethernet-interface/pfc-statistics/pfc-statistic[interface-name=Hu0]/rx-frame", leaflist_val={"element": [{"uint_val": n} for n in (0, 9)]})  # fmt: skip
    found = decode([ns, us, quanta, speed, down, ber, power, storm, share, lanes])
    assert found.faults == {}
    assert set(found.counters.select("port", "object", "index", "counter", "value").rows()) == {
        ("E1", "priority", 3, "rx_pause_ns", 5),
        ("Ethernet0", "priority", 3, "rx_pause_ns", 5_000),
        ("Ethernet0", "priority", 3, "rx_pause_requested_quanta", 5),
        ("Hu0", "priority", 3, "rx_pause_share", 400_000),
        ("E1", "port", -1, "link_bps", 400_000_000_000),
        ("E1", "port", -1, "oper_up", 0),
        ("E1", "port", -1, "pre_fec_ber", 2_500_000_000),
        ("E1", "lane", 2, "rx_power", -3_250),
        ("Ethernet0", "queue", 3, "watchdog_stormed", 1),
        ("Hu0", "priority", 0, "rx_pfc_frames", 0),
        ("Hu0", "priority", 1, "rx_pfc_frames", 9),
    }


def test_openconfig_lists_in_json_are_told_apart_by_their_keys() -> None:
    value = {"openconfig-interfaces:interface": [
        {"name": "E1", "state": {"counters": {"in-octets": "5"}}},
        {"name": "E2", "state": {"counters": {"in-octets": "6"}}},
    ]}  # fmt: skip
    for path, given in (
        ("/interfaces", value),
        ("/interfaces/interface", value["openconfig-interfaces:interface"]),
    ):
        decoder = Decoder()
        payload = one(path, json_ietf_val=json.dumps(given).encode())
        found = decoder.decode(batch_of([("leaf1", Method.GNMI, payload, 0, NOW)]))
        assert found.counters.select("port", "counter", "value").rows() == [
            ("E1", "rx_bytes", 5),
            ("E2", "rx_bytes", 6),
        ]
        assert decoder.known.unknown().height == 0  # the key is no leaf that nobody knows


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("COUNTERS/Ethernet68", {"SAI_PORT_STAT_PFC_3_RX_PKTS": "5"}),
        ("COUNTERS/Ethernet*", {"Ethernet68": {"SAI_PORT_STAT_PFC_3_RX_PKTS": "5"}}),
        ("COUNTERS/Ethernet68/SAI_PORT_STAT_PFC_3_RX_PKTS", "5"),
        ("COUNTERS/Ethernet68/SAI_PORT_STAT_PFC_3_RX_PKTS", {"SAI_PORT_STAT_PFC_3_RX_PKTS": "5"}),
        (
            "COUNTERS/Ethernet*/SAI_PORT_STAT_PFC_3_RX_PKTS",
            {"Ethernet68": {"SAI_PORT_STAT_PFC_3_RX_PKTS": "5"}},
        ),
    ],
)
def test_forms_of_sonic_paths(path: str, value: Any) -> None:
    """sonic_data_client/virtual_db.go: the path comes back as it was asked for."""
    found = decode([one(path, "COUNTERS_DB", json_ietf_val=json.dumps(value).encode())])
    assert found.counters.select("port", "index", "counter", "value").rows() == [
        ("Ethernet68", 3, "rx_pfc_frames", 5)
    ]


@pytest.mark.parametrize(
    ("path", "key", "field", "counter"),
    [
        ("COUNTERS/Ethernet*/Queues", "Ethernet0:3", "SAI_QUEUE_STAT_PACKETS", "tx_packets"),
        ("COUNTERS/Ethernet0/Queues", "Ethernet0:3", "SAI_QUEUE_STAT_PACKETS", "tx_packets"),
        ("COUNTERS/Ethernet*/Queues", "Ethernet0:3:periodic", "SAI_QUEUE_STAT_SHARED_WATERMARK_BYTES", "queue_peak_bytes"),
        ("COUNTERS/Ethernet*/Pfcwd", "Ethernet0:3", "PFC_WD_QUEUE_STATS_DEADLOCK_DETECTED", "watchdog_storms"),
        ("PERIODIC_WATERMARKS/Ethernet*/PriorityGroups", "Ethernet0:3",
         "SAI_INGRESS_PRIORITY_GROUP_STAT_XOFF_ROOM_WATERMARK_BYTES", "headroom_peak_bytes"),
    ],
)  # fmt: skip
def test_forms_of_sonic_queues(path: str, key: str, field: str, counter: str) -> None:
    payload = one(path, "COUNTERS_DB", json_ietf_val=json.dumps({key: {field: "5"}}).encode())
    found = decode([payload])
    assert found.counters.select("port", "index", "counter", "value").rows() == [
        ("Ethernet0", 3, counter, 5)
    ]


def test_an_unknown_path_is_kept_and_listed() -> None:
    decoder = Decoder()
    batch = batch_of(
        [("leaf1", Method.GNMI, one("/a/b[c=d]/e", uint_val=n), 0, NOW + n) for n in range(5)]
    )
    nested = one("/x", json_val=b'{"y": [{"z": 1}]}')
    batch2 = batch_of([("leaf1", Method.GNMI, nested, 0, NOW), ("leaf1", 99, b"?", 0, NOW)])
    assert decoder.decode(batch).counters.height == 0
    found = decoder.decode(batch2)
    assert found.faults == {"record: unknown method": 1}
    listed = decoder.known.unknown()
    assert listed.select("device", "path", "count").rows() == [
        ("leaf1", "/a/b[c=d]/e", 5),
        ("leaf1", "/x/y[#=0]/z", 1),
    ]


def test_duplicates_deletes_and_damage_are_said() -> None:
    note = gnmi.Notification(timestamp=NOW)
    path = gnmi.path("/interfaces/interface[name=E1]/state/counters/in-octets")
    note.update.add(path=path, val=gnmi.TypedValue(uint_val=1), duplicates=3)
    note.delete.add().CopyFrom(gnmi.path("/interfaces/interface[name=E1]"))
    payload = gnmi.SubscribeResponse(update=note).SerializeToString()
    found = decode(
        [payload, payload[:-3], gnmi.SubscribeResponse(sync_response=True).SerializeToString()]
    )
    assert found.synced == 1
    assert found.counters.height == 1
    assert found.faults == {"record: truncated": 1}
    assert sorted(found.quality.select("kind", "value", "port").rows()) == [
        ("deleted", 1, ""),
        ("duplicates", 3, "E1"),
        ("fault", 1, ""),
    ]


def test_who_it_is() -> None:
    """A name in the payload is believed over an address, and never over a configured name."""
    path = "/interfaces/interface[name=E1]/state/counters/in-octets"
    for peer, target, device in [
        ("leaf1", "other", "leaf1"),
        ("10.0.0.9", "leaf7", "leaf7"),
        ("10.0.0.9", "", "10.0.0.9"),
        ("2001:db8::1", "leaf7", "leaf7"),
        ("10.0.0.1", "", "spine1"),
    ]:
        found = decode([one(path, target, uint_val=1)], peer=peer, devices={"10.0.0.1": "spine1"})
        assert found.counters["device"].to_list() == [device]


def test_snapshots_of_switch_and_host() -> None:
    switch = {"device": "leaf3", "tables": {
        "COUNTERS/Ports": {"Ethernet0": {"SAI_PORT_STAT_PFC_3_RX_PKTS": "12", "SAI_PORT_STAT_IF_IN_OCTETS": "5"}},
        "COUNTERS/Queues": {"Ethernet0:3": {"SAI_QUEUE_STAT_PACKETS": "7"}},
        "COUNTERS/PriorityGroups": {"Ethernet0:3": {"SAI_INGRESS_PRIORITY_GROUP_STAT_PACKETS": "8"}},
        "COUNTERS/BufferPools": {"ingress_pool": {"SAI_BUFFER_POOL_STAT_CURR_OCCUPANCY_BYTES": "9"}},
        "PERIODIC_WATERMARKS/Queues": {"Ethernet0:3": {"SAI_QUEUE_STAT_SHARED_WATERMARK_BYTES": "10"}},
        "RATES/Ports": {"Ethernet0": {"FEC_PRE_BER": "1.5e-8", "RX_BPS": "1.25"}},
        "APPL_DB/PORT_TABLE": {"Ethernet0": {"speed": "400000", "oper_status": "up", "alias": "Eth1"}},
    }}  # fmt: skip
    host = {"device": "host1", "nics": [
        {"nic": "mlx5_0", "port": 1, "netdev": "eth2", "driver": "mlx5_core", "speed_bps": 400_000_000_000,
         "hw_counters": {"np_cnp_sent": 4, "odd": 1}, "ethtool": {"rx_prio3_pause_duration": 6}},
        {"nic": "bnxt_re0", "netdev": "", "driver": "bnxt_en", "hw_counters": {"out_of_sequence": 3}},
    ]}  # fmt: skip
    decoder = Decoder()
    batch = batch_of([
        ("10.0.0.3", Method.SONIC, json.dumps(switch).encode(), NOW, NOW + 1),
        ("10.0.0.4", Method.RDMA, json.dumps(host).encode(), NOW, NOW + 1),
        ("10.0.0.4", Method.RDMA, b'{"nics": 5}', NOW, NOW + 1),
        ("10.0.0.4", Method.RDMA, b'{"nics": [' * 50_000, NOW, NOW + 1),
        ("10.0.0.4", Method.NOTE, b'{"kind": "connected"}', NOW, NOW + 1),
    ])  # fmt: skip
    found = decoder.decode(batch)
    assert set(found.counters.select([*KEY[1:], "value"]).rows()) == {
        ("leaf3", "Ethernet0", "priority", 3, "rx_pfc_frames", 12),
        ("leaf3", "Ethernet0", "port", -1, "rx_bytes", 5),
        ("leaf3", "Ethernet0", "queue", 3, "tx_packets", 7),
        ("leaf3", "Ethernet0", "pg", 3, "rx_packets", 8),
        ("leaf3", "ingress_pool", "pool", -1, "occupancy_bytes", 9),
        ("leaf3", "Ethernet0", "queue", 3, "queue_peak_bytes", 10),
        ("leaf3", "Ethernet0", "port", -1, "pre_fec_ber", 15_000_000_000),
        ("leaf3", "Ethernet0", "port", -1, "link_bps", 400_000_000_000),
        ("leaf3", "Ethernet0", "port", -1, "oper_up", 1),
        ("host1", "eth2", "port", -1, "link_bps", 400_000_000_000),
        ("host1", "eth2", "port", -1, "tx_cnp", 4),
        ("host1", "eth2", "priority", 3, "rx_pause_ns", 6_000),
        # the out-of-tree driver of bnxt means something else by this name than mlx5 does
        ("host1", "bnxt_re0", "port", -1, "sequence_errors", 3),
    }
    assert (found.counters["ts"] == NOW).all()
    assert found.faults == {"record: unreadable": 2}
    assert (
        "/nics/nic[driver=mlx5_core][port=eth2]/hw_counters/odd"
        in decoder.known.unknown()["path"].to_list()
    )


def test_segment_to_counters(tmp_path: Path) -> None:
    wanted = readings("openconfig")
    with Recorder(tmp_path, "here") as recorder:
        for payload in responses("openconfig", wanted, Encoding.PROTO, False):
            recorder.record("leaf1", Method.GNMI, payload, seen=NOW)
    (path,) = segments(tmp_path)
    segment = read_batch(path)
    assert segment.damage == []
    assert segment.offset == path.stat().st_size
    found = Decoder().decode(segment.batch).counters
    assert found.drop("seen").sort(KEY).equals(wanted.drop("seen").sort(KEY))
    assert read_batch(path, segment.offset).batch.peers == []


def test_dictionaries_hold_together() -> None:
    entries = builtin().entries
    assert {e.dictionary for e in entries} >= {
        "openconfig", "sonic", "arista", "iosxr", "nxos", "srlinux", "juniper", "cumulus", "h3c", "huawei", "mlx5", "bnxt",
    }  # fmt: skip
    for entry in entries:
        assert entry.counter == "-" or (entry.object, entry.counter) in CANONICAL
        assert entry.source, entry.path
        # Summed quanta are never time.
        assert not (entry.path.endswith("PAUSE_DURATION") and entry.counter.endswith("_ns"))
    kinds: dict[str, set[str]] = {}
    for counter in CANONICAL.values():
        kinds.setdefault(counter.name, set()).add(counter.kind)
    assert all(len(found) == 1 for found in kinds.values())  # a name tells the kind


def test_the_replay_and_the_dictionaries_agree() -> None:
    """Two tables of the same facts, written for opposite directions."""
    for platform in ("openconfig", "sonic"):
        known = {(e.object, e.counter) for e in builtin().entries}
        assert set(PLATFORMS[platform]) <= known


BROKEN = {
    "nonsense": ("x = = 1", r"own\.toml: "),
    "unknown key": ("tittle = 1", r"own\.toml: unknown key tittle"),
    "no leaves": ('provenance = "seen"\n[[group]]\npath = "/a[b={port}]"', r"own\.toml: group 1: leaves"),
    "no such counter": (
        'provenance = "seen"\n[[group]]\npath = "/a[b={port}]"\nleaves.c = "zz"',
        r"own\.toml: group 1 \(/a\[b=\{port\}\]\): leaves\.c: no canonical counter 'zz' of a port",
    ),
    "no provenance": ('[[group]]\npath = "/a[b={port}]"\nleaves.c = "rx_bytes"', r"leaves\.c: provenance None"),
    "wrong unit": (
        'provenance = "seen"\n[[group]]\npath = "/a[b={port}]"\nleaves.c = {counter="rx_bytes", unit="us"}',
        r"leaves\.c: unit 'us' cannot become 'bytes'",
    ),
    "quanta are not time": (
        ('provenance = "seen"\n[[group]]\nobject="priority"\npath = "/a[b={port}][c={index}]"\n'
        'leaves.c = {counter="rx_pause_ns", unit="quanta"}'),
        r"unit 'quanta' cannot become 'ns'",
    ),
    "no port": ('provenance = "seen"\n[[group]]\npath = "/a"\nleaves.c = "rx_bytes"', r"the path has no \{port\}"),
    "no index": (
        'provenance = "seen"\n[[group]]\nobject="queue"\npath = "/a[b={port}]"\nleaves.c = "tx_bytes"',
        r"a queue needs an \{index\}",
    ),
    "twice": (
        ('provenance = "seen"\n[[group]]\npath = "/interfaces/interface[name={port}]/state/counters"\n'
        'leaves.in-octets = "rx_bytes"'),
        r"openconfig\.toml: .*in-octets: the dictionary own has this path already",
    ),
    "bits": (
        'provenance = "seen"\n[[group]]\npath = "/a[b={port}]"\nleaves.c = {counter="rx_bytes", bits=33}',
        r"bits 33",
    ),
    "a list": ('provenance = "seen"\n[[group]]\npath = "/a[b={port}]"\nleaves.c = [1]', r"leaves\.c: a counter's name"),
    "bad path": ('provenance = "seen"\n[[group]]\npath = "/a[b"\nleaves.c = "rx_bytes"', r"leaves\.c: path "),
    "unknown slot": ('provenance = "seen"\n[[group]]\npath = "/a[b={prot}]"\nleaves.c = "rx_bytes"', r"only \{port\} and \{index\}"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_dictionary_with_a_mistake_is_refused_by_file_and_key(name: str, tmp_path: Path) -> None:
    text, message = BROKEN[name]
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_a_dictionary_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        'provenance = "seen"\n[[group]]\npath = "/a/b[c={port}]"\nleaves.e = {counter="rx_bytes", unit="KB"}'
    )
    found = decode([one("/a/b[c=d]/e", uint_val=2)], dictionary=load(tmp_path))
    assert found.counters.select("port", "counter", "value").rows() == [("d", "rx_bytes", 2048)]
    assert isinstance(load(), Dictionary)
    assert load() is builtin()


def test_a_batch_of_an_agent_that_came_again_is_counted_once() -> None:
    tables = {"COUNTERS/Ports": {"Ethernet0": {"SAI_PORT_STAT_IF_IN_OCTETS": "5"}}}
    made = [
        compose("leaf3-ab12", n, Method.SONIC, NOW + n, {"device": "leaf3", "tables": tables})
        for n in (1, 2)
    ]
    sent = [(made[0], 0), (made[1], 1), (made[0], 2), (made[1], 3)]  # an acknowledgement was lost
    batch = batch_of([("10.0.0.3", Method.SONIC, b.payload, b.ts, NOW + s) for b, s in sent])
    decoder = Decoder()
    for _ in range(2):  # the same records decoded again are no repetition
        found = decoder.decode(batch)
        assert found.counters.select("device", "ts", "value").rows() == [
            ("leaf3", NOW + 1, 5),
            ("leaf3", NOW + 2, 5),
        ]
        assert found.quality["kind"].to_list() == ["repeated", "repeated"]
        assert found.faults == {}
    assert decoder.known.unknown().height == 0
