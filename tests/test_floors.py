"""The floors hold: imports run down, the collectors stay light, nobody reaches into the simulator."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

import collectors
from tests.data import ROOT

HEAVY = {"numpy", "polars", "numba", "networkx", "dash", "plotly", "rich", "typer", "scapy"}
FLOORS = ("fabric", "collectors", "analyzers", "dashboards")
LIGHT = {"fabric", "fabric.codes", "fabric.schema", "fabric.wire", "fabric.pcap"}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*FLOORS, cache_dir=None)


def modules_of(package: str) -> list[str]:
    folder = Path(__import__(package).__file__).parent
    return [package, *(m.name for m in pkgutil.walk_packages([str(folder)], f"{package}."))]


def test_collectors_stay_light() -> None:
    names = modules_of(collectors.__name__)
    program = (
        "import sys, importlib\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(*sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_collectors_know_only_the_light_half_of_fabric(graph: grimp.ImportGraph) -> None:
    for module in graph.modules:
        if module.startswith("collectors"):
            down = {
                m for m in graph.find_modules_directly_imported_by(module) if m.startswith("fabric")
            }
            assert down <= LIGHT, module


def test_light_half_of_fabric_needs_only_the_standard_library() -> None:
    program = (
        "import sys, importlib\n"
        f"for name in {sorted(LIGHT)!r}: importlib.import_module(name)\n"
        "std = sys.stdlib_module_names\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules} - std - {'fabric', '__main__'}))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + program],
        capture_output=True,
        text=True,
        check=True,
    )
    foreign = {name for name in done.stdout.split() if not name.startswith("_")}
    assert foreign <= {"sitecustomize", "usercustomize"}


def test_only_commands_import_the_simulator(graph: grimp.ImportGraph) -> None:
    simulator = {m for m in graph.modules if m.startswith("fabric.simulator")}
    for module in simulator:
        users = graph.find_modules_that_directly_import(module) - simulator
        assert all(user.startswith("dashboards.commands") for user in users), (module, users)


@pytest.mark.parametrize("floor", range(len(FLOORS) - 1))
def test_imports_run_down_only(graph: grimp.ImportGraph, floor: int) -> None:
    for module in graph.modules:
        if module.split(".")[0] == FLOORS[floor]:
            for target in graph.find_modules_directly_imported_by(module):
                assert target.split(".")[0] in FLOORS[: floor + 1], (module, target)


def test_no_file_is_too_long() -> None:
    for folder in FLOORS:
        for path in (ROOT / folder).rglob("*.py"):
            if path.name == "schema.py":
                continue  # a table of names: one declaration a column
            lines = path.read_text().count("\n")
            kernels = "from fabric.kernel import" in path.read_text()
            assert lines <= (720 if kernels else 450), f"{path.relative_to(ROOT)}: {lines} lines"
