"""Write a capture for the benchmarks: ``python -m benchmarks.make_file --packets 5000000 big.pcap``.

``-`` writes to standard output, for an endless-looking pipe. ``--payload 4096 --snap 4200`` makes
full-size frames. About a second and a half per million packets of 128 bytes.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.traffic import capture


def make(path: str, packets: int, snap: int = 128, payload: int = 1024, pairs: int = 4096) -> None:
    """Write ``packets`` packets to a file, or to standard output where ``path`` is ``-``."""
    pieces = capture(packets, snap=snap, payload=payload, pairs=pairs)
    if path == "-":
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        return
    with Path(path).open("wb") as file:
        for piece in pieces:
            file.write(piece)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path")
    parser.add_argument("--packets", type=int, default=5_000_000)
    parser.add_argument("--snap", type=int, default=128, help="captured bytes per packet")
    parser.add_argument("--payload", type=int, default=1024, help="path MTU in bytes")
    parser.add_argument("--pairs", type=int, default=4096, help="queue pairs")
    given = parser.parse_args()
    make(given.path, given.packets, given.snap, given.payload, given.pairs)


if __name__ == "__main__":
    main()
