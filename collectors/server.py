"""Recorded readings served over real gNMI: one target per device, as if the run took place now.

Device time and our time part here. A run of milliseconds may be delivered over minutes (``speed`` is
device time per our time), but nothing else is stretched: timestamps, sample and heartbeat intervals are
device time, and every due reading is delivered, however late the client takes it. The clock stands at
the first reading until ``wait`` targets are subscribed to, so that a collector misses nothing.

Everything runs in one event loop; :func:`serving` gives that loop a thread of its own.
"""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import grpc
import grpc.aio

from collectors.channels import bind
from collectors.clock import Clock
from collectors.config import Tls
from collectors.service import Device, Service, Session, stopped
from collectors.timeline import Timeline
from collectors.vocabulary import PLATFORMS

PATIENCE_S: Final = 10.0  # how long slow clients may take after the end of a run
SERVER_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a port in use is an error, not a share of its traffic
    ("grpc.max_receive_message_length", 16 << 20),
)


@dataclass(frozen=True)
class Options:
    """How a run is served; ``port`` is that of the first device, the others follow; 0 takes free ones."""

    platform: str = "openconfig"
    host: str = "127.0.0.1"
    port: int = 0
    single: bool = False  # one listener for all devices, which the prefix's target names
    speed: float = 1.0  # device time per our time
    loop: bool = False  # start over at the end, counters growing on
    wait: int = 1  # targets that must be subscribed to before the clock runs
    cert: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None  # clients must show a certificate of this authority
    user: str = ""
    password: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be served, in one line."""
        if self.platform not in PLATFORMS:
            raise ValueError(f"platform {self.platform!r}: one of {', '.join(PLATFORMS)}")
        if not 0 < self.speed < float("inf"):
            raise ValueError(f"speed {self.speed}: a positive number")
        if self.single and self.platform == "sonic":
            raise ValueError(
                "sonic: the target of a path names a database, so each device needs a port"
            )
        if (self.cert is None) != (self.key is None) or (self.client_ca and not self.cert):
            raise ValueError("TLS needs a certificate and its key")
        if self.user and not self.password:
            raise ValueError("a user needs a password")


class Endpoint(NamedTuple):
    """Where a device listens."""

    device: str
    address: str


class Replay:
    """A run while it is served; use as an asynchronous context manager, or through :func:`serving`."""

    def __init__(self, timelines: Sequence[Timeline], options: Options) -> None:
        """Raise ValueError for a run without readings."""
        if not any(len(t.times) for t in timelines):
            raise ValueError("no readings to serve")
        start = min(t.times[0] for t in timelines if len(t.times))
        end = max(t.times[-1] for t in timelines if len(t.times))
        step = max(t.interval_ns for t in timelines)
        period = end - start + step if options.loop else 0
        self.options = options
        self.clock = Clock(start, end, options.speed, endless=options.loop)
        self.session = Session(
            self.clock,
            options.platform,
            wait=min(options.wait, len(timelines)),
            user=options.user,
            password=options.password,
        )
        self.devices = {t.device: Device(t, options.platform, period) for t in timelines}
        self.endpoints: list[Endpoint] = []
        self.done: Future[None] = (
            Future()
        )  # for other threads: the run is over, all of it delivered
        self._servers: list[Any] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        try:
            await self._listen()
        except BaseException:
            await self._stop()
            raise
        if self.options.wait <= 0:
            self.clock.begin()
        self._tasks.append(asyncio.create_task(self._finish()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        await stopped(*self._tasks)
        self.session.over.set()
        await asyncio.gather(*(server.stop(1.0) for server in self._servers))

    async def _finish(self) -> None:
        await self.finished()
        self.done.set_result(None)

    async def _listen(self) -> None:
        options = self.options
        tls = Tls(options.client_ca, options.cert, options.key) if options.cert else None
        groups = [list(self.devices)] if options.single else [[name] for name in self.devices]
        for place, names in enumerate(groups):
            server = grpc.aio.server(options=SERVER_OPTIONS)
            self._servers.append(server)
            service = Service(self.session, {name: self.devices[name] for name in names})
            server.add_generic_rpc_handlers((service.handlers(),))
            port = bind(
                server, _address(options.host, options.port + place if options.port else 0), tls
            )
            await server.start()
            self.endpoints += [Endpoint(name, _address(options.host, port)) for name in names]

    @property
    def progress(self) -> float:
        """Share of the run that is due; of the current pass where it starts over."""
        clock = self.clock
        length_ns = max(clock.end_ns - clock.start_ns, 1)
        passed_ns = clock.now() - clock.start_ns
        return (passed_ns % length_ns if clock.endless else passed_ns) / length_ns

    async def finished(self) -> None:
        """Wait until the run is over and every open stream has delivered all of it; never in a loop."""
        if self.clock.endless:
            await asyncio.Event().wait()
        await self.clock.reach(self.clock.end_ns)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while not all(self.session.streams.values()):
                    await asyncio.sleep(0.02)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextmanager
def serving(timelines: Sequence[Timeline], options: Options) -> Iterator[Replay]:
    """Serve from a thread, for callers without an event loop of their own."""
    ready: Future[tuple[Replay, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def work() -> None:
        leave = asyncio.Event()
        try:
            async with Replay(timelines, options) as replay:
                ready.set_result((replay, asyncio.get_running_loop(), leave))
                await leave.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=asyncio.run, args=(work(),), name="replay", daemon=True)
    thread.start()
    replay, loop, leave = ready.result()
    try:
        yield replay
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join()
