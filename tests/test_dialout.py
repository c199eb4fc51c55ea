"""Every dial-out protocol and OpenTelemetry against our listener, from real clients over loopback."""

import asyncio
import json
import random
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from collectors.batches import AGENT, compose, recall, unpack
from collectors.config import Listener, Tls
from collectors.dialout import address, short
from collectors.health import Board
from collectors.listening import Listening
from collectors.recorder import Recorder
from collectors.records import Method
from collectors.vendors import H3C, OTLP_SERVICE, Args, Chunk, Cisco, Huawei, Otlp, PublishResponse
from tests.collecting import Authority, notification, of, records

SONIC = "/gnmi.sonic.gNMIDialOut/Publish"
SPELLINGS = ("/grpc_dialout.GRPCDialout/Dialout", "/grpc_dialout.gRPCDialout/Dialout")


@asynccontextmanager
async def listening(
    folder: Path, listener: Listener | None = None, **how: Any
) -> AsyncIterator[tuple[str, Board]]:
    """A listener on a free port: its address."""
    board = Board()
    recorder = Recorder(folder, "test", gather_s=0.0, **how)
    served = Listening(listener or Listener("127.0.0.1:0"), recorder, board)
    await served.start()
    try:
        yield f"127.0.0.1:{served.port}", board
    finally:
        await served.stop(0)
        if folder.exists():
            recorder.close()


async def stream(
    at: str, path: str, messages: Sequence[bytes], *, answers: int = 0, metadata: Any = ()
) -> list[bytes]:
    """Send messages as a device does and end the stream; the answers that came."""
    async with grpc.aio.insecure_channel(at) as channel:
        if path in SPELLINGS:
            call = channel.stream_unary(path)(iter(messages), metadata=metadata)
            return [await call]
        call = channel.stream_stream(path)(metadata=metadata)
        for message in messages:
            await call.write(message)
        found = [await call.read() for _ in range(answers)]
        await call.done_writing()
        return found + [raw async for raw in call]


def sent(folder: Path, path: str, messages: Sequence[bytes], **how: Any) -> list[Any]:
    """Records that remain of messages."""

    async def run() -> None:
        async with listening(folder) as (at, _):
            await stream(at, path, messages, **how)

    asyncio.run(run())
    return [record for record in records(folder) if record.method != Method.NOTE]


GNMI = [notification("/interfaces", n, n) for n in range(1, 4)]


@pytest.mark.parametrize(
    "path",
    [SONIC, "/gnmi.dialout.gNMIDialOut/Publish", "/Nokia.SROS.DialoutTelemetry/Publish", "/Subscriber/DialOutSubscriber"],
)  # fmt: skip
def test_gnmi_dial_out_is_recorded_as_it_came(tmp_path: Path, path: str) -> None:
    found = sent(tmp_path, path, GNMI)
    assert [record.payload for record in found] == GNMI
    assert {(record.method, record.peer) for record in found} == {(Method.GNMI, "127.0.0.1")}


def test_each_message_is_answered_when_it_is_on_disk(tmp_path: Path) -> None:
    """SONiC in its two-way mode sends the next message only after an answer."""

    async def run() -> None:
        async with (
            listening(tmp_path) as (at, _),
            grpc.aio.insecure_channel(at) as channel,
        ):
            call = channel.stream_stream(SONIC)()
            for n, message in enumerate(GNMI, 1):
                await call.write(message)
                answer = PublishResponse.FromString(await call.read())
                assert answer.timestamp > 0
                assert (
                    len(of(tmp_path, Method.GNMI)) == n
                )  # read from disk, the recorder still open

    asyncio.run(run())


def test_a_device_that_never_reads_answers_loses_nothing(tmp_path: Path) -> None:
    messages = [notification("/p", n, n) for n in range(1, 8_001)]
    assert len(sent(tmp_path, SONIC, messages)) == len(messages)


def h3c(
    body: bytes,
    path: bytes = b"buffermonitor/pfcstatistics",
    chunk: Any = None,
    field: str = "extra4",
) -> bytes:
    device = H3C.DeviceInfo(producerName=b"H3C", deviceName=b"leaf1", deviceModel=b"S9867")
    message = H3C.DialoutMsg(deviceMsg=device, sensorPath=path, jsonData=body)
    if chunk:
        size, total, place = chunk
        info = H3C.ChunkInfo(totalSize=size, totalFragments=total, nodeId=place)
        setattr(message, field, info.SerializeToString())
    return bytes(message.SerializeToString())


@pytest.mark.parametrize("path", SPELLINGS)
def test_h3c_in_both_spellings(tmp_path: Path, path: str) -> None:
    message = h3c(b'{"Notification":{}}')
    found = sent(tmp_path, path, [message])
    assert [(r.method, r.payload) for r in found] == [(Method.H3C, message)]


@pytest.mark.parametrize("field", ["extra4", "extra6"])
def test_h3c_fragments_are_put_together(tmp_path: Path, field: str) -> None:
    """Under whatever number the fragment's place stands.

    Two paths interleaved, one cut inside a character, and one that begins anew half way.
    """
    body, other = '{"a":"ü"}'.encode(), b'{"b":1}'
    size, piece = len(body), partial(h3c, field=field)
    pieces = [
        piece(body[:3], b"x/A", (size, 2, 1)),  # lost half
        piece(body[:7], b"x/A", (size, 2, 1)),
        piece(other[:2], b"y", (len(other), 3, 1)),
        piece(other[5:], b"y", (len(other), 3, 3)),
        piece(body[7:], b"X/a", (size, 2, 2)),
        piece(other[2:5], b"y", (len(other), 3, 2)),
        piece(b"{}", b"z", (2, 1, 0)),
    ]

    async def run() -> Board:
        async with listening(tmp_path) as (at, board):
            await stream(at, SPELLINGS[0], pieces)
            return board

    board = asyncio.run(run())
    found = [H3C.DialoutMsg.FromString(r.payload) for r in of(tmp_path, Method.H3C)]
    assert [m.jsonData for m in found] == [body, other, b"{}"]
    assert found[0].deviceMsg.deviceName == b"leaf1"
    assert next(iter(board)).faults == 1


def test_huawei_cisco_and_h3c_envelopes_are_opened(tmp_path: Path) -> None:
    huawei = Huawei.Telemetry(node_id_str=b"n", sensor_path=b"p").SerializeToString()
    cisco = Cisco.Telemetry(node_id_str=b"n", encoding_path=b"p").SerializeToString()
    assert [r.payload for r in sent(
        tmp_path / "huawei", "/huawei_dialout.gRPCDataservice/dataPublish",
        [Args(ReqId=1, data=huawei).SerializeToString(), Args(data_json=b"{}").SerializeToString()],
    )] == [huawei, b"{}"]  # fmt: skip
    halves = [Chunk(ReqId=7, data=part, totalSize=len(cisco)).SerializeToString()
              for part in (cisco[:2], cisco[2:])]  # fmt: skip
    path = "/mdt_dialout.gRPCMdtDialout/MdtDialout"
    found = sent(
        tmp_path / "cisco", path, [Chunk(ReqId=1, data=cisco).SerializeToString(), *halves]
    )
    assert [(r.method, r.payload) for r in found] == [(Method.CISCO, cisco)] * 2
    path = "/grpc_dialout_v3.gRPCDialoutV3/DialoutV3"
    found = sent(tmp_path / "h3c", path, [Chunk(data=huawei).SerializeToString()])
    assert [(r.method, r.payload) for r in found] == [(Method.H3C_V3, huawei)]


@pytest.mark.parametrize("path", [SPELLINGS[1], "/mdt_dialout.gRPCMdtDialout/MdtDialout"])
def test_what_cannot_be_read_is_kept_and_counted(tmp_path: Path, path: str) -> None:
    good = h3c(b"{}") if path in SPELLINGS else Chunk(data=b"ok").SerializeToString()

    async def run() -> Board:
        async with listening(tmp_path) as (at, board):
            await stream(at, path, [b"\xff\xff\xff", b"\x12\x7f", good])
            return board

    board = asyncio.run(run())
    assert next(iter(board)).faults == 2
    assert len([r for r in records(tmp_path) if r.method != Method.NOTE]) == 3


@pytest.mark.parametrize(
    "path",
    [SONIC, *SPELLINGS, "/grpc_dialout_v3.gRPCDialoutV3/DialoutV3",
     "/huawei_dialout.gRPCDataservice/dataPublish", "/mdt_dialout.gRPCMdtDialout/MdtDialout"],
)  # fmt: skip
def test_hostile_messages_end_nothing(tmp_path: Path, path: str) -> None:
    """Random bytes, mutated messages, fields of the wrong kind: the stream goes on, all is recorded."""
    rng = random.Random(1)
    seeds = [h3c(b"{}", chunk=(9, 3, 2)), Chunk(ReqId=-1, data=b"x" * 50, totalSize=99).SerializeToString(),
             Args(errors=b"\xff", data_json=b"{").SerializeToString(), GNMI[0], b""]  # fmt: skip
    messages = []
    for _ in range(500):
        spoiled = bytearray(rng.choice(seeds) or rng.randbytes(rng.randrange(40)))
        for _ in range(rng.randrange(4)):
            if spoiled:
                spoiled[rng.randrange(len(spoiled))] = rng.randrange(256)
        messages.append(bytes(spoiled))

    async def run() -> None:
        for metadata in ((), ((AGENT, "evil"),)):
            async with listening(tmp_path / str(len(metadata))) as (at, board):
                await stream(at, path, [*messages, h3c(b"{}")], metadata=metadata)
                assert sum(health.messages for health in board) == 501

    asyncio.run(run())


def test_fragments_without_end_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collectors.dialout.PARTS", 1000)
    pieces = [h3c(bytes(100), b"p%d" % n, (200, 2, 1)) for n in range(50)]

    async def run() -> Board:
        async with listening(tmp_path) as (at, board):
            await stream(at, SPELLINGS[0], pieces)
            return board

    health = next(iter(asyncio.run(run())))
    assert health.faults == 4
    assert "given up" in health.error


def batch(sequence: int, recorder: str = "leaf1-ab12") -> bytes:
    readings = {
        "device": "leaf1",
        "tables": {"COUNTERS/Ports": {"Ethernet0": {"X": str(sequence)}}},
    }
    return compose(recorder, sequence, Method.SONIC, sequence, readings).packed()


def test_batches_of_an_agent(tmp_path: Path) -> None:
    """Opened, acknowledged by number, and dropped where they come twice."""
    agent = ((AGENT, "leaf1-ab12"),)

    async def run() -> None:
        async with listening(tmp_path) as (at, board):
            first = await stream(at, SONIC, [batch(1), batch(2)], metadata=agent)
            assert PublishResponse.FromString(first[-1]).timestamp == 2
            again = await stream(at, SONIC, [batch(n) for n in (1, 2, 3)], metadata=agent)
            assert PublishResponse.FromString(again[-1]).timestamp == 3
            other = await stream(at, SONIC, [batch(1, "leaf1-cd34")], metadata=agent)
            assert PublishResponse.FromString(other[-1]).timestamp == 1
            await stream(at, SONIC, [b"\xff", notification("/x", 1)], metadata=agent)
            assert board.of("dialout", "leaf1-ab12").faults == 2

    asyncio.run(run())
    found = of(tmp_path, Method.SONIC)
    bodies = [json.loads(record.payload) for record in found]
    assert [(b["recorder"], b["sequence"]) for b in bodies] == [
        ("leaf1-ab12", 1), ("leaf1-ab12", 2), ("leaf1-ab12", 3), ("leaf1-cd34", 1),
    ]  # fmt: skip
    assert [record.ts for record in found] == [1, 2, 3, 1]


def test_a_listener_remembers_what_it_had_before_it_was_killed(tmp_path: Path) -> None:
    """Up to the first gap: what lies behind one may have failed to be written."""
    agent = ((AGENT, "leaf1-ab12"),)

    async def run(*numbers: int) -> None:
        async with listening(tmp_path) as (at, _):
            await stream(at, SONIC, [batch(n) for n in numbers], metadata=agent)

    asyncio.run(run(1, 2, 3, 6))
    assert recall(tmp_path) == {"leaf1-ab12": 3}
    asyncio.run(run(2, 3, 4, 5, 6))
    found = [json.loads(record.payload)["sequence"] for record in of(tmp_path, Method.SONIC)]
    assert found == [1, 2, 3, 6, 4, 5, 6]


def test_a_batch_is_ordinary_gnmi() -> None:
    made = compose("r", 7, Method.RDMA, 5, {"device": "h1", "nics": []})
    assert unpack(made.packed()) == made
    assert unpack(notification("/x", 1)) is None
    assert unpack(b"") is None


def test_nothing_is_acknowledged_while_the_disk_refuses(tmp_path: Path) -> None:
    """The stream ends with the reason, so that the agent sends again elsewhere or later."""
    agent = ((AGENT, "leaf1-ab12"),)

    async def run() -> None:
        async with listening(tmp_path / "log", limit_bytes=1) as (at, _):
            assert await stream(at, SONIC, [batch(1)], metadata=agent)
            await asyncio.sleep(0.1)
            shutil.rmtree(tmp_path / "log")
            with pytest.raises(grpc.aio.AioRpcError, match="cannot record") as refused:
                await stream(at, SONIC, [batch(2)], metadata=agent)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            with pytest.raises(grpc.aio.AioRpcError, match="cannot record"):
                await export(at, b"\x0a\x00")

    asyncio.run(run())


async def export(at: str, raw: bytes, **how: Any) -> bytes:
    async with grpc.aio.insecure_channel(at) as channel:
        return bytes(await channel.unary_unary(f"/{OTLP_SERVICE}/Export")(raw, **how))


def test_otlp_is_answered_when_it_is_on_disk(tmp_path: Path) -> None:
    request = Otlp.ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name=b"queue.dropped")
    metric.gauge.data_points.add(time_unix_nano=5, as_double=2.0)
    raw = request.SerializeToString()

    async def run() -> None:
        async with listening(tmp_path) as (at, board):
            assert await export(at, raw, compression=grpc.Compression.Gzip) == b""
            assert [(r.peer, r.payload) for r in of(tmp_path, Method.OTLP)] == [("127.0.0.1", raw)]
            assert board.of("otlp", "127.0.0.1").messages == 1

    asyncio.run(run())


def test_unknown_services_are_refused_and_shown(tmp_path: Path) -> None:
    async def run() -> None:
        async with listening(tmp_path) as (at, board):
            with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
                await stream(at, "/some.Service/Call", [b"x"])
            (health,) = board
            assert (health.kind, health.name, health.faults) == ("unknown service", "/some.Service/Call", 1)  # fmt: skip

    asyncio.run(run())


def test_listening_with_tls_and_passwords(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue("collector")
    own_cert, own_key = authority.issue("switch")
    listener = Listener("127.0.0.1:0", Tls(authority.cert, cert, key), user="u", password="p")
    credentials = grpc.ssl_channel_credentials(
        authority.cert.read_bytes(), own_key.read_bytes(), own_cert.read_bytes()
    )
    nameless = grpc.ssl_channel_credentials(authority.cert.read_bytes())

    async def tried(at: str, creds: Any, password: str) -> Any:
        async with grpc.aio.secure_channel(at, creds) as channel:
            given = (("username", "u"), ("password", password))
            call = channel.stream_stream(SONIC)(metadata=given)
            await call.write(GNMI[0])
            return await call.read()

    async def run() -> None:
        async with listening(tmp_path / "log", listener) as (at, _):
            assert await tried(at, credentials, "p")
            with pytest.raises(grpc.aio.AioRpcError, match="password is wrong"):
                await tried(at, credentials, "q")
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await tried(at, nameless, "p")

    asyncio.run(run())


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    async def run() -> None:
        async with listening(tmp_path / "a") as (at, _):
            with pytest.raises(OSError, match="in use"):
                async with listening(tmp_path / "b", Listener(at)):
                    pass

    asyncio.run(run())


def test_names_of_services_and_peers() -> None:
    assert short("/a.b.GRPCDialout/Dialout") == "grpcdialout/dialout"
    assert address("ipv4:10.0.0.1:5000") == "10.0.0.1"
    assert address("ipv6:%5B2001:db8::1%5D:5000") == "2001:db8::1"
    assert address("unix:/run/x.sock") == "/run/x.sock"
