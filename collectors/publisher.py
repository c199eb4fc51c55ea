"""Sends an agent's batches to a listener by gNMI dial-out, until each is acknowledged as on disk."""

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from collectors.batches import AGENT
from collectors.channels import credentials
from collectors.config import Backoff, Tls
from collectors.outbox import Outbox
from collectors.vendors import PublishResponse

PUBLISH: Final = "/gnmi.sonic.gNMIDialOut/Publish"
WINDOW: Final = 64  # batches that may be unacknowledged
BACKOFF: Final = Backoff(last_s=30.0)
SILENCE_S: Final = 30.0  # without an acknowledgement that is due, the connection is given up
OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),  # or a new channel inherits the old one's back-off
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True)
class Servers:
    """Where to publish: one server at a time, the next when it fails."""

    addresses: tuple[str, ...]
    tls: Tls | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    backoff: Backoff = BACKOFF


class Publisher:
    """A thread that empties an outbox; :meth:`close` ends it."""

    def __init__(self, name: str, servers: Servers, outbox: Outbox) -> None:
        self.name, self.servers, self.outbox = name, servers, outbox
        self.acknowledged = 0
        self.error = ""
        self.connected = False
        self._closing = threading.Event()
        self._call: Any = None
        self._heard_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def close(self, patience_s: float = 2.0) -> None:
        """Wait a little for what is in flight, then hang up."""
        until_s = time.monotonic() + patience_s
        while self.connected and len(self.outbox) and time.monotonic() < until_s:
            time.sleep(0.02)
        self._closing.set()
        self._hang_up()
        self._thread.join(5.0)

    def check(self) -> None:
        """Hang up where an acknowledgement is overdue; to be called now and then."""
        if self.connected and len(self.outbox):
            if time.monotonic() - self._heard_s > SILENCE_S:
                self.error = "no acknowledgement"
                self._hang_up()
        else:
            self._heard_s = time.monotonic()

    def _hang_up(self) -> None:
        if self._call is not None:
            self._call.cancel()
        with self.outbox.changed:
            self.outbox.changed.notify_all()

    def _run(self) -> None:
        failures, place = 0, 0
        while not self._closing.is_set():
            backoff, addresses = self.servers.backoff, self.servers.addresses
            before = self.acknowledged
            try:
                self._stream(addresses[place % len(addresses)])
                self.error = "the server ended the stream"
            except grpc.RpcError as error:
                details = " ".join((error.details() or "").split())
                self.error = self.error or f"{error.code().name}: {details}"
            except (OSError, ValueError, DecodeError) as error:
                self.error = str(error)
            self.connected = False
            self.outbox.again()
            if self.acknowledged > before:
                failures = 0
            place += 1
            pause_s = min(backoff.first_s * 2.0 ** min(failures, 32), backoff.last_s)
            failures += 1
            self._closing.wait(pause_s * (1 + random.uniform(-backoff.jitter, backoff.jitter)))

    def _stream(self, address: str) -> None:
        """One connection, until it ends; grpc.RpcError says why."""
        servers = self.servers
        metadata = [(AGENT, self.name)]
        if servers.user:
            metadata += [("username", servers.user), ("password", servers.password)]
        if servers.tls is None:
            channel = grpc.insecure_channel(address, OPTIONS, grpc.Compression.Gzip)
        else:
            secure, more = asyncio.run(credentials(address, servers.tls, 10.0))
            channel = grpc.secure_channel(address, secure, (*OPTIONS, *more), grpc.Compression.Gzip)
        over = threading.Event()
        with channel:
            self._heard_s = time.monotonic()
            try:
                self._call = channel.stream_stream(PUBLISH)(self._batches(over), metadata=metadata)
                self.connected, self.error = True, ""
                for raw in self._call:
                    self._heard_s = time.monotonic()
                    answer = PublishResponse.FromString(raw)
                    self.acknowledged += self.outbox.acknowledge(answer.timestamp)
            finally:
                over.set()
                with self.outbox.changed:
                    self.outbox.changed.notify_all()

    def _batches(self, over: threading.Event) -> Iterator[bytes]:
        """What is to be sent, as gRPC takes it, in a thread of gRPC's."""
        while True:
            with self.outbox.changed:
                item = None
                while not (over.is_set() or self._closing.is_set()):
                    item = self.outbox.take(WINDOW)
                    if item:
                        break
                    self.outbox.changed.wait(1.0)
                if item is None:
                    return
            yield item.packed
