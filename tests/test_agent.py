"""The agent: a process of its own that reads a real Redis, publishes, keeps, sends again."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from collectors.__main__ import main
from collectors.agent import Agent, AgentOptions
from collectors.batches import compose
from collectors.config import Backoff, Listener, Tls
from collectors.outbox import Item, Outbox
from collectors.publisher import Publisher, Servers
from collectors.rdma import RdmaOptions
from collectors.records import Method
from collectors.sonic import SonicOptions
from tests.collecting import Authority, Proxy, free_port, of, until
from tests.data import ROOT
from tests.sonic_db import switch
from tests.test_dialout import listening

QUICK = Backoff(first_s=0.02, last_s=0.1)


def item(sequence: int, recorder: str = "r", size: int = 100) -> Item:
    body = {"device": "d", "pad": "x" * size}
    return Item(recorder, sequence, compose(recorder, sequence, Method.SONIC, 1, body).packed())


def drain(box: Outbox, window: int = 1000) -> list[int]:
    found = []
    while taken := box.take(window):
        found.append(taken.sequence)
        box.acknowledge(taken.sequence)
    return found


def test_the_outbox_keeps_order_between_memory_and_disk(tmp_path: Path) -> None:
    box = Outbox(tmp_path, memory_bytes=1000)
    for n in range(1, 51):
        box.put(item(n))
    assert len(list(tmp_path.glob("*.spool"))) > 3
    assert len(box) == 50
    assert drain(box) == list(range(1, 51))
    assert list(tmp_path.iterdir()) == []
    assert (len(box), box.dropped) == (0, 0)


def test_nothing_touches_the_disk_while_batches_are_acknowledged(tmp_path: Path) -> None:
    box = Outbox(tmp_path, memory_bytes=1000)
    for n in range(1, 51):
        box.put(item(n))
        drain(box)
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_is_dropped_and_counted(tmp_path: Path) -> None:
    box = Outbox(tmp_path, memory_bytes=1000, disk_bytes=4000)
    for n in range(1, 101):
        box.put(item(n))
    kept = drain(box)
    assert kept == list(range(101 - len(kept), 101))
    assert box.dropped == 100 - len(kept) > 0
    box = Outbox(None, memory_bytes=1000)
    for n in range(1, 101):
        box.put(item(n))
    assert len(drain(box)) + box.dropped == 100


@pytest.mark.parametrize("sent", [0, 3, 12, 30])
def test_a_restart_keeps_order_and_loses_nothing(tmp_path: Path, sent: int) -> None:
    """What was sent but not acknowledged comes again, before everything younger."""
    box = Outbox(tmp_path, memory_bytes=2000)
    for n in range(1, 6):
        box.put(item(n))
    for _ in range(sent):
        box.take(1000)
    for n in range(6, 31):
        box.put(item(n))
    box.acknowledge(2)
    box.close()
    again = Outbox(tmp_path, memory_bytes=2000)
    again.put(item(1, "next"))
    for _ in range(4):  # once more, half way through a file
        again.take(1000)
    again.close()
    last = Outbox(tmp_path, memory_bytes=2000)
    found = drain(last)
    assert found == [*range(1 if sent == 0 else min(sent, 2) + 1, 31), 1]
    assert last.dropped == 0


def test_numbers_of_two_recorders_are_never_in_flight_together(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    box.put(item(7, "old"))
    box.put(item(1, "new"))
    assert box.take(10) == item(7, "old")
    assert box.take(10) is None
    box.acknowledge(7)
    assert box.take(10) == item(1, "new")


def test_a_torn_file_costs_its_last_batch(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    for n in range(1, 11):
        box.put(item(n))
    box.close()
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    again = Outbox(tmp_path)
    assert drain(again) == list(range(1, 10))
    assert again.dropped == 1
    (tmp_path / "0000000001-3.spool").write_bytes(b"junk")
    broken = Outbox(tmp_path)
    assert drain(broken) == []
    assert broken.dropped == 3


def sequences(folder: Path) -> list[tuple[str, int]]:
    bodies = [json.loads(record.payload) for record in of(folder, Method.SONIC)]
    return [(body["recorder"], body["sequence"]) for body in bodies]


def agent_process(
    config: Path, servers: list[str], *more: str, python: str = sys.executable
) -> Any:
    command = [python, "-m", "collectors", "sonic", "--database-config", str(config), *more]
    for server in servers:
        command += ["--server", server]
    environment = {**os.environ, "FABRIC_PASSWORD": "p"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def stop(process: Any, number: int = signal.SIGTERM) -> str:
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    return str(error)


def listens_to_signals(pid: int) -> bool:
    """Whether a process would notice a SIGTERM, rather than die of it."""
    caught = Path(f"/proc/{pid}/status").read_text().split("SigCgt:")[1].split()[0]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def pythons() -> list[str]:
    return [sys.executable, "/usr/bin/python3"]


@pytest.mark.parametrize("python", pythons(), ids=["ours", "the distribution's"])
def test_an_agent_process_publishes_with_tls_and_password(tmp_path: Path, python: str) -> None:
    """With our libraries and with those of the distribution (Debian 12: grpcio 1.51, protobuf 3.21)."""
    probe = [python, "-c", "import grpc, google.protobuf"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        message = "the distribution's python3-grpcio and python3-protobuf are not installed"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue("listener")
    listener = Listener("127.0.0.1:0", Tls(None, cert, key), user="u", password="p")

    async def run(config: Path) -> None:
        async with listening(tmp_path / "log", listener) as (at, board):
            process = agent_process(
                config, [at], "--tls-skip-verify", "--user", "u", "--interval", "0.1", python=python
            )
            try:
                await until(lambda: sum(h.messages for h in board) >= 1)
                await until(lambda: of(tmp_path / "log", Method.SONIC))
            finally:
                error = stop(process)
            assert (process.returncode, error) == (0, "")

    with switch(tmp_path) as one:
        one.fill(ports=2)
        one.describe()
        asyncio.run(run(one.config))
    (first, *_) = of(tmp_path / "log", Method.SONIC)
    body = json.loads(first.payload)
    assert body["device"] == "leaf1"
    assert len(body["tables"]["COUNTERS/Queues"]) == 16


def test_an_agent_survives_servers_that_come_and_go(tmp_path: Path) -> None:
    """Connections cut at any moment, the server away for a while: every number once, none missing."""
    port = free_port()
    config = tmp_path / "database_config.json"

    def served() -> Any:
        return listening(tmp_path / "log", Listener(f"127.0.0.1:{port}"))

    async def run(agent: Agent) -> None:
        def feed(count: int) -> None:
            for _ in range(count):
                agent._put(Method.SONIC, 1, {"device": "d", "pad": "x" * 2000})

        async with served(), Proxy(f"127.0.0.1:{port}") as wire:
            agent.publisher.servers = Servers((wire.address,), backoff=QUICK)
            for cut in range(8):
                feed(40)
                wire.limit = 50 + 37 * cut  # in the middle of an acknowledgement
                await asyncio.sleep(0.05)
                wire.cut()
            await until(lambda: agent.publisher.acknowledged >= 320)
        feed(200)  # nobody there
        agent.publisher.servers = Servers((f"127.0.0.1:{port}",), backoff=QUICK)
        assert list((tmp_path / "buffer").iterdir())
        async with served():
            await until(lambda: len(agent.outbox) == 0)

    with switch(tmp_path) as one:
        options = AgentOptions(
            SonicOptions(config, interval_ns=10**9), Servers(("127.0.0.1:1",), backoff=QUICK),
            tmp_path / "buffer", memory_bytes=100_000,
        )  # fmt: skip
        assert one.config == config
        agent = Agent(options)
        try:
            asyncio.run(run(agent))
        finally:
            agent.publisher.close(0)
    found = Counter(sequences(tmp_path / "log"))
    assert [sequence for _, sequence in found] == list(range(1, 521))
    assert agent.outbox.dropped == 0
    # An acknowledgement that was lost makes a batch come twice; both bear the same number.
    assert sum(found.values()) <= 520 + 8 * 64


def test_a_full_disk_of_the_listener_loses_nothing(tmp_path: Path) -> None:
    """It acknowledges nothing while it cannot write; the agent keeps it all and sends it again."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(disk)], check=False
    ).returncode:
        pytest.skip("mount is not allowed here")
    filler = disk / "filler"

    async def run() -> None:
        async with listening(disk / "log", limit_bytes=50_000) as (at, _):
            box = Outbox(tmp_path / "buffer", memory_bytes=100_000)
            publisher = Publisher("r", Servers((at,), backoff=QUICK), box)
            for n in range(1, 101):
                box.put(item(n, size=1000))
            await until(lambda: publisher.acknowledged == 100)
            with suppress(OSError):
                filler.write_bytes(bytes(2 << 20))
            for n in range(101, 201):
                box.put(item(n, size=1000))
            await until(lambda: "cannot record" in publisher.error)
            assert publisher.acknowledged < 200
            filler.unlink()
            await until(lambda: publisher.acknowledged == 200)
            publisher.close(0)

    try:
        asyncio.run(run())
        assert {sequence for _, sequence in sequences(disk / "log")} == set(range(1, 201))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_an_agent_killed_and_started_again(tmp_path: Path) -> None:
    """SIGTERM while no server is there keeps what was read; the next process sends it first."""
    port = free_port()
    at = [f"127.0.0.1:{port}"]
    how = ("--interval", "0.1", "--buffer", str(tmp_path / "buffer"))

    async def run(config: Path) -> None:
        for _ in range(2):
            process = agent_process(config, at, *how)
            await until(lambda process=process: listens_to_signals(process.pid))
            await asyncio.sleep(0.5)
            said = stop(process)
            assert process.returncode == 0
            assert said.count("\n") == 1
            assert "no server takes it: UNAVAILABLE" in said
        assert len(list((tmp_path / "buffer").iterdir())) == 2
        async with listening(tmp_path / "log", Listener(at[0])):
            process = agent_process(config, at, *how)
            await until(lambda: len({r for r, _ in sequences(tmp_path / "log")}) == 3)
            stop(process)

    with switch(tmp_path) as one:
        one.fill(ports=1)
        asyncio.run(run(one.config))
    found = sequences(tmp_path / "log")
    assert len(found) == len(set(found))
    for recorder in {r for r, _ in found}:
        numbers = [n for r, n in found if r == recorder]
        assert numbers == list(range(1, len(numbers) + 1))


def test_what_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    async def run(agent: Agent) -> None:
        async with listening(tmp_path / "log") as (at, _):
            agent.publisher.servers = Servers((at,), backoff=QUICK)
            for _ in range(5):
                agent.read()
            await until(lambda: len(agent.outbox) == 0)

    with switch(tmp_path) as one:
        config = one.config
    agent = Agent(AgentOptions(SonicOptions(config), Servers(("127.0.0.1:1",), backoff=QUICK)))
    try:
        asyncio.run(run(agent))
    finally:
        agent.publisher.close(0)
    notes = [json.loads(r.payload) for r in of(tmp_path / "log", Method.NOTE)]
    errors = [note for note in notes if note["kind"] == "error"]
    assert len(errors) == 1
    assert "redis.sock" in errors[0]["text"]


def test_a_host_agent(tmp_path: Path) -> None:
    async def run() -> None:
        async with listening(tmp_path / "log") as (at, _):
            options = AgentOptions(RdmaOptions(tmp_path / "sys", "node1"), Servers((at,)))
            agent = Agent(options)
            agent.read()
            await until(lambda: of(tmp_path / "log", Method.RDMA))
            agent.publisher.close(0)

    asyncio.run(run())
    (record,) = of(tmp_path / "log", Method.RDMA)
    body = json.loads(record.payload)
    assert (body["device"], body["nics"], body["sequence"]) == ("node1", [], 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sonic", "--database-config", "/nowhere/x.json", "--server", "h:1"], "/nowhere/x.json"),
        (["rdma"], "--server"),
        (["rdma", "--server", "h:1", "--tls-cert", "x.pem"], "needs its key"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_one_reading_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["rdma", "--once", "--sysfs", str(tmp_path), "--device", "n"]) == 0
    assert json.loads(capsys.readouterr().out) == {"device": "n", "ranks": [], "nics": []}


def test_importing_the_agent_is_light() -> None:
    program = (
        "import sys, collectors.agent, collectors.__main__\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules} & {'redis', 'msgspec', 'yaml', 'polars'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
