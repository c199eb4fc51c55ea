"""kill -9 of the collector at random moments: nothing acknowledged is lost, nothing counts twice.

20 times; ``make chaos`` does it 200 times (FABRIC_KILLS).
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from collectors.batches import compose
from collectors.config import Backoff
from collectors.outbox import Item, Outbox
from collectors.publisher import Publisher, Servers
from collectors.records import Method
from collectors.segments import read_segment, segments
from collectors.vendors import PublishResponse
from tests.collecting import free_port, notification
from tests.data import ROOT
from tests.test_dialout import SONIC

KILLS = int(os.environ.get("FABRIC_KILLS", "20"))
SEED = int(os.environ.get("FABRIC_CHAOS_SEED", "1"))
QUICK = Backoff(first_s=0.02, last_s=0.05)
PROGRAM = """
import sys, threading
from pathlib import Path
from collectors.collecting import run
from collectors.config import Config, Listener
run(Config(Path(sys.argv[1]), listeners=(Listener(sys.argv[2]),)), threading.Event())
"""


@contextmanager
def collector(folder: Path, at: str) -> Iterator[Any]:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder), at], cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class TwoWay(threading.Thread):
    """A device that waits for an answer to each message and sends again what was not answered."""

    def __init__(self, at: str) -> None:
        super().__init__(daemon=True)
        self.at, self.sent, self.answered = at, 0, 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            options = (("grpc.use_local_subchannel_pool", 1),)
            try:
                with grpc.insecure_channel(self.at, options) as channel:
                    for raw in channel.stream_stream(SONIC)(self.messages()):
                        assert PublishResponse.FromString(raw).timestamp
                        self.answered += 1
            except grpc.RpcError:
                time.sleep(0.02)

    def messages(self) -> Iterator[bytes]:
        number = self.answered
        while not self.over.is_set():
            if number > self.answered:  # one at a time
                time.sleep(0.001)
                continue
            number += 1
            self.sent = max(self.sent, number)
            yield notification("/n", number, number)


def readings(folder: Path) -> tuple[Counter[tuple[str, int]], set[bytes]]:
    """Batches of agents by recorder and number, messages of the other device; a torn end is no loss."""
    batches: Counter[tuple[str, int]] = Counter()
    messages = set()
    for path in segments(folder):
        for record in read_segment(path):
            if record.method == Method.RDMA:
                body = json.loads(record.payload)
                batches[body["recorder"], body["sequence"]] += 1
            elif record.method == Method.GNMI:
                messages.add(record.payload)
    return batches, messages


def test_a_collector_killed_again_and_again(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    at = f"127.0.0.1:{free_port()}"
    folder, box = tmp_path / "log", Outbox(tmp_path / "buffer", memory_bytes=200_000)
    publisher = Publisher("agent-1", Servers((at,), backoff=QUICK), box)
    device = TwoWay(at)
    device.start()
    over, sequence = threading.Event(), 0

    def feed() -> None:
        nonlocal sequence
        while not over.is_set():
            sequence += 1
            body = {"device": "node1", "nics": [], "pad": "x" * 1000}
            batch = compose("agent-1", sequence, Method.RDMA, sequence, body)
            box.put(Item("agent-1", sequence, batch.packed()))
            time.sleep(0.002)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    for kill in range(KILLS):
        before = publisher.acknowledged
        with collector(folder, at):
            while publisher.acknowledged == before and kill % 5:
                time.sleep(
                    0.005
                )  # four of five live until they acknowledge, the rest die at any time
            time.sleep(rng.uniform(0, 0.3))
    over.set()
    feeder.join()
    with collector(folder, at):
        until = time.monotonic() + 30
        while len(box) and time.monotonic() < until:
            time.sleep(0.02)
        answered = device.answered
        while device.answered == answered and time.monotonic() < until:
            time.sleep(0.02)
    device.over.set()
    publisher.close(0)
    batches, messages = readings(folder)
    found = {number for _, number in batches}
    twice = sum(batches.values()) - len(batches)
    print(
        f"{KILLS} kills: sent {sequence}, acknowledged {publisher.acknowledged}, found {len(found)}, "
        f"come twice {twice} with the same number; two-way: answered {device.answered}, found {len(messages)}"
    )
    assert publisher.acknowledged == sequence
    assert found == set(range(1, sequence + 1))
    assert box.dropped == 0
    wanted = {notification("/n", n, n) for n in range(1, device.answered + 1)}
    assert wanted <= messages
