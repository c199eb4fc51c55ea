"""``fabric warm``: compile every kernel ahead, so that the first analysis starts at once."""

import sys
import tempfile
import time
from pathlib import Path

import typer


def warm() -> None:
    """Compile all kernels into the cache folder; later runs load them from there.

    Example: fabric warm
    """
    from analyzers.detectors import run_detectors
    from analyzers.pipeline import Options, analyze
    from dashboards.commands.interrupt import interruptible
    from fabric.kernel import cache_folder

    interruptible()

    begin = time.perf_counter()
    options = Options(packets=True, icrc=True, jobs=1)
    with tempfile.TemporaryDirectory(prefix="fabric-warm-") as folder:
        _write(Path(folder))
        with analyze([folder], options) as run:
            if run.refused:
                raise ValueError(run.refused[0])
            run_detectors(run.tables)
    _counters()
    took = time.perf_counter() - begin
    typer.echo(f"kernels ready in {took:.1f} s: {cache_folder()}", file=sys.stderr)


def _counters() -> None:
    """A batch of one empty gNMI message, and tables of names that grow."""
    from analyzers.telemetry.batch import batch_of
    from analyzers.telemetry.decode import Decoder
    from analyzers.telemetry.intern import grown
    from analyzers.telemetry.rows import make_names
    from collectors.records import Method

    Decoder().decode(batch_of([("", Method.GNMI, b"", 0, 1)]))
    grown(make_names(4, 64, 1))


def _write(folder: Path) -> None:
    """Two small captures, pcap and pcapng, that take every kernel through its first call."""
    from fabric import wire
    from fabric.codes import Operation
    from fabric.pcap import PcapngWriter, PcapWriter
    from fabric.roce import Route, cnp, roce

    out = Route("10.0.0.1", "10.0.0.2")
    back = out.back()
    frames = [
        roce(out, Operation.SEND_ONLY, 0x11, 1, payload=bytes(64), ack_request=True),
        roce(back, Operation.ACKNOWLEDGE, 0x22, 1, extended=wire.aeth()),
        cnp(back, 0x22),
        wire.pfc("02:00:00:00:00:01", {3: 100}),
    ]
    stamped = [(1_000 * n, frame, len(frame)) for n, frame in enumerate(frames, 1)]
    with PcapWriter(folder / "warm.pcap") as plain:
        plain.write_many(stamped)
    with PcapngWriter(folder / "warm.pcapng") as blocks:
        blocks.section()
        blocks.interface()
        blocks.write_many(stamped)
