"""``fabric audit``: configurations in, what bites in practice out, with the reason and the repair."""

from pathlib import Path
from typing import Annotated

import typer


def audit(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="Files or folders: config_db.json, topology, LLDP, routes, host settings "
            "(docs/topology.md).",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    roce_dscp: Annotated[
        int, typer.Option(min=-1, max=63, help="DSCP of RoCE data; -1: what the hosts say.")
    ] = -1,
    cnp_dscp: Annotated[
        int, typer.Option(min=-1, max=63, help="DSCP of CNPs; -1: what the hosts say, else 48.")
    ] = -1,
    everything: Annotated[bool, typer.Option("--all", help="Show all findings.")] = False,
) -> int:
    """Check the configuration of a lossless fabric: PFC, ECN, classes, headroom, watchdog, loops.

    Exit status: 0 nothing or information only, 1 a warning or worse, 2 it could not be read.

    Example: fabric audit configs/ lldp.csv hosts/
    """
    from rich.console import Console

    from analyzers.audit import CHECKS, Knobs
    from analyzers.audit import audit as run
    from dashboards.report import remarks
    from fabric.inventory import load

    inventory = load(paths)
    rows = run(inventory, Knobs(roce_dscp=roce_dscp, cnp_dscp=cnp_dscp)).to_dicts()
    links = inventory.fabric.wiring().links
    both = sum(1 for a, b, *_ in links if inventory.qos.get(a) and inventory.qos.get(b))
    if as_json:
        counts = {
            "devices": len(inventory.fabric.devices), "links": len(links),
            "links_both_ends": both, "ports_with_settings": len(inventory.qos),
            "checks": [check.__name__.rpartition(".")[2] for check in CHECKS],
            "ignored": list(inventory.ignored),
        }  # fmt: skip
        sources = [source._asdict() for source in inventory.sources]
        typer.echo(remarks.as_text(rows, sources, counts))
    else:
        headline = (
            f"{len(inventory.fabric.devices)} devices, {len(links)} links, settings of "
            f"{len(inventory.qos)} ports; {both} links known at both ends"
        )
        remarks.show(rows, headline, Console(), everything=everything)
    return remarks.status(rows)
