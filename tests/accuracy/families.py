"""Labelled runs without number: a family per class of cause draws scenarios for the twin from a seed.

    .venv/bin/python -m tests.accuracy.families --out DIR [--class incast ...] [--runs 125] [--seed N]

or in a program::

    for cls in FAMILIES:
        label = make(cls, seed, Path("runs") / f"{cls}-{seed}")

Topology, sizes, speeds, buffers, load, and place, time and strength of the fault are drawn; the folder has
the form of ``fabric simulate``. What a drawn fault did is read off the engine's own state and provenance
(:mod:`tests.accuracy.truth`), never off a detector: one that did nothing is drawn again, so that every
label is true, and ``effect_observed_in_simulator`` says so. ``healthy`` and ``all_to_all`` are the
negatives; ``multi`` puts two or three faults of different classes into one fabric. The seed is the
only thing that decides: the same seed gives the same run. A run of 16 hosts and 2 ms takes half a
second. ``victim`` leaves a leaf and its hosts without telemetry, so that the pauses' cause is out of sight.
"""

import argparse
import json
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from fabric.simulator.build import Built
from fabric.simulator.faults import changes
from fabric.simulator.outputs import RunFolder
from fabric.simulator.run import simulate
from fabric.simulator.scenario import Scenario, parse
from tests.accuracy import causes
from tests.accuracy.draw import LAYOUTS, Place, background, layout, settings
from tests.accuracy.truth import calm, seen

TRIES = 40


class Family(NamedTuple):
    """How a class is drawn: what is added to a fabric under load, and on which fabrics."""

    add: Callable[[causes.Draft], None]
    kinds: Sequence[str] = LAYOUTS
    load: float = 0.3  # the most of the background, of line rate; 0 none


CLOS = ("clos2", "clos2", "clos3")
FAMILIES: dict[str, Family] = {
    "healthy": Family(lambda draft: None, (*LAYOUTS, "dragonfly"), 0.35),
    "all_to_all": Family(causes.all_to_all, LAYOUTS, 0),
    "contention": Family(causes.contention),
    "incast": Family(causes.incast),
    "pfc_backpressure": Family(causes.pfc_backpressure, load=0.2),
    "pfc_storm": Family(causes.pfc_storm, (*LAYOUTS, "dragonfly")),
    "slow_receiver": Family(causes.slow_receiver, (*LAYOUTS, "dragonfly")),
    "pcie_bottleneck": Family(causes.pcie_bottleneck, (*LAYOUTS, "dragonfly")),
    "receiver_not_ready": Family(causes.receiver_not_ready),
    "deadlock": Family(causes.deadlock, (), 0),
    "deadlock_fed": Family(causes.deadlock_fed, (), 0),
    "victim": Family(causes.victim, CLOS),
    "ecmp_collision": Family(causes.ecmp_collision, CLOS, 0.12),
    "polarization": Family(causes.polarization, ("clos3",), 0),
    "lossy_link": Family(causes.lossy_link, (*LAYOUTS, "dragonfly")),
    "congestion_drop": Family(causes.congestion_drop, CLOS),
    "watchdog_drop": Family(causes.watchdog_drop),
    "headroom_misconfig": Family(causes.headroom_misconfig, CLOS),
    "pfc_ignored": Family(causes.pfc_ignored, load=0.15),
    "ecn_misconfig": Family(causes.ecn_misconfig),
    "cnp_starvation": Family(causes.cnp_starvation),
    "over_throttle": Family(causes.over_throttle, load=0.15),
    "tail_loss": Family(causes.tail_loss, load=0),
    "reordering": Family(causes.reordering, CLOS, 0),
    "sender_late": Family(causes.sender_late, load=0),
    "receiver_late": Family(causes.receiver_late, load=0.1),
    "collective_hotspot": Family(causes.collective_hotspot, ("clos2",), 0),
    "rail_misplacement": Family(causes.rail_misplacement, ("rail_optimised",), 0),
    "degraded_link": Family(causes.degraded_link, (*LAYOUTS, "dragonfly")),
    "counter_fault": Family(causes.counter_fault),
    "livelock": Family(causes.livelock, load=0.15),
    "hostile_burst": Family(causes.hostile_burst),
    "multi": Family(causes.multi, CLOS, 0.2),
}


def draw(cls: str, seed: int, duration_us: int = 2000, interval_us: int = 50) -> dict[str, Any]:
    """A scenario of the class, as the table that a scenario file holds. KeyError for no such class."""
    family, rng = FAMILIES[cls], Random(f"{cls} {seed}")
    if not family.kinds:
        own = rng.choice((40, 45, 50)) if cls == "deadlock_fed" else 100
        place = Place(rng, causes.ring_of_switches(rng, own))
    else:
        place = Place(rng, layout(rng, family.kinds))
    text: dict[str, Any] = {
        "seed": rng.randrange(1 << 30),
        "duration_us": duration_us,
        "fabric": place.layout,
        **settings(rng, place),
        "workload": background(rng, place, duration_us, family.load) if family.load else [],
        "fault": [],
        "output": {"interval_us": interval_us},
    }
    family.add(causes.Draft(rng, place, text, duration_us))
    return text


def run(scenario: Scenario, folder: Path) -> tuple[Built, dict[str, Any]]:
    """Simulate into a folder; the engine's last state and the label."""
    built = scenario.build()
    with RunFolder(folder, scenario, built) as out:
        simulate(
            built, scenario.duration_ns, out, interval_ns=scenario.output.interval_ns,
            changes=changes(built, scenario.faults),
        )  # fmt: skip
        return built, out.finish()


def make(
    cls: str, seed: int, folder: Path, duration_us: int = 2000, interval_us: int = 50
) -> dict[str, Any]:
    """Write a run of the class whose label is true, drawing again while it is not; the label.

    RuntimeError where forty draws in a row had no effect.
    """
    for attempt in range(TRIES):
        try:
            text = draw(cls, seed * TRIES + attempt, duration_us, interval_us)
        except causes.Unfit:
            continue
        scenario = parse(text, f"{cls}-{seed}")
        shutil.rmtree(folder, ignore_errors=True)
        built, label = run(scenario, folder)
        if _true(cls, scenario, built, label):
            return _noted(folder, label, cls, attempt)
    raise RuntimeError(f"{cls}, seed {seed}: {TRIES} draws in a row without effect")


def _true(cls: str, scenario: Scenario, built: Built, label: dict[str, Any]) -> bool:
    if cls in ("healthy", "all_to_all"):
        return calm(scenario, built, label, planned=cls == "all_to_all")
    faults = [one for one in label["faults"] if seen(scenario, built, label, one)]
    classes = {one["cls"] for one in faults}
    if not faults or classes != {one["cls"] for one in label["faults"]}:
        return False
    label["faults"] = faults  # a setting of several ports: those where it mattered
    label["root_ports"] = sorted({port for one in faults for port in one["root_ports"]})
    label["window_ns"] = [
        min(one["window_ns"][0] for one in faults), max(one["window_ns"][1] for one in faults)
    ]  # fmt: skip
    label["cls"] = classes.pop() if len(classes) == 1 else "multi"
    return True


def _noted(folder: Path, label: dict[str, Any], cls: str, attempt: int) -> dict[str, Any]:
    if cls == "all_to_all":
        label["cls"] = cls
    label |= {"family": cls, "draws": attempt + 1, "effect_observed_in_simulator": True}
    (folder / "label.json").write_text(json.dumps(label, indent=1) + "\n")
    return label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--class", dest="classes", nargs="+", default=list(FAMILIES))
    parser.add_argument("--runs", type=int, default=1, help="of each class")
    parser.add_argument("--seed", type=int, default=None, help="drawn and printed where not given")
    parser.add_argument("--duration-us", type=int, default=2000)
    parser.add_argument("--interval-us", type=int, default=50)
    options = parser.parse_args()
    if unknown := set(options.classes) - FAMILIES.keys():
        sys.exit(f"no class {min(unknown)!r}; known: {', '.join(FAMILIES)}")
    seed = secrets.randbelow(1 << 31) if options.seed is None else options.seed
    print(f"seed {seed}")
    for cls in options.classes:
        begin, drawn = time.perf_counter(), 0
        for n in range(options.runs):
            folder = options.out / f"{cls}-{seed + n}"
            drawn += make(cls, seed + n, folder, options.duration_us, options.interval_us)["draws"]
        took = (time.perf_counter() - begin) / options.runs
        print(f"{cls:20} {options.runs} runs, {drawn} draws, {took:.2f} s each", flush=True)


if __name__ == "__main__":
    main()
