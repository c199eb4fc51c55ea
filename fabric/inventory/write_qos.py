"""The settings of ports as the ``qos`` part of our YAML: what :mod:`fabric.inventory.native_qos` reads back.

The ports of a device that agree share a rule. Values are written exactly: sizes in bytes, times in nanoseconds.
"""

import math
from collections.abc import Iterable, Iterator, Mapping

from fabric.cables import Port
from fabric.qos import Buffer, Ecn, PortQos, Roce, Scheduler, Watchdog


def rules(settings: Iterable[PortQos], ports: Iterable[Port]) -> Iterator[str]:
    """The lines below ``qos:``; ``ports`` are all that the fabric has.

    A rule names one port, or all ports of a device (``leaf0:*``) where they agree.
    """
    said = {qos.port: tuple(_fields(qos)) for qos in settings}
    cabled = set(ports)  # a pattern reaches these only
    by_device: dict[str, dict[Port, tuple[str, ...]]] = {}
    for port in cabled | said.keys():
        by_device.setdefault(port.device, {})[port] = said.get(port, ())
    for device, members in sorted(by_device.items()):
        texts = set(members.values())
        alike = len(texts) == 1 and len(members) > 1 and members.keys() <= cabled
        if alike and not any(c in device for c in "*?["):
            yield from _rule(f"{device}:*", texts.pop())
        else:
            for port in sorted(members):
                yield from _rule(_literal(str(port)), members[port])


def _literal(name: str) -> str:
    """A name as a pattern that only it fits."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _rule(pattern: str, fields: tuple[str, ...]) -> Iterator[str]:
    if fields:
        yield f"  - ports: {_text(pattern)}"
        yield from (f"    {field}" for field in fields)


def _fields(qos: PortQos) -> Iterator[str]:
    """One line for each thing that is known of a port."""
    if qos.trust:
        yield f"trust: {qos.trust}"
    maps = {
        "dscp": qos.classes, "queue": qos.queues, "group": qos.groups,
        "pfc_queue": qos.pfc_queues, "pfc_group": qos.pfc_groups,
    }  # fmt: skip
    for key, numbers in maps.items():
        if numbers is not None:
            yield f"{key}: {_map(numbers)}"
    if qos.pfc is not None:
        yield f"pfc: {sorted(qos.pfc)}"
    if qos.global_pause:
        yield "global_pause: true"
    if qos.ecn is not None:
        yield f"ecn: {_map({queue: _ecn(curve) for queue, curve in qos.ecn.items()})}"
    if qos.buffers is not None:
        yield f"buffer: {_map({group: _buffer(b) for group, b in qos.buffers.items()})}"
    if qos.schedulers is not None:
        yield f"scheduler: {_map({queue: _scheduler(s) for queue, s in qos.schedulers.items()})}"
    if qos.watchdog_known:
        yield f"watchdog: {_watchdog(qos.watchdog)}"
    sizes = {"headroom_pool": qos.headroom_pool_bytes, "mtu": qos.mtu_bytes}
    yield from (f"{key}: {size}" for key, size in sizes.items() if size >= 0)
    if qos.speed_bps:
        yield f"speed: {qos.speed_bps}"
    if not math.isnan(qos.length_m):
        yield f"length: {qos.length_m!r}m"
    yield from (f"{key}: {_text(v)}" for key, v in (("lag", qos.lag), ("asic", qos.asic)) if v)
    if qos.roce != Roce():
        yield f"roce: {_roce(qos.roce)}"


def _map(members: Mapping[int, object]) -> str:
    return "{" + ", ".join(f"{key}: {members[key]}" for key in sorted(members)) + "}"


def _joined(parts: Iterable[tuple[str, object]]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in parts) + "}"


def _known(**numbers: int) -> list[tuple[str, object]]:
    return [(key, value) for key, value in numbers.items() if value >= 0]


def _ecn(curve: Ecn) -> str:
    ends = (("kmin", curve.kmin_bytes), ("kmax", curve.kmax_bytes))
    parts: list[tuple[str, object]] = [(k, v if v >= 0 else "unknown") for k, v in ends]
    parts += [] if math.isnan(curve.pmax) else [("pmax", repr(curve.pmax))]
    return _joined(parts + ([] if curve.enabled else [("enabled", "false")]))


def _buffer(buffer: Buffer) -> str:
    parts = _known(
        size=buffer.size_bytes, xon=buffer.xon_bytes, headroom=buffer.headroom_bytes,
        limit=buffer.limit_bytes, pool=buffer.pool_bytes,
    )  # fmt: skip
    parts += [] if math.isnan(buffer.alpha) else [("alpha", repr(buffer.alpha))]
    parts += [("pool_name", _text(buffer.pool))] if buffer.pool else []
    return _joined(parts + ([] if buffer.lossless else [("lossless", "false")]))


def _scheduler(scheduler: Scheduler) -> str:
    if scheduler.weight < 0:
        return scheduler.kind
    return f"{scheduler.kind} {scheduler.weight}"


def _watchdog(dog: Watchdog | None) -> str:
    if dog is None:
        return "false"
    times = (("detect", dog.detect_ns), ("restore", dog.restore_ns), ("poll", dog.poll_ns))
    parts: list[tuple[str, object]] = [("action", dog.action)] if dog.action else []
    return _joined(parts + [(key, f"{ns}ns") for key, ns in times if ns >= 0])


def _roce(roce: Roce) -> str:
    parts = _known(
        dscp=roce.dscp, cnp_dscp=roce.cnp_dscp, cnp_priority=roce.cnp_priority,
        gid_index=roce.gid_index, nccl_tc=roce.nccl_tc, pcie=roce.pcie_bps,
        acs_bridges=roce.acs_bridges,
    )  # fmt: skip
    for key, on in (("notify", roce.notify), ("react", roce.react)):
        parts += [] if on is None else [(key, sorted(on))]
    parts += [("gid_type", _text(roce.gid_type))] if roce.gid_type else []
    return _joined(parts)


def _text(text: str) -> str:
    """In quotes, so that YAML reads back the same text."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
