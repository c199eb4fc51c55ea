"""What the tests of the collectors share: real recorders, real servers, certificates, cut networks."""

import asyncio
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio

from collectors import messages as gnmi
from collectors.config import Backoff, Subscription, Target
from collectors.gnmi import Dialer
from collectors.health import Board
from collectors.recorder import Recorder
from collectors.segments import Record, read_segment, segments
from tests.data import tool

PATIENCE_S = 20
QUICK = Backoff(first_s=0.02, last_s=0.1, stable_s=0.5)


def records(folder: Path) -> list[Record]:
    """All records of a folder, in order; damage fails the test."""
    found = []
    for path in segments(folder):
        reader = read_segment(path)
        found += list(reader)
        assert not reader.damage
    return found


def of(folder: Path, method: int) -> list[Record]:
    return [record for record in records(folder) if record.method == method]


async def until(true: Callable[[], Any], what: str = "") -> None:
    """Wait until something has become true."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while not true():
                await asyncio.sleep(0.01)
            return
    raise AssertionError(f"never came true: {what or true}")


@asynccontextmanager
async def dialling(
    folder: Path, *targets: Target, backoff: Backoff = QUICK
) -> AsyncIterator[tuple[Dialer, Board]]:
    """A recorder and the links to targets."""
    board = Board()
    with Recorder(folder, "test", gather_s=0.0) as recorder:
        dialer = Dialer(recorder, board, backoff)
        try:
            await dialer.dial(targets)
            yield dialer, board
        finally:
            await dialer.close()


Script = Callable[[Any, Any], Any]  # (requests, context) -> an asynchronous iterator of responses


@asynccontextmanager
async def target(
    subscribe: Script, capabilities: Any = None, address: str = "127.0.0.1:0"
) -> AsyncIterator[str]:
    """A gNMI target that answers Subscribe as a script says; its address."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    methods = {
        "Subscribe": grpc.stream_stream_rpc_method_handler(
            subscribe, request_deserializer=gnmi.SubscribeRequest.FromString
        )
    }
    if capabilities:
        methods["Capabilities"] = grpc.unary_unary_rpc_method_handler(capabilities)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(gnmi.SERVICE, methods),))
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


SYNC = gnmi.SubscribeResponse(sync_response=True).SerializeToString()


def notification(path: str, value: int, ts: int = 1) -> bytes:
    made = gnmi.SubscribeResponse()
    made.update.timestamp = ts
    made.update.update.add(path=gnmi.path(path)).val.uint_val = value
    return bytes(made.SerializeToString())


def sampled(*paths: str, interval_ns: int = 0, **more: Any) -> tuple[Subscription, ...]:
    return (Subscription(paths, interval_ns=interval_ns, **more),)


def responses(folder: Path, peer: str = "") -> list[Any]:
    return [
        gnmi.SubscribeResponse.FromString(record.payload)
        for record in of(folder, 1)
        if record.peer == peer or not peer
    ]


def values(found: list[Any]) -> Counter[tuple[int, str, str]]:
    """(time, path, value) of every update."""
    return Counter(
        (r.update.timestamp, gnmi.path_text(u.path), str(u.val).strip())
        for r in found
        for u in r.update.update
    )


class Proxy:
    """A wire between two ends that can be cut, and silenced without a word."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.far = (host, int(port))
        self.silent = False
        self.limit = -1  # bytes towards the client until the wire is cut in the middle
        self.connections = 0
        self._writers: list[Any] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self.server.close()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _joined(self, reader: Any, writer: Any) -> None:
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.far)
        except OSError:
            writer.transport.abort()
            return
        self._writers += [writer, far_writer]
        for source, sink, counted in ((reader, far_writer, False), (far_reader, writer, True)):
            task = asyncio.create_task(self._carry(source, sink, counted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: Any, sink: Any, counted: bool) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while data := await source.read(1 << 16):
                while self.silent:
                    await asyncio.sleep(0.01)
                if counted and self.limit >= 0:
                    data = data[: self.limit]
                    self.limit -= len(data)
                sink.write(data)
                await sink.drain()
                if counted and self.limit == 0:
                    self.limit = -1
                    self.cut()
                    return
        sink.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Authority:
    """Certificates for a test, made by openssl."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.cert, self.key = folder / "ca.pem", folder / "ca.key"
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", self.key, "-out", self.cert, "-subj", "/CN=Test authority", "-days", "2",
        )  # fmt: skip

    def issue(self, name: str, names: str = "IP:127.0.0.1") -> tuple[Path, Path]:
        """Certificate and key of a common name; ``names`` are alternative names, none if empty."""
        cert, key, request = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        self._openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", key, "-out", request, "-subj", f"/CN={name}",
        )  # fmt: skip
        extra: list[Any] = []
        if names:
            extensions = self.folder / f"{name}.ext"
            extensions.write_text(f"subjectAltName={names}\n")
            extra = ["-extfile", extensions]
        self._openssl(
            "x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial",
            "-out", cert, "-days", "2", *extra,
        )  # fmt: skip
        return cert, key

    @staticmethod
    def _openssl(*arguments: Any) -> None:
        subprocess.run([tool("openssl"), *map(str, arguments)], check=True, capture_output=True)
