"""gnmic's events as an input, for those who already run gnmic: file, TCP, NATS, Kafka.

gnmic writes JSON: an array of events, or single ones (``split-events``), with line ends between them or
without, on one line or indented. Only where a value ends is looked for here; what is in it is the
decoder's business. The peer of a record is the input, because an event names its device itself.

A message of JetStream or Kafka is acknowledged when it is on disk, so a crash repeats some and loses
none; of a file the place is kept that was safe. TCP and plain NATS have no way to ask again.

openconfig/gnmic: docs/user_guide/outputs/, docs/user_guide/event_processors/intro.md.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from collectors.config import Backoff, EventInput
from collectors.gnmi import Pauses
from collectors.health import Health, note
from collectors.recorder import Recorder
from collectors.records import Method
from collectors.safety import safe

KINDS: Final = ("file", "tcp", "nats", "kafka")
TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|["\[\]{}]', re.DOTALL)
OPEN, CLOSE = b"[{", b"]}"
LARGEST: Final = 64 << 20  # bytes of one value; more is no event
READ: Final = 1 << 20
BATCH: Final = 256  # messages that are acknowledged at once
POLL_S: Final = 0.5  # how often a file is looked at


class Framer:
    """Cuts a stream of JSON arrays and objects into its values."""

    def __init__(self) -> None:
        self.rest = b""
        self.faults = 0
        self._at = self._depth = self._start = 0  # where the search in rest goes on

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Values that are whole now; what lies between them, or grows too large, is a fault."""
        self.rest += data
        cut = 0
        for token in TOKENS.finditer(self.rest, self._at):
            c = token[0]
            if c == b'"':  # a text that is not whole yet
                self._at = token.start()
                break
            if c in (b"[", b"{"):
                if not self._depth:
                    self._start = token.start()
                    self._strange(self.rest[cut : self._start])
                self._depth += 1
            elif c in (b"]", b"}") and self._depth:
                self._depth -= 1
                if not self._depth:
                    cut = token.end()
                    yield self.rest[self._start : cut]
            self._at = token.end()
        self._keep(cut)

    def _keep(self, cut: int) -> None:
        self.rest = self.rest[cut:]
        self._at = max(self._at - cut, 0)
        self._start = max(self._start - cut, 0)
        if len(self.rest) > LARGEST or (not self._depth and len(self.rest) > READ):
            self.faults += 1
            self.rest, self._at, self._depth, self._start = b"", 0, 0, 0

    def _strange(self, between: bytes) -> None:
        if between.strip(b" \t\r\n,\0"):
            self.faults += 1


class Events:
    """One input of events, read until it is cancelled."""

    def __init__(
        self, wanted: EventInput, recorder: Recorder, health: Health, backoff: Backoff
    ) -> None:
        """ValueError for a kind there is not, or one that lacks what it needs."""
        if wanted.kind not in KINDS:
            raise ValueError(f"events: kind {wanted.kind!r}: one of {', '.join(KINDS)}")
        if wanted.kind in ("nats", "kafka") and not wanted.subject:
            raise ValueError(f"events: {wanted.kind} needs a subject")
        self.wanted, self.recorder, self.health = wanted, recorder, health
        self.peer = f"gnmic {wanted.kind} {wanted.subject or wanted.source}"
        self.pauses = Pauses(backoff)

    async def run(self) -> None:
        """Read, and after a failure pause and read again."""
        work = {"file": self._file, "tcp": self._tcp, "nats": self._nats, "kafka": self._kafka}
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await work[self.wanted.kind]()
                reason = "the input ended"
            except ImportError as error:
                raise ImportError(
                    f"{self.wanted.kind} needs the extra bus: pip install 'roce-fabric[bus]' ({error})"
                ) from error
            except (OSError, ValueError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
            task = asyncio.current_task()
            if task and task.cancelling():  # a library took the cancellation for its own
                raise asyncio.CancelledError
            self.health.turn("down", reason)
            method, payload = note("disconnected", reason)
            self.recorder.record(self.peer, method, payload)
            await asyncio.sleep(self.pauses.next_s(loop.time() - began))

    def _take(self, payload: bytes) -> int:
        self.health.turn("streaming")
        self.health.took(len(payload))
        return self.recorder.record(self.peer, Method.GNMIC, payload)

    async def _file(self) -> None:
        """Follow a file that grows, from where we were; one that was replaced, from its start."""
        path = Path(self.wanted.source)
        place = Place(self.recorder.folder / "events.json", str(path))
        framer = Framer()
        inode, at = place.inode, place.at
        while True:
            if path.stat().st_ino != inode or path.stat().st_size < at:
                inode, at, framer = path.stat().st_ino, 0, Framer()
            with path.open("rb") as file:
                file.seek(at)
                while data := file.read(READ):
                    tickets = [self._take(value) for value in framer.feed(data)]
                    self._faults(framer)
                    at += len(data)
                    if tickets:
                        await safe(self.recorder, tickets)
                        place.keep(inode, at - len(framer.rest))
                    await asyncio.sleep(0)
            self.health.turn("streaming")
            await asyncio.sleep(POLL_S)

    async def _tcp(self) -> None:
        """Listen, and take what each connection sends."""
        host, _, port = self.wanted.source.rpartition(":")
        if not port.isdigit():
            raise ValueError(
                f"events: tcp source {self.wanted.source!r}: write it like 0.0.0.0:57600"
            )
        server = await asyncio.start_server(self._joined, host.strip("[]") or None, int(port))
        self.health.address = "{}:{}".format(*server.sockets[0].getsockname()[:2])
        async with server:
            await server.serve_forever()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.health.connections += 1
        framer = Framer()
        with suppress(ConnectionError):
            while data := await reader.read(READ):
                for value in framer.feed(data):
                    self._take(value)
                self._faults(framer)
        if framer.rest.strip():
            self.health.faults += 1
        writer.close()

    def _faults(self, framer: Framer) -> None:
        self.health.faults += framer.faults
        framer.faults = 0

    async def _nats(self) -> None:
        """Consume a JetStream stream by a durable consumer, or a plain subject."""
        import nats.errors

        wanted = self.wanted
        client = await self._connected()
        try:
            self.health.connections += 1
            if not wanted.stream:
                await self._plain(client)
            await self._jetstream(client)
        except nats.errors.Error as error:
            raise OSError(f"nats {wanted.source}: {error}") from error
        finally:
            with suppress(nats.errors.Error):
                await client.close()

    async def _connected(self) -> Any:
        """A connection; the library itself tries for ever and tells nobody why."""
        import nats
        import nats.errors

        wanted, heard = self.wanted, asyncio.get_running_loop().create_future()

        async def hear(error: Exception) -> None:
            if not heard.done():
                heard.set_result(error)

        made = asyncio.ensure_future(
            nats.connect(
                wanted.source, user=wanted.user or None, password=wanted.password or None,
                allow_reconnect=False, connect_timeout=5, error_cb=hear,
            )
        )  # fmt: skip
        await asyncio.wait({made, heard}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if made.done():
                return made.result()
            raise OSError(f"nats {wanted.source}: {heard.result()}")
        except nats.errors.Error as error:
            raise OSError(f"nats {wanted.source}: {error}") from error
        finally:
            made.cancel()

    async def _plain(self, client: Any) -> None:
        subscription = await client.subscribe(self.wanted.subject)
        self.health.turn("streaming")
        async for message in subscription.messages:
            self._take(message.data)
        raise OSError("the connection is gone")

    async def _jetstream(self, client: Any) -> None:
        wanted = self.wanted
        stream = client.jetstream()
        consumer = await stream.pull_subscribe(
            wanted.subject, durable=wanted.group, stream=wanted.stream
        )
        self.health.turn("streaming")
        while True:
            try:
                messages = await consumer.fetch(BATCH, timeout=1)
            except TimeoutError:
                if client.is_closed:
                    raise OSError("the connection is gone") from None
                continue
            await safe(self.recorder, [self._take(message.data) for message in messages])
            for message in messages:
                await message.ack()

    async def _kafka(self) -> None:
        """Consume a topic as a member of a group."""
        from confluent_kafka import Consumer, KafkaException

        wanted = self.wanted
        consumer = Consumer(
            {
                "bootstrap.servers": wanted.source,
                "group.id": wanted.group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                **({"sasl.mechanism": "SCRAM-SHA-512", "security.protocol": "SASL_SSL",
                    "sasl.username": wanted.user, "sasl.password": wanted.password}
                   if wanted.user else {}),
            }
        )  # fmt: skip
        try:
            consumer.subscribe([wanted.subject])
            while True:
                messages = await asyncio.to_thread(consumer.consume, BATCH, POLL_S)
                found = [self._kafka_value(message) for message in messages]
                tickets = [self._take(value) for value in found if value]
                if tickets:
                    await safe(self.recorder, tickets)
                    await asyncio.to_thread(consumer.commit, asynchronous=False)
        except KafkaException as error:
            raise OSError(f"kafka {wanted.source}: {error}") from error
        finally:
            consumer.close()

    def _kafka_value(self, message: Any) -> bytes:
        if error := message.error():
            if error.fatal() or not error.retriable():
                self.health.faults += 1
                self.health.error = str(error)
            return b""
        return bytes(message.value() or b"")


class Place:
    """How far a file was read, kept beside the segments."""

    def __init__(self, file: Path, path: str) -> None:
        self.file, self.path = file, path
        self.inode, self.at = self._all().get(path, (0, 0))

    def keep(self, inode: int, at: int) -> None:
        """Remember a place that is safe."""
        partial = self.file.with_suffix(".new")
        partial.write_text(json.dumps({**self._all(), self.path: (inode, at)}))
        partial.replace(self.file)

    def _all(self) -> dict[str, tuple[int, int]]:
        try:
            found = json.loads(self.file.read_bytes())
            return {str(path): (int(inode), int(at)) for path, (inode, at) in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}
