"""What README shows is what the commands print, and every command it names exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

from analyzers.detectors import DETECTORS
from tests.data import ROOT

TEXT = (ROOT / "README.md").read_text()
FABRIC = str(Path(sys.executable).with_name("fabric"))


def test_the_result_on_the_first_screen_is_what_is_printed() -> None:
    block = TEXT.split("```text\n")[1].split("```")[0].splitlines()
    command, shown = (
        block[0].removeprefix("$ fabric "),
        [line for line in block[1:] if line != "..."],
    )
    words = [w for part in command.split() for w in (sorted(map(str, ROOT.glob(part))) or [part])]
    done = subprocess.run(
        [FABRIC, *words], cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"COLUMNS": "100"},
    )  # fmt: skip
    printed = [line.rstrip() for line in done.stdout.splitlines()]
    assert printed[: len(shown)] == [line.rstrip() for line in shown]


def test_every_command_it_names_is_there() -> None:
    for name in set(re.findall(r"\.venv/bin/fabric (\w+)", TEXT)):
        done = subprocess.run([FABRIC, name, "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, name


def test_every_document_it_links_is_there() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (ROOT / target).is_file(), target


def test_every_detector_has_a_row() -> None:
    table = TEXT.split("## What it finds")[1].split("##")[0].lower()
    for module in DETECTORS:
        name = module.__name__.rpartition(".")[2]
        assert any(word in table for word in ROWS.get(name, name).replace("_", " ").split("|")), (
            name
        )


# detectors whose row speaks in other words
ROWS = {
    "receiver_not_ready": "receiver not ready",
    "nak_errors": "fatal nak",
    "retransmission": "spurious retransmission",
    "timeouts": "timeouts",
    "pause_pressure": "pressure",
    "pauses_seen": "how each hold ended",
    "cnp": "cnps explained",
    "capture_faults": "drops of the capturing system",
    "one_sided": "one-sided",
    "undecided": "ambiguous",
    "mirror_copies": "never guessed",
    "qp_reuse": "ambiguous",
    "late_rank": "late rank",
}
