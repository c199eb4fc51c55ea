"""What it would save to send a flow another way, or to hash other fields: replayed on the fabric.

Flows of a step run together and share every link max-min fairly (:mod:`fabric.routing.load`); the step
ends with the slowest. A move replaces one flow's path by another of its equal-cost paths; a change of
the hash sends all of them anew. The saving is the share of the step's time that goes away. Rate
control loses more than the fair share where flows collide; what waits for computing gains nothing.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from analyzers.collectives.routes import Routed, settings
from fabric.cables import Path, Port
from fabric.routing.hashing import HashSetting
from fabric.routing.load import Demand, capacities, max_min, on_path, sprayed
from fabric.routing.router import Router
from fabric.topology import Fabric

MOST_PATHS: Final = 64  # of one flow that are tried
MOST_MOVES: Final = 4  # an operator moves a few flows by hand, not a hundred
MEAN: Final = 0.1  # weight of the mean time beside the greatest
WORTH: Final = 0.02  # share of the time below which another move is not worth its risk


class Move(NamedTuple):
    """Flows and the paths to give them, and the share of time that saves."""

    flows: tuple[Routed, ...]
    paths: tuple[Path, ...]
    saves: float


class Rehash(NamedTuple):
    """A hash setting and the share of time it saves."""

    setting: HashSetting
    saves: float


class Replay:
    """Flows that run together on a fabric."""

    def __init__(self, fabric: Fabric, flows: Sequence[Routed]) -> None:
        self.fabric = fabric
        self.flows = list(flows)
        self._room = capacities(fabric)

    def time(self, paths: Sequence[Path] | None = None) -> float:
        """Seconds until the last flow is done, with its own paths or others."""
        chosen = paths or [flow.path for flow in self.flows]
        return self._time([on_path(path) for path in chosen])

    def even_time(self) -> float:
        """Seconds if every flow were spread evenly over all its equal-cost paths."""
        ends = [(flow.path[0], self.fabric.locate(flow.flow.dst)) for flow in self.flows]
        return self._time([sprayed(self.fabric, a, b) for a, b in ends if b is not None])

    def _time(self, demands: list[Demand]) -> float:
        return max(self._times(demands), default=0.0)

    def _times(self, demands: list[Demand]) -> list[float]:
        rates = max_min(demands, self._room).rates_bps
        return [flow.size * 8 / rate for flow, rate in zip(self.flows, rates, strict=True)]

    def _score(self, paths: Sequence[Path]) -> float:
        """The time, and a little of the mean: of two hot links one has to be freed first."""
        times = self._times([on_path(path) for path in paths])
        return max(times) + MEAN * sum(times) / len(times)

    def busy(self) -> dict[Port, float]:
        """Seconds that each port needs for its bytes alone."""
        loads: dict[Port, float] = {}
        for flow in self.flows:
            for port in flow.path:
                loads[port] = loads.get(port, 0.0) + flow.size * 8
        return {port: bits / self._room[port] for port, bits in loads.items() if port in self._room}

    def best_move(self) -> Move | None:
        """The moves, one after the other, that save most; None where nothing is gained."""
        paths = [flow.path for flow in self.flows]
        before = self.time()
        now = self._score(paths) if paths else 0.0
        moved: dict[int, Path] = {}
        while len(moved) < MOST_MOVES and before > 0:
            best = min(
                ((time, at, path) for at, path, time in self._tries(paths)),
                key=lambda found: found[0],
                default=None,
            )
            if best is None or best[0] > now - MEAN * WORTH * before:
                break
            now, at, path = best
            paths[at] = moved[at] = path
        after = self.time(paths) if moved else before
        if after > before * (1 - WORTH):
            return None
        order = tuple(sorted(moved))
        return Move(
            tuple(self.flows[at] for at in order), tuple(moved[at] for at in order),
            1 - after / before,
        )  # fmt: skip

    def _tries(self, paths: list[Path]) -> list[tuple[int, Path, float]]:
        """Every other path of the flows on the busiest link that has a choice, and its score."""
        loads: dict[Port, int] = {}
        for flow, path in zip(self.flows, paths, strict=True):
            for port in path[1:-1]:
                loads[port] = loads.get(port, 0) + flow.size
        if not loads:
            return []
        hot = max(loads, key=lambda port: (loads[port] / self._room.get(port, 1.0), port))
        found = []
        for at, flow in enumerate(self.flows):
            target = self.fabric.locate(flow.flow.dst)
            if hot not in paths[at] or target is None:
                continue
            for other in self.fabric.equal_cost_paths(flow.path[0], target)[:MOST_PATHS]:
                if hot not in other:
                    tried = [*paths[:at], other, *paths[at + 1 :]]
                    found.append((at, other, self._score(tried)))
        return found

    def best_hash(self) -> Rehash | None:
        """The hash that saves most; None where nothing is gained. Every device gets its own seed."""
        before = self.time()
        best: Rehash | None = None
        for setting in settings():
            seeds = {
                name: HashSetting(setting.function, 1 + at, setting.fields)
                for at, name in enumerate(self.fabric.devices)
            }
            router = Router(self.fabric, hashing=seeds)
            paths = [router.path(flow.flow).path for flow in self.flows]
            saves = 1 - self.time(paths) / before if before > 0 else 0.0
            if saves > WORTH and (best is None or saves > best.saves):
                best = Rehash(setting, saves)
        return best
