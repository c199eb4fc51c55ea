"""gnmic's events from files, TCP, a real nats-server and librdkafka's own broker."""

import asyncio
import json
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import confluent_kafka
import nats
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.config import EventInput
from collectors.events import Events, Framer
from collectors.health import Health
from collectors.recorder import Recorder
from collectors.records import Method
from tests.collecting import QUICK, free_port, of, until
from tests.data import tool


def event(n: int) -> dict[str, Any]:
    return {"name": "s", "timestamp": n, "tags": {"source": 'a"]}\\'}, "values": {"/x/{y}": str(n)}}


EVENTS = [event(n) for n in range(5)]


@asynccontextmanager
async def reading(folder: Path, wanted: EventInput) -> AsyncIterator[Health]:
    """An input while it is read."""
    health = Health(wanted.source, "gnmic")
    with Recorder(folder, "test", gather_s=0.0) as recorder:
        task = asyncio.create_task(Events(wanted, recorder, health, QUICK).run())
        try:
            yield health
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def found(folder: Path) -> list[Any]:
    """Events that were recorded, arrays opened."""
    bodies = [json.loads(record.payload) for record in of(folder, Method.GNMIC)]
    return [e for body in bodies for e in (body if isinstance(body, list) else [body])]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_values_are_cut_wherever_the_stream_is(data: st.DataObject) -> None:
    """Arrays, objects and indented ones, with and without anything between them, in any pieces."""
    inner = st.recursive(
        st.text() | st.integers() | st.booleans(),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x, max_size=3),
        max_leaves=8,
    )
    wanted = data.draw(st.lists(st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_size=5))  # fmt: skip
    between = data.draw(st.sampled_from(["", "\n", "\r\n", " "]))
    indent = data.draw(st.sampled_from([None, 2]))
    stream = "".join(
        json.dumps(v, indent=indent, ensure_ascii=False) + between for v in wanted
    ).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    framer = Framer()
    got = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += [json.loads(value) for value in framer.feed(stream[start:end])]
    assert got == wanted
    assert framer.faults == 0
    assert framer.rest.strip() == b""


def test_junk_between_values_and_endless_ones_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.events.LARGEST", 1000)
    framer = Framer()
    assert list(framer.feed(b'junk {"a":1} ]]] {"b":2}')) == [b'{"a":1}', b'{"b":2}']
    assert framer.faults == 2
    assert list(framer.feed(b"{" * 600)) == []
    assert list(framer.feed(b'"' * 601)) == []
    assert framer.faults == 3
    assert list(framer.feed(b'{"c":3}')) == [b'{"c":3}']


def test_a_file_is_followed_from_where_we_were(tmp_path: Path) -> None:
    source, log = tmp_path / "events.json", tmp_path / "log"
    source.write_text(json.dumps(EVENTS[:2]) + "\n" + json.dumps(EVENTS[2]) + "\n")
    wanted = EventInput("file", str(source))

    async def run() -> None:
        async with reading(log, wanted):
            await until(lambda: len(found(log)) == 3)
            with source.open("a") as file:
                file.write(json.dumps(EVENTS[3], indent=2)[:20])
                file.flush()
                await asyncio.sleep(0.6)
        with source.open("a") as file:
            file.write(json.dumps(EVENTS[3], indent=2)[20:])
        async with reading(log, wanted):  # a new process: nothing twice, the half one whole
            await until(lambda: len(found(log)) == 4)
            source.rename(tmp_path / "old.json")
            source.write_text(json.dumps(EVENTS[4]))
            await until(lambda: len(found(log)) == 5)

    asyncio.run(run())
    assert found(log) == EVENTS


def test_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    source, log = tmp_path / "events.json", tmp_path / "log"

    async def run() -> None:
        async with reading(log, EventInput("file", str(source))) as health:
            await until(lambda: health.state == "down")
            assert "events.json" in health.error
            source.write_text(json.dumps(EVENTS))
            await until(lambda: len(found(log)) == 5)
            assert health.state == "streaming"

    asyncio.run(run())


def test_tcp(tmp_path: Path) -> None:
    at = f"127.0.0.1:{free_port()}"

    async def run() -> None:
        async with reading(tmp_path, EventInput("tcp", at)) as health:
            await until(lambda: health.address)
            with socket.create_connection(("127.0.0.1", int(at.rpartition(":")[2]))) as sender:
                sender.sendall("".join(map(json.dumps, EVENTS)).encode() + b'{"half')
                await until(lambda: len(found(tmp_path)) == 5)
            await until(lambda: health.faults == 1)

    asyncio.run(run())
    assert found(tmp_path) == EVENTS


@asynccontextmanager
async def nats_server(folder: Path, port: int) -> AsyncIterator[str]:
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [tool("nats-server"), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder)],
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"nats://127.0.0.1:{port}"
        for _ in range(200):
            try:
                client = await nats.connect(
                    url, allow_reconnect=False, reconnect_time_wait=0.02, error_cb=_silent
                )
            except OSError:
                await asyncio.sleep(0.02)
                continue
            await client.close()
            break
        yield url
    finally:
        process.terminate()
        process.wait()


async def _silent(_: Exception) -> None:
    pass


async def published(url: str, *events: Any, stream: str = "telemetry") -> None:
    client = await nats.connect(url)
    if stream:
        await client.jetstream().add_stream(name=stream, subjects=["gnmic.>"])
        for one in events:
            await client.jetstream().publish("gnmic.leaf1", json.dumps([one]).encode())
    else:
        for one in events:
            await client.publish("gnmic.leaf1", json.dumps(one).encode())
    await client.close()


def test_jetstream_is_acknowledged_when_it_is_on_disk(tmp_path: Path) -> None:
    """Each message once across a restart of ours and one of the server, which remembers what we had."""
    port = free_port()
    log = tmp_path / "log"
    wanted = EventInput("nats", f"nats://127.0.0.1:{port}", "gnmic.>", "telemetry")

    async def run() -> None:
        async with nats_server(tmp_path / "js", port) as url:
            await published(url, *EVENTS[:3])
            async with reading(log, wanted):
                await until(lambda: len(found(log)) == 3)
                await asyncio.sleep(0.05)
            async with reading(log, wanted) as health:
                await published(url, EVENTS[3])
                await until(lambda: len(found(log)) == 4)
                await asyncio.sleep(0.05)
                assert health.messages == 1
        async with reading(log, wanted) as health:
            await until(lambda: health.state == "down")
            async with nats_server(tmp_path / "js", port) as url:
                await published(url, EVENTS[4])
                await until(lambda: len(found(log)) == 5)

    asyncio.run(run())
    assert found(log) == EVENTS


def test_plain_nats(tmp_path: Path) -> None:
    port = free_port()

    async def run() -> None:
        async with nats_server(tmp_path / "js", port) as url:
            wanted = EventInput("nats", url, "gnmic.>")
            async with reading(tmp_path / "log", wanted) as health:
                await until(lambda: health.state == "streaming")
                await asyncio.sleep(0.05)
                await published(url, *EVENTS, stream="")
                await until(lambda: len(found(tmp_path / "log")) == 5)

    asyncio.run(run())
    assert found(tmp_path / "log") == EVENTS


def test_kafka(tmp_path: Path) -> None:
    """Against the broker that librdkafka brings for tests: it speaks the protocol, groups included."""
    producer = confluent_kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock"})
    broker = next(iter(producer.list_topics(timeout=10).brokers.values()))
    for one in EVENTS:
        producer.produce("gnmic", json.dumps([one]).encode(), key=b"leaf1")
    producer.flush(10)
    wanted = EventInput("kafka", f"{broker.host}:{broker.port}", "gnmic")

    async def run() -> None:
        async with reading(tmp_path, wanted):
            await until(lambda: len(found(tmp_path)) == 5)

    asyncio.run(run())
    assert found(tmp_path) == EVENTS


@pytest.mark.parametrize(
    ("wanted", "said"),
    [(EventInput("udp", "x"), "one of file"), (EventInput("nats", "x"), "needs a subject")],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, wanted: EventInput, said: str) -> None:
    with (
        Recorder(tmp_path, "test") as recorder,
        pytest.raises(ValueError, match=said),
    ):
        Events(wanted, recorder, Health("x", "gnmic"), QUICK)
