"""One process that records from many sources: dial-in, listeners, gnmic's events, and their health."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collectors.config import Config, EventInput, Listener
from collectors.events import Events
from collectors.gnmi import Dialer, failed
from collectors.health import Board, write
from collectors.listening import Listening
from collectors.recorder import Recorder


class Collecting:
    """The sources of a configuration while they are recorded.

    It lives in the event loop that made it; :meth:`reload` may be called from any thread.
    """

    def __init__(self, config: Config, recorder: Recorder) -> None:
        self.config, self.recorder = config, recorder
        self.board = Board()
        self.loop = asyncio.get_running_loop()
        self.dialer = Dialer(recorder, self.board, config.backoff)
        self.listening: dict[Listener, Listening] = {}
        self.inputs: dict[EventInput, asyncio.Task[None]] = {}
        self.more: dict[str, Any] = {}  # what others want to have in the status
        self._status: asyncio.Task[None] | None = None

    @property
    def ports(self) -> dict[str, int]:
        """The port of each listener, by the address that was asked for."""
        return {listener.address: served.port for listener, served in self.listening.items()}

    async def start(self) -> None:
        """Begin; OSError or ValueError for what cannot be done at all."""
        await self._apply(self.config)
        self._status = asyncio.create_task(self._write_status())

    async def stop(self) -> None:
        """End: hang up, stop listening, say so in the status."""
        if self._status:
            self._status.cancel()
        for task in self.inputs.values():
            task.cancel()
        await asyncio.gather(*self.inputs.values(), return_exceptions=True)
        await self.dialer.close()
        await asyncio.gather(*(served.stop() for served in self.listening.values()))
        for health in self.board:
            health.turn("gone")
        self.write_status(running=False)

    def reload(self, config: Config) -> None:
        """Change to another configuration: what is the same in both goes on undisturbed.

        ValueError for one that cannot be used, or whose folder or name differ, OSError for a listener
        that cannot be had; nothing changes then.
        """
        asyncio.run_coroutine_threadsafe(self.change(config), self.loop).result()

    async def change(self, config: Config) -> None:
        """The same within the loop."""
        if (config.folder, config.name) != (self.config.folder, self.config.name):
            raise ValueError("the folder and the name of a collector change with a restart only")
        self.dialer.check(config.targets)
        await self._apply(config)
        self.config = config

    async def _apply(self, config: Config) -> None:
        inputs = {wanted: self._events(wanted) for wanted in config.events
                  if wanted not in self.inputs}  # fmt: skip
        self.dialer.check(config.targets)
        await self._listen(config.listeners)
        for wanted in [one for one in self.inputs if one not in config.events]:
            self.inputs.pop(wanted).cancel()
            self.board.forget("gnmic", wanted.source)
        for wanted, events in inputs.items():
            task = asyncio.create_task(events.run())
            task.add_done_callback(failed(events.health))
            self.inputs[wanted] = task
        await self.dialer.dial(config.targets)

    async def _listen(self, wanted: Sequence[Listener]) -> None:
        """Listen as wanted; OSError where one cannot be had, and then all is as it was."""
        old = {one: served for one, served in self.listening.items() if one not in wanted}
        new = [one for one in wanted if one not in self.listening]
        addresses = {one.address for one in new}
        swapped = [one for one in old if one.address in addresses]  # their ports are needed
        started: list[Listener] = []
        for one in swapped:
            await self.listening.pop(one).stop()
        try:
            for one in new:
                served = Listening(one, self.recorder, self.board)
                await served.start()
                self.listening[one] = served
                started.append(one)
        except (OSError, ValueError):
            for one in started:
                await self.listening.pop(one).stop()
            for one in swapped:
                self.listening[one] = Listening(one, self.recorder, self.board)
                await self.listening[one].start()
            raise
        for one in old:
            if one not in swapped:
                await self.listening.pop(one).stop()

    def _events(self, wanted: EventInput) -> Events:
        health = self.board.of("gnmic", wanted.source, wanted.subject)
        return Events(wanted, self.recorder, health, self.config.backoff)

    async def _write_status(self) -> None:
        while True:
            self.write_status()
            await asyncio.sleep(self.config.status_s)

    def snapshot(self, *, running: bool = True) -> dict[str, Any]:
        """The health of everything; may be called from any thread."""
        stats = vars(self.recorder.stats)
        return self.board.snapshot(running=running, recorder={"name": self.recorder.name, **stats},
                                   every_s=self.config.status_s, ports=self.ports, **self.more)  # fmt: skip

    def write_status(self, *, running: bool = True) -> None:
        """Put it where ``--status`` finds it; a full disk must not end us."""
        try:
            write(self.recorder.folder, self.snapshot(running=running))
        except OSError as error:
            self.recorder.stats.last_error = str(error)


@contextmanager
def collecting(config: Config) -> Iterator[Collecting]:
    """Record from a thread of its own, for those without an event loop.

    OSError where the folder, a listener or a certificate cannot be used, ValueError for what is
    configured wrongly.
    """
    ready: Future[tuple[Collecting, asyncio.Event]] = Future()
    broken: list[BaseException] = []  # what went wrong after the start

    async def work() -> None:
        leave = asyncio.Event()
        with Recorder(Path(config.folder), config.name) as recorder:
            made = Collecting(config, recorder)
            try:
                await made.start()
                ready.set_result((made, leave))
                await leave.wait()
            finally:
                await made.stop()

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:  # noqa: BLE001 it belongs to the caller's thread
            if ready.done():
                broken.append(error)
            else:
                ready.set_exception(error)

    thread = threading.Thread(target=run, name="collecting", daemon=True)
    thread.start()
    made, leave = ready.result()
    try:
        yield made
    finally:
        if thread.is_alive():
            made.loop.call_soon_threadsafe(leave.set)
        thread.join()
        if broken:
            raise broken[0]


def run(config: Config, stop: threading.Event) -> None:
    """Record until told to stop."""
    with collecting(config):
        stop.wait()
