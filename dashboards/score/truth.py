"""Labelled runs: what is true of them, and what counts as right.

A run is a folder with label.json, topology.json and counters. The mapping below is that of the labelled
runs' own description: a label names a class of fault, each of which one or more incident classes answer
rightly, some in half. Runs of other makers that use the incident classes themselves answer to their own
name.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HEALTHY: Final = "healthy"
# label -> incident class -> credit
ANSWERS: Final[dict[str, dict[str, float]]] = {
    "healthy": {HEALTHY: 1},
    "all_to_all": {HEALTHY: 1},
    "all_to_all_oversubscribed": {"collective_hotspot": 1, "contention": 1, HEALTHY: 1},
    "incast": {"incast": 1, "contention": 0.5},
    "incast_microburst_lordma": {"hostile_burst": 1, "incast": 1},
    "hostile_burst": {"hostile_burst": 1, "incast": 1},
    "ecmp_collision": {"ecmp_collision": 1, "polarization": 1},
    "collective_ecmp_hotspot": {
        "collective_hotspot": 1,
        "ecmp_collision": 1,
        "rail_misplacement": 1,
    },
    "rail_misplacement": {"rail_misplacement": 1, "collective_hotspot": 1, "ecmp_collision": 1},
    "slow_receiver": {"slow_receiver": 1, "pcie_bottleneck": 1},
    "pcie_bottleneck": {"pcie_bottleneck": 1, "slow_receiver": 1},
    "degraded_link_rate": {"degraded_link": 1},
    "pfc_misconfig_drop": {"pfc_ignored": 1},
    "cbd_deadlock": {"deadlock": 1, "deadlock_fed": 1},
    "deadlock": {"deadlock": 1, "deadlock_fed": 1},
    "deadlock_fed": {"deadlock_fed": 1, "deadlock": 1},
    "cbd_backpressure": {"pfc_backpressure": 1, "contention": 1, "incast": 1},
    "pfc_backpressure": {"pfc_backpressure": 1, "contention": 1, "incast": 1},
    "cbd_no_trigger": {HEALTHY: 1, "contention": 1, "pfc_backpressure": 1},
    # Flows that share a port and are kept in check by marks alone: no fault, if nobody is held.
    "contention": {"contention": 1, "incast": 1, HEALTHY: 0.5},
    "polarization": {"polarization": 1, "ecmp_collision": 1, "collective_hotspot": 1},
    "collective_hotspot": {"collective_hotspot": 1, "ecmp_collision": 1, "rail_misplacement": 1},
    "watchdog_drop": {"watchdog_drop": 1, "pfc_storm": 1},
    "livelock": {"livelock": 1, "lossy_link": 0.5},
    "tail_loss": {"tail_loss": 1, "lossy_link": 0.5},
    "victim": {"victim": 1, "pfc_backpressure": 1, "incast": 1, "contention": 1},
}
NEVER: Final[dict[str, frozenset[str]]] = {
    "all_to_all_oversubscribed": frozenset({"pfc_storm", "deadlock"}),
    "incast": frozenset({"pfc_storm"}),
    "pfc_storm": frozenset({"incast"}),
    "cbd_backpressure": frozenset({"deadlock"}),
    "cbd_no_trigger": frozenset({"deadlock"}),
}
SET_ROOTS: Final = frozenset(
    {"cbd_deadlock", "deadlock", "collective_ecmp_hotspot", "rail_misplacement"}
)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a run; ``cls`` as the label names it."""

    cls: str
    roots: tuple[str, ...]
    start_ns: int
    end_ns: int
    contributors: tuple[str, ...] = ()

    def credit(self, answer: str) -> float:
        """How right an incident class is: 1, 0.5 or 0."""
        return ANSWERS.get(self.cls, {self.cls: 1.0}).get(answer, 0.0)


@dataclass(frozen=True)
class Truth:
    """What is known of a run. No faults: healthy."""

    folder: Path
    name: str
    cls: str
    faults: tuple[Fault, ...]
    edges: tuple[tuple[str, str], ...]
    paused: tuple[str, ...]
    interval_ns: int
    own: bool = False  # of this project's own simulator
    hosts: frozenset[str] = frozenset()

    @property
    def twin(self) -> str:
        """The name shared by runs of one topology, load and fault on two simulators."""
        return self.name.removeprefix("inetx_")

    @property
    def healthy(self) -> bool:
        """Whether nothing at all is the right answer."""
        return not self.faults


def find(paths: list[Path]) -> list[Truth]:
    """All labelled runs at or below the paths, by name. ValueError where there is none."""
    found = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such folder")
        labels = [path / "label.json"] if (path / "label.json").is_file() else []
        found += [read(label) for label in labels or sorted(path.glob("*/label.json"))]
    if not found:
        raise ValueError(f"{', '.join(map(str, paths))}: no labelled run (label.json) there")
    return found


def read(path: Path) -> Truth:
    """What a label says; ValueError naming the file for one that cannot be read."""
    try:
        label: dict[str, Any] = json.loads(path.read_text())
        faults = _faults(label)
        seen = label.get("observed_from_simulator", {})
        return Truth(
            folder=path.parent,
            name=path.parent.name,
            cls=str(label["cls"]),
            faults=faults,
            edges=tuple(
                (edge["paused_port"], str(edge["because_of"]).split(" ")[0])
                for edge in seen.get("pfc_tree_edges", [])
            ),
            paused=tuple(seen.get("ports_paused_total_us", {})),
            interval_ns=int(label.get("telemetry_interval_ns", 0)),
            own=label.get("simulator") == "fabric.simulator",
            hosts=_hosts(path.parent),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no label: {type(error).__name__} {error}") from error


def _hosts(folder: Path) -> frozenset[str]:
    nodes = json.loads((folder / "topology.json").read_text())["nodes"]
    return frozenset(str(node["name"]) for node in nodes if node.get("kind") == "host")


def _faults(label: dict[str, Any]) -> tuple[Fault, ...]:
    cls = str(label["cls"])
    if cls in ("multi", "timeline") or (cls not in ANSWERS and label.get("faults")):
        return _together([_fault(one) for one in label["faults"]])
    if ANSWERS.get(cls, {}).get(HEALTHY) and cls in ("healthy", "all_to_all"):
        return ()
    whole = label["faults"] if label.get("faults") else [label]
    return _together([_fault({**label, **one, "cls": cls}) for one in whole])


def _fault(one: dict[str, Any]) -> Fault:
    start, end = one["window_ns"]
    return Fault(
        str(one["cls"]),
        tuple(map(str, one["root_ports"])),
        int(start),
        int(end),
        tuple(map(str, one.get("senders", []))),
    )


def _together(faults: list[Fault]) -> tuple[Fault, ...]:
    """Faults of one class at one time are one: a setting that is wrong on several links."""
    by_kind: dict[tuple[str, int, int], list[Fault]] = {}
    for fault in faults:
        by_kind.setdefault((fault.cls, fault.start_ns, fault.end_ns), []).append(fault)
    return tuple(
        Fault(
            some[0].cls,
            tuple(dict.fromkeys(root for fault in some for root in fault.roots)),
            some[0].start_ns,
            some[0].end_ns,
            some[0].contributors,
        )
        for some in by_kind.values()
    )
