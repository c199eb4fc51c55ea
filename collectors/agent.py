"""The agent: reads a switch or a host again and again, and publishes what it reads.

It runs where it reads, with grpcio and protobuf of the distribution and nothing else. While no server
listens it keeps what it reads (:mod:`collectors.outbox`) and sends it later, with the times at which
it was read.
"""

import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from collectors.batches import compose
from collectors.outbox import Item, Outbox
from collectors.publisher import Publisher, Servers
from collectors.rdma import Rdma, RdmaOptions
from collectors.records import Method
from collectors.sonic import Sonic, SonicOptions


class Source(Protocol):
    """What is read: a switch, a host."""

    def readings(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Times and JSON objects of what is new; OSError where it cannot be read now."""

    def close(self) -> None:
        """Release what is open."""


@dataclass(frozen=True)
class AgentOptions:
    """What to read, how often, where to send it and how much to keep meanwhile."""

    source: SonicOptions | RdmaOptions
    servers: Servers
    buffer: Path | None = None
    buffer_bytes: int = 256 << 20
    memory_bytes: int = 4 << 20


class Agent:
    """One agent while it runs."""

    def __init__(self, options: AgentOptions, say: Callable[[str], None] = lambda _: None) -> None:
        """ValueError or OSError where its source is not there at all; ``say`` is told of troubles."""
        self.options, self.say = options, say
        self.interval_s = options.source.interval_ns / 1e9
        self.source: Source
        if isinstance(options.source, SonicOptions):
            self.source, self.method = Sonic(options.source), Method.SONIC
        else:
            self.source, self.method = Rdma(options.source), Method.RDMA
        self.device = options.source.device or socket.gethostname()
        # Numbers start over with each process, so its recorder is a new one: a clock that was set
        # back could otherwise make new batches look like old ones.
        self.recorder = f"{self.device}-{secrets.token_hex(6)}"
        self.sequence = 0
        self.error = ""
        self.told = 0  # dropped batches that were reported
        self.away = -1  # batches acknowledged when the server was found away; -1 it is not
        self.outbox = Outbox(
            options.buffer, memory_bytes=options.memory_bytes, disk_bytes=options.buffer_bytes
        )
        self.publisher = Publisher(self.recorder, options.servers, self.outbox)

    def run(self, stop: threading.Event) -> None:
        """Read until told to stop, then send or keep what is left."""
        due_s = time.monotonic()
        try:
            while not stop.is_set():
                self.read()
                self.publisher.check()
                self._look()
                # A reading that took too long costs the next ones; they are not made up for.
                due_s = max(due_s + self.interval_s, time.monotonic())
                stop.wait(due_s - time.monotonic())
        finally:
            self.source.close()
            self.publisher.close()
            self.outbox.close()

    def read(self) -> None:
        """One reading into the outbox; why there is none is told once."""
        try:
            for ts, body in self.source.readings():
                self._put(self.method, ts, body)
            self.error = ""
        except OSError as error:
            if str(error) != self.error:
                self.error = str(error)
                self._note("error", self.error)
                self.say(f"cannot read: {self.error}")
        if self.outbox.dropped > self.told:
            lost, self.told = self.outbox.dropped - self.told, self.outbox.dropped
            self._note("dropped", f"{lost} batches: no server took them in time", count=lost)
            self.say(f"dropped {lost} batches that no server took in time")

    def _look(self) -> None:
        """Say when no server takes what is read, and when one does again."""
        publisher = self.publisher
        if self.away < 0 and publisher.error and not publisher.connected:
            self.away = publisher.acknowledged
            self.say(f"no server takes it: {publisher.error}")
        elif self.away >= 0 and publisher.acknowledged > self.away:
            self.away = -1
            self.say("a server takes it again")

    def _note(self, kind: str, text: str, **more: Any) -> None:
        body = {"kind": kind, "text": text, "device": self.device, **more}
        self._put(Method.NOTE, time.time_ns(), body)

    def _put(self, method: Method, ts: int, body: dict[str, Any]) -> None:
        self.sequence += 1
        batch = compose(self.recorder, self.sequence, method, ts, body)
        self.outbox.put(Item(self.recorder, self.sequence, batch.packed()))


def serve(options: AgentOptions) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = threading.Event()

    def stopped(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stopped)
    Agent(options, _say).run(stop)


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()
