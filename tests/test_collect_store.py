"""``fabric collect`` and its store: unknown paths are listed, a better dictionary decodes again."""

import json
import sys
from pathlib import Path

import polars as pl
import pytest

from analyzers.store import Store, collect
from collectors import messages as gnmi
from collectors.recorder import Recorder
from collectors.records import Method
from dashboards.cli import main
from dashboards.commands.collect_config import load
from dashboards.commands.collect_store import Keeper

NOW = 1_750_000_000_000_000_000
CONFIG = """
folder = "raw"
listen = [{ address = "127.0.0.1:0" }]
[store]
days = 30
size = "10GB"
"""
OWN = """
provenance = "seen"
[[group]]
path = "/vendor/port[id={port}]"
leaves.octets = "rx_bytes"
"""


def record(folder: Path) -> None:
    with Recorder(folder, "collector") as recorder:
        for n, path in enumerate(["/vendor/port[id=7]/octets", "/x\x1b[2J/y"] * 3):
            note = gnmi.Notification(timestamp=NOW + n)
            message = gnmi.Path()
            if path.startswith("/vendor"):
                message = gnmi.path(path)
            else:
                message.elem.add(name=path)
            note.update.add(path=message, val=gnmi.TypedValue(uint_val=n))
            payload = gnmi.SubscribeResponse(update=note).SerializeToString()
            recorder.record("10.0.0.1", Method.GNMI, payload, seen=NOW + n)


def run(*words: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fabric", "collect", *words])
        with pytest.raises(SystemExit) as done:
            main()
    return int(done.value.code or 0)


def keep(config: Path) -> None:
    loaded = load(config)
    assert loaded.store
    keeper = Keeper(loaded.store, config.parent, loaded.config.folder)
    assert keeper.step() == ""
    assert keeper.told["segments"] == 1
    keeper._upkeep()


def test_unknown_paths_and_a_dictionary_that_knows_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "collect.toml"
    config.write_text(CONFIG)
    assert run(str(config), "--unknown") == 2
    assert "nothing was kept yet" in capsys.readouterr().err
    record(tmp_path / "raw")
    keep(config)
    assert run(str(config), "--unknown") == 0
    out = capsys.readouterr().out
    assert "10.0.0.1  /vendor/port[id=7]/octets  3 readings, the last" in out
    assert "2 paths that no dictionary knows" in out
    assert "\x1b" not in out
    assert run(str(config), "--unknown", "--json") == 0
    assert {row["count"] for row in json.loads(capsys.readouterr().out)} == {3}

    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "vendor.toml").write_text(OWN)
    config.write_text(CONFIG + 'dictionaries = "own"\ndevices = { "10.0.0.1" = "leaf1" }\n')
    assert run(str(config), "--redecode") == 0
    assert "1 segments decoded again" in capsys.readouterr().out
    found = collect(Store(tmp_path / "store").scan()).sort("ts")
    assert found.select("device", "port", "counter", "value").rows() == [
        ("leaf1", "7", "rx_bytes", n) for n in (0, 2, 4)
    ]
    assert found["ts"].to_list() == sorted(pl.Series([NOW, NOW + 2, NOW + 4]))


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "collect.toml"
    config.write_text(CONFIG.split("[store]", maxsplit=1)[0])
    assert run(str(config), "--unknown") == 2
    assert "no [store]" in capsys.readouterr().err
    config.write_text(CONFIG + 'dictionaries = "nowhere"\n')
    assert run(str(config), "--redecode") == 2
    assert "nowhere: no such folder (store.dictionaries)" in capsys.readouterr().err
    (tmp_path / "nowhere").mkdir()
    (tmp_path / "nowhere" / "bad.toml").write_text("[[group]]")
    assert run(str(config), "--redecode") == 2
    assert "bad.toml: group 1: leaves" in capsys.readouterr().err
