"""The RPCs of a gNMI target over recorded readings."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from collectors import messages as gnmi
from collectors.clock import Clock
from collectors.subscriptions import Paced, encoding_of, paced, selections
from collectors.timeline import Course, Timeline
from collectors.trees import Selection, Tree, tree
from collectors.vocabulary import MODELS, VERSIONS

STATUS: Final = (
    (NotImplementedError, grpc.StatusCode.UNIMPLEMENTED),
    (PermissionError, grpc.StatusCode.UNAUTHENTICATED),
    (LookupError, grpc.StatusCode.NOT_FOUND),
    (ValueError, grpc.StatusCode.INVALID_ARGUMENT),
)
REFUSALS: Final = tuple(kind for kind, _ in STATUS)


class Device:
    """A device that is served."""

    def __init__(self, timeline: Timeline, platform: str, period_ns: int) -> None:
        self.name = timeline.device
        self.course = Course(timeline, period_ns)
        self.tree: Tree = tree(platform, timeline)
        self.refresh_ns = timeline.interval_ns


@dataclass
class Session:
    """What all targets of a replay share: one clock, one account of who is served."""

    clock: Clock
    platform: str
    wait: int  # targets that must be subscribed to before the clock runs
    user: str = ""
    password: str = ""
    subscribed: set[str] = field(default_factory=set)
    streams: dict[asyncio.Task[None], bool] = field(default_factory=dict)  # open; all of it sent?
    sent: int = 0  # responses
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def subscribe(self, device: str) -> None:
        """Note that a device is listened to; the clock runs from the last one waited for."""
        self.subscribed.add(device)
        if len(self.subscribed) >= self.wait:
            self.clock.begin()

    def admit(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """PermissionError unless user and password, where they are demanded, are among the metadata."""
        if not self.user:
            return
        given = {name: value for name, value in metadata if isinstance(value, str)}
        for name, value in (("username", self.user), ("password", self.password)):
            if not hmac.compare_digest(given.get(name, "").encode(), value.encode()):
                raise PermissionError("user or password is wrong")


class Service:
    """The RPCs of one listener."""

    def __init__(self, session: Session, devices: dict[str, Device]) -> None:
        self.session, self.devices = session, devices

    def handlers(self) -> Any:
        """The service as grpc wants it; Subscribe writes bytes, because messages are used again."""

        def unary(method: Callable[..., Any], request: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(
                method, request.FromString, lambda response: response.SerializeToString()
            )

        methods = {
            "Capabilities": unary(self.capabilities, gnmi.CapabilityRequest),
            "Get": unary(self.get, gnmi.GetRequest),
            "Subscribe": grpc.stream_stream_rpc_method_handler(
                self.subscribe, gnmi.SubscribeRequest.FromString
            ),
        }
        return grpc.method_handlers_generic_handler(gnmi.SERVICE, methods)

    async def capabilities(self, request: Any, context: Any) -> Any:
        """Models, encodings and version of the platform."""
        del request
        await _answered(context, self.session.admit, context.invocation_metadata() or ())
        platform = self.session.platform
        first = next(iter(self.devices.values()))
        return gnmi.CapabilityResponse(
            supported_models=[
                gnmi.ModelData(name=name, organization=organization, version=version)
                for name, organization, version in MODELS[platform]
            ],
            supported_encodings=first.tree.encodings,
            gNMI_version=VERSIONS[platform],
        )

    async def get(self, request: Any, context: Any) -> Any:
        """The latest reading of each path."""
        await _answered(context, self.session.admit, context.invocation_metadata() or ())
        return await _answered(context, self._get, request)

    def _get(self, request: Any) -> Any:
        device = self._device(request.prefix)
        if request.type == gnmi.DataType.CONFIG:
            raise LookupError("no configuration here")
        encoding = encoding_of(request.encoding, device.tree)
        n = device.course.latest(self.session.clock.now())
        answer = gnmi.GetResponse()
        for path in request.path or [gnmi.Path()]:
            found = device.tree.select(request.prefix, path, encoding, grouped=True)
            before = len(answer.notification)
            for response in _reading(device, n, found):
                answer.notification.add().CopyFrom(response.update)
            if len(answer.notification) == before:
                raise LookupError(f"nothing at {gnmi.path_text(path)}")
        return answer

    async def subscribe(self, requests: AsyncIterator[Any], context: Any) -> None:
        """STREAM, ONCE or POLL, as the first request says."""
        await _answered(context, self.session.admit, context.invocation_metadata() or ())
        first = await anext(requests, gnmi.SubscribeRequest())
        device, chosen = await _answered(context, self._asked, first)
        wanted = first.subscribe
        n = device.course.latest(self.session.clock.now())
        if wanted.mode == gnmi.ListMode.STREAM:
            await self._stream(device, wanted, chosen, n, requests, context)
            return
        await self._snapshot(device, wanted, chosen, n, context)
        if wanted.mode == gnmi.ListMode.POLL:
            self.session.subscribe(device.name)
            async for request in requests:
                await _answered(context, _poll, request)
                n = device.course.latest(self.session.clock.now())
                await self._snapshot(device, wanted, chosen, n, context)

    async def _stream(
        self,
        device: Device,
        wanted: Any,
        chosen: list[Selection],
        n: int,
        requests: AsyncIterator[Any],
        context: Any,
    ) -> None:
        """Send what is there, then what comes, until the run or the client ends."""
        rules = await _answered(context, paced, wanted, chosen, device.refresh_ns)
        if n >= 0:
            ts, row = device.course.time(n), device.course.row(n)
            for rule in rules:
                rule.begin(ts, row)
        await self._snapshot(device, wanted, chosen, n, context)
        sender = asyncio.create_task(self._follow(device, rules, n, context))
        listener = asyncio.create_task(_silent(requests))
        self.session.streams[sender] = False
        self.session.subscribe(device.name)
        try:
            await asyncio.wait({sender, listener}, return_when=asyncio.FIRST_COMPLETED)
            if sender.done():
                await sender
            else:
                await stopped(sender)
                await _answered(context, listener.result)
        finally:
            del self.session.streams[sender]
            await stopped(sender, listener)

    async def _follow(self, device: Device, rules: list[Paced], n: int, context: Any) -> None:
        course, session = device.course, self.session
        while course.has(n := n + 1):
            ts = course.time(n)
            await session.clock.reach(ts)
            row = course.row(n)
            for rule in rules:
                columns = rule.due(ts, row)
                if columns:
                    for response in rule.responses(ts, row, columns):
                        await context.write(response.SerializeToString())
                        session.sent += 1
        session.streams[asyncio.current_task()] = True  # type: ignore[index]  # runs as a task
        await session.over.wait()

    async def _snapshot(
        self, device: Device, wanted: Any, chosen: list[Selection], n: int, context: Any
    ) -> None:
        """The n-th readings, then the mark that all was sent once."""
        if not wanted.updates_only:
            for selection in chosen:
                for response in _reading(device, n, selection):
                    await context.write(response.SerializeToString())
                    self.session.sent += 1
        await context.write(gnmi.SubscribeResponse(sync_response=True).SerializeToString())

    def _asked(self, request: Any) -> tuple[Device, list[Selection]]:
        """The device and what each path of the subscription names on it."""
        if request.WhichOneof("request") != "subscribe":
            raise ValueError("the first request has to be a subscription")
        wanted = request.subscribe
        if wanted.mode not in tuple(gnmi.ListMode):
            raise ValueError(f"mode {wanted.mode}")
        known = {name for name, _, _ in MODELS[self.session.platform]}
        for model in wanted.use_models:
            if model.name not in known:
                raise NotImplementedError(f"model {model.name!r}")
        device = self._device(wanted.prefix)
        return device, selections(wanted, device.tree)

    def _device(self, prefix: Any) -> Device:
        if len(self.devices) == 1:
            return next(iter(self.devices.values()))
        if prefix.target not in self.devices:
            raise LookupError(f"target {prefix.target!r}: no such device")
        return self.devices[prefix.target]


def _reading(device: Device, n: int, selection: Selection) -> Iterator[Any]:
    if n >= 0:
        course = device.course
        yield from selection.responses(course.time(n), course.row(n), selection.columns)


def _poll(request: Any) -> None:
    if request.WhichOneof("request") != "poll":
        raise ValueError("only polls may follow")


async def _silent(requests: AsyncIterator[Any]) -> None:
    """Read on behind a streamed subscription: nothing may follow it (gNMI 3.5.1.1)."""
    async for _ in requests:
        raise ValueError("nothing may follow a streamed subscription")
    await asyncio.Event().wait()  # a client that has said all it wants still listens


async def stopped(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they are gone."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _answered(context: Any, work: Callable[..., Any], *given: Any) -> Any:
    """The result of ``work``, or the status its refusal stands for."""
    try:
        return work(*given)
    except REFUSALS as error:
        code = next(code for kind, code in STATUS if isinstance(error, kind))
        reason = error.args[0] if error.args else ""
    return await context.abort(code, str(reason))
