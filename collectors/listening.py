"""A port on which devices call us: dial-out of every vendor and OpenTelemetry, side by side."""

import hmac
from collections.abc import Sequence
from typing import Any, Final, Protocol

import grpc
import grpc.aio

from collectors.channels import bind
from collectors.config import Listener
from collectors.dialout import Dialout
from collectors.health import Board
from collectors.otlp import Otlp
from collectors.recorder import Recorder

STRANGERS: Final = 64  # unknown services that are remembered by name
OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a port in use is an error, not a share of its traffic
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Agents and devices ping as often as they like: GOAWAY for that would cost readings.
    ("grpc.http2.max_ping_strikes", 0),
)


class Served(Protocol):
    """What answers some paths."""

    def handler(self, path: str) -> Any:
        """A method handler; None where the path is another's."""


class Services(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc publishes no types
    """Finds what serves a path, and counts what nobody serves."""

    def __init__(self, served: Sequence[Served], board: Board, listener: Listener) -> None:
        self.served, self.board, self.listener = served, board, listener
        self.strangers: set[str] = set()

    def service(self, details: Any) -> Any:
        """The handler of a call, as grpc asks for it."""
        if not self._admitted(details):
            return _refused
        for one in self.served:
            if handler := one.handler(details.method):
                return handler
        if len(self.strangers) < STRANGERS or details.method in self.strangers:
            self.strangers.add(details.method)
            health = self.board.of("unknown service", details.method[:200], self.listener.address)
            health.turn("refused", "no such service here")
            health.faults += 1
        return None

    def _admitted(self, details: Any) -> bool:
        if not self.listener.user:
            return True
        given = {k: v for k, v in details.invocation_metadata or () if isinstance(v, str)}
        wanted = (("username", self.listener.user), ("password", self.listener.password))
        return all(
            hmac.compare_digest(given.get(k, "").encode(), value.encode()) for k, value in wanted
        )


async def _deny(_: Any, context: Any) -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "user or password is wrong")


_refused: Final = grpc.stream_stream_rpc_method_handler(_deny)


class Listening:
    """A listener while it listens; :attr:`port` is the one that was bound."""

    def __init__(self, listener: Listener, recorder: Recorder, board: Board) -> None:
        self.listener = listener
        options = (*OPTIONS, ("grpc.max_receive_message_length", listener.max_message_bytes))
        self.server = grpc.aio.server(options=options)
        served = (Dialout(recorder, board), Otlp(recorder, board))
        self.server.add_generic_rpc_handlers((Services(served, board, listener),))
        self.port = 0

    async def start(self) -> None:
        """Listen; OSError where that is impossible."""
        self.port = bind(self.server, self.listener.address, self.listener.tls)
        await self.server.start()

    async def stop(self, grace_s: float = 1.0) -> None:
        """Stop listening; calls that are open may end within ``grace_s``."""
        await self.server.stop(grace_s)
