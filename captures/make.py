"""Write every capture of this folder, and beside each what must be found in it.

``python -m captures.make`` writes here; ``python -m captures.make FOLDER`` elsewhere. The same bytes
every time: times, addresses and payloads are fixed, nothing is random.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from captures.makers import congestion, formats, headers, loss, pauses, services, timers, traps
from captures.makers.tape import Case

HERE = Path(__file__).resolve().parent
MAKERS = (
    *formats.CASES, *loss.CASES, *timers.CASES, *services.CASES, *headers.CASES, *congestion.CASES,
    *pauses.CASES, *traps.CASES,
)  # fmt: skip


def contents() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file that this folder must hold, makers and README aside."""
    for maker in MAKERS:
        made: Case = maker()
        yield from made.files.items()
        text = json.dumps(made.expected, indent=1)
        yield f"{made.name}.json", (text + "\n").encode()


def main(folder: Path) -> None:
    for name, data in contents():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
