"""Dial-out: devices call us, each in the protocol of its vendor, all on one port.

A service is known by the last parts of its path, in any spelling of capitals and below any package,
because vendors changed both. Devices of most vendors are told nothing: what they could not deliver
is a gap. SONiC may wait for an answer to each message, and gets it when that is on disk; our own agents
(:mod:`collectors.batches`) resend what was not acknowledged, and what comes twice is dropped here while
the listener lives.

The peer of a record is the address that called, without its port: most payloads do not name the device.
"""

import asyncio
import time
import urllib.parse
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NamedTuple

import grpc
from google.protobuf.message import DecodeError

from collectors.batches import AGENT, Batch, recall, unpack
from collectors.health import Board, Health, note
from collectors.recorder import Recorder
from collectors.records import Method
from collectors.safety import safe
from collectors.vendors import H3C, Args, Chunk, PublishResponse

UNANSWERED: Final = 4096  # answers that may wait for a device which does not read them
EXTRAS: Final = ("extra4", "extra5", "extra6", "extra7", "extra8")  # of a DialoutMsg
PARTS: Final = 256 << 20  # bytes of messages not yet whole, for one stream


class Form(NamedTuple):
    """How a service's messages become records."""

    method: Method
    open: "Callable[[Stream, bytes], bytes | None]"
    answers: bool = False  # the device may wait for one answer to each message


class Stream:
    """One call of a device."""

    def __init__(self, peer: str, health: Health, recorder: Recorder) -> None:
        self.peer, self.health, self.recorder = peer, health, recorder
        self.parts: dict[bytes, dict[int, bytes]] = {}  # fragments by what they are part of
        self.held = 0  # bytes in them

    def fault(self, text: str) -> None:
        """Count what cannot be used, and say the first time of each kind."""
        self.health.faults += 1
        if text != self.health.error:
            self.health.error = text
            method, payload = note("error", text)
            self.recorder.record(self.peer, method, payload)

    def hold(self, key: bytes, place: int, data: bytes) -> dict[int, bytes]:
        """Keep a fragment; what is there of its message so far. Too much at once is given up."""
        if self.held + len(data) > PARTS:
            self.fault(f"fragments of more than {PARTS >> 20} MB: given up")
            self.parts.clear()
            self.held = 0
        found = self.parts.setdefault(key, {})
        if place in found:  # a message begins anew before the last was whole
            self.fault("fragments are missing")
            self.release(key)
            found = self.parts.setdefault(key, {})
        found[place] = data
        self.held += len(data)
        return found

    def release(self, key: bytes) -> None:
        """Forget the fragments of a message."""
        self.held -= sum(map(len, self.parts.pop(key).values()))


def whole(_: Stream, raw: bytes) -> bytes | None:
    """A message that is recorded as it is; empty ones are keepalives."""
    return raw or None


def h3c(stream: Stream, raw: bytes) -> bytes | None:
    """A DialoutMsg of H3C; fragments share a sensor path and count from 1 (0 is a whole message)."""
    message = H3C.DialoutMsg.FromString(raw)
    name, chunk = _chunk(message)
    if chunk is None:
        return raw
    key = message.sensorPath.lower()
    found = stream.hold(key, chunk.nodeId, message.jsonData)
    if len(found) < chunk.totalFragments:
        return None
    message.jsonData = b"".join(data for _, data in sorted(found.items()))
    message.ClearField(name)
    stream.release(key)
    return bytes(message.SerializeToString())


def _chunk(message: Any) -> tuple[str, Any]:
    """The field that says which fragment a message is, and what it says; None for a whole message."""
    for name in EXTRAS:
        if raw := getattr(message, name):
            try:
                chunk = H3C.ChunkInfo.FromString(raw)
            except DecodeError:
                continue
            if chunk.totalFragments > 1 and 1 <= chunk.nodeId <= chunk.totalFragments:
                return name, chunk
    return "", None


def args(stream: Stream, raw: bytes) -> bytes | None:
    """The data of an envelope that holds whole messages (Huawei)."""
    message = Args.FromString(raw)
    if message.errors:
        stream.fault(f"the device says: {message.errors.decode(errors='replace')}")
    return message.data or message.data_json or None


def chunks(stream: Stream, raw: bytes) -> bytes | None:
    """The data of an envelope that may hold parts of ``totalSize`` bytes (Cisco, H3C's third layer)."""
    message = Chunk.FromString(raw)
    if message.errors:
        stream.fault(f"the device says: {message.errors.decode(errors='replace')}")
    if message.totalSize <= len(message.data):
        return message.data or None
    key = message.ReqId.to_bytes(8, "little", signed=True)
    found = stream.hold(key, len(stream.parts.get(key, ())), message.data)
    if sum(map(len, found.values())) < message.totalSize:
        return None
    data = b"".join(found.values())
    stream.release(key)
    return data


FORMS: Final = {
    "gnmidialout/publish": Form(Method.GNMI, whole, answers=True),  # SONiC, H3C, our agents
    "dialouttelemetry/publish": Form(Method.GNMI, whole, answers=True),  # Nokia SR OS
    "subscriber/dialoutsubscriber": Form(Method.GNMI, whole),  # Juniper
    "grpcdialout/dialout": Form(Method.H3C, h3c),
    "grpcdialoutv3/dialoutv3": Form(Method.H3C_V3, chunks),
    "grpcdataservice/datapublish": Form(Method.HUAWEI, args),
    "grpcmdtdialout/mdtdialout": Form(Method.CISCO, chunks),
}
LONE: Final = frozenset(
    {"grpcdialout/dialout"}
)  # services that stream one way and end with one answer


def short(path: str) -> str:
    """``/package.Service/Method`` as :data:`FORMS` has it."""
    service, _, method = path.strip("/").rpartition("/")
    return f"{service.rpartition('.')[2]}/{method}".lower()


def address(peer: str) -> str:
    """The host of a gRPC peer such as ``ipv4:10.0.0.1:50000``."""
    family, _, rest = urllib.parse.unquote(peer).partition(":")
    if family not in ("ipv4", "ipv6"):
        return rest or peer
    return rest.rpartition(":")[0].removeprefix("[").removesuffix("]")


class Dialout:
    """The dial-out services of a listener."""

    def __init__(self, recorder: Recorder, board: Board) -> None:
        self.recorder, self.board = recorder, board
        self.safe = recall(recorder.folder)  # agent: its highest number that is on disk

    def handler(self, path: str) -> Any:
        """What serves a path; None where it is no dial-out."""
        name = short(path)
        if name not in FORMS:
            return None
        form = FORMS[name]

        if name in LONE:

            async def lone(requests: AsyncIterator[bytes], context: Any) -> bytes:
                await self._take(form, name, requests, context)
                return bytes(H3C.DialoutResponse(response="ok").SerializeToString())

            return grpc.stream_unary_rpc_method_handler(lone)

        async def both(requests: AsyncIterator[bytes], context: Any) -> None:
            await self._take(form, name, requests, context)

        return grpc.stream_stream_rpc_method_handler(both)

    async def _take(
        self, form: Form, name: str, requests: AsyncIterator[bytes], context: Any
    ) -> None:
        peer = address(context.peer())
        agent = dict(context.invocation_metadata() or ()).get(AGENT, "")
        health = self.board.of("dialout", agent or peer, f"{peer} {name}")
        health.connections += 1
        health.turn("streaming")
        stream = Stream(peer, health, self.recorder)
        self._note(peer, "connected", service=name, agent=agent)
        answers = Answers(context, self.recorder, self.safe, agent) if form.answers else None
        reader = asyncio.create_task(self._read(form, stream, agent, requests, answers))
        reason = "the device ended the stream"
        try:
            await asyncio.wait({reader} | ({answers.task} if answers else set()),
                               return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
            if answers and answers.broken:
                reason = answers.broken
                await context.abort(grpc.StatusCode.UNAVAILABLE, reason)
            await reader
        except asyncio.CancelledError:
            reason = "the connection is gone"
            raise
        finally:
            reader.cancel()
            if answers:
                answers.task.cancel()
            health.turn("gone", answers.broken if answers else "")
            self._note(peer, "disconnected", reason)

    async def _read(
        self,
        form: Form,
        stream: Stream,
        agent: str,
        requests: AsyncIterator[bytes],
        answers: "Answers | None",
    ) -> None:
        async for raw in requests:
            stream.health.took(len(raw))
            if agent:
                self._batch(stream, raw, answers)
            else:
                self._message(stream, form, raw, answers)
        if answers:
            await answers.idle.wait()

    def _message(self, stream: Stream, form: Form, raw: bytes, answers: "Answers | None") -> None:
        try:
            payload = form.open(stream, raw)
        except (DecodeError, ValueError, OverflowError) as error:
            stream.fault(f"a message that cannot be read: {' '.join(str(error).split())}")
            payload = raw  # kept: a later version may understand it
        if payload is None:
            return
        seen = time.time_ns()
        ticket = self.recorder.record(stream.peer, form.method, payload, 0, seen)
        if answers:
            answers.give(ticket, seen, "")

    def _batch(self, stream: Stream, raw: bytes, answers: "Answers | None") -> None:
        batch: Batch | None = unpack(raw)
        if batch is None:
            stream.fault("an agent's message is no batch")
            return
        ticket = 0
        if batch.sequence > self.safe.get(batch.recorder, 0):
            ticket = self.recorder.record(stream.peer, batch.method, batch.payload, batch.ts)
        if answers:
            answers.give(ticket, batch.sequence, batch.recorder)

    def _note(self, peer: str, kind: str, text: str = "", **more: Any) -> None:
        method, payload = note(kind, text, **more)
        self.recorder.record(peer, method, payload)


class Answers:
    """Answers to a device, given in order once what they answer is on disk.

    An agent's numbers rise, so one answer serves all before it; any other device gets one answer a
    message. A device that never reads its answers loses the oldest of them, and nothing else.
    """

    def __init__(self, context: Any, recorder: Recorder, safe: dict[str, int], agent: str) -> None:
        self.context, self.recorder, self.safe, self.agent = context, recorder, safe, agent
        # An agent waits for its answers, and one that fell out would count as given.
        self.waiting: deque[tuple[int, int, str]] = deque(maxlen=None if agent else UNANSWERED)
        self.broken = ""  # why nothing can be recorded
        self.more, self.idle = asyncio.Event(), asyncio.Event()
        self.idle.set()
        self.task = asyncio.create_task(self._run())

    def give(self, ticket: int, stamp: int, recorder: str) -> None:
        """Answer with ``stamp`` when ``ticket`` is safe; ticket 0 is safe already."""
        self.waiting.append((ticket, stamp, recorder))
        self.idle.clear()
        self.more.set()

    async def _run(self) -> None:
        while True:
            if not self.waiting:
                self.idle.set()
            await self.more.wait()
            self.more.clear()
            while self.waiting:
                due = [self.waiting.popleft() for _ in range(len(self.waiting))]
                if not await self._on_disk([ticket for ticket, _, _ in due]):
                    return
                for _, stamp, recorder in due:
                    if recorder:
                        self.safe[recorder] = max(self.safe.get(recorder, 0), stamp)
                for _, stamp, _ in due[-1:] if self.agent else due:
                    answer = PublishResponse(timestamp=stamp)
                    await self.context.write(answer.SerializeToString())

    async def _on_disk(self, tickets: list[int]) -> bool:
        """Wait for tickets; False where one could not be written, which ends the stream."""
        try:
            await safe(self.recorder, tickets)
        except OSError as error:
            self.broken = str(error)
            return False
        return True
