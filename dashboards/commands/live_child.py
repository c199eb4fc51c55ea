"""Process that diagnoses a store while it grows: ``python -m dashboards.commands.live_child TASK``.

It reads counters and the topology, and writes incidents beside the store; it knows nothing else. TASK
is JSON: store, options, state, topology, every_s, intervals. It ends when its parent has.
"""

import json
import os
import sys
import time
from pathlib import Path


def main(task: str) -> None:
    """Look at the newest readings again and again until the process is ended."""
    from analyzers.live import Live
    from analyzers.state import State
    from analyzers.store import Store
    from fabric.inventory import load

    given, parent = json.loads(task), os.getppid()
    fabric = load(given["topology"]).fabric
    with State(Path(given["state"])) as state:
        live = Live(Store(given["store"], given["options"]), state, fabric, given["intervals"])
        while os.getppid() == parent:
            begin = time.monotonic()
            try:
                live.step()
            except OSError as error:  # the store is busy or not there yet: the next look finds it
                sys.stderr.write(f"diagnosis: {' '.join(str(error).split())}\n")
            time.sleep(max(given["every_s"] - (time.monotonic() - begin), 0.05))


if __name__ == "__main__":
    main(sys.argv[1])
