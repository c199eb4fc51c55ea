"""``fabric collect`` as an operator uses it: real processes, real targets, broken configurations."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analyzers.store import Store, collect
from collectors.health import STATUS
from collectors.records import Method
from collectors.server import Options, serving
from dashboards.commands.collect_config import load
from dashboards.commands.presets import PRESETS
from tests.collecting import of
from tests.test_collecting import soon
from tests.test_replay import READINGS, timeline

FABRIC = str(Path(sys.executable).with_name("fabric"))


def written(folder: Path, text: str, name: str = "collect.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@contextmanager
def running(config: Path) -> Iterator[Any]:
    process = subprocess.Popen([FABRIC, "collect", str(config)], stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stderr
        process.stderr.close()


def status(config: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FABRIC, "collect", str(config), "--status", *more],
        capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


def sources(folder: Path) -> Any:
    return json.loads((folder / "log" / STATUS).read_bytes())["sources"]


def test_collect_status_reload_and_interrupt(tmp_path: Path) -> None:
    with serving(
        [timeline(n) for n in range(2)], Options(loop=True, wait=0, user="u", password="p")
    ) as replay:
        (one, first), (two, second) = replay.endpoints
        head = (
            'folder = "log"\n[defaults]\nplatform = "arista"\nuser = "u"\npassword_file = "secret"\n'
            f'[[targets]]\nname = "{one}"\naddress = "{first}"\n'
        )
        written(tmp_path, "p\n", "secret")
        config = written(tmp_path, head)
        with running(config) as process:
            soon((tmp_path / "log" / STATUS).exists)
            soon(lambda: sources(tmp_path)[0]["state"] == "streaming")
            found = status(config, "--json")
            assert found.returncode == 1  # paths the target does not have
            source = json.loads(found.stdout)["sources"][0]
            assert any(path.startswith("/components") for path in source["left_out"])
            shown = status(config).stdout
            assert one in shown
            assert "on disk" in shown
            assert source["name"] == one
            written(tmp_path, head + f'[[targets]]\nname = "{two}"\naddress = "{second}"\n')
            soon(lambda: sum(s["syncs"] > 0 for s in sources(tmp_path)) >= 2)
            written(tmp_path, "folder = 3")
            process.send_signal(signal.SIGHUP)
            lines = [process.stderr.readline() for _ in range(3)]
            assert "recording into" in lines[0]
            assert "reloaded: 2 targets" in lines[1]
            assert "not reloaded" in lines[2]
            assert "folder: Expected `str`, got `int`" in lines[2]
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
            assert "Traceback" not in process.stderr.read()
    written(tmp_path, head)
    ended = status(config)
    assert ended.returncode == 2
    assert "has ended" in ended.stderr
    assert {record.peer for record in of(tmp_path / "log", Method.GNMI)} == {one, two}


def test_what_is_collected_is_kept(tmp_path: Path) -> None:
    """Readings of a run, from its devices by gNMI into the store, decoded."""
    with serving([timeline(n) for n in range(2)], Options(wait=2, speed=1e-6)) as replay:
        targets = "".join(
            f'[[targets]]\nname = "{e.device}"\naddress = "{e.address}"\n' for e in replay.endpoints
        )
        config = written(tmp_path, f"""
folder = "log"
[store]
[defaults]
subscriptions = ["all"]
[subscriptions.all]
interval = "0s"
paths = ["/interfaces/interface[name=*]/state/counters"]
{targets}""")  # fmt: skip
        with running(config) as process:
            soon((tmp_path / "log" / STATUS).exists)
            replay.done.result(30)
            soon(
                lambda: (
                    json.loads((tmp_path / "log" / STATUS).read_bytes())
                    .get("store", {})
                    .get("rows", 0)
                    > 20
                )
            )
            assert "rows of" in status(config).stdout
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        with running(config):  # what the first had not committed
            store = Store(tmp_path / "store")
            soon(lambda: collect(store.scan("counters")).height >= 4 * READINGS)
    found = collect(store.scan("counters")).filter(pl.col("counter") == "rx_bytes")
    for device in range(2):
        of_port = found.filter(device=f"leaf{device}", port="Ethernet1/1").sort("ts")
        assert of_port["value"].to_list() == [100 * n + device for n in range(READINGS)]


WRONG = {
    "folder = 1": "folder: Expected `str`, got `int`",
    'folder = "a"\nnane = "x"': "unknown field `nane`",
    'folder = "a"\n[[targets]]\naddress = 5': "targets[0].address: Expected `str | null`, got `int`",
    'folder = "a"\n[[targets]]\nname = "leaf"': "targets[0]: address 'leaf'",
    'folder = "a"\n[[targets]]\naddress = "a:1"': "no subscriptions and no platform",
    'folder = "a"\n[[targets]]\naddress = "a:1"\nplatform = "ios"': "subscription 'ios': one of",
    'folder = "a"\n[subscriptions.x]\npaths = ["/a"]\ninterval = "5"\n[[targets]]\naddress = "a:1"': "interval 5: not a time",
    'folder = "a"\n[subscriptions.x]\npaths = ["/a"]\nmode = "often"\n[[targets]]\naddress = "a:1"': "mode 'often'",
    'folder = "a"\n[subscriptions.sonic]\npaths = ["/a"]': "the name of a preset",
    'folder = "a"\n[[targets]]\naddress = "a:1"\nplatform = "sonic"\npassword_env = "NOT_SET"': "NOT_SET is not set",
    'folder = "a"\n[[targets]]\naddress = "a:1"\nplatform = "sonic"\npassword_file = "none"': "none",
    'folder = "a"\n[[targets]]\naddress = "a:1"\nplatform = "sonic"\ntls = {cert = "x"}': "needs its key",
    'folder = "a"\n[[targets]]\naddress = "a:1"\nplatform = "sonic"\n[[targets]]\naddress = "a:1"\nplatform = "sonic"': "a is there twice",
    'folder = "a"': "nothing to collect from",
    "folder = ": "Invalid value",
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG.items(), ids=range(len(WRONG)))
def test_the_place_of_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    config = written(tmp_path, text)
    with pytest.raises((ValueError, OSError)) as wrong:
        load(config)
    assert said in str(wrong.value)
    assert str(config) in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_a_wrong_configuration_ends_the_command_with_one_line(tmp_path: Path) -> None:
    for path in (written(tmp_path, "folder = 1"), tmp_path / "none.toml"):
        done = subprocess.run(
            [FABRIC, "collect", str(path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert str(path) in done.stderr


def test_everything_a_target_can_be_given(tmp_path: Path) -> None:
    config = load(written(tmp_path, """
folder = "log"
[defaults]
port = 6030
encoding = "proto"
tls = {ca = "ca.pem", server_name = "switch"}
metadata = {x-token = "t"}
[subscriptions.fast]
paths = ["/a"]
interval = "500ms"
heartbeat = "1s"
[subscriptions.state]
paths = ["/b"]
mode = "on_change"
interval = "0s"
[[targets]]
address = "leaf1"
[[targets]]
name = "leaf2"
address = "10.0.0.2:1"
subscriptions = ["state", "sonic"]
stale = "20s"
[[listen]]
address = "0.0.0.0:57500"
user = "u"
password = "p"
[[events]]
kind = "file"
source = "events.json"
"""), ).config  # fmt: skip
    one, two = config.targets
    assert (one.name, one.address, one.encoding) == ("leaf1", "leaf1:6030", "proto")
    assert [(s.paths, s.interval_ns, s.heartbeat_ns) for s in one.subscriptions] == [
        (("/a",), 5 * 10**8, 10**9), (("/b",), 0, 0),
    ]  # fmt: skip
    assert one.tls is not None
    assert one.tls.ca == tmp_path / "ca.pem"
    assert one.metadata == (("x-token", "t"),)
    assert two.stale_ns == 20 * 10**9
    assert two.subscriptions[1:] == PRESETS["sonic"]
    assert config.events[0].source == str(tmp_path / "events.json")
    assert config.listeners[0].password == "p"


def test_targets_from_other_files(tmp_path: Path) -> None:
    """What ``fabric replay --targets`` writes, and gnmic's own file in YAML."""
    written(
        tmp_path,
        'platform = "sonic"\nspeed = 1.0\n[[targets]]\nname = "a"\naddress = "h:1"\n',
        "ours.toml",
    )
    written(tmp_path, """
targets:
  10.0.0.1:57400:
    username: admin
    password: secret
    skip-verify: true
  leaf9:
    address: 10.0.0.9:6030
    insecure: true
""", "gnmic.yaml")  # fmt: skip
    config = load(written(
        tmp_path, 'folder = "l"\ntargets_files = ["ours.toml", "gnmic.yaml"]\n[defaults]\nplatform = "arista"\n'
    )).config  # fmt: skip
    a, b, c = config.targets
    assert (a.name, a.address, a.subscriptions) == ("a", "h:1", PRESETS["sonic"])
    assert (b.name, b.user, b.password, b.subscriptions) == ("10.0.0.1:57400", "admin", "secret", PRESETS["arista"])  # fmt: skip
    assert b.tls is not None
    assert b.tls.skip_verify
    assert (c.name, c.address, c.tls) == ("leaf9", "10.0.0.9:6030", None)


def test_the_switches_of_a_topology_are_targets(tmp_path: Path) -> None:
    written(tmp_path, """
name: lab
topology:
  nodes:
    leaf1: {kind: nokia_srlinux}
    spine1: {kind: nokia_srlinux}
    host1: {kind: linux}
  links:
    - endpoints: ["leaf1:e1-1", "spine1:e1-1"]
    - endpoints: ["leaf1:e1-2", "host1:eth1"]
""", "lab.clab.yml")  # fmt: skip
    config = load(written(tmp_path, """
folder = "l"
targets_topology = ["lab.clab.yml"]
[defaults]
port = 57400
platform = "srlinux"
[[targets]]
name = "leaf1"
address = "10.0.0.1"
""")).config  # fmt: skip
    assert [(t.name, t.address) for t in config.targets] == [
        ("leaf1", "10.0.0.1:57400"), ("spine1", "spine1:57400"),
    ]  # fmt: skip


def test_yaml_is_toml(tmp_path: Path) -> None:
    toml = written(tmp_path, 'folder = "l"\n[[targets]]\naddress = "a:1"\nplatform = "sonic"\n')
    yaml = written(tmp_path, "folder: l\ntargets:\n- address: a:1\n  platform: sonic\n", "c.yaml")
    assert load(toml).config == load(yaml).config


def test_check_says_what_will_be_asked(tmp_path: Path) -> None:
    config = written(tmp_path, 'folder = "l"\n[[targets]]\naddress = "a:1"\nplatform = "sonic"\n')
    done = subprocess.run([FABRIC, "collect", str(config), "--check", "--json"], capture_output=True, text=True, check=True)  # fmt: skip
    assert "/COUNTERS/Ethernet*/Queues" in json.loads(done.stdout)["targets"][0]["paths"]
    assert not (tmp_path / "l").exists()
