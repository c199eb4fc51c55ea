"""Drawn runs are what their labels say, and nothing but the seed decides them."""

import json
from pathlib import Path

import pytest

from analyzers.telemetry.labelled_runs import read_counters
from fabric.simulator.scenario import parse
from tests.accuracy.families import FAMILIES, draw, make, run
from tests.accuracy.truth import calm, seen

SHORT_US = 1000


@pytest.mark.parametrize("cls", FAMILIES)
def test_every_class_can_be_drawn_and_took_effect(cls: str, tmp_path: Path) -> None:
    label = make(cls, 7, tmp_path, SHORT_US)
    assert json.loads((tmp_path / "label.json").read_text()) == label
    assert label["cls"] == cls
    assert label["draws"] < 20
    if cls in ("healthy", "all_to_all"):
        assert not label["faults"]
        return
    classes = {fault["cls"] for fault in label["faults"]}
    assert len(classes) > 1 if cls == "multi" else classes == {cls}
    nodes = json.loads((tmp_path / "topology.json").read_text())["nodes"]
    names = {node["name"] for node in nodes}
    for fault in label["faults"]:
        assert {port.partition(":")[0] for port in fault["root_ports"]} <= names
        assert 0 <= fault["window_ns"][0] < fault["window_ns"][1] <= SHORT_US * 1000
    told = set(read_counters(tmp_path)["device"].unique())
    assert told < names if cls == "victim" else told == names


def test_the_same_seed_draws_the_same_run(tmp_path: Path) -> None:
    one, other = (make("incast", 3, tmp_path / name, SHORT_US) for name in "ab")
    assert one == other
    assert draw("incast", 3) != draw("incast", 4)


def test_without_its_fault_a_run_has_no_effect(tmp_path: Path) -> None:
    """The checks of the label can say no: the same load, the same ports, nothing broken."""
    for cls in ("pfc_storm", "lossy_link", "receiver_not_ready", "deadlock_fed"):
        text = next(text for n in range(40) if (text := draw(cls, 100 + n, SHORT_US))["fault"])
        sick = parse(text, cls)
        built, label = run(sick, tmp_path / f"{cls}-sick")
        faults = label["faults"]
        text["fault"] = []
        sound = parse(text, cls)
        built, label = run(sound, tmp_path / f"{cls}-sound")
        assert not any(seen(sound, built, label, fault) for fault in faults)
        if cls == "lossy_link":
            assert calm(sound, built, label, planned=True)
