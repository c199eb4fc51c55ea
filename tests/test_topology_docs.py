"""What docs/topology.md and docs/audit.md promise holds: the example loads, every kind is listed."""

import re
from pathlib import Path

import pytest

from analyzers.audit import CHECKS
from fabric.inventory import IMPORTERS, load
from fabric.inventory.found import role_from_name
from fabric.topology import Port
from tests.data import ROOT

TOPOLOGY = (ROOT / "docs" / "topology.md").read_text()
AUDIT = (ROOT / "docs" / "audit.md").read_text()


def test_the_example_loads(tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    found = re.search(r"```yaml\n(.*?)```", TOPOLOGY, re.DOTALL)
    assert found is not None
    path.write_text(found[1])
    inventory = load([path])
    assert inventory.contradictions == ()
    assert inventory.fabric.peer(Port("leaf3", "9"), at=0) == Port("spine0", "4")
    qos = inventory.qos.get(Port("leaf0", "9"))
    assert qos is not None
    chain = qos.chain(24)
    assert chain is not None
    assert (chain.priority, chain.lossless) == (3, True)
    assert qos.watchdog is not None


def test_every_kind_of_finding_is_listed() -> None:
    kinds = set()
    for check in CHECKS:
        text = Path(str(check.__file__)).read_text()
        kinds |= set(re.findall(r"Remark\(\s*\"(\w+)\"", text))
        assert f"| {check.__name__.rpartition('.')[2]} |" in AUDIT
    assert len(kinds) > 30
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in AUDIT] == []


def test_every_contradiction_is_listed() -> None:
    sources = [*(ROOT / "fabric" / "inventory").glob("*.py")]
    text = "".join(path.read_text() for path in sources)
    kinds = set(re.findall(r"Contradiction\(\s*\"(\w+)\"", text)) | {
        "speeds_differ",
        "lengths_differ",
    }
    assert len(kinds) == 10
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in TOPOLOGY] == []


@pytest.mark.parametrize("module", IMPORTERS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_importer_is_described(module: object) -> None:
    assert module.__doc__
    assert callable(module.matches)  # type: ignore[attr-defined]
    assert callable(module.read)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("leaf0", "leaf"), ("tor-3", "leaf"), ("dc1-spine2", "spine"), ("agg0", "spine"),
        ("superspine1", "core"), ("core7", "core"), ("host-leaf0", "host"), ("dgx012", "host"),
        ("ocs1", "ocs"), ("r17", ""),
    ],
)  # fmt: skip
def test_roles_in_names(name: str, role: str) -> None:
    assert role_from_name(name) == role
