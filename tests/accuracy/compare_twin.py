"""The twin beside independent simulators: the same topology, flows and fault, what happens compared.

``python -m tests.accuracy.compare_twin [--write docs/twin.md]`` rebuilds labelled runs of the third-party
data in the twin and prints, for each: the ports that were paused and that marked in either, when the first
pause came, and how long flows took. The twin is not tuned to any of them: buffers and thresholds are
those the label names, the rest is what that family of simulators publishes: dynamic threshold 1/8, XOFF
without expiry, headroom of three cable delays, 4 KiB per ingress, marks that come back in the ACKs.
Random numbers differ, so the twin runs with several seeds and the table gives the range.
"""

import argparse
import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from fabric.cables import Port
from fabric.inventory import load
from fabric.simulator import state as st
from fabric.simulator.build import PROFILES, Built, Cable, Message, Switching, build
from fabric.simulator.faults import Fault, changes
from fabric.simulator.plan import Plan
from fabric.simulator.run import Change, Keep, simulate
from tests.data import REAL_DATA

RUNS = (
    "healthy_ring-s1", "healthy_poisson-s1", "all_to_all-s1", "incast15-s1", "inetx_incast15-s1",
    "inet_incast15-s1", "pfc_storm-s1", "inetx_pfc_storm-s1", "slow_receiver-s1",
    "inet_slow_receiver-s1", "slow_link-s1", "inetx_slow_link-s1", "lossy_link-s1",
    "ecmp_collision-s1", "pfc_ignored-s1", "ring_misplaced-s1", "cbd_deadlock-s1",
    "inet_cbd_deadlock-s1", "cbd_deadlock-s2", "multi_storm_incast-s1",
)  # fmt: skip
SEEDS = 6
HALF_PERIOD_NS = 50_000  # the slow receiver of these runs pauses 50 us of every 100


class Shape(NamedTuple):
    """What a run looked like."""

    paused: set[str]
    marking: set[str]
    first_xoff_ns: int  # -1 none
    fct_ns: dict[int, int]
    drops: int
    still_paused: set[str]


def theirs(folder: Path, label: dict) -> Shape:
    seen = label["observed_from_simulator"]
    with gzip.open(folder / "pfc_events.csv.gz", "rt") as file:
        times = [int(row["time_ns"]) for row in csv.DictReader(file) if "XOFF" in row["event"]]
    with (folder / "flows.csv").open() as file:
        fct = {
            int(row["flow_id"]): int(row["fct_ns"])
            for row in csv.DictReader(file)
            if row["completed"] == "1"
        }
    return Shape(
        set(seen["ports_paused_total_us"]), set(seen["ports_marking_ecn_pkts"]),
        min(times, default=-1), fct,
        sum(seen["mmu_ingress_drops"].values()) + sum(seen["ports_rx_crc_err"].values()),
        set(seen["ports_still_paused_at_end"]),
    )  # fmt: skip


def lay(folder: Path, label: dict, seed: int) -> tuple[Built, list[int]]:
    """The run in the twin.

    The way of the data is known. Replies are hashed on their own; where routes were laid by hand for a
    cycle they come back the way the data went (the taps of both kinds show it).
    """
    topology = json.loads((folder / "topology.json").read_text())
    devices = [(node["name"], node["kind"] == "host") for node in topology["nodes"]]
    cables = [Cable(x["a"], x["b"], x["bps"], x["delay_ns"]) for x in topology["links"]]
    plan = Plan(load([folder / "topology.json"]).fabric, seed)
    params = label["params"]
    free = {f"host{n}" for n in params.get("no_cc_hosts", [])}
    numbered = {node["id"]: node["name"] for node in topology["nodes"]}
    free |= {numbered[n] for n in params.get("no_cc_hosts", []) if n in numbered}
    pairs, messages, flows = [], [], []
    with (folder / "flows.csv").open() as file:
        for row in csv.DictReader(file):
            way = row["path"].split(">")
            pair = plan.connections[plan.connect(row["src"], row["dst"], ways=[way])].pair
            if label["cls"].startswith("cbd"):
                pair.back = [[str(plan.fabric.peer(Port.parse(port))) for port in reversed(way)]]
            pair.rate_control = row["src"] not in free
            pair.reply_priority = 3 if params.get("ack_in_prio") == 3 else 6
            pairs.append(pair)
            messages.append(Message(len(pairs) - 1, int(row["size_bytes"]), int(row["start_ns"])))
            flows.append(int(row["flow_id"]))
    switching = Switching(
        buffer_bytes=params["buffer_kb"] * 1024, alpha=0.125, refresh=0.0,
        reserve_bytes=4096, headroom_delays=3,
        headroom_apart=not label["simulator"].startswith("ns-3.17"),
        kmin_bytes_100g=params["kmin_kb_100g"] * 1000, kmax_bytes_100g=params["kmax_kb_100g"] * 1000, pmax=params["pmax"],
    )  # fmt: skip
    if not params.get("ecn", 1):
        switching.kmin_bytes_100g = switching.kmax_bytes_100g = 1 << 50
    # these simulators carry the mark back in every ACK; the CNPs of their captures were added later
    profile = PROFILES["ns3"]._replace(echo=True)
    return build(devices, cables, pairs, messages, switching, profile, seed=seed), flows


def faults(label: dict, built: Built) -> list[Change]:
    made: list[Fault] = []
    for entry in label.get("faults") or [label]:
        start, end = entry["window_ns"]
        for root in entry["root_ports"][:1]:
            cls = entry["cls"]
            if cls == "pfc_storm":
                made.append(Fault("pfc_storm", root.partition(":")[0], start, end))
            elif cls == "slow_receiver":
                host = root.partition(":")[0]
                made += [
                    Fault("pfc_storm", host, t, min(t + HALF_PERIOD_NS, end))
                    for t in range(start, end, 2 * HALF_PERIOD_NS)
                ]
            elif cls == "degraded_link_rate":
                made.append(Fault("degraded_link", root, start, end, 0.25))
            elif cls == "lossy_link":
                made.append(Fault("lossy_link", root, start, end, 0.001))
            elif cls == "pfc_misconfig_drop":
                made.append(Fault("pfc_ignored", root.partition(":")[0], 0))
    return changes(built, made)


def ours(folder: Path, label: dict, seed: int = 1) -> Shape:
    built, flows = lay(folder, label, seed)
    keep = Keep()
    end = label["sim_end_ns"]
    built.state.parameter[st.P_STORM_PS] = 1e15  # XOFF is said once there and holds until XON
    simulate(built, end, keep, interval_ns=end, changes=faults(label, built))
    queue, names = built.state.queue, np.array(built.ports)
    message = built.state.message
    pauses = np.concatenate(keep.pauses) if keep.pauses else np.zeros(0, st.PAUSE_LOG)
    xoffs = pauses["ps"][pauses["xoff"] == 1]
    done = (
        message["acked"] >= 0
    )  # the others stop the clock at the sender, when the last ACK is there
    fct = {
        flow: int(message["acked"][i] - message["earliest_ps"][i]) // 1000
        for i, flow in enumerate(flows)
        if done[i]
    }
    was_paused = (queue["rx_xoff"].sum(axis=1) > 0) | (queue["held_from"] != st.NEVER).any(axis=1)
    return Shape(
        set(names[was_paused]), set(names[queue["ecn_marked"].sum(axis=1) > 0]),
        int(xoffs.min()) // 1000 if len(xoffs) else -1, fct,
        sum(len(d) for d in keep.drops), set(names[(queue["held_from"] != st.NEVER).any(axis=1)]),
    )  # fmt: skip


def overlap(a: set[str], b: set[str]) -> float:
    """Shared over all: 1.0 where both are empty."""
    return len(a & b) / len(a | b) if a | b else 1.0


def compare(name: str, seeds: int = 1) -> tuple[Shape, Shape, str]:
    """Their shape, that of the twin with its first seed, and a line of the table."""
    folder = REAL_DATA / "groundtruth" / name
    label = json.loads((folder / "label.json").read_text())
    them = theirs(folder, label)
    tries = [ours(folder, label, seed) for seed in range(1, seeds + 1)]
    ratios = [
        us.fct_ns[f] / them.fct_ns[f] for us in tries for f in them.fct_ns.keys() & us.fct_ns.keys()
    ]
    near = sum(0.8 <= r <= 1.25 for r in ratios) / len(ratios) if ratios else float("nan")
    paused, marking = (
        f"{len(getattr(them, what))} / {_range([len(getattr(us, what)) for us in tries])} "
        f"({_range([overlap(getattr(them, what), getattr(us, what)) for us in tries])})"
        for what in ("paused", "marking")
    )
    cells = [
        name,
        label["simulator"].split()[0],
        paused,
        marking,
        f"{_us(them.first_xoff_ns)} / {_range([us.first_xoff_ns // 1000 for us in tries])}",
        f"{len(them.fct_ns)} / {_range([len(us.fct_ns) for us in tries])}",
        f"{median(ratios):.2f} ({near:.0%})" if ratios else "-",
        f"{them.drops} / {_range([us.drops for us in tries])}",
    ]
    return them, tries[0], f"| {' | '.join(cells)} |"


def _range(values: Sequence[float]) -> str:
    """``3`` or ``3..5``; shares with two digits, ``-`` for a time that did not come."""
    low, high = min(values), max(values)
    texts = [
        "-" if v == -1 else f"{v:.2f}" if isinstance(v, float) else str(v) for v in (low, high)
    ]
    return texts[0] if low == high else "..".join(texts)


def _us(ns: int) -> str:
    return "-" if ns < 0 else f"{ns / 1000:.0f}"


HEAD = """| run | simulator | ports paused theirs / ours (overlap) | ports marking (overlap) | first XOFF, us | \
flows done | median time ratio (within 0.8..1.25) | drops |
|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="write the table into this Markdown file")
    options = parser.parse_args()
    lines = [HEAD]
    print(HEAD, flush=True)
    for name in RUNS:
        lines.append(compare(name, SEEDS)[2])
        print(lines[-1], flush=True)
    if options.write:
        text = options.write.read_text()
        head, _, rest = text.partition("<!-- table -->\n")
        _, _, tail = rest.partition("<!-- end of table -->\n")
        table = "\n".join(lines)
        options.write.write_text(f"{head}<!-- table -->\n{table}\n<!-- end of table -->\n{tail}")


if __name__ == "__main__":
    main()
