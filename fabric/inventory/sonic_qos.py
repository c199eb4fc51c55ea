"""The QoS half of a SONiC configuration: maps, profiles and their bindings, port by port.

Table and field names are those of SONiC's YANG models (sonic-port-qos-map, sonic-buffer-profile,
sonic-wred-profile, sonic-pfcwd, ...). References are read in both spellings, ``NAME`` and the older
``[TABLE|NAME]``; one that leads nowhere is a contradiction, and the port is read without it.
"""

from collections.abc import Iterator
from typing import Any

from fabric.cables import Port
from fabric.inventory.document import Node, length_m
from fabric.inventory.found import Contradiction, Found
from fabric.qos import Buffer, Ecn, PortQos, Scheduler, Watchdog

DEFAULT_MTU_BYTES = 9100  # sonic-port.yang: what a port has that says nothing
MS = 1_000_000
QUEUES = 64  # more than any switch has


class _Tables:
    """The tables of one configuration, and the complaints about references between them."""

    def __init__(self, tree: Node, device: str, found: Found) -> None:
        self.tree = tree
        self.device = device
        self.found = found

    def refer(self, node: Node, table: str) -> Node | None:
        """The entry a field names; None where it names none, or none that exists."""
        name = node.text().strip("[]").rpartition("|")[2]
        if not name or name == "NULL":
            return None
        entry = self.tree.get(table).get(name)
        if entry.value is None:
            text = f"{self.device}: {node.keys[-1]} refers to {table}|{name}, which does not exist"
            row = Contradiction("dangling_reference", self.device, "", text, (str(node),))
            if row not in self.found.contradictions:
                self.found.contradictions.append(row)
            return None
        return entry

    def numbers(self, node: Node, table: str) -> dict[int, int] | None:
        """A map of numbers that a field names."""
        entry = self.refer(node, table)
        if entry is None:
            return None
        found: dict[int, int] = {}
        for key, value in entry.members():
            if not key.isdigit():
                raise value.error(f"a number is expected as key, not {key!r}")
            found[int(key)] = value.integer()
        return found


def read_ports(
    tree: Node, device: str, role: str, asic: str, ports: dict[str, Node], found: Found
) -> Iterator[PortQos]:
    """Settings of every front panel port of a configuration."""
    tables = _Tables(tree, device, found)
    maps = _by_port(tree.get("PORT_QOS_MAP"))
    queues, groups = _indexed(tree.get("QUEUE")), _indexed(tree.get("BUFFER_PG"))
    lag_of = {p: lag.port for lag, ps in found.lags.items() if lag.device == device for p in ps}
    lengths = {
        name: node.read(length_m)
        for _, table in tree.get("CABLE_LENGTH").members()
        for name, node in table.members()
    }
    common = maps.get("global")
    for name, node in ports.items():
        buffers = _buffers(groups.get(name, []), tables)
        yield PortQos(
            Port(device, name),
            source=found.path,
            role=role,
            ecn=_curves(queues.get(name, []), tables),
            buffers=buffers,
            schedulers=_schedulers(queues.get(name, []), tables),
            watchdog=_watchdog(tree.get("PFC_WD"), name),
            watchdog_known=True,
            headroom_pool_bytes=_headroom_pool(tree),
            mtu_bytes=node.get("mtu").integer(DEFAULT_MTU_BYTES),
            speed_bps=node.get("speed").integer() * 1_000_000,
            length_m=lengths.get(name, float("nan")),
            lag=lag_of.get(name, ""),
            asic=asic,
            **_maps(maps.get(name), common, tables),
        )


def _by_port(table: Node) -> dict[str, Node]:
    """Entries by port; one key may name several ports."""
    return {port: node for key, node in table.members() for port in key.split(",")}


def _indexed(table: Node) -> dict[str, list[tuple[int, Node]]]:
    """Entries ``Ethernet0,Ethernet4|3-4`` by port, each with its index.

    On a VOQ chassis the key is ``host|asic|port|queue``: the last two parts count.
    """
    found: dict[str, list[tuple[int, Node]]] = {}
    for key, node in table.members():
        parts = key.split("|")
        low, dash, high = parts[-1].partition("-")
        if len(parts) < 2 or not low.isdigit() or (dash and not high.isdigit()):
            raise node.error("a key is written PORT|INDEX or PORT|LOW-HIGH")
        first, last = int(low), int(high or low)
        if last >= QUEUES:
            raise node.error(f"queues and groups are numbers below {QUEUES}, not {last}")
        for port in parts[-2].split(","):
            for index in range(first, last + 1):
                found.setdefault(port, []).append((index, node))
    return found


def _maps(entry: Node | None, common: Node | None, tables: _Tables) -> dict[str, Any]:
    """The fields of PortQos that PORT_QOS_MAP fills. Without a map SONiC uses class 0 for all."""
    port = entry or tables.tree.get("")
    dscp = port.get("dscp_to_tc_map")
    if dscp.value is None and common is not None:
        dscp = common.get("dscp_to_tc_map")
    pcp = port.get("dot1p_to_tc_map").value is not None
    pfc = port.get("pfc_enable")
    return {
        "trust": "dscp" if dscp.value is not None else "pcp" if pcp else "",
        "classes": tables.numbers(dscp, "DSCP_TO_TC_MAP") or ({} if not pcp else None),
        "queues": tables.numbers(port.get("tc_to_queue_map"), "TC_TO_QUEUE_MAP"),
        "groups": tables.numbers(port.get("tc_to_pg_map"), "TC_TO_PRIORITY_GROUP_MAP"),
        "pfc": frozenset(_priorities(pfc)),
        "pfc_queues": tables.numbers(port.get("pfc_to_queue_map"), "MAP_PFC_PRIORITY_TO_QUEUE"),
        "pfc_groups": tables.numbers(
            port.get("pfc_to_pg_map"), "PFC_PRIORITY_TO_PRIORITY_GROUP_MAP"
        ),
    }


def _priorities(node: Node) -> Iterator[int]:
    for word in node.text().replace(" ", "").split(","):
        if word:
            if not (word.isdigit() and int(word) < 8):
                raise node.error(f"priorities are numbers from 0 to 7, not {word!r}")
            yield int(word)


def _curves(queues: list[tuple[int, Node]], tables: _Tables) -> dict[int, Ecn]:
    """Marking curves of the queues of a port; RoCE packets are green."""
    found: dict[int, Ecn] = {}
    for queue, node in queues:
        profile = tables.refer(node.get("wred_profile"), "WRED_PROFILE")
        if profile is None:
            continue
        modern = profile.get("ecn_green_min_threshold").value is not None
        prefix = "ecn_green" if modern else "green"
        chance = "ecn_green_mark_probability" if modern else "green_drop_probability"
        mode = profile.get("ecn").text("ecn_none")
        kmin = profile.get(f"{prefix}_min_threshold")
        kmax = profile.get(f"{prefix}_max_threshold")
        found[queue] = Ecn(
            kmin.integer(-1),
            kmax.integer(-1),
            profile.get(chance).read(float, 100.0) / 100.0,
            mode == "ecn_all" or "green" in mode,
        )
        if 0 <= found[queue].kmax_bytes < found[queue].kmin_bytes:
            raise kmax.error("the maximum threshold lies below the minimum")
    return found


def _schedulers(queues: list[tuple[int, Node]], tables: _Tables) -> dict[int, Scheduler]:
    found: dict[int, Scheduler] = {}
    for queue, node in queues:
        entry = tables.refer(node.get("scheduler"), "SCHEDULER")
        if entry is not None:
            kind = entry.get("type").text("DWRR").lower()
            weight = -1 if kind == "strict" else entry.get("weight").integer(-1)
            found[queue] = Scheduler(kind, weight)
    return found


def _buffers(groups: list[tuple[int, Node]], tables: _Tables) -> dict[int, Buffer]:
    found: dict[int, Buffer] = {}
    for group, node in groups:
        name = node.need("profile")
        if name.text() == "NULL":  # the dynamic buffer model computes these while it runs
            found[group] = Buffer(lossless=True)
            continue
        profile = tables.refer(name, "BUFFER_PROFILE")
        if profile is not None:
            found[group] = _buffer(profile, tables)
    return found


def _buffer(profile: Node, tables: _Tables) -> Buffer:
    pool = tables.refer(profile.get("pool"), "BUFFER_POOL")
    exponent = profile.get("dynamic_th")
    return Buffer(
        size_bytes=profile.get("size").integer(-1),
        xon_bytes=profile.get("xon").integer(-1),
        headroom_bytes=profile.get("xoff").integer(-1),
        alpha=float("nan") if exponent.value is None else 2.0 ** exponent.integer(),
        limit_bytes=profile.get("static_th").integer(-1),
        pool=str(pool.keys[-1]) if pool else "",
        pool_bytes=pool.get("size").integer(-1) if pool else -1,
        lossless=profile.get("xoff").value is not None
        or profile.get("headroom_type").text() == "dynamic",
    )


def _headroom_pool(tree: Node) -> int:
    """Size of the shared headroom pool: ``xoff`` of an ingress pool; 0 where there is none."""
    if tree.get("BUFFER_POOL").value is None:
        return -1
    ratio = tree.get("DEFAULT_LOSSLESS_BUFFER_PARAMETER").members()
    if any(node.get("over_subscribe_ratio").integer() for _, node in ratio):
        return -1  # sized while it runs
    pools = (node for _, node in tree.get("BUFFER_POOL").members())
    return max(
        (p.get("xoff").integer() for p in pools if p.get("type").text() == "ingress"), default=0
    )


def _watchdog(table: Node, port: str) -> Watchdog | None:
    entry = _by_port(table).get(port)
    if entry is None:
        return None
    poll = table.get("GLOBAL").get("POLL_INTERVAL").integer(-1)
    detect, restore = (
        entry.need("detection_time").integer(),
        entry.get("restoration_time").integer(-1),
    )
    return Watchdog(
        entry.get("action").text("drop"),
        detect * MS,
        restore * MS if restore >= 0 else -1,
        poll * MS if poll >= 0 else -1,
    )
