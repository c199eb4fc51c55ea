"""Cyclic buffer dependency: the routes let lossless links wait for each other in a ring.

One burst at the wrong moment freezes all of it, and only a watchdog's drops free it
(:mod:`fabric.routing.cycles`). A Clos whose routes go up once and down once cannot have such a ring;
detours after a link failure, rings of switches and dragonflies can. Collected forwarding tables are
used where there are any. Where next hops are only assumed from the topology the remark says so. Hops
whose settings say that RoCE is lossy there are left out.
"""

from collections.abc import Iterator

from analyzers.audit.common import Remark, Site
from fabric.cables import Port
from fabric.routing import cycles
from fabric.routing.forwarding import Forwarding
from fabric.routing.router import Router

REPAIR = (
    "Break the ring: forbid the detour (up and down once only), or move traffic that turned to "
    "another lossless priority. Until then keep the PFC watchdog on along it."
)


def check(site: Site) -> Iterator[Remark]:
    """One remark per knot of dependencies, with a cycle of it."""
    inventory = site.inventory
    assumed: set[str] = set()
    if inventory.routes:
        table = Forwarding(inventory.fabric, inventory.routes, inventory.lags, inventory.interfaces)
        router = Router(inventory.fabric, table)
        edges = cycles.of_router(router, _addresses(site))
        switches = {name for name in inventory.fabric.devices if not _is_host(site, name)}
        assumed = {name for name in switches if not table.knows(name)}
    else:
        edges = cycles.of_topology(inventory.fabric)
        assumed = set(inventory.fabric.devices)
    lossless = {
        port: {after for after in afters if _may_be_lossless(site, after)}
        for port, afters in edges.items()
        if _may_be_lossless(site, port)
    }
    for cycle in cycles.cycles(lossless):
        guessed = sorted({port.device for port in cycle} & assumed)
        yield Remark(
            "buffer_cycle",
            "warning" if guessed else "critical",
            cycle[0],
            f"waits for itself: {' > '.join(map(str, cycle))} > {cycle[0]}",
            REPAIR,
            subject=" > ".join(map(str, cycle)),
            evidence="inferred" if guessed else "observed",
            confidence=0.7 if guessed else 1.0,
            missing=f"forwarding tables of {', '.join(guessed)}" if guessed else "",
        )


def _is_host(site: Site, name: str) -> bool:
    return site.inventory.fabric.role(name) in ("host", "ocs")


def _may_be_lossless(site: Site, port: Port) -> bool:
    """Whether the traffic of an egress port can be paused by its peer, as far as is known."""
    peer = site.inventory.fabric.peer(port)
    qos = site.inventory.qos.get(peer) if peer else None
    if qos is None or qos.pfc is None:
        return True
    chains = [chain for dscp in site.roce if (chain := qos.chain(dscp))]
    return any(chain.lossless for chain in chains) if chains else bool(qos.pfc)


def _addresses(site: Site) -> list[str]:
    """One address per way into the fabric: hosts on the same switches are routed alike."""
    fabric = site.inventory.fabric
    found: dict[object, str] = {}
    for nic in fabric.nics:
        peer = fabric.peer(nic.port)
        address = next((a for a in nic.addresses if a), "")
        if peer and address:
            found.setdefault((peer.device, nic.port.port), address)
    return list(found.values())
