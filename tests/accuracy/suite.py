"""The accuracy suite: drawn runs of every class, scored beside the labelled runs of other simulators.

    .venv/bin/python -m tests.accuracy.suite [--runs 125] [--seed N] [--write docs]

Draws so many runs of each class (the seed is printed), scores the independent runs into ``accuracy.md`` and
the drawn ones into ``accuracy_own.md``. Ends with status 2 where the third-party data is missing.
"""

import argparse
import os
import secrets
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from dashboards import cli
from tests.accuracy.families import FAMILIES, make
from tests.data import REAL_DATA

# Packets alone tell these; the transport's own suite (tests.sequence_accuracy) covers what counters cannot.
OF_PACKETS = frozenset(
    {"receiver_not_ready", "over_throttle", "tail_loss", "reordering", "sender_late", "receiver_late",
     "livelock"}
)  # fmt: skip


def drawn(folder: Path, job: tuple[str, int]) -> str:
    """Make one run; its name, or why it could not be made."""
    cls, seed = job
    try:
        make(cls, seed, folder / f"{cls}-{seed}")
    except RuntimeError as reason:
        return f"{cls}-{seed}: {reason}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=125, help="of each class")
    parser.add_argument("--seed", type=int, default=None, help="drawn and printed where not given")
    parser.add_argument("--write", type=Path, default=Path("docs"), help="folder of the pages")
    options = parser.parse_args()
    independent = REAL_DATA / "groundtruth"
    if not independent.is_dir():
        sys.stderr.write(f"{independent}: the labelled runs are not there (set FABRIC_REAL_DATA)\n")
        return 2
    seed = secrets.randbelow(1 << 30) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    status = cli.run(["score", str(independent), "--write", str(options.write / "accuracy.md")])
    jobs = [
        (cls, seed + n) for cls in FAMILIES if cls not in OF_PACKETS for n in range(options.runs)
    ]
    with tempfile.TemporaryDirectory(prefix="fabric-drawn-") as root:
        folder = Path(root) / "own_simulator"
        folder.mkdir()
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            for failure in pool.map(partial(drawn, folder), jobs, chunksize=4):
                if failure:
                    print(failure, flush=True)
        page = str(options.write / "accuracy_own.md")
        return max(status, cli.run(["score", str(folder), "--quick", "--write", page]))


if __name__ == "__main__":
    sys.exit(main())
