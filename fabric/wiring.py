"""The wiring of one moment as index arrays: what answers path questions in microseconds.

Devices and ports are numbered once. Distances are kept per *door*: the set of switches through which
a destination is entered. All hosts of a leaf share one, so a fabric of ten thousand hosts needs a few
hundred breadth-first searches at most, each run on the first question that needs it (one NumPy pass
per level over the switches' adjacency; hosts do not forward and are left out). Next hops and path
counts are remembered the same way, and a set of paths is a sequence that computes its members when
they are asked for: between two pods of a large Clos there are a thousand of them.

Distance is the number of links. Where the forwarding tables are known, :mod:`fabric.routing` uses
them instead of this assumption.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt

from fabric.cables import Device, Link, Path, Place, Port

REMEMBERED = 1 << 16  # entries per memory; beyond it the memory starts anew

Door = tuple[int, ...]
Longs = npt.NDArray[np.int64]


class Target(NamedTuple):
    """A destination: the device, the ports it may be entered by, and the switches before these."""

    device: int
    entries: frozenset[int]
    door: Door
    width: Door  # parallel links from each switch of the door into the destination


class Paths(Sequence[Path]):
    """All shortest paths from a source, computed one by one as they are asked for."""

    def __init__(self, wiring: "Wiring", target: Target, first: tuple[int, ...]) -> None:
        self._wiring = wiring
        self._target = target
        self._first = first
        self._length = wiring.ways(first, target)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Path, ...]: ...

    def __getitem__(self, index: int | slice) -> Path | tuple[Path, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(self._length)))
        left = index + self._length if index < 0 else index
        if not 0 <= left < self._length:
            raise IndexError(index)
        wiring, hops, path = self._wiring, self._first, []
        while hops:
            for hop in hops:
                ways = wiring.ways((hop,), self._target)
                if left < ways:
                    break
                left -= ways
            path.append(wiring.port[hop])
            hops = wiring.hops_to(wiring.owner[hop ^ 1], self._target)
        return tuple(path)

    def __iter__(self) -> Iterator[Path]:
        wiring, target = self._wiring, self._target
        stack: list[tuple[Path, int]] = [((), hop) for hop in reversed(self._first)]
        while stack:
            head, hop = stack.pop()
            head = (*head, wiring.port[hop])
            beyond = wiring.owner[hop ^ 1]
            if beyond == target.device:
                yield head
            else:
                stack += [(head, i) for i in reversed(wiring.hops_to(beyond, target))]

    def ports(self) -> frozenset[Port]:
        """Every egress port that some of the paths uses."""
        wiring, hops, used = self._wiring, list(self._first), set[int]()
        while hops:
            hop = hops.pop()
            if hop not in used:
                used.add(hop)
                hops += wiring.hops_to(wiring.owner[hop ^ 1], self._target)
        return frozenset(wiring.port[hop] for hop in used)


class Wiring:
    """Links that stand at one moment, numbered. ``links`` are as packets see them."""

    def __init__(self, devices: Mapping[str, Device], links: Iterable[Link]) -> None:
        self.links = tuple(links)
        hosts = [name for name, device in devices.items() if device.role == "host"]
        self.names = [name for name, device in devices.items() if device.role != "host"] + hosts
        self.switches = len(self.names) - len(hosts)  # numbers below are switches, the rest hosts
        self.number = {name: i for i, name in enumerate(self.names)}
        self.leaves = [devices[name].role == "leaf" for name in self.names[: self.switches]]
        self.port: list[Port] = []
        self.port_number: dict[Port, int] = {}
        self.owner: list[int] = []
        self.far: list[int] = []  # number of the port at the other end: always own number ^ 1
        self.by_device: list[list[int]] = [[] for _ in self.names]
        self.toward: list[dict[int, list[int]]] = [{} for _ in self.names]
        for link in self.links:
            self._add(link.a, link.b)
        self._fields: dict[Door, npt.NDArray[np.int16]] = {}
        self._hops: dict[tuple[int, Door], tuple[int, ...]] = {}
        self._counts: dict[tuple[Door, Door], Longs] = {}
        self._targets: dict[Place, Target] = {}
        self.start, self.following, self.parallel = self._adjacency()

    def _add(self, a: Port, b: Port) -> None:
        i = len(self.port)
        one, two = self.number[a.device], self.number[b.device]
        self.port += (a, b)
        self.port_number[a] = i
        self.port_number[b] = i + 1
        self.owner += (one, two)
        self.far += (i + 1, i)
        self.by_device[one].append(i)
        self.by_device[two].append(i + 1)
        self.toward[one].setdefault(two, []).append(i)
        self.toward[two].setdefault(one, []).append(i + 1)

    def _adjacency(self) -> tuple[Longs, npt.NDArray[np.int32], Longs]:
        """Neighbouring switches of every switch: offsets, neighbours, parallel links to each."""
        owner = np.asarray(self.owner, np.int64)
        peer = owner[np.arange(len(owner)) ^ 1]
        both = (owner < self.switches) & (peer < self.switches)
        base = max(self.switches, 1)
        pairs, parallel = np.unique(owner[both] * base + peer[both], return_counts=True)
        start = np.searchsorted(pairs // base, np.arange(self.switches + 1))
        return start.astype(np.int64), (pairs % base).astype(np.int32), parallel.astype(np.int64)

    # -- ports ------------------------------------------------------------------------------------

    def ports_of(self, device: str) -> tuple[Port, ...]:
        """The cabled ports of a device, in the order of the links; KeyError unknown device."""
        return tuple(self.port[i] for i in self.by_device[self.number[device]])

    def link(self, port: Port) -> Link | None:
        """The link at a port."""
        i = self.port_number.get(port)
        return None if i is None else self.links[i >> 1]

    def peer(self, port: Port) -> Port | None:
        """The other end."""
        i = self.port_number.get(port)
        return None if i is None else self.port[i ^ 1]

    def between(self, a: str, b: str) -> tuple[tuple[Port, Port], ...]:
        """Parallel links between two devices."""
        numbers = self.toward[self.number[a]].get(self.number[b], ())
        return tuple((self.port[i], self.port[i ^ 1]) for i in numbers)

    # -- distances --------------------------------------------------------------------------------

    def target(self, place: Place) -> Target:
        """The destination a place stands for; KeyError for an unknown device or an uncabled port."""
        found = self._targets.get(place)
        if found is not None:
            return found
        if isinstance(place, str):
            device = self.number[place]
            entries = frozenset(self.by_device[device])
        else:
            i = self.port_number[Port(*place)]
            device, entries = self.owner[i], frozenset((i,))
        if device >= self.switches:
            before = [self.owner[i ^ 1] for i in entries]
            door: Door = tuple(sorted({i for i in before if i < self.switches}))
            width: Door = tuple(before.count(i) for i in door)
        else:
            door, width = (device,), (1,)
            entries = frozenset(self.by_device[device])
        if len(self._targets) >= REMEMBERED:
            self._targets.clear()
        self._targets[place] = found = Target(device, entries, door, width)
        return found

    def distances(self, door: Door) -> npt.NDArray[np.int16]:
        """Links from every switch to the nearest switch of the door; -1 unreachable."""
        field = self._fields.get(door)
        if field is not None:
            return field
        field = np.full(self.switches, -1, np.int16)
        level = np.asarray(door, np.int64)
        field[level] = 0
        distance = 0
        while len(level):
            distance += 1
            begin, count = self.start[level], self.start[level + 1] - self.start[level]
            total = int(count.sum())
            offsets = np.repeat(begin - (np.cumsum(count) - count), count) + np.arange(total)
            reached = self.following[offsets]
            reached = reached[field[reached] < 0]
            field[reached] = distance
            level = np.flatnonzero(field == distance)
        if len(self._fields) >= REMEMBERED:
            self._fields.clear()
        self._fields[door] = field
        return field

    def hops_to(self, device: int, target: Target) -> tuple[int, ...]:
        """Shortest way on: numbers of the egress ports of ``device`` towards the target."""
        if device == target.device:
            return ()
        if target.device >= self.switches:
            direct = tuple(
                i for i in self.toward[device].get(target.device, ()) if i ^ 1 in target.entries
            )
            if direct:
                return direct
        key = (device, target.door)
        found = self._hops.get(key)
        if found is None:
            if len(self._hops) >= REMEMBERED:
                self._hops.clear()
            self._hops[key] = found = self._nearest(device, target.door)
        return found

    def _nearest(self, device: int, door: Door) -> tuple[int, ...]:
        if not door:
            return ()
        field = self.distances(door)
        least = -1
        nearest: list[int] = []
        for neighbour in self.toward[device]:
            distance = int(field[neighbour]) if neighbour < self.switches else -1
            if distance < 0 or (least >= 0 and distance > least):
                continue
            if distance != least:
                least, nearest = distance, []
            nearest.append(neighbour)
        if device < self.switches and int(field[device]) == 0:
            return ()
        return tuple(sorted(i for n in nearest for i in self.toward[device][n]))

    def next_hops(self, device: str, to: Place) -> tuple[Port, ...]:
        """Equal-cost egress ports of a device towards a place, in the order of the links."""
        return tuple(self.port[i] for i in self.hops_to(self.number[device], self.target(to)))

    # -- paths ------------------------------------------------------------------------------------

    def _first_hops(self, source: Place, target: Target) -> tuple[int, ...]:
        """Egress ports of the source; of one NIC port, that port alone, if it leads there."""
        if isinstance(source, str):
            return self.hops_to(self.number[source], target)
        i = self.port_number[Port(*source)]
        if self.owner[i] < self.switches:
            return tuple(hop for hop in self.hops_to(self.owner[i], target) if hop == i)
        beyond = self.owner[i ^ 1]
        if i ^ 1 in target.entries:
            return (i,)
        if beyond >= self.switches or not target.door:
            return ()
        return (i,) if self.distances(target.door)[beyond] >= 0 else ()

    def paths(self, source: Place, to: Place) -> Paths:
        """Every shortest path from a place to another."""
        target = self.target(to)
        return Paths(self, target, self._first_hops(source, target))

    def ways(self, hops: tuple[int, ...], target: Target) -> int:
        """Number of shortest paths that begin with one of these egress ports."""
        total = 0
        for hop in hops:
            beyond = self.owner[hop ^ 1]
            if beyond == target.device:
                total += 1
            elif beyond < self.switches:
                total += int(self._ways(target)[beyond])
        return total

    def _ways(self, target: Target) -> Longs:
        """Number of shortest paths from every switch, by rising distance; the door's is its width."""
        key = (target.door, target.width)
        ways = self._counts.get(key)
        if ways is not None:
            return ways
        field = self.distances(target.door)
        ways = np.zeros(self.switches, np.int64)
        ways[list(target.door)] = target.width
        source = np.repeat(np.arange(self.switches), np.diff(self.start))
        downhill = np.flatnonzero(field[source] == field[self.following] + 1)
        steps = field[source[downhill]]
        for distance in range(1, int(field.max(initial=0)) + 1):
            edge = downhill[steps == distance]
            share = ways[self.following[edge]] * self.parallel[edge]
            np.add.at(ways, source[edge], share)
        if len(self._counts) >= REMEMBERED:
            self._counts.clear()
        self._counts[key] = ways
        return ways

    # -- what a pause spreads to ------------------------------------------------------------------

    @cached_property
    def ends(self) -> npt.NDArray[np.bool_]:
        """The switches where traffic starts and ends: those with hosts; without any, the leaves."""
        ends = np.zeros(self.switches, np.bool_)
        for i, owner in enumerate(self.owner):
            if self.owner[i ^ 1] >= self.switches > owner:
                ends[owner] = True
        if not ends.any():
            ends[:] = self.leaves
        return ends if ends.any() else ~ends

    def _follows(self, before: int, egress: int) -> bool:
        """Whether traffic of the egress ``before`` (into this device) may leave by ``egress``."""
        u, v, w = self.owner[before], self.owner[egress], self.owner[egress ^ 1]
        from_host = u >= self.switches
        if u == w:
            return False
        if w >= self.switches:
            door = self.target(self.names[w]).door
            return from_host or int(self.distances(door)[u]) == 1
        from_v, from_w = self.distances((v,)), self.distances((w,))
        onward = (from_v == from_w + 1) & (from_w >= 0) & self.ends
        if from_host:
            return bool(onward.any())
        return bool((onward & (self.distances((u,)) == from_v + 1)).any())

    def upstream_of(self, port: Port) -> tuple[Port, ...]:
        """Egress ports of neighbours whose traffic may leave by ``port``."""
        egress = self.port_number[port]
        if self.owner[egress] >= self.switches:
            return ()  # hosts do not forward
        inward = (i ^ 1 for i in self.by_device[self.owner[egress]] if i != egress)
        return tuple(self.port[i] for i in inward if self._follows(i, egress))

    def downstream_of(self, port: Port) -> tuple[Port, ...]:
        """Egress ports of the next device that traffic leaving by ``port`` may take."""
        egress = self.port_number[port]
        beyond = self.owner[egress ^ 1]
        if beyond >= self.switches:
            return ()
        onward = (i for i in self.by_device[beyond] if i != egress ^ 1)
        return tuple(self.port[i] for i in onward if self._follows(egress, i))
