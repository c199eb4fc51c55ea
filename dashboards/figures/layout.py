"""Where devices stand on the map: tiers above each other, hosts at the bottom, as engineers draw it.

A pod keeps together; a host stands below its leaf, or, where it is cabled to a leaf per rail, below the
leaves of its group; spines and cores stand by plane. What would be too much is drawn as one node: hosts
of a leaf, or a whole pod, which opens on demand.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from fabric.cables import Link
from fabric.topology import Fabric

MOST: Final = 1000  # nodes drawn: beyond it panning is no pleasure
HOST_PX, SWITCH_PX, TIER_PX = 46.0, 92.0, 150.0
TIERS: Final = {"core": 0, "spine": 1, "leaf": 2, "host": 3}
DETAILS: Final = ("all", "switches", "pods")


@dataclass(frozen=True)
class Node:
    """A drawn node: one device, or a group of them (``members`` counts them)."""

    key: str
    label: str
    role: str
    pod: str
    members: int
    x: float
    y: float


@dataclass(frozen=True)
class Edge:
    """All links between two drawn nodes."""

    key: str
    a: str
    b: str
    links: tuple[Link, ...]


@dataclass(frozen=True)
class Map:
    """What is drawn. ``left_out`` counts devices for which even groups were too many."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    detail: str
    left_out: int = 0


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key in which leaf2 comes before leaf10."""
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", name) if p]


def draw(
    fabric: Fabric, at: int | None = None, detail: str = "", opened: Collection[str] = (),
    only: Collection[str] | None = None,
) -> Map:  # fmt: skip
    """Lay out a fabric at a moment.

    ``detail`` is one of DETAILS; without it the finest that fits is taken. ``opened`` are groups shown
    by their members. ``only`` draws the named devices and nothing else.
    """
    links = [
        link for link in fabric.wiring(at).links
        if only is None or (link.a.device in only and link.b.device in only)
    ]  # fmt: skip
    plan = _Plan(fabric, links, only)
    wanted = DETAILS.index(detail) if detail in DETAILS else 0
    for level in range(wanted, len(DETAILS)):
        group = {name: plan.group(name, level, opened) for name in plan.names}
        if len(set(group.values())) <= MOST:
            break
    keys = list(dict.fromkeys(group.values()))
    left_out = sum(1 for key in group.values() if key in set(keys[MOST:]))
    return plan.map(group, set(keys[:MOST]), DETAILS[level], left_out)


class _Plan:
    """A fabric's devices with tier, pod and neighbours, ready to be grouped and placed."""

    def __init__(self, fabric: Fabric, links: list[Link], only: Collection[str] | None) -> None:
        self.links = links
        self.names = [
            name for name, device in fabric.devices.items()
            if device.role != "ocs" and (only is None or name in only)
        ]  # fmt: skip
        self.role = {name: fabric.role(name) for name in self.names}
        self.pod = {name: fabric.devices[name].pod for name in self.names}
        self.near: dict[str, set[str]] = defaultdict(set)
        planes: dict[str, Counter[int]] = defaultdict(Counter)
        rails: dict[str, Counter[int]] = defaultdict(Counter)
        for link in links:
            self.near[link.a.device].add(link.b.device)
            self.near[link.b.device].add(link.a.device)
            for end in (link.a.device, link.b.device):
                planes[end][link.plane] += 1
                rails[end][link.rail] += 1
        self.plane = {n: planes[n].most_common(1)[0][0] if planes[n] else -1 for n in self.names}
        self.rail = {n: rails[n].most_common(1)[0][0] if rails[n] else -1 for n in self.names}
        self.tier = self._tiers()

    def _tiers(self) -> dict[str, int]:
        """Tier by role; a switch of no known tier stands as many tiers up as it is links from a host."""
        tier = {name: TIERS[role] for name, role in self.role.items() if role in TIERS}
        unknown = [name for name in self.names if name not in tier]
        reached = {name for name, role in self.role.items() if role == "host"}
        height = 3
        while unknown and reached and height > 0:
            height -= 1
            step = {n for name in reached for n in self.near[name]}
            for name in [name for name in unknown if name in step]:
                tier[name] = height
                unknown.remove(name)
            reached = step
        return tier | dict.fromkeys(unknown, 2)

    def leaf_of(self, host: str) -> str:
        """The only switch of a host; empty where it has several or none."""
        switches = [name for name in self.near[host] if self.role[name] != "host"]
        return switches[0] if len(switches) == 1 else ""

    def group(self, name: str, level: int, opened: Collection[str]) -> str:
        """The node a device is drawn as at a level of detail."""
        pod = self.pod[name]
        if level >= 2 and pod and f"pod:{pod}" not in opened:
            return f"pod:{pod}"
        if level >= 1 and self.role[name] == "host":
            leaf = self.leaf_of(name)
            group = f"hosts:{leaf or pod}"
            return name if group in opened or (f"pod:{pod}" in opened and level >= 2) else group
        return name

    def map(self, group: dict[str, str], drawn: set[str], detail: str, left_out: int) -> Map:
        members: dict[str, list[str]] = defaultdict(list)
        for name, key in group.items():
            if key in drawn:
                members[key].append(name)
        between: dict[tuple[str, str], list[Link]] = defaultdict(list)
        for link in self.links:
            a, b = group[link.a.device], group[link.b.device]
            if a != b and a in drawn and b in drawn:
                between[min(a, b), max(a, b)].append(link)
        place = self._place(members)
        nodes = tuple(self._node(key, names, *place[key]) for key, names in members.items())
        edges = tuple(
            Edge(f"e{n}", a, b, tuple(links)) for n, ((a, b), links) in enumerate(between.items())
        )
        return Map(nodes, edges, detail, left_out)

    def _node(self, key: str, names: list[str], x: float, y: float) -> Node:
        first = names[0]
        if key.startswith("pod:") and key not in self.role:
            roles = Counter(self.role[name] for name in names)
            label = f"{self.pod[first]}\n{', '.join(f'{n} {role}' for role, n in roles.items())}"
            return Node(key, label, "pod", self.pod[first], len(names), x, y)
        if key.startswith("hosts:") and key not in self.role:
            return Node(key, f"{len(names)} hosts", "hosts", self.pod[first], len(names), x, y)
        return Node(key, key, self.role[key], self.pod[key], 1, x, y)

    def _place(self, members: dict[str, list[str]]) -> dict[str, tuple[float, float]]:
        """Coordinates: the lowest tier is laid out from left to right, the others above it."""
        tier = {key: max(self.tier[name] for name in names) for key, names in members.items()}
        for key in members:
            if key.startswith("pod:") and key not in self.role:
                tier[key] = 2
        pods = sorted({self.pod[names[0]] for names in members.values()} - {""}, key=natural)
        x: dict[str, float] = {}
        cursor = 0.0
        for pod in [*pods, ""]:
            rows = self._rows(members, tier, pod, lowest=2)
            width = self._lay(rows, x, cursor)
            cursor += width + (SWITCH_PX if width else 0)
        total = max(cursor - SWITCH_PX, SWITCH_PX)
        for level in (1, 0):
            rest = [key for key in members if key not in x and tier[key] == level]
            self._spread(self._by_plane(rest), x, 0.0, total)
        return {key: (x[key], tier[key] * TIER_PX) for key in members}

    def _rows(
        self, members: dict[str, list[str]], tier: dict[str, int], pod: str, lowest: int
    ) -> dict[int, list[str]]:
        """The keys of a pod by tier; outside pods only the tiers from ``lowest`` down."""
        rows: dict[int, list[str]] = defaultdict(list)
        for key, names in members.items():
            if self.pod[names[0]] == pod and (pod or tier[key] >= lowest):
                rows[tier[key]].append(key)
        return rows

    def _lay(self, rows: dict[int, list[str]], x: dict[str, float], left: float) -> float:
        """Lay the tiers of a pod over each other; the width used."""
        leaves = sorted(rows.get(2, []), key=lambda k: (self._number(k, self.rail), natural(k)))
        hosts = rows.get(3, [])
        under: dict[str, list[str]] = defaultdict(list)
        for host in hosts:
            under[self.leaf_of(host) if host in self.role else host.removeprefix("hosts:")].append(
                host
            )
        alone = [host for leaf, some in under.items() if leaf not in leaves for host in some]
        cursor = left
        if alone:  # hosts with a leaf per rail: they share the width below all leaves
            width = max(len(leaves) * SWITCH_PX, len(alone) * HOST_PX)
            self._spread(sorted(alone, key=natural), x, left, left + width)
            self._spread(leaves, x, left, left + width)
            cursor = left + width
        else:
            for leaf in leaves:
                mine = sorted(under[leaf], key=natural)
                width = max(SWITCH_PX, len(mine) * HOST_PX)
                self._spread(mine, x, cursor, cursor + width)
                x[leaf] = cursor + width / 2
                cursor += width
        upper = max((len(rows.get(level, [])) for level in (0, 1)), default=0) * SWITCH_PX
        right = max(cursor, left + upper)
        for level in (1, 0):
            self._spread(self._by_plane(rows.get(level, [])), x, left, right)
        return right - left

    def _by_plane(self, keys: Iterable[str]) -> list[str]:
        return sorted(keys, key=lambda key: (self._number(key, self.plane), natural(key)))

    def _number(self, key: str, numbers: dict[str, int]) -> int:
        return numbers.get(key, -1)

    @staticmethod
    def _spread(keys: list[str], x: dict[str, float], left: float, right: float) -> None:
        """Place keys evenly between two edges."""
        for number, key in enumerate(keys):
            x[key] = left + (right - left) * (number + 0.5) / len(keys)


def neighbourhood(
    fabric: Fabric, devices: Collection[str], at: int | None = None, most: int = 60
) -> set[str]:
    """The devices named, and what they are cabled to as long as that is few; hosts only if named."""
    near = set(devices) & set(fabric.devices)
    for name in sorted(near, key=natural):
        for port in fabric.ports(name, at):
            peer = fabric.peer(port, at)
            if peer and len(near) < most and fabric.role(peer.device) != "host":
                near.add(peer.device)
    return near
