"""Others' gNMI, written in Go: their target under our client, their client on our target.

``make interop`` builds both at a fixed version and runs this; without them it is skipped.
"""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collectors import messages as gnmi
from collectors.config import Backoff, Subscription, Target, Tls
from collectors.server import Options, serving
from tests.collecting import Authority, dialling, free_port, responses, sampled, until
from tests.data import ROOT
from tests.test_replay import PATHS, SPEED, timeline

BIN = Path(os.environ.get("FABRIC_INTEROP_BIN", ROOT / ".venv/go/bin"))
ONCE = Backoff(first_s=600)  # their target ends the stream when it has said all
VALUES = 20
CONFIG = f"""
target: "fake" seed: 5 client_type: GRPC_GNMI
values: < path: "interfaces" path: "interface[name=Ethernet0]" path: "state" path: "in-octets"
  repeat: {VALUES} timestamp: < timestamp: 100 delta_min: 10 delta_max: 10 >
  uint_value: < value: 7 range: < minimum: 0 maximum: 1000 delta_min: 5 delta_max: 5 > > >
values: < path: "interfaces" path: "interface[name=Ethernet0]" path: "state" path: "oper-status"
  repeat: 1 timestamp: < timestamp: 500 > string_value: < value: "UP" > >
values: < path: "interfaces" path: "interface[name=Ethernet0]" path: "gone"
  repeat: 1 timestamp: < timestamp: 600 > delete: < > >
"""


def program(name: str) -> str:
    path = BIN / name
    if not path.exists():
        if os.environ.get("FABRIC_INTEROP_BIN"):
            pytest.fail(f"{path} is not there")
        pytest.skip(f"{name} is not built (make interop)")
    return str(path)


@contextmanager
def fake_target(folder: Path, authority: Authority) -> Iterator[str]:
    """openconfig's fake target with mutual TLS."""
    cert, key = authority.issue("fake")
    config = folder / "fake.pb.txt"
    config.write_text(CONFIG)
    port = free_port()
    process = subprocess.Popen(
        [program("fake_server"), "-config", str(config), "-text", "-port", str(port), "-ca_crt", str(authority.cert),
         "-server_crt", str(cert), "-server_key", str(key)], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("skip_verify", [False, True])
def test_their_target_under_our_client(tmp_path: Path, skip_verify: bool) -> None:
    """Mutual TLS with Go's; the old form of paths; deletes; a target without Capabilities."""
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue("collector")
    ca = None if skip_verify else authority.cert
    tls = Tls(ca, cert, key, skip_verify)

    async def run(at: str) -> None:
        wanted = Target("fake", at, sampled("/interfaces"), tls=tls, prefix_target="echoed")
        async with dialling(tmp_path / "log", wanted, backoff=Backoff(first_s=0.1)) as (
            dialer,
            board,
        ):
            health = board.of("gnmi", "fake")
            await until(lambda: health.connections)  # it takes a moment to listen
            dialer.backoff = ONCE
            await until(lambda: health.syncs)

    with fake_target(tmp_path, authority) as at:
        asyncio.run(run(at))
    found = responses(tmp_path / "log")
    first = found[: next(n for n, r in enumerate(found) if r.sync_response)]
    updates = [(r.update.timestamp, u) for r in first for u in r.update.update]
    octets = [(ts, u.val) for ts, u in updates if u.path.element[-1] == "in-octets"]
    assert [ts for ts, _ in octets] == [100 + 10 * n for n in range(VALUES)]
    assert {gnmi.path_text(u.path) for _, u in updates} == {
        "/interfaces/interface[name=Ethernet0]/state/in-octets",
        "/interfaces/interface[name=Ethernet0]/state/oper-status",
    }
    assert [gnmi.path_text(d) for r in first for d in r.update.delete] == [
        "/interfaces/interface[name=Ethernet0]/gone"
    ]
    assert {r.update.prefix.target for r in first} == {"echoed"}


def gnmi_cli(*arguments: str) -> str:
    done = subprocess.run(
        [program("gnmi_cli"), *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_their_client_on_our_target(tmp_path: Path) -> None:
    """Capabilities, ONCE, streaming over TLS; the values are those of the run."""
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue("replay")
    options = Options(cert=cert, key=key, loop=True, wait=0)
    with serving([timeline()], options) as replay:
        how = (
            "-address",
            replay.endpoints[0].address,
            "-ca_crt",
            str(authority.cert),
            "-timeout",
            "20s",
        )
        told = gnmi_cli(*how, "-capabilities")
        assert "openconfig-interfaces" in told
        assert "0.10.0" in told
        path = PATHS[SPEED].lstrip("/")
        assert gnmi_cli(*how, "-q", path, "-qt", "once").count("SPEED_100GB") == 1
        streaming = (program("gnmi_cli"), *how, "-q", path, "-qt", "streaming")
        with subprocess.Popen(streaming, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert any("SPEED_100GB" in line for line in process.stdout)
            process.kill()


def test_their_target_refuses_nothing_so_nothing_is_left_out(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue("collector")
    wanted = (
        Subscription(("/a", "/b"), mode="on_change"),
        Subscription(("/c",), interval_ns=10**9),
    )

    async def run(at: str) -> None:
        one = Target("fake", at, wanted, tls=Tls(authority.cert, cert, key))
        async with dialling(tmp_path / "log", one, backoff=Backoff(first_s=0.1)) as (_, board):
            health = board.of("gnmi", "fake")
            await until(lambda: health.syncs)
            assert not health.left_out

    with fake_target(tmp_path, authority) as at:
        asyncio.run(run(at))
