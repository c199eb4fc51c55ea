"""One frame to its last field, as tshark reads it: through pyshark, in a process of its own.

Only that frame is handed over, in a file of its own: tshark counts blocks of pcapng that are no packets
(custom blocks, records of other kinds), so its frame numbers are not ours, and what we can decompress
it need not be able to. pyshark keeps an asyncio loop that a crash or an endless tshark can take with it, so
it runs in a child process that is given a time limit; where it does not run at all, tshark's own text
is shown.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from analyzers.capture.source import Tap

LIMIT_S = 60
NUMBER = re.compile(r"(?m)^(Frame |    Frame Number: )1\b")


class Cut(NamedTuple):
    """One frame of a capture."""

    link_type: int
    ts: int  # ns
    data: bytes  # as far as it was captured
    wire_bytes: int


def dissect(file: str, tap: "Tap", frame: int) -> str:
    """Text of all fields of one frame; ValueError or OSError where it cannot be had."""
    if shutil.which("tshark") is None:
        raise FileNotFoundError("tshark is not installed (apt-get install tshark)")
    cut = _cut(file, tap, frame)
    with tempfile.TemporaryDirectory(prefix="fabric-") as folder:
        single = Path(folder) / "frame.pcapng"
        _write(single, cut)
        for attempt in (_pyshark, _tshark):
            if text := attempt(single, frame):
                return text
    raise ValueError(f"{file}: tshark cannot read frame {frame}")


def _cut(file: str, tap: "Tap", frame: int) -> Cut:
    """Find a frame by its number; the file is read up to there."""
    import numpy as np

    from analyzers.capture.batch import UNDESCRIBED, make_batch
    from analyzers.capture.reader import Reader

    reader, batch = Reader(tap.paths), make_batch()
    for rows in reader.windows(batch):
        for row in np.flatnonzero(batch.frame[:rows] == frame).tolist():
            if batch.iface[row] == UNDESCRIBED:
                raise ValueError(
                    f"{file}: frame {frame} names an interface that was never described"
                )
            at, iface = int(batch.offset[row]), int(batch.iface[row])
            data = reader.window[at : at + int(batch.captured[row])].tobytes()
            link_type = reader.interfaces[iface].link_type
            return Cut(link_type, int(batch.ts[row]), data, int(batch.wire[row]))
    damage = f" before the damage ({reader.damage})" if reader.damage else ""
    raise ValueError(f"{file}: has no frame {frame}{damage}, the last is {reader.packets}")


def _write(path: Path, cut: Cut) -> None:
    """A capture of this frame alone."""
    from fabric.pcap import PcapngWriter

    with PcapngWriter(path) as writer:
        writer.section()
        writer.interface(cut.link_type)
        writer.packet(max(cut.ts, 0), cut.data, max(cut.wire_bytes, len(cut.data)))


def _pyshark(single: Path, frame: int) -> str:
    """What pyshark says in a child process, or nothing."""
    child = "dashboards.commands.pyshark_child"
    return _said([sys.executable, "-m", child, str(single), str(frame)])


def _tshark(single: Path, frame: int) -> str:
    return NUMBER.sub(rf"\g<1>{frame}", _said(["tshark", "-n", "-r", str(single), "-V"]))


def _said(command: list[str]) -> str:
    """Output of a command; nothing where it fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
