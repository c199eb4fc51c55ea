"""One process with many sources: it starts, reloads, tells its health, and ends."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from collectors.collecting import collecting, run
from collectors.config import Config, EventInput, Listener, Target
from collectors.health import STATUS, Board
from collectors.records import Method
from collectors.server import Options, serving
from tests.collecting import QUICK, free_port, notification, of, sampled
from tests.test_dialout import SONIC
from tests.test_replay import timeline


def soon(true: Callable[[], Any]) -> None:
    for _ in range(1000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("never came true")


def status(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / STATUS).read_bytes())
    return {source["name"]: source for source in found["sources"]} | {"": found}


def call(port: int) -> None:
    """One message by dial-out."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answers = channel.stream_stream(SONIC)(iter([notification("/x", 1)]))
        next(answers)


def test_sources_side_by_side_and_a_reload(tmp_path: Path) -> None:
    log, source = tmp_path / "log", tmp_path / "events.json"
    source.write_text('[{"name": "s", "timestamp": 1}]')
    with serving([timeline(n) for n in range(3)], Options(loop=True, wait=0)) as replay:
        targets = [
            Target(n, at, sampled("/interfaces/interface[name=*]/state"))
            for n, at in replay.endpoints
        ]
        config = Config(
            log, "c", tuple(targets[:2]), (Listener("127.0.0.1:0"),), (EventInput("file", str(source)),),
            QUICK, status_s=0.02,
        )  # fmt: skip
        with collecting(config) as made:
            call(made.ports["127.0.0.1:0"])
            soon((log / STATUS).exists)
            soon(lambda: {"leaf0", "leaf1", "127.0.0.1", str(source)} <= set(status(log)))
            soon(lambda: all(status(log)[n]["state"] == "streaming" for n in ("leaf0", "leaf1")))
            before = status(log)["leaf1"]["since_ns"]
            made.reload(replace(config, targets=tuple(targets[1:])))
            soon(lambda: status(log).get("leaf2", {}).get("state") == "streaming")
            assert "leaf0" not in status(log)
            assert status(log)["leaf1"]["since_ns"] == before
            with pytest.raises(ValueError, match="restart"):
                made.reload(replace(config, name="other"))
            with pytest.raises(ValueError, match=r"\[x"):
                made.reload(replace(config, targets=(Target("bad", "h:1", sampled("/a[x")),)))
            assert status(log)["leaf1"]["since_ns"] == before
    end = status(log)
    assert end[""]["running"] is False
    assert end[""]["recorder"]["failed"] == 0
    assert {source["state"] for source in end[""]["sources"]} == {"gone"}
    assert {r.peer for r in of(log, Method.GNMI)} == {"leaf0", "leaf1", "leaf2", "127.0.0.1"}
    assert len(of(log, Method.GNMIC)) == 1


def test_what_cannot_start_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    config = Config(tmp_path / "log", listeners=(Listener("127.0.0.1:0"),))
    with collecting(config) as made:
        taken = Listener(f"127.0.0.1:{made.ports['127.0.0.1:0']}")
        for wrong, said in (
            (Config(tmp_path / "log"), "another process"),
            (Config(tmp_path / "b", listeners=(taken,)), "in use"),
            (Config(tmp_path / "c", events=(EventInput("udp", "x"),)), "one of file"),
        ):
            with pytest.raises((OSError, ValueError), match=said), collecting(wrong):
                pass
    with pytest.raises(ValueError, match="leaf is there twice"):
        Config(tmp_path, targets=(Target("leaf", "a:1", sampled("/x")),) * 2)


def test_a_listener_that_cannot_be_had_leaves_the_others(tmp_path: Path) -> None:
    """A reload with a port in use, with other passwords on the same port, without the listener."""
    a, b = (Listener(f"127.0.0.1:{free_port()}") for _ in range(2))
    config = Config(tmp_path / "a", listeners=(a,))
    with (
        collecting(config) as made,
        collecting(Config(tmp_path / "b", listeners=(b,))),
    ):
        for wanted in ((a, b), (b,), (replace(a, user="u", password="p"), b)):
            with pytest.raises(OSError, match="in use"):
                made.reload(replace(config, listeners=wanted))
            call(made.ports[a.address])
        made.reload(replace(config, listeners=(replace(a, user="u", password="p"),)))
        with pytest.raises(grpc.RpcError, match="password is wrong"):
            call(made.ports[a.address])
        made.reload(replace(config, listeners=()))
        assert made.ports == {}


def test_sources_without_end_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.health.SOURCES", 10)
    board = Board()
    kept = board.of("gnmi", "leaf0")
    for n in range(100):
        board.of("dialout", str(n)).turn("gone")
    assert len(list(board)) <= 10
    assert board.of("gnmi", "leaf0") is kept


def test_run_ends_when_it_is_told_to(tmp_path: Path) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(Config(tmp_path), stop))
    thread.start()
    soon((tmp_path / STATUS).exists)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
