"""DCQCN seen from outside: allowed rates rebuilt from CNPs, against the twin's own registers."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analyzers.congestion.profiles import PROFILES
from analyzers.congestion.rates import rate_control
from analyzers.congestion.reaction import Reaction
from analyzers.frames import schema
from analyzers.pipeline import Options, analyze
from analyzers.tables import tables
from fabric.schema import RATE_CONTROL
from fabric.simulator.build import Built
from fabric.simulator.outputs import RunFolder
from fabric.simulator.run import simulate
from fabric.simulator.scenario import parse
from tests.collective_rig import FABRIC, GBPS, draw

WINDOW_NS = 100_000
STEP_NS = 5_000
LINE = GBPS * 1e9


class Watched(RunFolder):
    """A run whose registers are read at every sample."""

    def sample(self, time_ns: int, built: Built) -> None:
        super().sample(time_ns, built)
        self.__dict__.setdefault("seen", []).append((time_ns, built.state.qp["rate"].copy()))


@pytest.mark.parametrize("profile", ["nic", "ns3", "paper"])
def test_rates_of_the_twin_are_rebuilt(profile: str, tmp_path: Path) -> None:
    rng = draw()
    senders = [f"host{n}" for n in rng.sample(range(4, 16), rng.randint(3, 4))]
    plan = parse(
        {
            "seed": rng.randint(1, 10**6), "duration_us": 1500, "fabric": dict(FABRIC),
            "switching": {"buffer_bytes": 8 << 20}, "traffic": {"profile": profile, "mtu": 4096},
            "workload": [{"kind": "incast", "senders": senders, "receiver": "host0", "size": 64 << 20,
                          "spread_us": 200}],
            "output": {"taps": [f"{host}:1" for host in senders], "interval_us": STEP_NS // 1000},
        },
        "incast",
    )  # fmt: skip
    built = plan.build()
    with Watched(tmp_path, plan, built) as out:
        simulate(built, plan.duration_ns, out, interval_ns=plan.output.interval_ns)
        truth = np.array([rates for _, rates in out.__dict__["seen"]])
    options = Options(speed_bps=GBPS * 10**9, window_ns=WINDOW_NS)
    with analyze([str(path) for path in sorted(tmp_path.glob("tap_*.pcap"))], options) as run:
        named = rate_control(run.tables, profile)
        fitted = rate_control(run.tables)
        flows = run.tables.flows.select("flow", "src", "requests").collect()
    assert named["flow"].n_unique() == len(senders)
    errors = []
    base = plan.output.start_ns
    for number, connection in enumerate(plan.plan.connections):
        own = (
            flows.filter(src=connection.source_ip).filter(pl.col("requests") > 0)["flow"].to_list()
        )
        rows = named.filter(pl.col("flow").is_in(own), pl.col("start") > base + 400_000)
        for start, width, rate in rows.select("start", "width_ns", "rate_bps").iter_rows():
            first = (start - base) // STEP_NS
            true = truth[first : first + width // STEP_NS, number].mean()
            errors.append(abs(rate - true) / true)
    print(profile, len(errors), np.median(errors), np.quantile(errors, 0.95))
    assert np.median(errors) < 0.05
    assert np.quantile(errors, 0.95) < 0.15
    assert fitted["profile"].unique().to_list() == [profile]


def test_a_cnp_halves_a_fresh_rate_and_recovery_goes_half_way() -> None:
    paper = Reaction(PROFILES["paper"], LINE)
    paper.advance(1_000_000, 0)
    paper.cnp()
    assert paper.rate == pytest.approx(LINE / 2)
    assert paper.goal == LINE
    paper.advance(1_000_000 + 55_000, 0)
    assert paper.rate == pytest.approx(0.75 * LINE)
    nic = Reaction(PROFILES["nic"], LINE)
    nic.cnp()
    assert nic.rate == LINE  # it looks only at the end of its period
    nic.advance(4_000, 0)
    assert nic.rate == pytest.approx(LINE / 2, rel=0.02)


@pytest.mark.parametrize(("profile", "half_life_ns"), [("paper", 9.74e6), ("nic", 142e3)])
def test_alpha_forgets_as_fast_as_the_literature_says(profile: str, half_life_ns: float) -> None:
    reaction = Reaction(PROFILES[profile], LINE)
    reaction.cnp()
    reaction.advance(round(half_life_ns) + 1000, 0)
    assert reaction.alpha == pytest.approx(0.5, rel=0.02)


def test_nothing_heard_is_nothing_rebuilt() -> None:
    rows = rate_control(tables())
    assert rows.schema == schema(RATE_CONTROL)
    assert rows.is_empty()
