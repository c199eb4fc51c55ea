"""The ``qos`` part of our YAML: rules, each for the ports its pattern names; later rules add to earlier.

A pattern is ``device:port`` with the wildcards of a shell. What no rule says stays unknown.
"""

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from fabric.cables import Port
from fabric.inventory.document import Node, length_m, size_bytes, span_ns, speed_bps
from fabric.inventory.found import Found
from fabric.qos import Buffer, Ecn, PortQos, Roce, Scheduler, Watchdog

KEYS = (
    "ports", "trust", "dscp", "queue", "group", "pfc", "ecn", "buffer", "scheduler", "watchdog",
    "mtu", "speed", "length", "roce", "headroom_pool", "global_pause", "pfc_queue", "pfc_group",
    "lag", "asic",
)  # fmt: skip
KINDS = ("dwrr", "wrr", "ets", "strict", "vendor")


def read_qos(rules: Node, found: Found) -> Iterator[PortQos]:
    """Settings of every port that some rule names, in the order of the ports."""
    ports = sorted({end for claim in found.claims for end in (claim.a, claim.b)})
    settings: dict[Port, PortQos] = {}
    for rule in rules.elements():
        rule.known(*KEYS)
        pattern = rule.need("ports").text()
        values = _values(rule)
        hit = [port for port in ports if fnmatchcase(str(port), pattern)]
        if not hit and "*" not in pattern and ":" in pattern:
            hit = [rule.get("ports").read(Port.parse)]
        for port in hit:
            role = found.devices[port.device].role if port.device in found.devices else ""
            base = settings.get(port, PortQos(port, source=found.path, role=role))
            settings[port] = replace(base, **values)
    yield from settings.values()


def _values(rule: Node) -> dict[str, Any]:
    """The fields of :class:`PortQos` that a rule sets."""
    readers: dict[str, tuple[str, Any]] = {
        "trust": ("trust", _trust),
        "dscp": ("classes", _numbers),
        "queue": ("queues", _numbers),
        "group": ("groups", _numbers),
        "pfc": ("pfc", lambda node: frozenset(n.integer() for n in node.elements())),
        "ecn": ("ecn", lambda node: {q: _ecn(n) for q, n in _indexed(node)}),
        "buffer": ("buffers", lambda node: {g: _buffer(n) for g, n in _indexed(node)}),
        "scheduler": ("schedulers", lambda node: {q: _scheduler(n) for q, n in _indexed(node)}),
        "watchdog": ("watchdog", _watchdog),
        "mtu": ("mtu_bytes", lambda node: node.integer()),
        "speed": ("speed_bps", lambda node: node.read(speed_bps)),
        "length": ("length_m", lambda node: node.read(length_m)),
        "roce": ("roce", _roce),
        "headroom_pool": ("headroom_pool_bytes", lambda node: node.read(size_bytes)),
        "global_pause": ("global_pause", lambda node: node.value is True),
        "pfc_queue": ("pfc_queues", _numbers),
        "pfc_group": ("pfc_groups", _numbers),
        "lag": ("lag", lambda node: node.text()),
        "asic": ("asic", lambda node: node.text()),
    }
    values = {
        readers[key][0]: readers[key][1](node) for key, node in rule.members() if key != "ports"
    }
    if "watchdog" in values:
        values["watchdog_known"] = True
    return values


def _trust(node: Node) -> str:
    text = node.text()
    if text not in ("dscp", "pcp"):
        raise node.error("trust is dscp or pcp")
    return text


def _indexed(node: Node) -> Iterator[tuple[int, Node]]:
    for key, value in node.members():
        if not key.isdigit():
            raise value.error(f"a number is expected as key, not {key!r}")
        yield int(key), value


def _numbers(node: Node) -> dict[int, int]:
    """``{26: 3}``, or ``{3: [24, 26, 30]}`` read from the class to its members."""
    found: dict[int, int] = {}
    for key, value in _indexed(node):
        if isinstance(value.value, list):
            found |= {member.integer(): key for member in value.elements()}
        else:
            found[key] = value.integer()
    return found


def _ecn(node: Node) -> Ecn:
    node.known("kmin", "kmax", "pmax", "enabled")
    pmax = float(node.get("pmax").read(float, 1.0))
    if not 0 <= pmax <= 1:
        raise node.get("pmax").error("pmax is a share from 0 to 1")
    enabled = node.get("enabled").value is not False
    ends = (node.need(key) if enabled else node.get(key) for key in ("kmin", "kmax"))
    low, high = (end.read(_size_or_unknown, -1) for end in ends)
    curve = Ecn(low, high, pmax, enabled)
    if 0 <= curve.kmax_bytes < curve.kmin_bytes:
        raise node.get("kmax").error("kmax lies below kmin")
    return curve


def _size_or_unknown(text: str) -> int:
    """A size; -1 for ``unknown``: there is a curve, but its source does not say where."""
    return -1 if text == "unknown" else size_bytes(text)


def _buffer(node: Node) -> Buffer:
    node.known("size", "xon", "headroom", "alpha", "limit", "pool", "pool_name", "lossless")
    return Buffer(
        node.get("size").read(size_bytes, -1),
        node.get("xon").read(size_bytes, -1),
        node.get("headroom").read(size_bytes, -1),
        float(node.get("alpha").read(float, float("nan"))),
        node.get("limit").read(size_bytes, -1),
        node.get("pool_name").text(),
        node.get("pool").read(size_bytes, -1),
        node.get("lossless").value is not False,
    )


def _scheduler(node: Node) -> Scheduler:
    """``strict``, a weight, or a kind and its weight (``ets 40``)."""
    text = node.text()
    kind, _, weight = text.partition(" ")
    if kind in KINDS:
        return Scheduler(kind, node.read(lambda _: int(weight)) if weight else -1)
    return Scheduler("dwrr", node.integer())


def _watchdog(node: Node) -> Watchdog | None:
    if node.value is False:
        return None
    node.known("action", "detect", "restore", "poll")
    return Watchdog(
        node.get("action").text("drop"),
        node.need("detect").read(span_ns),
        node.get("restore").read(span_ns, -1),
        node.get("poll").read(span_ns, -1),
    )


def _roce(node: Node) -> Roce:
    node.known(
        "dscp", "cnp_dscp", "cnp_priority", "notify", "react", "gid_index", "gid_type", "nccl_tc",
        "pcie", "acs_bridges",
    )  # fmt: skip

    def priorities(key: str) -> frozenset[int] | None:
        member = node.get(key)
        return None if member.value is None else frozenset(n.integer() for n in member.elements())

    return Roce(
        node.get("dscp").integer(-1),
        node.get("cnp_dscp").integer(-1),
        node.get("cnp_priority").integer(-1),
        priorities("notify"),
        priorities("react"),
        node.get("gid_index").integer(-1),
        node.get("gid_type").text(),
        node.get("nccl_tc").integer(-1),
        node.get("pcie").read(speed_bps, -1),
        node.get("acs_bridges").integer(-1),
    )
