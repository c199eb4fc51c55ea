"""``fabric collect``: record what the fabric reports, keep it, and tell how each source fares."""

import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collectors.collecting import Collecting
    from dashboards.commands.collect_config import Loaded

LOOK_S = 1.0  # how often the configuration is looked at


def collect(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="TOML or YAML; see docs/collect.md.")
    ],
    status: Annotated[
        bool, typer.Option("--status", help="Show how the sources of a running collector fare.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Read the configuration, say what it asks for, and end.")
    ] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="List the paths that no dictionary knows.")
    ] = False,
    redecode: Annotated[
        bool,
        typer.Option(
            "--redecode", help="Decode the records again, after a change of dictionaries."
        ),
    ] = False,
    grafana: Annotated[
        bool, typer.Option("--grafana", help="Print a Grafana dashboard over our metrics.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --status, --check or --unknown: JSON.")
    ] = False,
) -> int:
    """Collect counters from switches and hosts until interrupted.

    What arrives is on disk before it is acknowledged. The configuration is read again when it changes;
    one that is wrong is reported and the old one goes on.

    Exit status: 0; with --status 1 where a source is not well, 2 where no collector runs.

    Example: fabric collect collect.toml & fabric collect collect.toml --status
    """
    from dashboards.commands.collect_config import load
    from dashboards.commands.collect_status import show

    loaded = load(config)
    if grafana:
        import json

        from dashboards.alerting.grafana import dashboard

        typer.echo(json.dumps(dashboard(), indent=1))
        return 0
    if status:
        return show(loaded.config.folder, as_json=as_json)
    if check:
        _describe(loaded, as_json=as_json)
        return 0
    if unknown or redecode:
        from dashboards.commands.collect_store import decode_again, show_unknown

        if loaded.store is None:
            raise ValueError(f"{config}: no [store]: nothing is decoded")
        place = (loaded.store, config.parent, loaded.config.folder)
        if redecode:
            decode_again(*place)
        if unknown:
            show_unknown(*place, as_json=as_json)
        return 0
    try:
        _collect(config, loaded)
    except (
        KeyboardInterrupt
    ):  # the way in which a collector ends; what is not kept, the next one keeps
        _say("ended")
    return 0


def _describe(loaded: "Loaded", *, as_json: bool) -> None:
    """What a configuration asks for."""
    import json

    from collectors.requests import asks

    config = loaded.config
    targets: list[dict[str, Any]] = [
        {"name": t.name, "address": t.address, "tls": t.tls is not None,
         "paths": [e.path for ask in asks(t) for e in ask.entries]}
        for t in config.targets
    ]  # fmt: skip
    listeners, events = [x.address for x in config.listeners], [x.source for x in config.events]
    if as_json:
        described = {"folder": str(config.folder), "name": config.name, "targets": targets,
                     "listen": listeners, "events": events}  # fmt: skip
        typer.echo(json.dumps(described))
        return
    for t in config.targets:
        paths = ", ".join(entry.path for ask in asks(t) for entry in ask.entries)
        typer.echo(f"{t.name}  {t.address}  {'TLS' if t.tls else 'plain'}  {paths}")
    for address in listeners:
        typer.echo(f"listens on {address}")
    for source in events:
        typer.echo(f"events from {source}")


def _collect(path: Path, loaded: "Loaded") -> None:
    import os

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's core logs beside the lines we print
    from collectors.collecting import collecting
    from dashboards.commands.collect_live import Beside
    from dashboards.commands.collect_store import Keeper

    hurry = threading.Event()  # SIGHUP: look at the configuration now
    signal.signal(signal.SIGHUP, lambda *_: hurry.set())
    keeper = Keeper(loaded.store, path.parent, loaded.config.folder) if loaded.store else None
    with ExitStack() as stack:
        running = stack.enter_context(collecting(loaded.config))
        beside = stack.enter_context(Beside(loaded, path.parent, running.snapshot))
        _announce(loaded, running)
        stamp, wrong = _stamp(loaded.files), ""
        while True:
            asked = hurry.wait(LOOK_S)
            hurry.clear()
            running.more.update(beside.step())
            if keeper:
                before, wrong = wrong, keeper.step()
                running.more["store"] = keeper.told
                if wrong and wrong != before:
                    _say(f"not kept yet: {wrong}")
            if (now := _stamp(loaded.files)) != stamp or asked:
                stamp = now
                loaded = _reload(path, loaded, running)


def _announce(loaded: "Loaded", running: "Collecting") -> None:
    config = loaded.config
    parts = [f"{len(config.targets)} targets"] if config.targets else []
    parts += [f"listening on port {port}" for port in running.ports.values()]
    parts += [f"events from {one.source}" for one in config.events]
    _say(f"recording into {config.folder}: {', '.join(parts)}")


def _stamp(files: tuple[Path, ...]) -> list[tuple[int, int]]:
    """What changes when one of the files does; a file that is being replaced may be away."""
    found = []
    for file in files:
        try:
            info = file.stat()
            found.append((info.st_mtime_ns, info.st_size))
        except OSError:
            found.append((0, 0))
    return found


def _reload(path: Path, loaded: "Loaded", running: "Collecting") -> "Loaded":
    """Change over to what the file says now, or go on with what was."""
    from dashboards.commands.collect_config import load

    try:
        fresh = load(path)
        running.reload(fresh.config)
    except (OSError, ValueError) as error:
        _say(f"not reloaded: {' '.join(str(error).split())}")
        return loaded
    _say(f"reloaded: {len(fresh.config.targets)} targets")
    return fresh


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()
