"""Write a run: topology, counters, captures at taps, provenance, fates and the label.

The folder has the form of the labelled runs that other simulators made, so that whatever reads
those reads these: see docs/simulator.md.
"""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from fabric.simulator import state as st
from fabric.simulator.build import Built
from fabric.simulator.counters import CounterFile
from fabric.simulator.faults import KINDS, Fault
from fabric.simulator.nic import REQUEST_BYTES
from fabric.simulator.plan import qpns, start_psn
from fabric.simulator.run import settled_pauses
from fabric.simulator.scenario import Scenario
from fabric.simulator.taps import TapFiles

REASONS = ("corrupted", "no_headroom", "egress_full", "watchdog", "link_down")
SLOW = 3.0  # a flow that took this many times its lone time is a victim


class RunFolder:
    """A sink that writes; use as a context manager around :func:`fabric.simulator.run.simulate`."""

    def __init__(self, folder: Path, scenario: Scenario, built: Built) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.scenario, self.built = folder, scenario, built
        self.counters = CounterFile(folder / "counters.parquet", scenario, built)
        self.taps = TapFiles(folder, scenario, built)
        self._files = [  # closed with the folder
            gzip.open(folder / f"{name}.csv.gz", "wt", compresslevel=4, newline="")  # noqa: SIM115
            for name in ("pfc_provenance", "pfc_events", "drops")
        ]
        self._why, self._pauses, self._drops = (csv.writer(file) for file in self._files)
        self._why.writerow(
            (
                "time_ns",
                "device",
                "port",
                "priority",
                "event",
                "ingress_bytes",
                "because",
                "bytes",
                "paused",
            )
        )
        self._pauses.writerow(("time_ns", "device", "port", "priority", "event"))
        self._drops.writerow(("time_ns", "device", "port", "reason", "qp", "kind", "packet"))
        self.edges: dict[tuple[str, str], int] = {}
        self.lost: Counter[tuple[str, str]] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.counters.close()
        self.taps.close()
        for file in self._files:
            file.close()

    def sample(self, time_ns: int, built: Built) -> None:
        """Counters of every port."""
        self.counters.sample(time_ns, built)

    def logs(
        self, taps: np.ndarray, why: np.ndarray, drops: np.ndarray, pauses: np.ndarray
    ) -> None:
        """Captured frames, reasons of pauses, true losses, pauses obeyed."""
        self.taps.write(taps)
        names = self.built.ports
        for row in why:
            port, because = names[row["port"]], names[row["because"]]
            event = "XOFF" if row["xoff"] else "XON"
            self._why.writerow(
                (row["ps"] // 1000, *port.split(":", 1), row["priority"], event, row["occupancy"],
                 because, row["bytes"], row["paused"])
            )  # fmt: skip
            if row["xoff"]:
                peer = names[self.built.state.port["peer"][row["port"]]]
                self.edges[peer, because] = self.edges.get((peer, because), 0) + 1
        self._pauses.writerows(
            (row["ps"] // 1000, *names[row["port"]].split(":", 1), row["priority"],
             "XOFF_RX" if row["xoff"] else "XON_RX")
            for row in pauses
        )  # fmt: skip
        self._drops.writerows(
            (row["ps"] // 1000, *names[row["port"]].split(":", 1), REASONS[row["reason"]], row["qp"],
             row["kind"], row["psn"])
            for row in drops
        )  # fmt: skip
        self.lost.update((names[row["port"]], REASONS[row["reason"]]) for row in drops)

    def finish(self) -> dict[str, Any]:
        """What can only be said at the end: fates, topology and the label, which is returned."""
        label = self._label(self._flows())
        _json(self.folder / "topology.json", topology_of(self.scenario))
        _json(self.folder / "label.json", label)
        return label

    def _flows(self) -> list[int]:
        message, qp = self.built.state.message, self.built.state.qp
        victims = []
        _, order = self.scenario.plan.ordered()
        with (self.folder / "flows.csv").open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(
                ("flow_id", "qp", "src", "dst", "src_ip", "dst_ip", "udp_sport", "src_qpn", "dst_qpn",
                 "start_psn", "size_bytes", "start_ns", "fct_ns", "standalone_fct_ns", "slowdown",
                 "completed", "resent_packets", "tag", "op", "path")
            )  # fmt: skip
            for i in range(len(order)):
                row = message[i]
                n = int(row["qp"])
                link, pair = self.scenario.plan.connections[n], qp[n]
                lone = self._alone_ns(n, int(row["bytes"]))
                done = row["delivered"] >= 0
                time = (int(row["delivered"]) - int(row["started"])) // 1000 if done else -1
                slow = time / lone if done and lone else float("nan")
                if (not done and row["started"] >= 0) or slow > SLOW:
                    victims.append(i)
                out.writerow(
                    (i, n, link.pair.source, link.pair.target, link.source_ip, link.target_ip,
                     link.sport, *qpns(n), start_psn(self.scenario.seed, n), int(row["bytes"]),
                     int(row["started"]) // 1000 if row["started"] >= 0 else -1, time, lone,
                     f"{slow:.2f}", int(done), int(pair["resent_packets"]), link.tag,
                     "READ" if link.pair.read else "WRITE", ">".join(link.pair.paths[0]))
                )  # fmt: skip
        return victims

    def _alone_ns(self, qp: int, size: int) -> int:
        """Time of a message alone in the fabric: its bytes at line rate, one frame stored at each hop."""
        pair = self.scenario.plan.connections[qp].pair
        state = self.built.state
        ways = [self.built.port_of[name] for name in pair.paths[0]]
        frames = max(-(-size // pair.mtu), 1)
        total = size + frames * (58 + st.OVERHEAD_BYTES)
        last = min(size, pair.mtu) + 58 + st.OVERHEAD_BYTES
        line = max(int(state.port["nominal_ps_per_byte"][w]) for w in ways) * total
        hops = sum(int(state.port["nominal_ps_per_byte"][w]) * last for w in ways[1:])
        delay = sum(int(state.port["delay_ps"][w]) for w in ways)
        if pair.read:  # the request goes first, the same way back
            wire = REQUEST_BYTES + st.OVERHEAD_BYTES
            delay += delay + sum(int(state.port["nominal_ps_per_byte"][w]) * wire for w in ways)
        return (line + hops + delay) // 1000

    def _label(self, victims: Sequence[int]) -> dict[str, Any]:
        scenario = self.scenario
        causes = list(self._causes())
        triggers = [self._of_fault(fault) for fault in scenario.faults if fault.trigger]
        cls = "healthy" if not causes else causes[0]["cls"] if len(causes) == 1 else "multi"
        return {
            "cls": cls,
            "root_ports": sorted({port for cause in causes for port in cause["root_ports"]}),
            "window_ns": [
                min((c["window_ns"][0] for c in causes), default=0),
                max((c["window_ns"][1] for c in causes), default=scenario.duration_ns),
            ],
            "faults": causes,
            "triggers": triggers,
            "affected": {"flows": list(victims)},
            "scenario": scenario.name,
            "seed": scenario.seed,
            "simulator": "fabric.simulator",
            "sim_end_ns": scenario.duration_ns,
            "telemetry_interval_ns": scenario.output.interval_ns,
            "observed_from_simulator": {
                "pfc_tree_edges": [
                    {"paused_port": a, "because_of": b, "xoffs": n}
                    for (a, b), n in sorted(self.edges.items(), key=lambda item: -item[1])
                ],
                "ports_paused_total_us": self._paused(),
                "ports_still_paused_at_end": sorted(
                    name
                    for name, queues in zip(
                        self.built.ports, self.built.state.queue["held_from"], strict=True
                    )
                    if (queues != st.NEVER).any()
                ),
                "drops": [
                    {"port": port, "reason": why, "frames": n}
                    for (port, why), n in sorted(self.lost.items())
                ],
            },
        }

    def _paused(self) -> dict[str, float]:
        held = settled_pauses(self.built, int(self.built.state.whole[st.NOW]))[0].sum(axis=1) / 1e6
        return {
            name: round(float(us), 1)
            for name, us in zip(self.built.ports, held, strict=True)
            if us > 0
        }

    def _causes(self) -> Iterable[dict[str, Any]]:
        end = self.scenario.duration_ns
        for fault in self.scenario.faults:
            if not fault.trigger:
                yield self._of_fault(fault)
        message = self.built.state.message
        for cause in self.scenario.causes:
            mine = np.isin(message["qp"], cause["qps"])
            last = int(message["delivered"][mine].max()) // 1000 if mine.any() else end
            if mine.any() and (message["delivered"][mine] < 0).any():
                last = end
            if cause["end_ns"] >= 0:
                last = cause["end_ns"]
            connections = self.scenario.plan.connections
            yield {
                "cls": cause["cls"],
                "kind": cause["kind"],
                "root_ports": self._roots(cause),
                "window_ns": [cause["start_ns"], last if last > 0 else end],
                "senders": sorted(
                    {connections[n].pair.source.partition(":")[0] for n in cause["qps"]}
                ),
            }

    def _of_fault(self, fault: Fault) -> dict[str, Any]:
        peer = self.built.state.port["peer"]
        if fault.roots:
            roots = list(fault.roots)
        elif ":" in fault.place and KINDS[fault.kind][0] == "port":
            roots = [fault.place, self.built.ports[peer[self.built.port_of[fault.place]]]]
            if fault.kind in ONE_SIDED:
                roots = roots[:1]
        else:
            device = fault.place.partition(":")[0]
            roots = [p for p in self.built.ports if p.partition(":")[0] == device]
        stop = fault.end_ns if fault.end_ns >= 0 else self.scenario.duration_ns
        return {
            "cls": fault.cls or CLASSES.get(fault.kind, fault.kind),
            "kind": fault.kind,
            "root_ports": roots,
            "window_ns": [fault.start_ns, stop],
            "value": fault.value,
        }

    def _roots(self, cause: dict[str, Any]) -> list[str]:
        """The ports a workload is the cause at: named, or the one that leads to its receiver.

        ``marking`` stands for the switch ports on its ways that marked, ``used`` for those between
        switches that it used.
        """
        if cause["roots"] in (["marking"], ["used"]):
            qps = [self.scenario.plan.connections[n].pair for n in cause["qps"]]
            end = None if cause["roots"] == ["marking"] else -1
            on_the_way = {port for pair in qps for way in pair.paths for port in way[1:end]}
            counted = self.built.state.queue["ecn_marked" if end is None else "tx_packets"]
            active = counted.sum(axis=1) > 0
            return sorted(port for port in on_the_way if active[self.built.port_of[port]])
        if cause["roots"] or not cause["receiver"]:
            return list(cause["roots"])
        port = self.built.port_of[str(self.scenario.plan.host_port(cause["receiver"]))]
        return [self.built.ports[self.built.state.port["peer"][port]]]


# what is set at one end of a cable only
ONE_SIDED = ("counter_fault", "ecn_never", "ecn_always", "headroom_misconfig", "no_pfc")
# fault kind -> class of cause where the names differ
CLASSES = {
    "link_down": "degraded_link",
    "ecn_never": "ecn_misconfig",
    "ecn_always": "ecn_misconfig",
    "no_pfc": "congestion_drop",
}


def topology_of(scenario: Scenario) -> dict[str, Any]:
    """Nodes and links as the labelled runs of others write them."""
    plan, cables = scenario.plan, scenario.fabric.links
    nodes = []
    for i, device in enumerate(scenario.fabric.devices.values()):
        node = {"name": device.name, "id": i, "role": device.role}
        node["kind"] = "host" if device.role == "host" else "switch"
        if device.role == "host":
            node["ip"] = plan.address(plan.host_port(device.name))
            ports = scenario.fabric.ports(device.name)
            if len(ports) > 1:
                node["addresses"] = {port.port: plan.address(port) for port in ports}
        nodes.append(node)
    links = []
    for link in cables:
        row: dict[str, Any] = {"a": str(link.a), "b": str(link.b), "bps": link.speed_bps}
        metres = link.length_m
        row["delay_ns"] = 1000 if metres != metres else round(metres / 0.198)
        row |= {k: v for k, v in (("rail", link.rail), ("plane", link.plane)) if v >= 0}
        links.append(row)
    return {"nodes": nodes, "links": links, "routing": scenario.fabric.routing}


def _json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
