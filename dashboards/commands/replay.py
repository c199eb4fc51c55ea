"""``fabric replay``: serve the counters of a recorded run over gNMI, as if its devices were there."""

import sys
from concurrent.futures import wait as wait_for
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashboards.commands.values import duration

if TYPE_CHECKING:
    from collectors.server import Options, Replay
    from collectors.timeline import Timeline

Cert = Annotated[Path | None, typer.Option(metavar="FILE", help="Serve TLS with this certificate.")]
Key = Annotated[Path | None, typer.Option(metavar="FILE", help="Private key of the certificate.")]
Ca = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Admit only clients certified by this authority.")
]  # fmt: skip


def replay(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A run: of fabric simulate, or a labelled one.")
    ],
    platform: Annotated[
        str, typer.Option(help="Whose paths: openconfig (with Arista's PFC) or sonic.")
    ] = "openconfig",
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Of the first device; the others follow.")
    ] = "127.0.0.1:57400",
    speed: Annotated[
        float | None,
        typer.Option(
            metavar="FACTOR", help="Device seconds in one of ours; one reading a second by default."
        ),
    ] = None,
    interval: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Devices refresh only this often (device time, like 1ms)."
        ),
    ] = "",
    wait: Annotated[
        int, typer.Option(metavar="N", help="Time stands still until N targets are subscribed to.")
    ] = 1,
    loop: Annotated[
        bool, typer.Option("--loop", help="Start over at the end; counters grow on.")
    ] = False,
    one_port: Annotated[
        bool,
        typer.Option("--one-port", help="One listener; the target of a request names the device."),
    ] = False,
    targets: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the targets there, as TOML.")
    ] = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    tls_client_ca: Ca = None,
    user: Annotated[str, typer.Option(help="Demand this user...")] = "",
    password: Annotated[
        str, typer.Option(envvar="FABRIC_REPLAY_PASSWORD", help="...with this password.")
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the targets as one JSON object.")
    ] = False,
) -> None:
    """Serve the counters of a run over gNMI, one target per device.

    Only the delivery is stretched: timestamps and sample intervals are the run's own time. Ends when
    the run is over and delivered; with --loop never.

    Example: fabric replay runs/storm --platform sonic --targets targets.toml
    """  # fmt: skip
    import os

    from analyzers.telemetry.labelled_runs import read_counters
    from analyzers.telemetry.timelines import thin, timelines

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's core logs beside the one line we print
    from collectors.server import Options, serving

    counters = read_counters(folder)
    if interval:
        counters = thin(counters, duration(interval, "--interval"))
    devices = timelines(counters, hosts_of(folder))
    if not devices:
        raise ValueError(f"{folder}: no readings in it")
    host, port = _address(listen, 1 if one_port else len(devices))
    refresh_ns = max(device.interval_ns for device in devices)
    options = Options(
        platform=platform, host=host, port=port, single=one_port, loop=loop, wait=wait,
        speed=refresh_ns / 1e9 if speed is None else speed,
        cert=tls_cert, key=tls_key, client_ca=tls_client_ca, user=user, password=password,
    )  # fmt: skip
    with serving(devices, options) as served:
        described = _described(served, options, refresh_ns)
        if targets:
            _write(targets, described)
        _announce(described, devices, as_json)
        _watch(served)
    if not as_json:
        typer.echo(f"the run is over; {served.session.sent} responses sent")


def hosts_of(folder: Path) -> set[str]:
    """Devices of the run that are no switches; none where it brings no topology."""
    from fabric.inventory import load

    path = folder / "topology.json"
    return set(load([path]).fabric.named("host")) if path.is_file() else set()


def _address(text: str, count: int) -> tuple[str, int]:
    """Host and first port of ``HOST:PORT``, with room for ``count`` ports; port 0 takes free ones."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise ValueError(f"--listen {text}: write it like 127.0.0.1:57400")
    if int(port) + count - 1 > 65535:
        raise ValueError(f"--listen {text}: {count} ports from there on do not exist")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _described(served: "Replay", options: "Options", refresh_ns: int) -> dict[str, Any]:
    return {
        "platform": options.platform,
        "speed": options.speed,
        "interval_ns": refresh_ns,
        "tls": options.cert is not None,
        "targets": [{"name": e.device, "address": e.address} for e in served.endpoints],
    }


def _write(path: Path, described: dict[str, Any]) -> None:
    """The targets as TOML, whole or not at all. JSON's strings, numbers and booleans are TOML's too."""
    import json

    lines = [
        "# Targets of fabric replay. speed: device seconds in one of ours; staleness is in ours,"
    ]
    lines += [
        "# sample intervals and timestamps are device time. interval_ns: the devices' refresh."
    ]
    for name, value in described.items():
        if name != "targets":
            lines.append(f"{name} = {json.dumps(value)}")
    for target in described["targets"]:
        lines += ["", "[[targets]]"]
        lines += [f"{name} = {json.dumps(v, ensure_ascii=False)}" for name, v in target.items()]
    partial = path.with_name(path.name + ".partial")
    partial.write_text("\n".join(lines) + "\n")
    partial.replace(path)


def _announce(described: dict[str, Any], devices: "list[Timeline]", as_json: bool) -> None:
    """Say where to subscribe; at once, because a collector may be waiting for this."""
    import json

    if as_json:
        typer.echo(json.dumps(described))
    else:
        first = min(device.times[0] for device in devices)
        last = max(device.times[-1] for device in devices)
        took_s = (last - first) / 1e9 / described["speed"]
        width = max(len(target["name"]) for target in described["targets"])
        for target in described["targets"]:
            typer.echo(f"{target['name']:<{width}}  {target['address']}")
        typer.echo(
            f"{len(devices)} devices as {described['platform']}; a reading every "
            f"{_time(described['interval_ns'])} of device time, {_time(last - first)} delivered in "
            f"{_time(round(took_s * 1e9))}"
        )
    sys.stdout.flush()


def _time(ns: int) -> str:
    for unit, size in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if ns >= size:
            return f"{ns / size:.6g} {unit}"
    return f"{ns} ns"


def _watch(served: "Replay") -> None:
    """Wait for the end of the run, with a progress bar where somebody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    text = TextColumn("{task.description}")
    console = Console(stderr=True)
    bar = Progress(text, BarColumn(), TimeRemainingColumn(), console=console, transient=True)
    with bar if console.is_terminal else nullcontext():
        task = bar.add_task("", total=1.0)
        while wait_for([served.done], timeout=0.5).not_done:
            streams, sent = len(served.session.streams), served.session.sent
            state = f"streams {streams}, responses {sent}" if streams else "waiting for subscribers"
            bar.update(task, completed=served.progress, description=state)
