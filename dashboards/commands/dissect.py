"""One frame to its last field, as tshark reads it: through pyshark, in a process of its own.

pyshark keeps an asyncio loop that a crash or an endless tshark can take with it, so it runs in a
child process that is given a time limit; where it does not run at all, tshark's own text is shown.
Frames are counted per file, as everywhere here.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT_S = 60
COPY_BYTES = 1 << 20


def dissect(file: str, frame: int) -> str:
    """Text of all fields of one frame; ValueError or OSError where it cannot be had."""
    if shutil.which("tshark") is None:
        raise FileNotFoundError("tshark is not installed (apt-get install tshark)")
    if not Path(file).is_file():
        raise FileNotFoundError(f"{file}: no such file")
    with tempfile.TemporaryDirectory(prefix="fabric-") as folder:
        plain = _plain(file, Path(folder))
        for attempt in (_pyshark, _tshark):
            if text := attempt(plain, frame):
                return text
    raise ValueError(f"{file}: has no frame {frame}, or tshark cannot read it")


def _plain(file: str, folder: Path) -> str:
    """The file as tshark reads it: what it does not decompress by itself is copied plain."""
    from analyzers.capture.formats import compression
    from analyzers.capture.streams import open_stream

    with Path(file).open("rb") as head:
        packed = compression(head.read(16))
    if not packed:
        return file
    plain = folder / "capture"
    with open_stream(file) as stream, plain.open("wb") as copy:
        buffer = bytearray(COPY_BYTES)
        while count := stream.readinto(memoryview(buffer)):
            copy.write(buffer[:count])
    return str(plain)


def _pyshark(file: str, frame: int) -> str:
    """What pyshark says in a child process, or nothing."""
    command = [sys.executable, "-m", "dashboards.commands.pyshark_child", file, str(frame)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def _tshark(file: str, frame: int) -> str:
    command = ["tshark", "-n", "-r", file, "-Y", f"frame.number == {frame}", "-V"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.decode("utf-8", "replace")
