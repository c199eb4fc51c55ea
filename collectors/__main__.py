"""``python -m collectors``: the agent on a switch or a host."""

import argparse
import json
import os
import sys
from pathlib import Path

EXAMPLES = """\
examples:
  python -m collectors sonic --server 10.0.0.1:57500 --buffer /var/lib/fabric
  python -m collectors rdma --server a:57500 --server b:57500 --tls-ca ca.pem
  python -m collectors sonic --once        # one reading as JSON, nothing is sent
  python -m collectors capture eth2 --out captures
"""


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    made = argparse.ArgumentParser(
        prog="python -m collectors",
        description="Read the counters of this switch or host and publish them; capture frames.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(dest="source", required=True, metavar="{sonic,rdma,capture}")
    sonic = commands.add_parser("sonic", help="a SONiC switch, from its Redis")
    sonic.add_argument("--database-config", type=Path, metavar="FILE",
                       help="SONiC's database_config.json or database_global.json")  # fmt: skip
    rdma = commands.add_parser("rdma", help="the RDMA NICs of a host")
    rdma.add_argument("--sysfs", type=Path, default=Path("/sys"), help=argparse.SUPPRESS)
    for one in (sonic, rdma):
        _publishing(one)
    _capturing(
        commands.add_parser("capture", help="RoCE and pause frames into rotating pcapng files")
    )
    return made


def _publishing(made: argparse.ArgumentParser) -> None:
    made.add_argument("--server", action="append", default=[], metavar="HOST:PORT",
                      help="where to publish; several are tried in turn")  # fmt: skip
    made.add_argument("--interval", type=_seconds, default=1.0, metavar="SECONDS",
                      help="time between readings (default 1)")  # fmt: skip
    made.add_argument("--device", default="", help="name to report (default: its own)")
    made.add_argument("--buffer", type=Path, metavar="DIR",
                      help="keep readings there while no server listens")  # fmt: skip
    made.add_argument(
        "--buffer-mb", type=int, default=256, metavar="MB", help="at most (default 256)"
    )
    made.add_argument(
        "--tls", action="store_true", help="TLS, verified by the system's authorities"
    )
    made.add_argument("--tls-ca", type=Path, metavar="FILE", help="TLS, verified by this authority")
    made.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate to show")
    made.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key")
    made.add_argument(
        "--tls-name", default="", metavar="NAME", help="name in the server's certificate"
    )
    made.add_argument("--tls-skip-verify", action="store_true", help="trust any certificate")
    made.add_argument("--user", default="", help="user; the password is read from FABRIC_PASSWORD")
    made.add_argument("--once", action="store_true", help="print one reading and end")


def _capturing(made: argparse.ArgumentParser) -> None:
    made.add_argument("interface", help="network interface; root's rights are needed")
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the files")
    made.add_argument("--payload", action="store_true", help="keep payloads too (they are private)")
    made.add_argument(
        "--filter",
        default="",
        metavar="EXPR",
        help="tcpdump's language; RoCE and pauses by default",
    )
    made.add_argument(
        "--file-mb", type=int, default=100, metavar="MB", help="a file's size (default 100)"
    )
    made.add_argument(
        "--file-seconds", type=float, default=60, metavar="S", help="its age (default 60)"
    )
    made.add_argument(
        "--files", type=int, default=100, metavar="N", help="how many are kept (default 100)"
    )
    made.add_argument("--seconds", type=float, default=0, metavar="S", help="end after so long")
    made.add_argument(
        "--dumpcap", action="store_true", help="by Wireshark's dumpcap, for fast mirror ports"
    )


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError("between 0.1 and 3600 seconds")
    return value


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 with one line that says why."""
    given = parser().parse_args(arguments)
    try:
        return _run(given)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"collectors: {' '.join(str(error).split())}\n")
        return 2


def _capture(given: argparse.Namespace) -> int:
    """Capture until interrupted, and say what was seen."""
    import signal
    import threading

    from collectors.capture import CaptureOptions, capture, dumpcap

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if given.seconds:
        threading.Timer(given.seconds, stop.set).start()
    options = CaptureOptions(
        given.interface, given.out, given.payload, given.filter, given.file_mb << 20,
        given.file_seconds, given.files,
    )  # fmt: skip
    if given.dumpcap:
        sys.stderr.write(dumpcap(options, stop) + "\n")
        return 0
    seen = capture(options, stop, lambda text: print(text, file=sys.stderr, flush=True))  # noqa: T201
    sys.stderr.write(
        f"{seen.frames} frames ({seen.roce} RoCE, {seen.pauses} pause), {seen.dropped} dropped by the "
        f"kernel, {seen.files} files in {given.out}\n"
    )
    return 0


def _run(given: argparse.Namespace) -> int:
    if given.source == "capture":
        return _capture(given)
    from collectors.rdma import Rdma, RdmaOptions
    from collectors.sonic import CONFIG, Sonic, SonicOptions

    interval_ns = round(given.interval * 1e9)
    source: SonicOptions | RdmaOptions
    if given.source == "sonic":
        config = given.database_config or CONFIG
        source = SonicOptions(config, given.device, interval_ns)
    else:
        source = RdmaOptions(given.sysfs, given.device, interval_ns)
    if given.once:
        reader = Sonic(source) if isinstance(source, SonicOptions) else Rdma(source)
        for _, body in reader.readings():
            sys.stdout.write(json.dumps(body, indent=1) + "\n")
        return 0
    if not given.server:
        raise ValueError("--server HOST:PORT is needed (or --once)")

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's core logs beside the lines we print
    from collectors.agent import AgentOptions, serve
    from collectors.config import Tls
    from collectors.publisher import Servers

    tls = None
    if given.tls or given.tls_ca or given.tls_cert or given.tls_skip_verify:
        tls = Tls(
            given.tls_ca, given.tls_cert, given.tls_key, given.tls_skip_verify, given.tls_name
        )
    password = os.environ.get("FABRIC_PASSWORD", "")
    servers = Servers(tuple(given.server), tls, given.user, password)
    serve(AgentOptions(source, servers, given.buffer, given.buffer_mb << 20))
    return 0


if __name__ == "__main__":
    sys.exit(main())
