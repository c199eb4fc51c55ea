"""gNMI dial-in: many targets subscribed to from one process, what they send recorded as it came.

One event loop serves all streams: a thread or two per stream cost four times the CPU and hundreds of
threads at three hundred targets. Nothing is decoded on the way: the first byte of a SubscribeResponse
says whether it holds a notification, and only the rare others are looked into. Deletes, atomic
notifications, duplicates and the old fields are the decoder's business, which sees every byte.

A target refuses a whole Subscribe for one path it does not know. Then the list is halved until the
offenders are alone; they are asked for in milder ways (a longer interval, the target's own mode), left
out if that fails too, and reported; the rest goes on.

openconfig/reference: rpc/gnmi/gnmi-specification.md, gnmi-authentication.md.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from collectors import messages as gnmi
from collectors.channels import channel as channel_to
from collectors.channels import metadata
from collectors.config import Backoff, Target
from collectors.health import Board, Health, note
from collectors.recorder import Recorder
from collectors.records import Method
from collectors.requests import Ask, Entry, asks, encodings, milder

NOTIFICATION: Final = (
    b"\n"  # tag of SubscribeResponse.update; sync_response, error and extension differ
)
REFUSALS: Final = frozenset(
    {
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNKNOWN,  # what a Go server returns for an error it gave no code
    }
)
HUNG_FACTOR: Final = 4  # stale for so many times the limit: the stream is opened anew
RETRY_REFUSED_S: Final = (
    3600.0  # after a reconnection this much later, what was left out is asked again
)
CONNECTING: Final = 64  # targets that may be dialled at once: handshakes cost CPU on both ends


class RefusedError(Exception):
    """A target wants nothing of what it was asked."""


def said(error: grpc.aio.AioRpcError) -> str:
    """A gRPC error in one line."""
    words = " ".join((error.details() or "").split())
    return f"{error.code().name}: {words}" if words else error.code().name


class Pauses:
    """How long to wait before the next attempt."""

    def __init__(self, how: Backoff) -> None:
        self.how, self.failures = how, 0

    def next_s(self, lived_s: float) -> float:
        """Seconds, after a connection that lived so long."""
        if lived_s >= self.how.stable_s:
            self.failures = 0
        base = min(self.how.first_s * 2.0 ** min(self.failures, 32), self.how.last_s)
        self.failures += 1
        return base * (1 + random.uniform(-self.how.jitter, self.how.jitter))


class Link:
    """One Subscribe RPC to one target, kept up until it is cancelled."""

    def __init__(
        self, target: Target, ask: Ask, health: Health, recorder: Recorder, backoff: Backoff
    ) -> None:
        self.target, self.full, self.ask = target, ask, ask
        self.health, self.recorder = health, recorder
        self.pauses = Pauses(backoff)
        self.sieved_s = 0.0  # when paths were last left out
        self.hung = self.synced = False  # of the stream that is open
        self.metadata = metadata(target)

    async def run(self, turnstile: asyncio.Semaphore) -> None:
        """Connect, stream, and after every end pause and connect again."""
        while True:
            began = time.monotonic()
            state = "down"
            try:
                await self._connect(turnstile)
                reason = "the target ended the stream"
            except grpc.aio.AioRpcError as error:
                reason = said(error)
            except RefusedError as error:
                state, reason = "refused", str(error)
            except (OSError, ValueError, grpc.aio.BaseError, asyncio.InvalidStateError) as error:
                reason = str(error) or type(error).__name__
            pause_s = self.pauses.next_s(time.monotonic() - began)
            self.health.turn(state, reason)
            self._note("disconnected", reason)
            await asyncio.sleep(pause_s)

    async def _connect(self, turnstile: asyncio.Semaphore) -> None:
        if self.sieved_s and time.monotonic() - self.sieved_s > RETRY_REFUSED_S:
            self.ask, self.sieved_s = self.full, 0.0
            self.health.left_out.clear()
            self.health.changed.clear()
        channel = None
        try:
            async with turnstile:
                channel = await channel_to(self.target)
                self.health.turn("connecting")
                choices = await self._capabilities(channel)
            self.health.connections += 1
            if self.ask is self.full:
                self.ask = self.full = replace(self.full, encoding=choices[0])
            try:
                await self._stream(channel)
            except grpc.aio.AioRpcError as error:
                if error.code() not in REFUSALS or self.synced:
                    raise
                self.ask = await self._sieve(channel, choices, said(error))
                await self._stream(channel)
        finally:
            if channel is not None:
                await channel.close()

    async def _capabilities(self, channel: Any) -> list[int]:
        """Encodings to try; a target without Capabilities is one that supports them all."""
        call = channel.unary_unary(f"/{gnmi.SERVICE}/Capabilities")
        try:
            raw = await call(b"", timeout=self.target.timeout_ns / 1e9, metadata=self.metadata)
            answer = gnmi.CapabilityResponse.FromString(raw)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise
            self._note("connected", "no Capabilities")
            return encodings(self.target, [])
        except DecodeError as error:
            self._fault(f"Capabilities: {error}")
            return encodings(self.target, [])
        self._note(
            "connected",
            version=answer.gNMI_version,
            encodings=list(answer.supported_encodings),
            models=[f"{m.name} {m.version}" for m in answer.supported_models],
        )
        return encodings(self.target, list(answer.supported_encodings))

    def _open(self, channel: Any) -> Any:
        return channel.stream_stream(f"/{gnmi.SERVICE}/Subscribe")(metadata=self.metadata)

    async def _stream(self, channel: Any) -> None:
        """Record what comes until the stream ends; its status is raised where that is an error."""
        call = self._open(channel)
        self.hung = self.synced = False
        self.health.encoding = gnmi.Encoding(self.ask.encoding).name.lower()
        self.health.turn("syncing")
        self.health.last_ns = time.time_ns()
        helpers = [asyncio.create_task(self._watch(call))]
        try:
            await _write(call, self.ask.request(self.target).SerializeToString())
            if self.ask.poll_ns:
                helpers.append(asyncio.create_task(self._poll(call)))
            await self._read(call)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self.hung or (task and task.cancelling()):
                raise
            raise TimeoutError("nothing came; the stream is given up") from None
        finally:
            for helper in helpers:
                helper.cancel()
            call.cancel()

    async def _read(self, call: Any) -> None:
        health, record, name = self.health, self.recorder.record, self.target.name
        now_ns = time.time_ns
        async for raw in call:
            now = now_ns()
            health.messages += 1
            health.bytes += len(raw)
            health.last_ns = now
            if raw[:1] != NOTIFICATION and not self._other(raw):
                continue
            record(name, Method.GNMI, raw, 0, now)

    def _other(self, raw: bytes) -> bool:
        """Whether a response that starts with no notification is worth a record."""
        if not raw:  # a keepalive of NX-OS
            return False
        try:
            response = gnmi.SubscribeResponse.FromString(raw)
        except DecodeError:
            self.health.faults += 1
            return True
        kind = response.WhichOneof("response")
        if kind == "sync_response":
            self.health.syncs += 1
            self.health.turn("streaming")
            if not self.synced:
                self.synced = True
                self._note("synced")
        elif kind == "error":  # before gNMI 0.5 a target said so in the stream
            self._fault(f"error {response.error.code}: {response.error.message}")
        return True

    async def _poll(self, call: Any) -> None:
        asked = gnmi.SubscribeRequest(poll=gnmi.Poll()).SerializeToString()
        while True:
            await asyncio.sleep(self.ask.poll_ns / 1e9)
            await call.write(asked)

    async def _watch(self, call: Any) -> None:
        """Report silence where readings are due, and end a stream that stays silent."""
        limit_ns, began = self.ask.silence_ns(self.target), self.health.last_ns
        while limit_ns:
            await asyncio.sleep(limit_ns / 4e9)
            silent_ns = time.time_ns() - self.health.last_ns
            if silent_ns > limit_ns:
                if self.health.turn("stale", f"nothing for {silent_ns / 1e9:.0f} s"):
                    self._note("stale", since_ns=self.health.last_ns)
                if silent_ns > HUNG_FACTOR * limit_ns:
                    self.hung = True
                    call.cancel()
                    return
            elif self.health.state == "stale" or self.health.last_ns - began > limit_ns:
                self.health.turn("streaming")  # some targets never say that they are in sync

    async def _sieve(self, channel: Any, choices: list[int], reason: str) -> Ask:
        """What of the subscription the target accepts; RefusedError where that is nothing."""
        self._note("refused", reason, paths=[entry.path for entry in self.ask.entries])
        for ask in self._variants(choices):
            if not await self._refusal(channel, ask):
                return ask
        entries = await self._accepted(channel, self.ask.entries, reason)
        self.sieved_s = time.monotonic()
        if not entries:
            raise RefusedError(reason)
        return replace(self.ask, entries=entries)

    def _variants(self, choices: list[int]) -> Iterable[Ask]:
        """The same paths, asked for in other ways."""
        if self.ask.extras and (self.target.qos or self.target.depth):
            yield replace(self.ask, extras=False)
        for encoding in choices:
            if encoding != self.ask.encoding:
                yield replace(self.ask, encoding=encoding, extras=False)

    async def _accepted(
        self, channel: Any, entries: tuple[Entry, ...], reason: str
    ) -> tuple[Entry, ...]:
        """Those of refused entries that a target takes, found by halving."""
        if len(entries) == 1:
            return await self._alone(channel, entries[0], reason)
        middle = len(entries) // 2
        taken: tuple[Entry, ...] = ()
        for half in (entries[:middle], entries[middle:]):
            refusal = await self._refusal(channel, replace(self.ask, entries=half))
            taken += await self._accepted(channel, half, refusal) if refusal else half
        return taken

    async def _alone(self, channel: Any, entry: Entry, reason: str) -> tuple[Entry, ...]:
        """A refused path, in a milder form, or nothing."""
        if not self.ask.poll_ns:
            for how, other in milder(entry):
                if not await self._refusal(channel, replace(self.ask, entries=(other,))):
                    self.health.changed[entry.path] = how
                    self._note("changed", how, path=entry.path)
                    return (other,)
        self.health.left_out[entry.path] = reason
        self._note("left out", reason, path=entry.path)
        return ()

    async def _refusal(self, channel: Any, ask: Ask) -> str:
        """Why a target refuses a subscription; empty where it does not."""
        call = self._open(channel)
        try:
            await _write(call, ask.request(self.target).SerializeToString())
            await asyncio.wait_for(call.read(), self.target.timeout_ns / 1e9)
        except grpc.aio.AioRpcError as error:
            if error.code() not in REFUSALS:
                raise
            return said(error)
        except TimeoutError:  # a target that has nothing to say yet, but does not object
            pass
        finally:
            call.cancel()
        return ""

    def _note(self, kind: str, text: str = "", **more: Any) -> None:
        method, payload = note(kind, text, **more)
        self.recorder.record(self.target.name, method, payload)

    def _fault(self, text: str) -> None:
        self.health.faults += 1
        self.health.error = text
        self._note("error", text)


async def _write(call: Any, request: bytes) -> None:
    """Send the first request; a stream that has ended already says why when it is read."""
    with suppress(asyncio.InvalidStateError):
        await call.write(request)


class Dialer:
    """The links to a set of targets, which may change while it runs."""

    def __init__(self, recorder: Recorder, board: Board, backoff: Backoff) -> None:
        self.recorder, self.board, self.backoff = recorder, board, backoff
        self._turnstile = asyncio.Semaphore(CONNECTING)
        self._tasks: dict[str, tuple[Target, list[asyncio.Task[None]], list[str]]] = {}

    def check(self, targets: Iterable[Target]) -> None:
        """ValueError for what :meth:`dial` could not ask for."""
        for target in targets:
            asks(target)
            encodings(target, [])

    async def dial(self, targets: Iterable[Target]) -> None:
        """Hold links to exactly these targets: unchanged ones are left in peace."""
        wanted = {target.name: target for target in targets}
        self.check(wanted.values())
        for name, (target, _, _) in list(self._tasks.items()):
            if wanted.get(name) != target:
                await self._drop(name)
        for name, target in wanted.items():
            if name not in self._tasks:
                self._tasks[name] = (target, *self._start(target))

    def _start(self, target: Target) -> tuple[list[asyncio.Task[None]], list[str]]:
        tasks, names = [], []
        for place, ask in enumerate(asks(target)):
            name = f"{target.name}/{ask.target or place + 1}" if place else target.name
            health = self.board.of("gnmi", name, target.address)
            link = Link(target, ask, health, self.recorder, self.backoff)
            tasks.append(asyncio.create_task(link.run(self._turnstile), name=name))
            tasks[-1].add_done_callback(failed(health))
            names.append(name)
        return tasks, names

    async def _drop(self, name: str) -> None:
        _, tasks, names = self._tasks.pop(name)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for entry in names:
            self.board.forget("gnmi", entry)

    async def close(self) -> None:
        """Hang up everywhere."""
        await asyncio.gather(*(self._drop(name) for name in list(self._tasks)))


def failed(health: Health) -> Callable[[asyncio.Task[None]], None]:
    """A link that ends by itself is a fault of ours: it is shown, the others go on."""

    def look(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            health.turn("down", f"{type(error).__name__}: {error}")

    return look
