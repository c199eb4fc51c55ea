"""fabric topology and fabric audit as a user runs them: answers, JSON, exit status, one-line errors."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fabric.inventory import load
from tests.data import ROOT

YAML = """\
fabric: 1
name: pod
devices: {leaf0: {role: leaf}, leaf1: {role: leaf}, spine0: {role: spine}}
links:
  - leaf0:1 -- spine0:1 400G 30m
  - leaf1:1 -- spine0:2 400G 30m
"""


def fabric(*words: object) -> subprocess.CompletedProcess[str]:
    program = "import sys; from dashboards.cli import run; sys.exit(run(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def answer(*words: object, status: int = 0) -> Any:
    done = fabric(*words, "--json")
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def pod(tmp_path: Path) -> Path:
    path = tmp_path / "pod.yaml"
    path.write_text(YAML)
    return path


def test_build_then_show(tmp_path: Path) -> None:
    out = tmp_path / "built.yaml"
    words = ("topology", "build", "clos2", "leaves=2", "spines=2", "hosts_per_leaf=2", "--out", out)
    assert fabric(*words).returncode == 0
    assert not list(tmp_path.glob("*.partial"))
    whole = answer("topology", "show", out)
    assert whole["devices"] == {"host": 4, "leaf": 2, "spine": 2}
    assert (whole["links"], whole["islands"], whole["addresses"]) == ({"400G": 8}, 1, 4)
    paths = answer("topology", "show", out, "--from", "host0", "--to", "10.0.0.3")
    assert paths["count"] == 2
    assert paths["paths"][0] == "host0:1 > leaf0:3 > spine0:2 > leaf1:1"
    ports = answer("topology", "show", out, "--device", "leaf0")["ports"]
    assert [(p["port"], p["peer"]) for p in ports][:2] == [("1", "host0:1"), ("2", "host1:1")]
    text = fabric("topology", "show", out, "--from", "host0:1", "--to", "host1").stdout
    assert "host0:1 > leaf0:2" in text


def test_import_gives_our_yaml_and_says_contradictions(tmp_path: Path) -> None:
    dot = tmp_path / "x.dot"
    dot.write_text(
        'graph { leaf0:1 -- spine0:1 [speed="400G"]; leaf0:1 -- spine1:1; leaf0:2 -- spine0:2 }'
    )
    out = tmp_path / "out.yaml"
    done = fabric("topology", "import", dot, "--out", out)
    assert done.returncode == 1
    assert done.stderr.startswith("fabric: two_cables: leaf0:1 is claimed by cables to")
    assert len(load([out]).fabric.links) == 1
    dot.write_text("graph { leaf0:2 -- spine0:2 }")
    rows = answer("topology", "import", dot)
    assert [row["device"] for row in rows["links"]] == ["leaf0", "spine0"]
    assert rows["links"][0]["length_m"] is None
    assert fabric("topology", "import", dot).stdout.startswith("fabric: 1\n")


def test_check_and_audit(pod: Path) -> None:
    sound = answer("topology", "check", pod)
    assert sound["findings"] == []
    assert answer("audit", pod)["summary"]["findings"] == {"critical": 0, "warning": 0, "info": 1}
    pod.write_text(YAML + "  - leaf0:1 -- spine0:7\n")
    told = answer("topology", "check", pod, status=1)
    assert told["findings"][0]["kind"] == "two_cables"
    assert told["findings"][0]["value"] is None
    text = fabric("audit", pod)
    assert text.returncode == 1
    assert "two_cables: leaf0:1 is claimed by cables to" in " ".join(text.stdout.split())


def test_findings_of_an_audit_carry_reason_and_repair(pod: Path) -> None:
    pod.write_text(
        YAML
        + 'qos:\n  - {ports: "*", dscp: {26: 3, 48: 6}, pfc: [3]}\n  - {ports: "spine0:2", pfc: []}\n'
    )
    told = answer("audit", pod, "--roce-dscp", "26", status=1)
    assert told["schema_version"] == 1
    assert [(f["kind"], f["device"], f["port"]) for f in told["findings"]] == [
        ("pfc_one_sided", "spine0", "2"), ("roce_lossy", "spine0", "2"),
    ]  # fmt: skip
    assert all(f["summary"] and f["advice"] for f in told["findings"])
    assert told["summary"]["links_both_ends"] == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("audit", "absent.yaml"), "absent.yaml: No such file or directory"),
        (("topology", "build", "torus"), "no shape 'torus'; known are clos2"),
        (("topology", "build", "clos2"), "clos2 needs leaves=N, spines=N, hosts_per_leaf=N"),
        (("topology", "build", "clos2", "leaves=0"), "leaves=0: write NAME=N"),
        (("topology", "show", "POD", "--device", "x"), "--device x: no such device"),
        (("topology", "show", "POD", "--from", "leaf0", "--to", "x"), "--to x: neither a device"),
        (("topology", "show", "POD", "--at", "soon"), "not a time: 'soon'"),
        (("topology", "check", "POD", "--kind", "visio"), "no importer is named 'visio'"),
        (("audit", "POD", "--roce-dscp", "64"), "Invalid value for '--roce-dscp'"),
    ],
)
def test_errors_are_one_line(pod: Path, words: tuple[str, ...], complaint: str) -> None:
    done = fabric(*(pod if word == "POD" else word for word in words))
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_help_has_an_example() -> None:
    for words in (
        ("audit",),
        *(("topology", name) for name in ("show", "import", "build", "check")),
    ):
        assert "Example: fabric " + " ".join(words) in fabric(*words, "--help").stdout
