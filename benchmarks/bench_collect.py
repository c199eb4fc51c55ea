"""Collecting: ``python -m benchmarks.bench_collect [--seconds 5] [--targets 1000] [--hour 36] [--python PATH]``.

Received and recorded updates a second of one core, beside a plain client that makes a row of each update
in the same run; the time from receipt to acknowledgement; many targets at once, an hour's worth of
readings in ``--hour`` seconds; the agent on a switch of 512 queues, by the interpreter of ``--python``.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from collectors import messages as gnmi
from collectors.collecting import Collecting
from collectors.config import Config, Listener, Subscription, Target
from collectors.recorder import Recorder
from collectors.records import Method
from collectors.segments import read_segment, segments

UPDATES = 64
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


def notification() -> Any:
    """One of 64 updates of queues, 4 kB."""
    response = gnmi.SubscribeResponse()
    for n in range(UPDATES):
        path = f"/qos/interfaces/interface[interface-id=Ethernet{n // 8}]/output/queues/queue[name={n % 8}]/state/transmit-octets"
        response.update.update.add(path=gnmi.path(path)).val.uint_val = 1 << 40 | n
    return response


def device(port: int, period_s: float) -> None:
    """A process that serves any number of targets; each sends as often as ``period_s``, 0 at once."""

    async def subscribe(requests: Any, context: Any) -> None:
        await anext(requests)
        message = notification()
        await context.write(b"\x18\x01")
        raw = message.SerializeToString()
        due_s = time.monotonic()
        while True:
            if period_s:
                due_s += period_s
                await asyncio.sleep(max(due_s - time.monotonic(), 0))
                message.update.timestamp = time.time_ns()
                raw = message.SerializeToString()
            await context.write(raw)

    async def run() -> None:
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        methods = {"Subscribe": grpc.stream_stream_rpc_method_handler(subscribe)}
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(gnmi.SERVICE, methods),)
        )
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await server.wait_for_termination()

    asyncio.run(run())


@contextmanager
def devices(period_s: float) -> Any:
    """The address of such a process."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(
        target=device, args=(port, period_s), daemon=True
    )
    process.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.join()


def resident_mb(pid: int | str = "self") -> float:
    """Memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


@asynccontextmanager
async def collecting(
    folder: Path, *targets: Target, listen: bool = False
) -> AsyncIterator[Collecting]:
    """Our client and recorder, in this process."""
    listeners = (Listener("127.0.0.1:0"),) if listen else ()
    with Recorder(folder, "bench") as recorder:
        made = Collecting(Config(folder, "bench", targets, listeners), recorder)
        await made.start()
        try:
            yield made
        finally:
            await made.stop()


async def ours(address: str, folder: Path, seconds: float, streams: int) -> float:
    """Updates a second of CPU, received and recorded."""
    wanted = (Subscription(("/qos",)),)
    targets = [Target(f"t{n}", address, wanted) for n in range(streams)]
    async with collecting(folder, *targets) as made:
        while not all(health.messages > 1 for health in made.board):
            await asyncio.sleep(0.05)
        before, cpu = sum(h.messages for h in made.board), time.process_time()
        await asyncio.sleep(seconds)
        cpu = time.process_time() - cpu
        return UPDATES * (sum(h.messages for h in made.board) - before) / cpu


async def plain(address: str, seconds: float) -> float:
    """The same by a client that reads each update: path as text, value, a row."""
    rows: list[tuple[int, str, int]] = []
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream(
            f"/{gnmi.SERVICE}/Subscribe", response_deserializer=gnmi.SubscribeResponse.FromString
        )(iter([b""]))
        count, cpu, end = 0, time.process_time(), time.monotonic() + seconds
        async for response in call:
            for update in response.update.update:
                rows.append(
                    (response.update.timestamp, gnmi.path_text(update.path), update.val.uint_val)
                )
                count += 1
            if len(rows) > 100_000:
                rows.clear()
            if time.monotonic() > end:
                break
        return count / (time.process_time() - cpu)


async def acknowledged(folder: Path, count: int) -> list[float]:
    """Seconds from sending a message to its acknowledgement, one after the other."""
    took = []
    message = notification().SerializeToString()
    async with collecting(folder, listen=True) as made:
        (port,) = made.ports.values()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.stream_stream("/gnmi.sonic.gNMIDialOut/Publish")()
            for _ in range(count):
                began = time.monotonic()
                await call.write(message)
                await call.read()
                took.append(time.monotonic() - began)
    return took


async def many(address: str, folder: Path, targets: int, seconds: float) -> None:
    """Memory and lag of many targets."""
    wanted = (Subscription(("/qos",)),)
    all_of_them = [Target(f"t{n}", address, wanted) for n in range(targets)]
    async with collecting(folder, *all_of_them) as made:
        while not all(health.syncs for health in made.board):
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)
        memory, before, cpu = (
            resident_mb(),
            sum(h.messages for h in made.board),
            time.process_time(),
        )
        await asyncio.sleep(seconds)
        cpu = time.process_time() - cpu
        count = sum(h.messages for h in made.board) - before
        print(f"  {targets} targets: {count} messages in {seconds:g} s, {cpu / seconds:.2f} cores, memory "
              f"{memory:.0f} MB at the start, {resident_mb():.0f} MB at the end")  # fmt: skip
    lags = []
    for record in read_segment(segments(folder)[-1]):
        if record.method == Method.GNMI and len(record.payload) > 100:
            sent = gnmi.SubscribeResponse.FromString(record.payload).update.timestamp
            lags.append((record.seen - sent) / 1e6)
    print(
        f"  lag of the last segment: median {statistics.median(lags):.1f} ms, p99 {percentile(lags, 99):.1f} ms"
    )


def percentile(values: list[float], share: int) -> float:
    """A percentile."""
    return statistics.quantiles(values, n=100)[share - 1]


async def agent(folder: Path, python: str, seconds: float) -> None:
    """CPU and memory of the agent while every counter of 512 queues changes every second."""
    from tests.sonic_db import switch

    with switch(folder) as one:
        one.fill(64)
        one.describe(64)
        async with collecting(folder / "log", listen=True) as made:
            (port,) = made.ports.values()
            command = [python, "-m", "collectors", "sonic", "--database-config", str(one.config)]
            process = subprocess.Popen([*command, "--server", f"127.0.0.1:{port}"])
            await asyncio.sleep(3)
            cpu, began, turn = cpu_of(process.pid), time.monotonic(), 1
            while time.monotonic() - began < seconds:
                turn += 1
                await asyncio.to_thread(one.fill, 64, turn)
                await asyncio.sleep(1)
            share = (cpu_of(process.pid) - cpu) / (time.monotonic() - began)
            print(
                f"  agent by {python}: {100 * share:.1f} % of a core, {resident_mb(process.pid):.0f} MB"
            )
            process.terminate()
            process.wait()


def cpu_of(pid: int) -> float:
    """Seconds of CPU a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / TICKS


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--targets", type=int, default=200)
    parser.add_argument("--hour", type=float, default=10, help="seconds in which 360 readings come")
    parser.add_argument("--python", default=sys.executable)
    given = parser.parse_args([] if arguments is None else arguments)
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(measure(given, Path(name)))  # one loop: gRPC does not like a second


async def measure(given: argparse.Namespace, base: Path) -> None:
    """Everything in turn."""
    rate = 0.0
    with devices(0) as address:
        for streams in (1, 8):
            rate = await ours(address, base / f"ours{streams}", given.seconds, streams)
            print(
                f"  received and recorded, {streams} streams: {rate / 1e3:.0f} k updates/s of a core"
            )
        simple = await plain(address, given.seconds)
        print(
            f"  a plain client, one row an update: {simple / 1e3:.0f} k: {rate / simple:.1f} times"
        )
    took = [1e3 * s for s in await acknowledged(base / "acknowledged", 500)]
    print(
        f"  receipt to acknowledgement: median {statistics.median(took):.1f} ms, p99 {percentile(took, 99):.1f} ms"
    )
    with devices(given.hour / 360) as address:
        await many(address, base / "many", given.targets, given.hour)
    await agent(base, given.python, given.seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
