"""``fabric dashboard``: the findings, the fabric and the evidence in a browser."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from socket import socket

    from dashboards.serving.serve import Serving
    from dashboards.source import Reader
    from fabric.inventory import Inventory

CONFIGURATIONS = (".toml", ".yaml", ".yml")


def dashboard(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STORE | CONFIG | RUN | CAPTURES...]",
            help="A store that collectors write or their configuration, a simulated run, a folder kept by analyze --out, or "
            "captures.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 8050,
    users: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ask for a password; users and hashes.")
    ] = None,
    trusted_header: Annotated[
        str, typer.Option(metavar="NAME", help="Header in which a reverse proxy names the user.")
    ] = "",
    trusted_proxy: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="The proxy that is believed.")
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Host names browsers use for this server."),
    ] = None,
    speed: Annotated[
        list[str] | None,
        typer.Option(metavar="[POINT=]400G", help="Speed of the links, of captures."),
    ] = None,
    topology: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH", help="What describes the fabric of a store (docs/topology.md)."
        ),
    ] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Offer the captures in this folder for analysis."),
    ] = None,
    upload_limit: Annotated[str, typer.Option(metavar="SIZE", help="Of one upload.")] = "8G",
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep uploads, results and notes here.")
    ] = None,
    hash_password: Annotated[
        str,
        typer.Option(metavar="USER", help="Ask for a password, print the user's line, and end."),
    ] = "",
) -> None:
    """Show a fabric in the browser: what is wrong, where, since when, who suffers, how we know.

    Listens on this machine only; anything else needs --users or --trusted-header.

    Example: fabric dashboard runs/storm
    """  # fmt: skip
    from dashboards.commands import values
    from dashboards.commands.interrupt import interruptible
    from dashboards.serving import auth
    from dashboards.serving.serve import Serving, listen, state_folder

    if hash_password:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        typer.echo(auth.hashed(hash_password, password))
        return
    if not paths:
        raise ValueError("nothing to show: give a store, a run or captures")
    if bool(trusted_header) != bool(trusted_proxy):
        raise ValueError("--trusted-header and --trusted-proxy belong together")
    gate = auth.Gate(
        auth.read_users(users) if users else {}, trusted_header, auth.networks(trusted_proxy or [])
    )
    limit = values.size(upload_limit, "--upload-limit")
    for folder in root or []:
        if not folder.is_dir():
            raise NotADirectoryError(f"--root {folder}: no such folder")
    serving = Serving(host, port, gate, tuple(allowed_host or ()), limit)
    serving.check()
    taken = listen(serving)
    try:
        reader = open_reader(paths, speed or [], topology or [])
        interruptible()
        serve(reader, serving, taken, state or state_folder(), tuple(root or ()))
    finally:
        taken.close()


def open_reader(paths: list[str], speed: list[str], topology: list[Path]) -> "Reader":
    """What the paths are: a kept result, a run, or captures to be analysed now."""
    from analyzers.pipeline import Options
    from dashboards import readers
    from dashboards.commands import values
    from dashboards.store_reader import StoreReader, is_store
    from fabric.inventory import load

    described = load(topology) if topology else None
    if len(paths) == 1 and Path(paths[0]).suffix in CONFIGURATIONS:
        return _of_collector(Path(paths[0]), described)
    if len(paths) == 1 and Path(paths[0]).is_dir():
        folder = Path(paths[0])
        if is_store(folder):
            return StoreReader(folder, described)
        if readers.is_result(folder):
            return readers.result(folder)
        if readers.is_run(folder):
            return readers.run(folder)
    everywhere, single = values.speeds(speed)
    options = Options(speed_bps=everywhere, speeds=single, packets=False)
    return readers.captures(paths, options, described)


def _of_collector(config: Path, described: "Inventory | None") -> "Reader":
    """The store that a collector's configuration names, and how its sources fare."""
    from collectors.health import STATUS
    from dashboards.commands.collect_config import load
    from dashboards.commands.collect_store import address
    from dashboards.store_reader import StoreReader, is_store

    loaded = load(config)
    if loaded.store is None or "://" in loaded.store.url:
        raise ValueError(f"{config}: no store in a folder ([store] url)")
    folder = Path(address(loaded.store, config.parent))
    if not is_store(folder):
        raise FileNotFoundError(f"{folder}: nothing was kept yet; is fabric collect running?")
    return StoreReader(folder, described, loaded.config.folder / STATUS)


def serve(
    reader: "Reader", serving: "Serving", taken: "socket", state: Path, roots: tuple[Path, ...] = ()
) -> None:
    """Serve until interrupted; jobs that run then end with it."""
    running, url = ready(reader, serving, taken, state, roots)
    sys.stderr.write(f"fabric: serving {reader.title} at {url} (Ctrl-C ends)\n")
    try:
        running.run()
    finally:
        running.application.jobs.close()
        running.close()


def ready(
    reader: "Reader", serving: "Serving", taken: "socket", state: Path, roots: tuple[Path, ...] = ()
) -> tuple[Any, str]:
    """A server that is ready to run, and its address."""
    from dashboards.desk import Desk
    from dashboards.serving.jobs import Jobs
    from dashboards.serving.places import Places
    from dashboards.serving.reviews import Reviews
    from dashboards.serving.serve import build, server
    from dashboards.source import Source

    places = Places(state / "uploads", roots, serving.upload_bytes)
    places.uploads.mkdir(parents=True, exist_ok=True)
    jobs = Jobs(state / "jobs")
    desk = Desk(Source(reader), Reviews(state / "reviews.sqlite"), places, jobs)
    application = build(desk, serving)
    application.jobs = jobs
    name = f"[{serving.host}]" if ":" in serving.host else serving.host
    return server(application, taken, serving), f"http://{name}:{taken.getsockname()[1]}/"
