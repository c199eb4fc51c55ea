"""One function per class of cause: what it adds to a drawn fabric under load, from the generator.

Each writes workloads or faults into the draft; where the drawn fabric has no place for the fault it raises
:class:`Unfit`, and another one is drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.accuracy.draw import KIB, MIB, Place


class Unfit(Exception):  # noqa: N818  it is no error: the next draw fits
    """The drawn fabric has no place for this fault."""


@dataclass
class Draft:
    """A scenario under construction."""

    rng: Random
    place: Place
    text: dict[str, Any]
    duration_us: int
    used: set[str] = field(default_factory=set)  # hosts that a fault has taken

    def window(self, least: float = 0.3) -> tuple[int, int]:
        """Begin and end of a fault, us."""
        begin = self.rng.uniform(0.15, 0.4)
        end = self.rng.uniform(begin + least, max(begin + least, 0.97))
        return round(begin * self.duration_us), round(min(end, 1.0) * self.duration_us)

    def fault(self, kind: str, place: str, window: tuple[int, int], **more: Any) -> None:
        """Add a fault."""
        entry = {"kind": kind, "place": place, "start_us": window[0], "end_us": window[1], **more}
        self.text["fault"].append(entry)

    def load(self, kind: str, **keys: Any) -> None:
        """Add a workload."""
        self.text["workload"].append({"kind": kind, **keys})

    def nic(self) -> str:
        """A NIC of a host that no fault has taken; it is taken now."""
        free = [nic for nic in self.place.nics if nic.partition(":")[0] not in self.used]
        if not free:
            raise Unfit
        chosen = self.rng.choice(free)
        self.used.add(chosen.partition(":")[0])
        return chosen

    def others(self, nic: str, least: int, most: int) -> list[str]:
        """NICs of other hosts that reach this one."""
        there = [n for n in self.place.reachable(nic) if n.partition(":")[0] not in self.used]
        if len(there) < least:
            raise Unfit
        return self.rng.sample(there, self.rng.randint(least, min(most, len(there))))

    def line_bytes(self, us: float) -> int:
        """What a NIC sends at line rate in a time."""
        return round(self.place.bps / 8e6 * us)

    def feed(self, nic: str, window: tuple[int, int], least: int = 1, most: int = 1) -> None:
        """Traffic for a host whose fault would not show without."""
        senders = self.others(nic, least, most)
        size = self.line_bytes(self.duration_us - window[0]) // len(senders)
        self.load(
            "incast", senders=senders, receiver=nic, size=size, start_us=max(window[0] - 30, 0)
        )

    def uplinks(self, leaf: str) -> list[str]:
        """Ports of a leaf towards the spines."""
        found = self.place.uplinks(leaf)
        if not found:
            raise Unfit
        return found


def all_to_all(d: Draft) -> None:
    for nics in d.place.groups():
        d.load(
            "all_to_all", hosts=nics, size=round(len(nics) * d.rng.uniform(32, 256) * KIB),
            iterations=d.rng.randint(2, 5), shifted=d.rng.random() < 0.7,
            think_us=d.rng.choice((0, 20, 60)),
        )  # fmt: skip


def contention(d: Draft) -> None:
    receiver, (begin, _) = d.nic(), d.window()
    senders = d.others(receiver, 2, 3)
    d.text["switching"]["buffer_bytes"] *= 3  # enough for marks alone to hold the queue
    size = d.line_bytes(0.5 * (d.duration_us - begin)) // len(senders)
    d.load(
        "incast", cause="contention", senders=senders, receiver=receiver, size=size, start_us=begin
    )


def incast(d: Draft) -> None:
    receiver, (begin, _) = d.nic(), d.window()
    senders = d.others(receiver, 5, 15)
    size = round(d.line_bytes(d.rng.uniform(0.1, 0.5) * d.duration_us) / len(senders))
    d.load(
        "incast", cause="incast", senders=senders, receiver=receiver, size=max(size, 64 * KIB),
        start_us=begin, spread_us=d.rng.choice((1, 1, 10)),
    )  # fmt: skip


def pfc_backpressure(d: Draft) -> None:
    """Few senders, no rate control: PFC alone carries the contention upstream."""
    receiver, (begin, _) = d.nic(), d.window()
    senders = d.others(receiver, 2, 4)
    d.text["traffic"]["rate_control"] = False
    size = d.line_bytes(d.rng.uniform(0.3, 0.5) * d.duration_us) // len(senders)
    d.load(
        "incast", cause="pfc_backpressure", senders=senders, receiver=receiver, size=size,
        start_us=begin,
    )  # fmt: skip


def pfc_storm(d: Draft) -> None:
    nic, window = d.nic(), d.window(0.25)
    d.feed(nic, window)
    d.fault("pfc_storm", nic.partition(":")[0], window, roots=_ports(d, nic))


def _ports(d: Draft, nic: str) -> list[str]:
    """All ports of the NIC's host: a host's fault stands behind each of them."""
    host = nic.partition(":")[0]
    return [other for other in d.place.nics if other.partition(":")[0] == host]


def slow_receiver(d: Draft, kind: str = "slow_receiver") -> None:
    nic, window = d.nic(), d.window(0.3)
    d.feed(nic, window, 1, 2)
    share = d.rng.uniform(0.08, 0.55)
    d.fault(kind, nic.partition(":")[0], window, value=share * d.place.bps)


def pcie_bottleneck(d: Draft) -> None:
    slow_receiver(d, "pcie_bottleneck")


def receiver_not_ready(d: Draft) -> None:
    nic, (begin, end) = d.nic(), d.window(0.1)
    d.feed(nic, (begin, end))
    code = d.rng.choice((8, 10, 12, 14))
    d.fault("receiver_not_ready", nic.partition(":")[0], (begin, end), value=code)


def ring_of_switches(rng: Random, own_gbps: int = 100) -> dict[str, Any]:
    """Switches in a ring with four hosts each; routes around it make buffers wait for each other."""
    count, hosts = rng.choice((3, 4, 4, 5, 6)), 3
    cables = []
    for i in range(count):
        cables.append(f"sw{i}:1 - sw{(i + 1) % count}:2")
        cables += [f"host{i * hosts + j}:1 - sw{i}:{3 + j} @ {own_gbps}" for j in range(hosts)]
    return {
        "kind": "cables", "gbps": 100, "length_m": rng.choice((50, 100, 200)), "cables": cables,
    }  # fmt: skip


def _ring(d: Draft) -> tuple[int, int]:
    """Number of switches and of hosts at each."""
    count = len([name for name in d.place.fabric.devices if name.startswith("sw")])
    return count, len(d.place.hosts) // count


def _around(d: Draft, first: int, per: int) -> list[str]:
    """Paths of two hops around the ring, ``per`` from each switch."""
    count, hosts = _ring(d)
    paths = []
    for i in range(count):
        for j in range(first, first + per):
            there = (i + 2) % count
            paths.append(
                f"host{i * hosts + j}>sw{i}>sw{(i + 1) % count}>sw{there}>host{there * hosts + j}"
            )
    return paths


def _no_marks(d: Draft) -> None:
    """What a cycle needs: senders that do not give way."""
    d.text["traffic"]["rate_control"] = False
    d.text["switching"]["buffer_bytes"] = round(d.rng.uniform(0.7, 1.6) * MIB)
    d.text["switching"]["alpha"] = d.rng.choice((0.125, 0.0625))


def deadlock(d: Draft) -> None:
    _no_marks(d)
    begin = round(d.rng.uniform(0.1, 0.4) * d.duration_us)
    count, _ = _ring(d)
    d.load(
        "flows", cause="deadlock", paths=_around(d, 0, 2), size=d.line_bytes(10 * d.duration_us),
        start_us=begin, end_us=d.duration_us, roots=[f"sw{i}:1" for i in range(count)],
    )  # fmt: skip


def deadlock_fed(d: Draft) -> None:
    """The ring has room for its load; a host beside it that takes nothing for a while locks it for ever."""
    _no_marks(d)
    count, hosts = _ring(d)
    begin, lasts = d.rng.uniform(0.1, 0.3), d.rng.choice((0.1, 0.2, 0.3))
    window = (round(begin * d.duration_us), round((begin + lasts) * d.duration_us))
    where = f"host{d.rng.randrange(count) * hosts}"
    if d.rng.random() < 0.5:
        d.fault("pfc_storm", where, window, trigger=True)
    else:
        d.fault("slow_receiver", where, window, value=d.rng.uniform(1e9, 8e9), trigger=True)
    d.load(
        "flows", cause="deadlock_fed", paths=_around(d, 0, 1), size=d.line_bytes(10 * d.duration_us),
        start_us=20, end_us=d.duration_us, roots=[f"sw{i}:1" for i in range(count)],
    )  # fmt: skip


def victim(d: Draft) -> None:
    """A storm below a leaf that nobody watches: what is seen are pauses that come from there."""
    nic, window = d.nic(), d.window(0.4)
    leaf = d.place.leaf(nic)
    below = [n for n in d.place.nics if d.place.leaf(n) == leaf]
    d.used |= {n.partition(":")[0] for n in below}
    d.feed(nic, window, 3, 6)
    facing = [str(d.place.fabric.peer(d.place.port(up))) for up in d.uplinks(leaf)]
    d.text["output"]["silent"] = [leaf, *{n.partition(":")[0] for n in below}]
    d.fault("pfc_storm", nic.partition(":")[0], window, cls="victim", roots=facing)


def ecmp_collision(d: Draft) -> None:
    """Long flows of one leaf on one of its uplinks; the others idle."""
    nic = d.nic()
    leaf = d.place.leaf(nic)
    ups = d.uplinks(leaf)
    up = d.rng.choice(ups)
    spine = str(d.place.fabric.peer(d.place.port(up))).partition(":")[0]
    mine = [n for n in d.place.nics if d.place.leaf(n) == leaf]
    far = [n for n in d.place.nics if d.place.leaf(n) != leaf and _meets(d, spine, n)]
    speed = d.place.fabric.speed_bps(d.place.port(up))
    need = speed // d.place.bps + 1
    if len(ups) < 2 or len(mine) < need or len(far) < need:
        raise Unfit
    begin, _ = d.window()
    there = d.rng.sample(far, need)
    paths = [
        f"{a.partition(':')[0]}>{leaf}>{spine}>{d.place.leaf(b)}>{b.partition(':')[0]}"
        for a, b in zip(d.rng.sample(mine, need), there, strict=True)
    ]
    size = d.line_bytes(0.7 * (d.duration_us - begin)) * speed // d.place.bps // need
    d.load("flows", cause="ecmp_collision", roots=[up], paths=paths, size=size, start_us=begin)


def _meets(d: Draft, spine: str, nic: str) -> bool:
    return bool(d.place.fabric.ports_between(spine, d.place.leaf(nic)))


def polarization(d: Draft) -> None:
    d.text["traffic"]["polarised"] = True
    half = len(d.place.nics) // 2
    d.load(
        "all_to_all", cause="polarization", roots=["used"], hosts=_interleaved(d.place.nics, half),
        size=round(len(d.place.nics) * d.rng.uniform(48, 160) * KIB), iterations=6,
    )  # fmt: skip


def _interleaved(nics: list[str], half: int) -> list[str]:
    """One of each pod in turn."""
    return [nic for pair in zip(nics[:half], nics[half:], strict=False) for nic in pair]


def lossy_link(d: Draft) -> None:
    nic, window = d.nic(), d.window(0.4)
    ups = d.place.uplinks(d.place.leaf(nic))
    place = d.rng.choice(ups) if ups and d.rng.random() < 0.5 else nic
    d.feed(nic, window)
    d.fault("lossy_link", place, window, value=10 ** d.rng.uniform(-3.3, -2))


def congestion_drop(d: Draft, kind: str = "no_pfc", **more: Any) -> None:
    """An incast into a leaf whose uplinks do not ask their peers to stop."""
    receiver, (begin, _) = d.nic(), d.window()
    senders = d.others(receiver, 6, 15)
    size = d.line_bytes(d.rng.uniform(0.2, 0.5) * d.duration_us) // len(senders)
    d.load("incast", senders=senders, receiver=receiver, size=size, start_us=begin)
    for up in d.uplinks(d.place.leaf(receiver)):
        d.fault(kind, up, (0, d.duration_us), **more)


def watchdog_drop(d: Draft) -> None:
    """A watchdog drops what a NIC that asks to stop holds up."""
    nic, window = d.nic(), d.window(0.4)
    d.feed(nic, window)
    detect = d.rng.choice((100, 150, 200))
    d.text["switching"] |= {
        "watchdog_detect_us": detect, "watchdog_restore_us": detect, "watchdog_poll_us": 20,
    }  # fmt: skip
    roots = [*_ports(d, nic), *(d.place.up(port) for port in _ports(d, nic))]
    d.fault("pfc_storm", nic.partition(":")[0], window, cls="watchdog_drop", roots=roots)


def headroom_misconfig(d: Draft) -> None:
    congestion_drop(d, "headroom_misconfig", value=d.rng.randint(0, 3000))


def pfc_ignored(d: Draft) -> None:
    nic = d.nic()
    receiver = d.rng.choice(d.place.reachable(nic))
    d.used.add(receiver.partition(":")[0])
    d.text["traffic"]["rate_control"] = False
    d.text["switching"]["buffer_bytes"] = round(d.text["switching"]["buffer_bytes"] * 0.6)
    begin, _ = d.window()
    senders = [nic, *d.others(receiver, 3, 8)]
    size = d.line_bytes(d.rng.uniform(0.4, 0.7) * d.duration_us) // len(senders)
    d.load("incast", senders=senders, receiver=receiver, size=size, start_us=begin)
    d.fault("pfc_ignored", nic.partition(":")[0], (0, d.duration_us))


def ecn_misconfig(d: Draft) -> None:
    receiver, window = d.nic(), d.window()
    kind = d.rng.choice(("ecn_never", "ecn_always"))
    if kind == "ecn_never":
        d.feed(receiver, window, 4, 10)
    else:
        d.feed(receiver, window, 2, 3)
    d.fault(kind, d.place.up(receiver), (0, d.duration_us))


def cnp_starvation(d: Draft) -> None:
    nic, window = d.nic(), d.window()
    d.feed(nic, window, 3, 10)
    d.fault("cnp_starvation", nic.partition(":")[0], (0, d.duration_us))


def over_throttle(d: Draft) -> None:
    """A sender that recovers too slowly: one short collision, and it never comes back."""
    nic, (begin, _) = d.nic(), d.window()
    receiver = d.rng.choice(d.place.reachable(nic))
    d.used.add(receiver.partition(":")[0])
    rival = d.others(receiver, 1, 1)
    d.text["switching"]["kmin_bytes_100g"] = 50_000
    d.text["switching"]["kmax_bytes_100g"] = 150_000
    d.load(
        "incast", senders=[nic], receiver=receiver, size=d.line_bytes(d.duration_us), start_us=begin
    )
    d.load("incast", senders=rival, receiver=receiver, size=d.line_bytes(60), start_us=begin)
    value = d.rng.uniform(20, 200)
    d.fault("over_throttle", nic.partition(":")[0], (0, d.duration_us), value=value)


def tail_loss(d: Draft) -> None:
    """Messages of one packet on a lossy cable: no later packet tells the receiver, only time does."""
    nic, window = d.nic(), d.window(0.5)
    pairs = [(other, nic) for other in d.others(nic, 2, 5)]
    pairs += [(other, d.rng.choice(d.place.reachable(other))) for other in d.others(nic, 2, 6)]
    for one, other in pairs:
        d.load(
            "pipeline", hosts=[one, other], size=d.rng.choice((256, 512, 1024)), iterations=2000,
            think_us=d.rng.choice((1, 2, 5)), start_us=0,
        )  # fmt: skip
    d.fault("lossy_link", nic, window, value=10 ** d.rng.uniform(-2.2, -1.5), cls="tail_loss")


def reordering(d: Draft) -> None:
    d.text["traffic"]["spray"] = True
    leaves = d.place.fabric.named("leaf")
    roots = [up for leaf in leaves for up in d.place.uplinks(leaf)]
    if len(roots) < 2 * len(leaves):
        raise Unfit
    d.load(
        "poisson", cause="reordering", roots=roots, hosts=d.place.group(),
        load=d.rng.uniform(0.15, 0.4), until_us=d.duration_us, seed=d.rng.randrange(1 << 30),
        end_us=d.duration_us,
    )  # fmt: skip


def sender_late(d: Draft) -> None:
    nics = d.place.group()
    late, late_us = d.rng.choice(nics), d.rng.randint(80, 300)
    d.load(
        "all_reduce", cause="sender_late", roots=[late], hosts=nics, late=late, late_us=late_us,
        size=round(len(nics) * d.rng.uniform(16, 64) * KIB), iterations=12,
    )  # fmt: skip


def receiver_late(d: Draft) -> None:
    nic = d.nic()
    d.load(
        "ready_to_receive", cause="receiver_late", roots=[nic], senders=d.others(nic, 2, 5),
        receiver=nic, size=d.rng.choice((128, 256, 512)) * KIB, count=20,
        wait_us=d.rng.randint(60, 250),
    )  # fmt: skip


def collective_hotspot(d: Draft) -> None:
    """A ring laid across the racks: every step meets the others on the uplinks."""
    nics = d.place.across(d.place.group())
    d.load(
        "all_reduce", cause="collective_hotspot", roots=["marking"], hosts=nics,
        size=round(len(nics) * d.rng.uniform(256, 1024) * KIB), iterations=4,
    )  # fmt: skip


def rail_misplacement(d: Draft) -> None:
    """Ranks in the order of the hosts, on NICs of changing rails: every step leaves its rail."""
    rails = sorted({nic.partition(":")[2] for nic in d.place.nics})
    nics = [f"{host}:{rails[i % len(rails)]}" for i, host in enumerate(d.place.hosts)]
    d.load(
        "all_reduce", cause="rail_misplacement", roots=["used"], hosts=nics,
        size=round(len(nics) * d.rng.uniform(256, 1024) * KIB), iterations=4,
    )  # fmt: skip


def degraded_link(d: Draft) -> None:
    nic, window = d.nic(), d.window(0.4)
    ups = d.place.uplinks(d.place.leaf(nic))
    d.feed(nic, window)
    if len(ups) > 1 and d.rng.random() < 0.25:
        d.fault("link_down", d.rng.choice(ups), window)
    else:
        d.fault("degraded_link", nic, window, value=d.rng.choice((0.1, 0.25, 0.25, 0.5)))


def counter_fault(d: Draft) -> None:
    nic, window = d.nic(), d.window(0.4)
    d.feed(nic, window)
    d.fault("counter_fault", d.rng.choice((nic, d.place.up(nic))), window)


def livelock(d: Draft) -> None:
    """A little loss, and a NIC that begins each message again (SIGCOMM 2016, go-back-0)."""
    nic, (begin, end) = d.nic(), d.window(0.5)
    receiver = d.rng.choice(d.place.reachable(nic))
    lossy = d.rng.choice((nic, receiver))
    d.load(
        "incast", senders=[nic], receiver=receiver, size=d.rng.randint(1, 4) * MIB,
        start_us=max(begin - 50, 0),
    )  # fmt: skip
    roots = sorted({nic, lossy, d.place.up(lossy)})
    window = (0, d.duration_us)
    d.fault("lossy_link", lossy, window, value=1 / d.rng.choice((64, 128, 256)), trigger=True)
    d.fault("livelock", nic.partition(":")[0], (begin, end), roots=roots)


def hostile_burst(d: Draft) -> None:
    receiver = d.nic()
    period = d.rng.randint(120, 300)
    senders = d.others(receiver, 3, 8)
    size = round(d.line_bytes(d.rng.uniform(0.08, 0.2) * period) * 2 / len(senders))
    begin = round(d.rng.uniform(0.1, 0.3) * d.duration_us)
    d.load(
        "bursts", cause="hostile_burst", senders=senders, receiver=receiver, size=size,
        period_us=period, count=(d.duration_us - begin) // period, start_us=begin,
    )  # fmt: skip


TOGETHER: tuple[Callable[[Draft], None], ...] = (
    pfc_storm, slow_receiver, lossy_link, degraded_link, incast, receiver_not_ready, counter_fault,
)  # fmt: skip


def multi(d: Draft) -> None:
    for add in d.rng.sample(TOGETHER, d.rng.choice((2, 2, 3))):
        add(d)
