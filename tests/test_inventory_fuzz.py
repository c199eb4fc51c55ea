"""Damaged sources: an importer reads them or says in one line what is wrong; nothing else escapes.

Good files are damaged at random: bytes changed, cut, doubled; values of JSON and YAML trees replaced by
values of another kind. What can be read is also audited.
"""

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from analyzers.audit import audit
from fabric.inventory import load
from tests import (
    test_audit,
    test_inventory_groundtruth,
    test_inventory_host,
    test_inventory_lab,
    test_inventory_lldp,
    test_inventory_native,
    test_inventory_routes,
    test_inventory_sonic,
)

GOOD: dict[str, tuple[str, str, str]] = {
    "native": ("native", "x.yaml", test_inventory_native.GOOD),
    "qos": ("native", "x.yaml", test_audit.SOUND),
    "containerlab": ("containerlab", "x.clab.yml", test_inventory_lab.CLAB),
    "dot": ("dot", "x.dot", test_inventory_lab.DOT),
    "groundtruth": ("groundtruth", "topology.json", json.dumps(test_inventory_groundtruth.GOOD)),
    "nccl": ("nccl", "h.xml", test_inventory_host.XML),
    "mlnx_qos": ("host", "mlnx_qos_eth0.txt", test_inventory_host.MLNX),
    "dcb": ("host", "dcb_eth0.txt", test_inventory_host.DCB),
    "lldp": ("lldp", "x.csv", test_inventory_lldp.CSV),
    "sonic": ("sonic", "config_db.json", json.dumps(test_inventory_sonic.config())),
    "aft": ("routes", "leaf0.json", json.dumps(test_inventory_routes.aft())),
}
ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1 << 70,
    1.5,
    "",
    "x",
    "::",
    "|",
    [],
    {},
    [1],
    {"a": {}},
    "9" * 50,
)


def damaged(text: str, rng: random.Random) -> bytes:
    data = bytearray(text.encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data)) if data else 0
        what = rng.randrange(4)
        if what == 0:
            data[at : at + 1] = bytes((rng.randrange(256),))
        elif what == 1:
            del data[at : at + rng.randrange(1, 30)]
        elif what == 2:
            data[at:at] = data[at : at + rng.randrange(1, 60)]
        else:
            data[at:at] = rng.choice(
                (b'"', b"{", b"]", b":", b"\n", b"\0", b"-", b"&a", b"*a", b"<<")
            )
    return bytes(data)


def twisted(tree: Any, rng: random.Random) -> Any:
    """The tree with one value replaced by an odd one."""
    places: list[tuple[Any, Any]] = []
    stack = [tree]
    while stack:
        node = stack.pop()
        inner = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in list(inner):
            places.append((node, key))
            if isinstance(value, dict | list):
                stack.append(value)
    node, key = rng.choice(places)
    node[key] = copy.deepcopy(rng.choice(ODD))
    return tree


def survives(path: Path, kind: str) -> bool:
    """Whether the file could be read; a refusal is one line that names the file."""
    try:
        inventory = load([path], kind)
    except (ValueError, OSError) as error:
        complaint = str(error)
    else:
        audit(inventory)
        return True
    if "\n" in complaint or str(path) not in complaint:
        pytest.fail(f"not one line that names the file: {complaint}")
    return False


@pytest.mark.parametrize("name", GOOD)
def test_damaged_bytes(tmp_path: Path, name: str) -> None:
    kind, file, text = GOOD[name]
    path = tmp_path / file
    path.write_text(text)
    assert survives(path, kind)
    rng = random.Random(name)
    fates = set()
    for _ in range(80):
        path.write_bytes(damaged(text, rng))
        fates.add(survives(path, kind))
    assert False in fates


@pytest.mark.parametrize("name", ["groundtruth", "sonic", "aft", "native", "qos", "containerlab"])
def test_values_of_the_wrong_kind(tmp_path: Path, name: str) -> None:
    import yaml

    kind, file, text = GOOD[name]
    path = tmp_path / file
    rng = random.Random(name)
    fates = set()
    for _ in range(120):
        path.write_text(json.dumps(twisted(yaml.safe_load(text), rng)))
        fates.add(survives(path, kind))
    assert fates == {True, False}
