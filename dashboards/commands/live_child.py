"""Process that diagnoses a store while it grows: ``python -m dashboards.commands.live_child STORE TOPOLOGY EVERY_S``.

It reads counters and the topology, and writes incidents beside the store; it knows nothing else.
"""

import sys
import time
from pathlib import Path


def main(store: str, topology: str, every: str) -> None:
    """Look at the newest readings again and again until the process is ended."""
    from analyzers.live import Live
    from analyzers.state import State
    from analyzers.store import Store
    from fabric.inventory import load

    fabric = load([topology]).fabric
    with State(Path(store) / "state.sqlite") as state:
        live = Live(Store(store), state, fabric)
        while True:
            begin = time.monotonic()
            try:
                live.step()
            except OSError as error:  # the store is busy or not there yet: the next look finds it
                sys.stderr.write(f"{error}\n")
            time.sleep(max(float(every) - (time.monotonic() - begin), 0.05))


if __name__ == "__main__":
    main(*sys.argv[1:4])
