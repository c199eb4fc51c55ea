"""Runs through the masks, the child process, and back into outcomes."""

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from dashboards.score.masks import Mask, masked
from dashboards.score.outcome import Outcome, compare
from dashboards.score.truth import Truth

FIVE: Final = 5  # samples that a fault must span to be scored at a slower interval

TIERS: Final = (Mask("a", nominal=True), Mask("b", nominal=True), Mask("c", phase=False))
HARDER: Final = (
    Mask("b"),
    Mask("b", slower=2, nominal=True),
    Mask("b", slower=5, nominal=True),
    Mask("b", silent=0.1, nominal=True),
    Mask("b", silent=0.3, nominal=True),
    Mask("a", slower=2, nominal=True),
    Mask("a", silent=0.1, nominal=True),
    Mask("a", silent=0.3, nominal=True),
    Mask("d", taps=True, counters=False),
    Mask("e", nominal=True, taps=True),
)


def spans(truth: Truth, mask: Mask) -> bool:
    """Whether every fault of a run still spans five samples."""
    step = truth.interval_ns * mask.slower
    if mask.taps and not any(truth.folder.glob("tap_*.pcap*")):
        return False
    return all(fault.end_ns - fault.start_ns >= FIVE * step for fault in truth.faults)


def score(
    truths: Sequence[Truth],
    mask: Mask,
    seed: int,
    history: bool = False,
    step: Callable[[], None] | None = None,
) -> list[Outcome]:
    """Diagnose masked copies of the runs in one process of its own, and hold the answers against them."""
    wanted = [truth for truth in truths if spans(truth, mask)]
    if not wanted:
        return []
    with tempfile.TemporaryDirectory(prefix="fabric-score-") as folder:
        copies = {}
        for number, truth in enumerate(wanted):
            copy = Path(folder) / secrets.token_hex(6)
            _copy(truth, copy, mask, seed + number)
            copies[copy.name] = truth
            if step:
                step()
        told = _ask([Path(folder) / name for name in copies], history)
    return [compare(truth, told[name], mask.counters) for name, truth in copies.items()]


def _copy(truth: Truth, folder: Path, mask: Mask, seed: int) -> None:
    """A copy without label, flows, provenance or name: topology, counters, captures of taps."""
    from analyzers.telemetry.labelled_runs import read_counters

    folder.mkdir()
    text = (truth.folder / "topology.json").read_text()
    (folder / "topology.json").write_text(text)
    if mask.taps:
        for tap in sorted(truth.folder.glob("tap_*.pcap*")):
            shutil.copyfile(tap, folder / tap.name)
    if not mask.counters:
        return
    left = masked(read_counters(truth.folder), set(truth.hosts), mask, seed)
    left.write_parquet(folder / "counters.parquet", compression="lz4")


def _ask(folders: Sequence[Path], history: bool) -> dict[str, dict[str, Any]]:
    """What the child process says, by folder name. RuntimeError with its last line where it fails."""
    command = [sys.executable, "-m", "dashboards.score.child", *map(str, folders)]
    done = subprocess.run(
        [*command, "--history"] if history else command, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the diagnosis failed: {done.stderr.strip().splitlines()[-1:]}")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["folder"]: line for line in lines}


def counters_of(truth: Truth) -> pl.DataFrame:
    """COUNTERS of a run as it is."""
    from analyzers.telemetry.labelled_runs import read_counters

    return read_counters(truth.folder)
