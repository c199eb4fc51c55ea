"""``fabric simulate``: run a scenario of the twin and write what it showed and what was true."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer


def _list(wanted: bool) -> None:
    if wanted:
        from fabric.simulator.shipped import table

        typer.echo(table())
        raise typer.Exit


def simulate(
    scenario: Annotated[
        str, typer.Argument(help="Scenario file (TOML), or the name of one that comes along.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the run; must not exist yet.")],
    seed: Annotated[int | None, typer.Option(help="Overrides the scenario's seed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the label as JSON.")] = False,
    _: Annotated[
        bool,
        typer.Option(
            "--list", is_eager=True, callback=_list, help="Show what comes along, and end."
        ),
    ] = False,
) -> None:
    """Simulate a lossless fabric with known faults.

    Example: fabric simulate incast --out runs/incast
    """
    import json

    from fabric.simulator.faults import changes
    from fabric.simulator.outputs import RunFolder
    from fabric.simulator.run import simulate as advance
    from fabric.simulator.scenario import load
    from fabric.simulator.shipped import find

    path = find(scenario)
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise FileExistsError(f"{out}: exists already; choose a new folder")
    plan = load(path, seed)
    try:
        built = plan.build()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    partial = out.with_name(out.name + ".partial")
    try:
        with RunFolder(partial, plan, built) as folder, _bar(plan.duration_ns) as tick:
            advance(
                built, plan.duration_ns, folder, interval_ns=plan.output.interval_ns,
                changes=changes(built, plan.faults), progress=tick,
            )  # fmt: skip
            label = folder.finish()
        if out.exists():
            out.rmdir()
        partial.rename(out)
    finally:
        _remove(partial)
    if as_json:
        typer.echo(json.dumps(label))
        return
    message = built.state.message
    done = int((message["delivered"] >= 0).sum())
    roots = ", ".join(label["root_ports"]) or "-"
    typer.echo(f"{out}: {label['cls']}, root {roots}; {done} of {len(message)} messages delivered")


def _remove(folder: Path) -> None:
    import shutil

    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def _bar(total_ns: int) -> Iterator[Callable[[int], None] | None]:
    """A progress bar where somebody watches; nothing otherwise."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("simulating", total=total_ns)
        yield lambda now: progress.update(task, completed=now)
