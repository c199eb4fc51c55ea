"""Payloads of other protocols: an example of each form by the documented facts, and hostile ones."""

import json
import random
from typing import Any

import pytest

from analyzers.frames import schema
from analyzers.telemetry.batch import batch_of
from analyzers.telemetry.decode import Decoded, Decoder
from analyzers.telemetry.gnmic import source_name
from collectors.records import Method
from collectors.vendors import H3C, Cisco, Huawei, Otlp
from fabric.schema import LOGS

NOW = 1_750_000_000_000_000_000
MS = NOW // 1_000_000
Found = set[tuple[str, int, str, str, int, str, int]]


def decode(method: Method, *payloads: bytes) -> tuple[Decoder, Decoded]:
    decoder = Decoder()
    batch = batch_of([("10.0.0.9", method, p, 0, NOW + 7) for p in payloads])
    return decoder, decoder.decode(batch)


def readings(method: Method, *payloads: bytes) -> Found:
    _, found = decode(method, *payloads)
    assert found.faults == {}
    columns = ["device", "ts", "port", "object", "index", "counter", "value"]
    return set(found.counters.select(columns).rows())


def event(values: dict[str, Any], **tags: str) -> dict[str, Any]:
    return {
        "name": "sub",
        "timestamp": NOW,
        "tags": {"source": "leaf1:57400", **tags},
        "values": values,
    }


def test_gnmic_events_in_every_form() -> None:
    port = event({"/interfaces/interface/state/counters/in-octets": "5"}, interface_name="E1")
    queue = event(
        {"/openconfig-qos:qos/interfaces/interface/output/queues/queue/state/ecn-marked-pkts": 6},
        **{"interface_interface-id": "E1", "queue_name": "3"},
    )
    lanes = event(
        {"/ethernet-interface/pfc-statistics/pfc-statistic/rx-frame.3": 7},
        **{"pfc-statistic_interface-name": "Hu0"},
    )
    sonic = event(
        {"/COUNTERS/Ethernet*/Ethernet0/SAI_PORT_STAT_PFC_3_RX_PKTS": "8"}, target="COUNTERS_DB"
    )
    keyed = event({"/interfaces/interface[name=E2]/state/counters/in-octets": 9.0})
    expected = {
        ("leaf1", NOW, "E1", "port", -1, "rx_bytes", 5),
        ("leaf1", NOW, "E1", "queue", 3, "ecn_marked_packets", 6),
        ("leaf1", NOW, "Hu0", "priority", 3, "rx_pfc_frames", 7),
        ("leaf1", NOW, "Ethernet0", "priority", 3, "rx_pfc_frames", 8),
        ("leaf1", NOW, "E2", "port", -1, "rx_bytes", 9),
    }
    every = [port, queue, lanes, sonic, keyed]
    assert readings(Method.GNMIC, json.dumps(every).encode()) == expected
    assert readings(Method.GNMIC, *(json.dumps(one).encode() for one in every)) == expected
    assert readings(Method.GNMIC, "\n".join(json.dumps(one) for one in every).encode()) == expected
    lines = f"{json.dumps(every[:2])}\n\n{json.dumps(every[2:])}\n"
    assert readings(Method.GNMIC, lines.encode()) == expected


def test_gnmic_sources() -> None:
    for source, name in [
        ("leaf1:57400", "leaf1"), ("leaf1", "leaf1"), ("10.0.0.1:9339", "10.0.0.1"),
        ("[2001:db8::1]:9339", "2001:db8::1"), ("2001:db8::1", "2001:db8::1"), ("", ""),
    ]:  # fmt: skip
        assert source_name(source) == name


def h3c(sensor: str, said: Any, name: str = "leaf5") -> bytes:
    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    message = H3C.DialoutMsg(sensorPath=sensor.encode(), jsonData=text)
    message.deviceMsg.deviceName = name.encode()
    return bytes(message.SerializeToString())


def test_h3c() -> None:
    arrays = {"Notification": {"BufferMonitor": {"PfcStatistics": {"Port": [
        {"IfIndex": 3, "IfName": "HGE1/0/3", "PfcSend": "[0,0,0,9,0,0,0,0]", "PfcRecv": [0, 0, 0, 8, 0, 0, 0, 0]},
    ]}}}}  # fmt: skip
    slices = {"Notification": {"BufferMonitor": {"EgressDrops": {"Port": {
        "IfName": "HGE1/0/3", "UnicastDroppedPkts": {"Slice0": 4, "Slice1": "5"}}}}}}  # fmt: skip
    queues = {"Notification": {"QSTAT": {"QueueStat": {"Queue": [
        {"IfIndex": 3, "QueueID": 5, "PassByte": "77", "QuePeakSize": 12}]}}}}  # fmt: skip
    found = readings(
        Method.H3C,
        h3c("BufferMonitor/PfcStatistics", arrays),
        h3c("buffermonitor/egressdrops", slices),
        h3c("qstat/queuestat", queues),
        h3c("ifmgr/interfaces", {"Notification": {"Ifmgr": {"Interfaces": {"Interface": [
            {"IfName": "HGE1/0/3", "Actual64Bandwidth": 400_000_000, "OperStatus": 1}]}}}}),
    )  # fmt: skip
    now = NOW + 7  # no field tells the time: ours
    assert found >= {
        ("leaf5", now, "HGE1/0/3", "priority", 3, "tx_pfc_frames", 9),
        ("leaf5", now, "HGE1/0/3", "priority", 3, "rx_pfc_frames", 8),
        ("leaf5", now, "HGE1/0/3", "port", -1, "tx_dropped_packets", 9),
        ("leaf5", now, "ifindex 3", "queue", 5, "tx_bytes", 77),
        ("leaf5", now, "ifindex 3", "queue", 5, "queue_peak_bytes", 12),
        ("leaf5", now, "HGE1/0/3", "port", -1, "link_bps", 400_000_000_000),
        ("leaf5", now, "HGE1/0/3", "port", -1, "oper_up", 1),
    }
    assert len(found) == 16 + 5
    assert {
        row[0] for row in readings(Method.H3C, h3c("buffermonitor/pfcstatistics", arrays, ""))
    } == {"10.0.0.9"}


def field(name: str, *fields: Any, **value: Any) -> Any:
    return Cisco.TelemetryField(name=name.encode(), fields=fields, **value)


def test_cisco_self_describing() -> None:
    message = Cisco.Telemetry(
        node_id_str=b"xr1",
        encoding_path=b"Cisco-IOS-XR-drivers-media-eth-oper:ethernet-interface/pfc-statistics/pfc-statistic",
        msg_timestamp=MS,
    )
    frames = [field("rx-frame", uint64_value=n) for n in (0, 0, 0, 6)]
    message.data_gpbkv.add(timestamp=MS).fields.extend(
        [
            field("keys", field("interface-name", string_value=b"Hu0/0/0/1")),
            field("content", *frames, field("total-rx-frames", uint64_value=6)),
        ]
    )
    found = readings(Method.CISCO, message.SerializeToString())
    assert ("xr1", NOW, "Hu0/0/0/1", "priority", 3, "rx_pfc_frames", 6) in found
    assert ("xr1", NOW, "Hu0/0/0/1", "port", -1, "rx_pfc_frames", 6) in found
    assert len(found) == 5
    said = {
        "node_id_str": "xr1", "encoding_path": "Cisco-IOS-XR-drivers-media-eth-oper:ethernet-interface/statistics/statistic",
        "data_json": [{"timestamp": MS, "keys": [{"interface-name": "Hu0"}], "content": {"received-pause-frames": "4"}}],
    }  # fmt: skip
    assert readings(Method.CISCO, json.dumps(said).encode()) == {
        ("xr1", NOW, "Hu0", "port", -1, "rx_pause_frames", 4)
    }


def test_keys_find_their_list() -> None:
    message = Cisco.Telemetry(
        node_id_str=b"xr1",
        encoding_path=b"Cisco-IOS-XR-ofa-npu-qos-oper:npu-qos/nodes/node/high-water-marks/periodic/interfaces/interface/traffic-class",
    )
    keys = {"node-name": b"0/RP0/CPU0", "interface-name": b"Hu0", "tc": b"3"}
    message.data_gpbkv.add(timestamp=MS).fields.extend(
        [
            field("keys", *(field(k, string_value=v) for k, v in keys.items())),
            field("content", field("max-occupancy-kilobytes", uint32_value=2)),
        ]
    )
    assert readings(Method.CISCO, message.SerializeToString()) == {
        ("xr1", NOW, "Hu0", "queue", 3, "queue_peak_bytes", 2048)
    }


def test_huawei_json() -> None:
    whole = {
        "ifm": {
            "interfaces": {
                "interface": [{"name": "100GE1/0/1", "mib-statistics": {"receive-byte": "12"}}]
            }
        }
    }
    row = {"row": [{"timestamp": MS, "content": json.dumps(whole)}]}
    message = Huawei.Telemetry(
        node_id_str=b"ce1", sensor_path=b"huawei-ifm:ifm/interfaces/interface/mib-statistics", encoding=1,
        msg_timestamp=MS + 1, data_str=json.dumps(row).encode(),
    )  # fmt: skip
    expected = {("ce1", NOW, "100GE1/0/1", "port", -1, "rx_bytes", 12)}
    assert readings(Method.HUAWEI, message.SerializeToString()) == expected
    said = {
        "node_id_str": "ce1", "sensor_path": "huawei-ifm:ifm/interfaces/interface/mib-statistics",
        "data_gpb": {"row": [{"timestamp": MS, "content": whole}]},
    }  # fmt: skip
    assert readings(Method.HUAWEI, json.dumps(said).encode()) == expected


def test_compact_rows_are_refused_by_path() -> None:
    cisco = Cisco.Telemetry(encoding_path=b"a:b/c")
    cisco.data_gpb.row.add(content=b"x")
    huawei = Huawei.Telemetry(sensor_path=b"h:d/e")
    huawei.data_gpb.row.add(content=b"x")
    for method, payload, path in ((Method.CISCO, cisco, "a:b/c"), (Method.HUAWEI, huawei, "h:d/e")):
        _, found = decode(method, payload.SerializeToString())
        assert found.faults == {"record: unreadable": 1}
        assert found.quality["text"].to_list()[0].startswith(f"{method.name}: {path}: ")


def otlp(*points: tuple[str, dict[str, str], dict[str, Any]], host: str = "leaf8") -> bytes:
    request = Otlp.ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    if host:
        resource.resource.attributes.add(key=b"host.name").value.string_value = host.encode()
    metrics = resource.scope_metrics.add().metrics
    for name, attributes, value in points:
        point = metrics.add(name=name.encode()).gauge.data_points.add(time_unix_nano=NOW, **value)
        for key, text in attributes.items():
            point.attributes.add(key=key.encode()).value.string_value = text.encode()
    return bytes(request.SerializeToString())


def test_otlp_of_cumulus_and_sonic() -> None:
    found = readings(
        Method.OTLP,
        otlp(
            (
                "nvswitch_interface_pg_rx_pause_duration",
                {"interface": "swp1", "pg": "3"},
                {"as_double": 2.0},
            ),
            ("queue.dropped_packets", {"object_name": "Ethernet0|3"}, {"as_int": 4}),
            ("buffer_pool.dropped_packets", {"object_name": "ingress_pool"}, {"as_int": 5}),
        ),
    )
    assert found == {
        ("leaf8", NOW, "swp1", "priority", 3, "rx_pause_ns", 2_000),
        ("leaf8", NOW, "Ethernet0", "queue", 3, "dropped_packets", 4),
        ("leaf8", NOW, "ingress_pool", "pool", -1, "dropped_packets", 5),
    }


def test_otlp_faults_and_strangers() -> None:
    decoder, found = decode(
        Method.OTLP,
        otlp(("queue.bytes", {"object_name": "Ethernet0|3"}, {"as_double": float("nan")}), host=""),
        otlp(("nobody.knows", {"interface": "swp1"}, {"as_int": 1})),
        b"\xff\xff",
    )
    assert found.counters.height == 0
    assert found.faults == {"value: no reading": 1, "record: unreadable": 1}
    assert decoder.known.unknown()["path"].to_list() == ["/otlp/nobody.knows[interface=swp1]"]


def examples() -> dict[Method, list[bytes]]:
    cisco = Cisco.Telemetry(node_id_str=b"x", encoding_path=b"a:b/c", msg_timestamp=MS)
    cisco.data_gpbkv.add(timestamp=MS).fields.extend(
        [
            field("keys", field("k", string_value=b"v")),
            field("content", field("leaf", uint64_value=1)),
        ]
    )
    return {
        Method.GNMIC: [json.dumps([event({"/a/b": "1"}, a_k="v")]).encode()],
        Method.H3C: [h3c("buffermonitor/pfcstatistics", {"N": {"R": [{"IfIndex": 1, "PfcSend": "[1,2]", "D": {"S": 1}}]}})],
        Method.CISCO: [bytes(cisco.SerializeToString()), json.dumps({"encoding_path": "a:b", "data_json": [{"keys": {"k": 1}, "content": {"l": [1]}}]}).encode()],
        Method.HUAWEI: [json.dumps({"sensor_path": "a:b/c", "data_gpb": {"row": [{"timestamp": MS, "content": {"l": 1}}]}}).encode()],
        Method.H3C_V3: [b'{"sensor_path": "a:b/c"}'],
        Method.OTLP: [otlp(("m", {"interface": "x"}, {"as_int": 1}))],
        Method.RDMA: [b'{"device": "h", "nics": [{"driver": "mlx5_core", "netdev": "e", "ethtool": {"a": 1}}]}'],
        Method.NOTE: [b'{"kind": "stale", "text": "x", "count": 2, "device": "d"}'],
        Method.EVENTS: [b'[{"ts": 1, "device": "d", "kind": "k"}]'],
        Method.SONIC: [b'{"device": "s", "tables": {"COUNTERS/Ports": {"Ethernet0": {"X": "1"}}}}'],
    }  # fmt: skip


WORDS: list[Any] = [
    None,
    True,
    -1,
    1e999,
    10**30,
    "",
    "x" * 50,
    [],
    {},
    [[]],
    {"a": {}},
    "[1",
    "\ud800",
    0.5,
]


def twisted(value: Any) -> Any:
    """The same JSON with something else in one place."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        key = random.choice(list(value))
        return {**value, key: twisted(value[key])}
    if isinstance(value, list) and value and random.random() < 0.8:
        at = random.randrange(len(value))
        return [*value[:at], twisted(value[at]), *value[at + 1 :]]
    return random.choice(WORDS)


@pytest.mark.parametrize("method", list(examples()), ids=lambda m: m.name)
def test_hostile_payloads_are_counted_and_never_raise(method: Method) -> None:
    random.seed(int(method))
    made: list[bytes] = [
        b"",
        b"\0",
        b"{}",
        b"[]",
        b"null",
        b"1",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff" * 50,
    ]

    def deep(n: int) -> str:
        return '{"a":' * n + "1" + "}" * n

    made += [deep(n).encode() for n in (10, 100, 900)]
    for _ in range(400):
        good = bytearray(random.choice(examples()[method]))
        for _ in range(random.randrange(1, 4)):
            at = random.randrange(len(good))
            good[at : at + random.randrange(3)] = random.randbytes(random.randrange(3))
            if not good:
                break
        made.append(bytes(good))
        try:
            value = json.loads(examples()[method][0])
        except ValueError:
            continue
        made.append(json.dumps(twisted(value)).encode())
    if method == Method.H3C:
        made += [h3c("a/b", m) for m in made[:60]]
    decoder, found = decode(method, *made)
    assert found.records == len(made)
    assert sum(found.faults.values()) > 0
    assert found.quality.height > 0
    again = decoder.decode(batch_of([("h", method, examples()[method][0], 0, NOW)]))
    assert again.faults == {}


def test_notes_of_collectors_and_what_happened() -> None:
    events = [
        {
            "ts": NOW,
            "device": "leaf2",
            "port": "E1",
            "source": "syslog",
            "kind": "flap",
            "text": "down\x1b",
        },
        {"source": "config", "text": None, "ts": -5},
    ]
    decoder = Decoder()
    batch = batch_of(
        [
            ("leaf1", Method.NOTE, b'{"kind": "connected", "text": "TLS"}', 0, NOW + 1),
            (
                "leaf1",
                Method.NOTE,
                b'{"kind": "refused", "text": "no", "path": "/a", "count": 3}',
                0,
                NOW + 2,
            ),
            ("leaf1", Method.EVENTS, json.dumps(events).encode(), 0, NOW + 3),
            ("leaf1", Method.EVENTS, b"[5]", 0, NOW + 4),
            ("leaf1", Method.NOTE, b"[]", 0, NOW + 5),
        ]
    )
    found = decoder.decode(batch)
    assert found.logs.schema == schema(LOGS)
    assert found.logs.rows() == [
        (NOW + 1, NOW + 1, "leaf1", "", "collector", "connected", "TLS"),
        (NOW, NOW + 3, "leaf2", "E1", "syslog", "flap", "down\x1b"),
        (NOW + 3, NOW + 3, "leaf1", "", "config", "", ""),
    ]
    assert found.quality.select("kind", "value", "text").rows()[0] == ("refused", 3, "no, /a")
    assert found.faults == {"record: unreadable": 2}
