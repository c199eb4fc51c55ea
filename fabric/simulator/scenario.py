"""A scenario file (TOML): fabric, switching, traffic, workloads, faults, outputs; reproducible by seed."""

import inspect
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from fabric import builders
from fabric.cables import Device, Link, Port
from fabric.simulator.build import PROFILES, Built, QueuePair, Switching, build
from fabric.simulator.faults import KINDS, Fault
from fabric.simulator.plan import Plan, cables_of
from fabric.simulator.workloads import WORKLOADS
from fabric.topology import Fabric

US = 1000
# of all queue pairs below traffic, of those of one workload in its table
SETTABLE = [f.name for f in fields(QueuePair) if f.default is not MISSING and f.name != "read"]
BUILDERS: dict[str, Callable[..., Fabric]] = {
    "clos2": builders.clos2,
    "clos3": builders.clos3,
    "rail_optimised": builders.rail_optimised,
    "dual_plane": builders.dual_plane,
    "dragonfly": builders.dragonfly,
}


@dataclass
class Output:
    """What a run writes beside its label."""

    interval_ns: int = 100_000
    taps: tuple[str, ...] = ()
    snap_bytes: int = 128
    start_ns: int = 1_700_000_000_000_000_000  # absolute time of the run's beginning
    tap_from_ns: int = 0
    tap_until_ns: int = 1 << 62
    silent: tuple[str, ...] = ()  # devices whose counters nobody collects


@dataclass
class Scenario:
    """A parsed scenario."""

    name: str
    seed: int
    duration_ns: int
    fabric: Fabric
    plan: Plan
    faults: list[Fault]
    switching: Switching
    profile: str
    output: Output
    causes: list[dict[str, Any]] = field(default_factory=list)
    nics: dict[str, list[str]] = field(default_factory=dict)

    def build(self) -> Built:
        """Lay out the engine's arrays."""
        devices, cables = cables_of(self.fabric)
        messages, _ = self.plan.ordered()
        built = build(
            devices, cables, [c.pair for c in self.plan.connections], messages,
            self.switching, PROFILES[self.profile], seed=self.seed,
        )  # fmt: skip
        for kind, hosts in self.nics.items():
            for host in hosts:
                built.state.node[kind][built.node_of[host]] = 1
        return built


def hosts_of(fabric: Fabric, spec: Any, where: str) -> list[str]:
    """``["host0", "host4-7"]`` or ``"all"`` to host names; an unknown one is a ValueError."""
    if spec == "all":
        return list(fabric.named("host"))
    names: list[str] = []
    for item in [spec] if isinstance(spec, str) else spec:
        span = re.fullmatch(r"(\D+)(\d+)-(\d+)", str(item))
        if span:
            names += [f"{span[1]}{n}" for n in range(int(span[2]), int(span[3]) + 1)]
        else:
            names.append(str(item))
    for name in names:
        if name.partition(":")[0] not in fabric.devices:
            raise ValueError(f"{where}: no host {name!r} in the fabric")
    return names


def _pop(table: dict[str, Any], key: str, where: str) -> Any:
    if key not in table:
        raise ValueError(f"{where}: {key} is missing")
    return table.pop(key)


def _fields(cls: type, table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Keys of a table as fields; ``x_us`` sets ``x_ns``. An unknown key is a ValueError."""
    known = {f.name for f in fields(cls)}
    made: dict[str, Any] = {}
    for key, value in table.items():
        name = key
        if key.endswith("_us") and key[:-3] + "_ns" in known:
            name, value = key[:-3] + "_ns", round(value * US)
        if name not in known:
            raise ValueError(f"{where}.{key}: unknown; known: {', '.join(sorted(known))}")
        made[name] = tuple(value) if isinstance(value, list) else value
    return made


def _times(table: dict[str, Any]) -> dict[str, Any]:
    return {
        (k[:-3] + "_ns" if k.endswith("_us") else k): (round(v * US) if k.endswith("_us") else v)
        for k, v in table.items()
    }


def load(path: Path, seed: int | None = None) -> Scenario:
    """Read a scenario file; what is wrong is one ValueError naming file and key."""
    try:
        with path.open("rb") as file:
            return parse(tomllib.load(file), path.stem, seed)
    except (tomllib.TOMLDecodeError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: {error}") from error


def parse(text: dict[str, Any], name: str, seed: int | None = None) -> Scenario:
    """Build a scenario from a parsed table."""
    text = dict(text)
    seed = int(text.pop("seed", 1)) if seed is None else seed
    text.pop("seed", None)
    layout = dict(_pop(text, "fabric", "scenario"))
    fabric = fabric_of(layout)
    switching = Switching(**_fields(Switching, text.pop("switching", {}), "switching"))
    traffic = dict(text.pop("traffic", {}))
    profile = traffic.pop("profile", "nic")
    if profile not in PROFILES:
        raise ValueError(f"traffic.profile: {profile!r} unknown; known: {', '.join(PROFILES)}")
    nics = {
        flag: hosts_of(fabric, traffic.pop(flag), f"traffic.{flag}")
        for flag in ("selective", "adaptive")
        if flag in traffic
    }
    spray = bool(traffic.pop("spray", False)) or bool(nics.get("adaptive"))
    polarised = bool(traffic.pop("polarised", False))
    fabric.routing = "adaptive" if nics.get("adaptive") else "spray" if spray else "ecmp"
    qos = _times(traffic)
    if unknown := qos.keys() - set(SETTABLE):
        raise ValueError(f"traffic.{min(unknown)}: unknown; known: {', '.join(SETTABLE)}")
    plan = Plan(fabric, seed, spray, polarised, qos)
    causes = _workloads(plan, text.pop("workload", []))
    faults = _faults(text.pop("fault", []), fabric)
    scenario = Scenario(
        name=str(text.pop("name", name)),
        seed=seed,
        duration_ns=round(float(_pop(text, "duration_us", "scenario")) * US),
        fabric=fabric,
        plan=plan,
        faults=faults,
        switching=switching,
        profile=profile,
        output=_output(text.pop("output", {}), fabric),
        causes=causes,
        nics=nics,
    )
    if text:
        raise ValueError(f"{min(text)}: unknown key")
    if scenario.duration_ns <= 0:
        raise ValueError("duration_us: a time above 0 is expected")
    return scenario


def _output(table: dict[str, Any], fabric: Fabric) -> Output:
    output = Output(**_fields(Output, table, "output"))
    if output.interval_ns <= 0:
        raise ValueError("output.interval_us: a time above 0 is expected")
    ports = {str(end) for link in fabric.links for end in (link.a, link.b)}
    for key, names, known in (
        ("taps", output.taps, ports), ("silent", output.silent, fabric.devices),
    ):  # fmt: skip
        if unknown := sorted(set(names) - set(known)):
            raise ValueError(f"output.{key}: nothing is named {unknown[0]!r}")
    return output


def fabric_of(layout: dict[str, Any]) -> Fabric:
    """A fabric from a builder, or from cables given by hand (``a:port - b:port``, perhaps ``@ 40`` Gb/s)."""
    kind = _pop(layout, "kind", "fabric")
    if kind != "cables":
        if kind not in BUILDERS:
            raise ValueError(f"fabric.kind: {kind!r} unknown; known: {', '.join(BUILDERS)}, cables")
        return _built(kind, layout)
    speed, length = round(layout.get("gbps", 100) * 1e9), float(layout.get("length_m", 5.0))
    links, names = [], []
    for cable in _pop(layout, "cables", "fabric"):
        ends, at, gbps = cable.partition("@")
        a, dash, b = (part.strip() for part in ends.partition(" - "))
        if not dash:
            raise ValueError(f"fabric.cables: {cable!r} is not 'device:port - device:port'")
        own = round(float(gbps) * 1e9) if at else speed
        links.append(Link(Port.parse(a), Port.parse(b), own, length))
        names += [a.partition(":")[0], b.partition(":")[0]]
    roles = {name: "host" if name.startswith("host") else "leaf" for name in dict.fromkeys(names)}
    return Fabric([Device(name, role) for name, role in roles.items()], links)


def _built(kind: str, layout: dict[str, Any]) -> Fabric:
    """A fabric of a builder; what it lacks or does not know is a ValueError."""
    known = inspect.signature(BUILDERS[kind]).parameters
    if unknown := layout.keys() - known.keys():
        raise ValueError(f"fabric.{min(unknown)}: unknown; {kind} knows {', '.join(known)}")
    for name, parameter in known.items():
        if name not in layout and parameter.default is parameter.empty:
            raise ValueError(f"fabric: {name} is missing; {kind} needs it")
        value = layout.get(name, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"fabric.{name}: a whole number above 0 is expected, not {value!r}")
    return BUILDERS[kind](**layout)


def _workloads(plan: Plan, tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add each workload to the plan; those with ``cause`` are causes in the label."""
    causes, common = [], plan.qos
    for i, table in enumerate(tables):
        where = f"workload[{i}]"
        table = _times(dict(table))
        kind = _pop(table, "kind", where)
        plan.qos = common | {key: table.pop(key) for key in SETTABLE if key in table}
        if kind not in WORKLOADS:
            raise ValueError(f"{where}.kind: {kind!r} unknown; known: {', '.join(WORKLOADS)}")
        cause, roots = table.pop("cause", ""), list(table.pop("roots", []))
        end = table.pop("end_ns", -1)
        first = len(plan.connections)
        for key in ("hosts", "senders", "prefill", "decode", "clients", "servers"):
            if key in table:
                table[key] = hosts_of(plan.fabric, table[key], f"{where}.{key}")
        if kind in ("all_gather", "reduce_scatter"):
            table["steps_of"] = 1
        table.setdefault("tag", kind)
        known = inspect.signature(WORKLOADS[kind]).parameters
        for name, parameter in known.items():
            if name not in ("plan", *table) and parameter.default is parameter.empty:
                raise ValueError(f"{where}: {name} is missing; {kind} needs it")
        if unknown := table.keys() - known.keys():
            raise ValueError(f"{where}.{min(unknown)}: unknown; {kind} knows {', '.join(known)}")
        try:
            WORKLOADS[kind](plan, **table)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise ValueError(f"{where}: {error}") from error
        if cause:
            causes.append(
                {
                    "cls": cause,
                    "kind": kind,
                    "qps": list(range(first, len(plan.connections))),
                    "receiver": table.get("receiver", ""),
                    "roots": roots,
                    "start_ns": table.get("start_ns", 0),
                    "end_ns": end,
                }
            )
    return causes


def _faults(tables: list[dict[str, Any]], fabric: Fabric) -> list[Fault]:
    faults = []
    ports = {str(end) for link in fabric.links for end in (link.a, link.b)}
    for i, table in enumerate(tables):
        table = _times(dict(table))
        where = f"fault[{i}]"
        kind, place = _pop(table, "kind", where), _pop(table, "place", where)
        if kind not in KINDS:
            raise ValueError(f"{where}.kind: {kind!r} unknown; known: {', '.join(sorted(KINDS))}")
        if KINDS[kind][0] == "port" and place not in ports:
            raise ValueError(f"{where}.place: no cabled port {place!r}; {kind} needs one")
        if place.partition(":")[0] not in fabric.devices:
            raise ValueError(f"{where}.place: no device {place!r}")
        begin, end = int(_pop(table, "start_ns", where)), int(table.pop("end_ns", -1))
        if 0 <= end <= begin:
            raise ValueError(f"{where}.end_us: the fault ends before it begins")
        faults.append(
            Fault(
                kind,
                place,
                begin,
                end,
                float(table.pop("value", 1.0)),
                str(table.pop("cls", "")),
                tuple(table.pop("roots", ())),
                bool(table.pop("trigger", False)),
            )
        )
        if table:
            raise ValueError(f"{where}.{min(table)}: unknown key")
    return faults
