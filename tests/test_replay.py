"""Recorded readings over real gNMI: what each mode sends, in which order, with which time and value."""

import json
import queue
import subprocess
from array import array
from pathlib import Path
from typing import Any

import grpc
import pytest

from collectors import messages as gnmi
from collectors.server import Options, serving
from collectors.timeline import MISSING, Key, Timeline
from tests import wire_protobuf as wire
from tests.data import tool
from tests.gnmi_client import PATIENCE_S, Client, asking, on_change, sample, streamed

START, STEP, READINGS = 1_000_000, 50, 6
BYTES = Key("Ethernet1/1", "port", -1, "rx_bytes")
SPEED = Key("Ethernet1/1", "port", -1, "link_bps")
PAUSED = Key("Ethernet1/1", "priority", 3, "rx_pause_ns")
MARKED = Key("Ethernet1/1", "queue", 3, "ecn_marked_packets")
OTHER = Key("Ethernet2/1", "port", -1, "rx_bytes")
CNPS = Key("Ethernet1/1", "port", -1, "rx_cnp")  # on no switch
KEYS = (BYTES, SPEED, PAUSED, MARKED, OTHER, CNPS)
PATHS = {
    BYTES: "/interfaces/interface[name=Ethernet1/1]/state/counters/in-octets",
    SPEED: "/interfaces/interface[name=Ethernet1/1]/ethernet/state/port-speed",
    PAUSED: "/interfaces/interface[name=Ethernet1/1]/ethernet/pfc/priorities/priority[index=3]/state/pfc-on-total-rx-time",
    MARKED: "/qos/interfaces/interface[interface-id=Ethernet1/1]/output/queues/queue[name=3]/state/ecn-marked-pkts",
    OTHER: "/interfaces/interface[name=Ethernet2/1]/state/counters/in-octets",
}
PAUSES = [0, 0, 1500, 1500, 1500, 2500]


def value(key: Key, n: int, device: int = 0) -> int:
    """Reading n: bytes grow always, paused time now and then, marks never."""
    moving = {
        BYTES: 100 * n + device, SPEED: 100_000_000_000, PAUSED: PAUSES[n % READINGS], MARKED: 7,
        OTHER: 1 << 63 >> 1, CNPS: n,
    }  # fmt: skip
    return moving[key]


def timeline(device: int = 0) -> Timeline:
    rows = [array("q", (value(key, n, device) for key in KEYS)) for n in range(READINGS)]
    growth = [rows[-1][i] - rows[0][i] for i in range(len(KEYS))]
    times = [START + STEP * n for n in range(READINGS)]
    return Timeline(f"leaf{device}", KEYS, times, rows, growth)


def run(*subscriptions: Any, options: Options | None = None, **more: Any) -> list[Any]:
    options = options or Options()
    return streamed([timeline()], options, {"leaf0": asking(*subscriptions, **more)})["leaf0"]


def shown(responses: list[Any]) -> list[Any]:
    """``"sync"``, or (time, {path: value}) of each response."""
    return [
        "sync"
        if response.sync_response
        else (
            response.update.timestamp,
            {
                gnmi.path_text(update.path): getattr(update.val, update.val.WhichOneof("value"))
                for update in response.update.update
            },
        )
        for response in responses
    ]


def at(n: int, *keys: Key) -> tuple[int, dict[str, Any]]:
    """What reading n looks like in typed values."""
    values = {PATHS[key]: value(key, n) if key != SPEED else "SPEED_100GB" for key in keys}
    return START + STEP * n, values


ALL = [BYTES, SPEED, PAUSED, MARKED, OTHER]


# ---- STREAM


def test_sample_sends_each_reading_once_with_the_devices_time() -> None:
    found = shown(run(sample("/")))
    assert found == [at(0, *ALL), "sync", *(at(n, *ALL) for n in range(1, READINGS))]


def test_what_the_platform_does_not_report_is_left_out() -> None:
    assert all("cnp" not in path for _, values in shown(run(sample("/")))[2:] for path in values)


@pytest.mark.parametrize(
    ("interval", "readings"),
    [
        (STEP, [1, 2, 3, 4, 5]),
        (2 * STEP, [2, 4]),
        (120, [2, 5]),  # 120 and 240 ns after the start: the nearest readings
        (1000, []),
    ],
)
def test_sample_intervals_are_device_time(interval: int, readings: list[int]) -> None:
    found = shown(run(sample(PATHS[BYTES], interval)))
    assert found == [at(0, BYTES), "sync", *(at(n, BYTES) for n in readings)]


def test_suppress_redundant_sends_what_changed() -> None:
    found = shown(run(sample("/interfaces", suppress_redundant=True)))
    assert found == [
        at(0, BYTES, SPEED, PAUSED, OTHER), "sync",
        at(1, BYTES), at(2, BYTES, PAUSED), at(3, BYTES), at(4, BYTES), at(5, BYTES, PAUSED),
    ]  # fmt: skip


def test_heartbeat_repeats_the_unchanged() -> None:
    found = shown(run(sample(PATHS[MARKED], suppress_redundant=True, heartbeat_interval=2 * STEP)))
    assert found == [at(0, MARKED), "sync", at(2, MARKED), at(4, MARKED)]
    found = shown(run(on_change(PATHS[PAUSED], heartbeat_interval=2 * STEP)))
    assert found == [at(0, PAUSED), "sync", at(2, PAUSED), at(4, PAUSED), at(5, PAUSED)]


def test_on_change_sends_changes_only() -> None:
    found = shown(run(on_change("/interfaces/interface[name=Ethernet1/1]/ethernet")))
    assert found == [at(0, SPEED, PAUSED), "sync", at(2, PAUSED), at(5, PAUSED)]


def test_target_defined_samples_counters_and_sends_states_on_change() -> None:
    subscription = gnmi.Subscription(path=gnmi.path("/interfaces/interface[name=Ethernet1/1]"))
    found = shown(run(subscription))
    assert found == [
        at(0, BYTES, SPEED, PAUSED), "sync", *(at(n, BYTES, PAUSED) for n in range(1, READINGS))
    ]  # fmt: skip


def test_updates_only_begins_with_sync() -> None:
    found = shown(run(sample(PATHS[BYTES]), updates_only=True))
    assert found == ["sync", *(at(n, BYTES) for n in range(1, READINGS))]
    found = shown(run(on_change(PATHS[PAUSED]), updates_only=True))
    assert found == ["sync", at(2, PAUSED), at(5, PAUSED)]


def test_two_subscriptions_share_one_stream() -> None:
    found = shown(run(sample(PATHS[BYTES], 2 * STEP), on_change(PATHS[PAUSED])))
    assert found == [
        at(0, BYTES), at(0, PAUSED), "sync", at(2, BYTES), at(2, PAUSED), at(4, BYTES), at(5, PAUSED)
    ]  # fmt: skip


def test_a_missing_reading_is_not_sent() -> None:
    rows = [array("q", row) for row in ([1, 5], [2, MISSING], [3, 5], [MISSING, MISSING])]
    holes = Timeline("leaf0", (BYTES, PAUSED), [1, 2, 3, 4], rows, (0, 0))
    for subscription, later in (
        (sample("/"), [(2, {BYTES: 2}), (3, {BYTES: 3, PAUSED: 5})]),
        (on_change("/"), [(2, {BYTES: 2}), (3, {BYTES: 3})]),
    ):
        found = streamed([holes], Options(), {"leaf0": asking(subscription)})["leaf0"]
        expected = [(ts, {PATHS[key]: v for key, v in row.items()}) for ts, row in later]
        assert shown(found)[2:] == expected


def test_the_bytes_are_right_without_our_tables() -> None:
    first = run(sample("/"))[0].SerializeToString()
    ((number, notification),) = wire.fields(first)
    assert number == 1
    seen = {}
    for field, value_ in wire.fields(notification):
        if field == 1:
            assert value_ == START
        elif field == 4:
            update = dict(wire.fields(value_))
            seen[wire.path(update[1])] = wire.typed_value(update[3])
    expected = at(0, *ALL)[1]
    kinds = {int: "uint", str: "string"}
    assert seen == {path: (kinds[type(v)], v) for path, v in expected.items()}


def test_a_repeated_run_goes_on_growing() -> None:
    found = []
    with serving([timeline()], Options(loop=True)) as replay, _client(replay) as client:
        call = client.call("Subscribe", iter([asking(sample(PATHS[BYTES]))]))
        for response in call:
            found.append(response)
            if len(found) > 2 * READINGS:
                break
        assert not replay.done.done()
        call.cancel()
    bytes_ = [(ts, *values.values()) for ts, values in (r for r in shown(found) if r != "sync")]
    expected = [START + STEP * n for n in range(2 * READINGS)]
    assert [ts for ts, _ in bytes_] == expected
    assert [v for _, v in bytes_] == [*range(0, 600, 100), *range(500, 1100, 100)]


def test_a_client_that_keeps_its_side_open_and_one_that_goes_away() -> None:
    asked: queue.Queue[Any] = queue.Queue()
    asked.put(asking(sample(PATHS[BYTES])))
    with serving([timeline()], Options()) as replay, _client(replay) as client:
        call = client.call("Subscribe", iter(asked.get, None))
        replay.done.result(PATIENCE_S)
        found = [next(call) for _ in range(READINGS + 1)]
        assert shown(found)[-1] == at(READINGS - 1, BYTES)
        call.cancel()
        asked.put(None)


# ---- ONCE, POLL, Get, Capabilities


def _client(replay: Any, **how: Any) -> Client:
    return Client(replay.endpoints[0].address, **how)


def test_once_sends_the_state_and_ends() -> None:
    with serving([timeline()], Options()) as replay, _client(replay) as client:
        for _ in range(2):  # time stands still: once does not start the run
            found = client.call("Subscribe", iter([asking(sample("/"), mode=gnmi.ListMode.ONCE)]))
            assert shown(list(found)) == [at(0, *ALL), "sync"]
        quiet = asking(sample("/"), mode=gnmi.ListMode.ONCE, updates_only=True)
        assert shown(list(client.call("Subscribe", iter([quiet])))) == ["sync"]


def test_poll_sends_the_state_at_every_poll() -> None:
    asked: queue.Queue[Any] = queue.Queue()
    asked.put(asking(sample(PATHS[BYTES]), mode=gnmi.ListMode.POLL))
    with serving([timeline()], Options()) as replay, _client(replay) as client:
        call = client.call("Subscribe", iter(asked.get, None))
        assert shown([next(call), next(call)]) == [at(0, BYTES), "sync"]
        replay.done.result(PATIENCE_S)  # the first answer let time run
        for _ in range(2):
            asked.put(gnmi.SubscribeRequest(poll=gnmi.Poll()))
            assert shown([next(call), next(call)]) == [at(READINGS - 1, BYTES), "sync"]
        asked.put(None)
        assert list(call) == []


def get(client: Client, *paths: str, encoding: int = gnmi.Encoding.PROTO, **more: Any) -> Any:
    request = gnmi.GetRequest(path=[gnmi.path(p) for p in paths], encoding=encoding, **more)
    return client.call("Get", request)


def test_get_gives_the_latest_reading() -> None:
    with serving([timeline()], Options(wait=0)) as replay, _client(replay) as client:
        replay.done.result(PATIENCE_S)
        answer = get(client, PATHS[BYTES], PATHS[PAUSED])
        values = {
            gnmi.path_text(u.path): u.val.uint_val for n in answer.notification for u in n.update
        }
        assert values == {PATHS[BYTES]: value(BYTES, 5), PATHS[PAUSED]: value(PAUSED, 5)}
        assert {n.timestamp for n in answer.notification} == {START + 5 * STEP}


def test_get_as_json_gives_containers() -> None:
    with serving([timeline()], Options()) as replay, _client(replay) as client:
        for encoding, field, big, name in (
            (gnmi.Encoding.JSON, "json_val", 1 << 62, "in-octets"),
            (gnmi.Encoding.JSON_IETF, "json_ietf_val", str(1 << 62), "openconfig-interfaces:in-octets"),
        ):  # fmt: skip
            answer = get(client, "/interfaces/interface[name=Ethernet2/1]", encoding=encoding)
            (update,) = answer.notification[0].update
            above = PATHS[OTHER].rpartition("/")[0]
            assert gnmi.path_text(update.path) == above
            assert json.loads(getattr(update.val, field)) == {name: big}


def test_json_leaf_by_leaf() -> None:
    found = run(sample(PATHS[OTHER]), sample(PATHS[SPEED]), encoding=gnmi.Encoding.JSON_IETF)
    assert [u.val.json_ietf_val for r in found[:2] for u in r.update.update] == [
        b'"4611686018427387904"',
        b'"SPEED_100GB"',
    ]
    found = run(sample(PATHS[OTHER]), encoding=gnmi.Encoding.JSON)
    assert found[0].update.update[0].val.json_val == b"4611686018427387904"


def test_capabilities() -> None:
    for platform, version, model in (
        ("openconfig", "0.10.0", "openconfig-interfaces"), ("sonic", "0.7.0", "sonic-db")
    ):  # fmt: skip
        options = Options(platform=platform)
        with serving([timeline()], options) as replay, _client(replay) as client:
            answer = client.call("Capabilities", gnmi.CapabilityRequest())
            assert answer.gNMI_version == version
            assert model in {m.name for m in answer.supported_models}
            assert set(answer.supported_encodings) == {
                gnmi.Encoding.JSON, gnmi.Encoding.JSON_IETF, gnmi.Encoding.PROTO
            }  # fmt: skip


# ---- paths


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/", ALL),
        ("/interfaces/interface[name=Ethernet1/1]", [BYTES, SPEED, PAUSED]),
        ("/interfaces/interface[name=*]/state/counters/in-octets", [BYTES, OTHER]),
        ("/interfaces/interface/state/counters", [BYTES, OTHER]),
        ("/interfaces/*/state", [BYTES, OTHER]),
        ("/.../priority[index=3]", [PAUSED]),
        ("/.../in-octets", [BYTES, OTHER]),
        ("/openconfig-interfaces:interfaces/interface[name=Ethernet2/1]", [OTHER]),
        ("openconfig:/interfaces/interface[name=Ethernet2/1]/state", [OTHER]),
        ("/interfaces/interface[name=Ethernet9/9]", []),  # may come to be: no error
        ("/interfaces/interface[name=Ethernet1/1]/ethernet/pfc/priorities/priority[index=4]", []),
    ],
)
def test_paths_name_what_they_should(path: str, keys: list[Key]) -> None:
    once = asking(sample(path), mode=gnmi.ListMode.ONCE)
    with serving([timeline()], Options()) as replay, _client(replay) as client:
        found = shown(list(client.call("Subscribe", iter([once]))))
        assert found == ([at(0, *keys)] if keys else []) + ["sync"]


def test_prefix_and_old_paths_are_joined() -> None:
    request = asking(gnmi.Subscription(path=gnmi.Path(element=["state", "counters", "in-octets"])))
    request.subscribe.mode = gnmi.ListMode.ONCE
    request.subscribe.prefix.CopyFrom(
        gnmi.path("/interfaces/interface[name=Ethernet1/1]", target="me")
    )
    with serving([timeline()], Options()) as replay, _client(replay) as client:
        first, _ = client.call("Subscribe", iter([request]))
        assert shown([first]) == [at(0, BYTES)]
        assert first.update.prefix.target == "me"


# ---- refusals


def refusal(client: Client, *requests: Any, method: str = "Subscribe") -> tuple[str, str]:
    def asked() -> None:
        list(client.call(method, iter(requests) if method == "Subscribe" else requests[0]))

    with pytest.raises(grpc.RpcError) as refused:
        asked()
    return refused.value.code().name, refused.value.details()


REFUSED = {
    "no such path": (asking(sample("/interfaces/nonsense")), "UNIMPLEMENTED"),
    "one bad path among good ones": (asking(sample("/"), sample("/lldp")), "UNIMPLEMENTED"),
    "no such key": (asking(sample("/interfaces/interface[id=1]")), "UNIMPLEMENTED"),
    "another origin": (asking(sample("eos_native:/Sysdb")), "UNIMPLEMENTED"),
    "another encoding": (asking(sample("/"), encoding=gnmi.Encoding.ASCII), "UNIMPLEMENTED"),
    "an unknown model": (asking(sample("/"), use_models=[{"name": "none"}]), "UNIMPLEMENTED"),
    "too short an interval": (asking(sample("/", STEP - 1)), "INVALID_ARGUMENT"),
    "an unknown mode": (asking(gnmi.Subscription(path=gnmi.path("/"), mode=9)), "INVALID_ARGUMENT"),
    "an unknown list mode": (asking(sample("/"), mode=9), "INVALID_ARGUMENT"),
    "no subscription": (asking(), "INVALID_ARGUMENT"),
    "a poll first": (gnmi.SubscribeRequest(poll=gnmi.Poll()), "INVALID_ARGUMENT"),
    "bad syntax": (
        asking(gnmi.Subscription(path=gnmi.Path(element=["interface[name"]))),
        "INVALID_ARGUMENT",
    ),
}


def test_what_cannot_be_served_is_refused_with_the_right_status() -> None:
    with serving([timeline()], Options()) as replay, _client(replay) as client:
        for name, (request, status) in REFUSED.items():
            code, text = refusal(client, request)
            assert (name, code) == (name, status)
            assert text
            assert "\n" not in text
        assert refusal(client)[0] == "INVALID_ARGUMENT"  # a stream without any request
        twice = asking(sample(PATHS[BYTES], 1000))
        assert refusal(client, twice, twice)[0] == "INVALID_ARGUMENT"
        poll = asking(sample("/"), mode=gnmi.ListMode.POLL)
        assert refusal(client, poll, poll)[0] == "INVALID_ARGUMENT"
        nothing = gnmi.GetRequest(
            path=[gnmi.path("/interfaces/interface[name=no]")], encoding=gnmi.Encoding.PROTO
        )
        assert refusal(client, nothing, method="Get")[0] == "NOT_FOUND"
        config = gnmi.GetRequest(type=gnmi.DataType.CONFIG, encoding=gnmi.Encoding.PROTO)
        assert refusal(client, config, method="Get")[0] == "NOT_FOUND"
        # and after all this the target still serves
        assert len(get(client, PATHS[BYTES]).notification) == 1


# ---- SONiC

PORT, QUEUE = "Ethernet1/1", "Ethernet1/1:3"
SONIC: list[tuple[str, str, Any]] = [
    (
        "COUNTERS_DB", "COUNTERS/Ethernet*",
        {
            PORT: {"SAI_PORT_STAT_IF_IN_OCTETS": "500", "SAI_PORT_STAT_PFC_3_RX_PAUSE_DURATION_US": "2"},
            "Ethernet2/1": {"SAI_PORT_STAT_IF_IN_OCTETS": str(1 << 62)},
        },
    ),
    (
        "COUNTERS_DB", r"COUNTERS/Ethernet1\/1",
        {"SAI_PORT_STAT_IF_IN_OCTETS": "500", "SAI_PORT_STAT_PFC_3_RX_PAUSE_DURATION_US": "2"},
    ),
    (
        "COUNTERS_DB", "COUNTERS/Ethernet*/SAI_PORT_STAT_PFC_3_RX_PAUSE_DURATION_US",
        {PORT: {"SAI_PORT_STAT_PFC_3_RX_PAUSE_DURATION_US": "2"}},
    ),
    ("COUNTERS_DB", r"COUNTERS/Ethernet1\/1/SAI_PORT_STAT_IF_IN_OCTETS", "500"),
    (
        "COUNTERS_DB", "COUNTERS/Ethernet*/Queues",
        {QUEUE: {"SAI_QUEUE_STAT_WRED_ECN_MARKED_PACKETS": "7"}},
    ),
    (
        "COUNTERS_DB", r"COUNTERS/Ethernet1\/1/Queues",
        {QUEUE: {"SAI_QUEUE_STAT_WRED_ECN_MARKED_PACKETS": "7"}},
    ),
    ("APPL_DB", "PORT_TABLE", {PORT: {"speed": "100000"}}),
    ("APPL_DB", r"PORT_TABLE/Ethernet1\/1", {"speed": "100000"}),
    ("COUNTERS_DB", "PERIODIC_WATERMARKS/Ethernet*/PriorityGroups", None),
    ("COUNTERS_DB", "COUNTERS/Ethernet9/Queues", None),
]  # fmt: skip


def test_sonic_paths_and_shapes() -> None:
    options = Options(platform="sonic", wait=0)
    with serving([timeline()], options) as replay, _client(replay) as client:
        replay.done.result(PATIENCE_S)
        for database, path, expected in SONIC:
            once = asking(
                sample(path), mode=gnmi.ListMode.ONCE, target=database, encoding=gnmi.Encoding.JSON_IETF
            )  # fmt: skip
            *updates, last = client.call("Subscribe", iter([once]))
            assert last.sync_response
            if expected is None:
                assert not updates
                continue
            (response,) = updates
            (update,) = response.update.update
            assert response.update.prefix.target == database
            assert update.path == gnmi.path(path)  # echoed as asked, wildcards too
            if isinstance(expected, str):
                assert update.val.string_val == expected
            else:
                assert json.loads(update.val.json_ietf_val) == expected


def test_sonic_on_change_sends_the_changed_fields() -> None:
    request = asking(
        on_change("COUNTERS/Ethernet*/SAI_PORT_STAT_PFC_3_RX_PAUSE_DURATION_US"),
        target="COUNTERS_DB", encoding=gnmi.Encoding.JSON,
    )  # fmt: skip
    found = streamed([timeline()], Options(platform="sonic"), {"leaf0": request})["leaf0"]
    values = [
        json.loads(v) for _, row in (r for r in shown(found) if r != "sync") for v in row.values()
    ]
    field = "SAI_PORT_STAT_PFC_3_RX_PAUSE_DURATION_US"
    assert values == [{PORT: {field: v}} for v in ("0", "1", "2")]


def test_sonic_refusals() -> None:
    with serving([timeline()], Options(platform="sonic")) as replay, _client(replay) as client:
        for target, path in (
            ("", "COUNTERS/Ethernet*"), ("ASIC_DB", "X"), ("COUNTERS_DB", "COUNTERS/Ethernet*/Nothing"),
            ("COUNTERS_DB", "openconfig:/COUNTERS"), ("APPL_DB", "COUNTERS/Ethernet*"),
            ("COUNTERS_DB", "COUNTERS/Ethernet*/Queues/x"),
        ):  # fmt: skip
            request = asking(sample(path), target=target, encoding=gnmi.Encoding.JSON)
            assert refusal(client, request)[0] == "UNIMPLEMENTED", (target, path)


# ---- many devices, one listener, security


def test_many_devices_at_once() -> None:
    count = 20
    requests = {f"leaf{d}": asking(sample(PATHS[BYTES])) for d in range(count)}
    found = streamed([timeline(d) for d in range(count)], Options(), requests)
    for d in range(count):
        values = [
            next(iter(v.values())) for _, v in (r for r in shown(found[f"leaf{d}"]) if r != "sync")
        ]
        assert values == [value(BYTES, n, d) for n in range(READINGS)]


def test_one_listener_for_all() -> None:
    options = Options(single=True, wait=2)
    with serving([timeline(d) for d in range(3)], options) as replay:
        assert len({e.address for e in replay.endpoints}) == 1
        with _client(replay) as client:
            for d in range(3):
                once = asking(sample(PATHS[BYTES]), mode=gnmi.ListMode.ONCE, target=f"leaf{d}")
                first, _ = client.call("Subscribe", iter([once]))
                assert first.update.update[0].val.uint_val == d
                assert first.update.prefix.target == f"leaf{d}"
            assert refusal(client, asking(sample("/"), target="leaf9"))[0] == "NOT_FOUND"
            assert refusal(client, asking(sample("/")))[0] == "NOT_FOUND"


def test_user_and_password() -> None:
    options = Options(user="admin", password="secret")
    with serving([timeline()], options) as replay:
        for given in (
            (),
            (("username", "admin"),),
            (("username", "admin"), ("password", "Secret")),
        ):
            with _client(replay, metadata=given) as client:
                assert refusal(client, asking(sample("/")))[0] == "UNAUTHENTICATED"
                assert refusal(client, gnmi.GetRequest(), method="Get")[0] == "UNAUTHENTICATED"
                assert (
                    refusal(client, gnmi.CapabilityRequest(), method="Capabilities")[0]
                    == "UNAUTHENTICATED"
                )
        good = (("username", "admin"), ("password", "secret"))
        with _client(replay, metadata=good) as client:
            assert len(get(client, PATHS[BYTES]).notification) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(cert),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


def test_tls(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    with serving([timeline()], Options(cert=cert, key=key)) as replay:
        trusted = grpc.ssl_channel_credentials(cert.read_bytes())
        with _client(replay, credentials=trusted) as client:
            assert len(get(client, PATHS[BYTES]).notification) == 1
        with _client(replay) as client:  # without TLS nobody answers
            assert refusal(client, gnmi.GetRequest(), method="Get")[0] == "UNAVAILABLE"


def test_tls_of_the_client(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    with serving([timeline()], Options(cert=cert, key=key, client_ca=cert)) as replay:
        mutual = grpc.ssl_channel_credentials(
            cert.read_bytes(), key.read_bytes(), cert.read_bytes()
        )
        with _client(replay, credentials=mutual) as client:
            assert len(get(client, PATHS[BYTES]).notification) == 1
        nameless = grpc.ssl_channel_credentials(cert.read_bytes())
        with _client(replay, credentials=nameless) as client:
            assert refusal(client, gnmi.GetRequest(), method="Get")[0] == "UNAVAILABLE"


@pytest.mark.parametrize(
    "wrong",
    [
        {"platform": "nobody"}, {"speed": 0.0}, {"speed": float("nan")}, {"cert": Path("x")},
        {"key": Path("x")}, {"client_ca": Path("x")}, {"user": "me"}, {"platform": "sonic", "single": True},
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Options(**wrong)


def test_a_port_in_use_and_a_bad_certificate_are_refused(tmp_path: Path) -> None:
    with serving([timeline()], Options()) as replay:
        port = int(replay.endpoints[0].address.rpartition(":")[2])
        with (
            pytest.raises(OSError, match="cannot listen"),
            serving([timeline()], Options(port=port)),
        ):
            pass
    with pytest.raises(ValueError, match="no readings"), serving([], Options()):
        pass
    missing = tmp_path / "none.pem"
    with (
        pytest.raises(OSError, match=r"none\.pem"),
        serving([timeline()], Options(cert=missing, key=missing)),
    ):
        pass
