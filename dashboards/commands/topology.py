"""``fabric topology``: show, import, build and check the description of a fabric."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fabric.inventory import Inventory
    from fabric.qos import PortQos
    from fabric.topology import Fabric

app = typer.Typer(no_args_is_help=True, help="Show, import, build or check a fabric's topology.")

Paths = Annotated[
    list[Path],
    typer.Argument(metavar="PATH", help="Files or folders that describe it (docs/topology.md)."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Kind = Annotated[
    str, typer.Option(metavar="NAME", help="Read all as this kind (native, dot, sonic, lldp...).")
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write here; standard output without.")
]


@app.command()
def show(
    paths: Paths,
    device: Annotated[str, typer.Option(help="List the ports of one device.")] = "",
    source: Annotated[str, typer.Option("--from", metavar="HOST", help="Paths from here...")] = "",
    to: Annotated[str, typer.Option("--to", metavar="HOST", help="...to here.")] = "",
    at: Annotated[
        str, typer.Option(metavar="TIME", help="Moment: nanoseconds or ISO 8601; last by default.")
    ] = "",
    kind: Kind = "",
    as_json: Json = False,
) -> int:
    """What the fabric consists of, the ports of a device, or the equal-cost paths between two hosts.

    Example: fabric topology show pod.yaml --from host0 --to host7
    """
    import json

    from fabric.inventory import load
    from fabric.inventory.document import moment_ns

    inventory = load(paths, kind)
    moment = moment_ns(at) if at else None
    if device:
        answer = _ports(inventory, device, moment)
    elif source or to:
        answer = _paths(inventory.fabric, source, to, moment)
    else:
        answer = _summary(inventory, moment)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False, allow_nan=False, indent=2))
    else:
        for key, value in answer.items():
            _print(key, value)
    return 0


def _print(key: str, value: Any) -> None:
    from dashboards.report.words import clean

    if isinstance(value, dict):
        value = ", ".join(f"{name} {count}" for name, count in value.items())
    if isinstance(value, list):
        typer.echo(f"{clean(key)}:")
        for row in value:
            cells = (
                row if isinstance(row, list) else row.values() if isinstance(row, dict) else [row]
            )
            typer.echo(
                "  " + "  ".join(clean(cell) for cell in cells if cell not in (None, "", -1))
            )
    else:
        typer.echo(f"{clean(key)}: {clean(value)}")


def _summary(inventory: "Inventory", at: int | None) -> dict[str, Any]:
    from collections import Counter

    from fabric.inventory.write import speed_text

    fabric, wiring = inventory.fabric, inventory.fabric.wiring(at)
    speeds = Counter(
        speed_text(link.speed_bps) if link.speed_bps else "unknown" for link in wiring.links
    )
    return {
        "name": fabric.name,
        "devices": dict(sorted(Counter(d.role for d in fabric.devices.values()).items())),
        "links": dict(sorted(speeds.items())),
        "rails": len({link.rail for link in wiring.links} - {-1}),
        "planes": len({link.plane for link in wiring.links} - {-1}),
        "accelerators": len(fabric.accelerators),
        "addresses": sum(len(nic.addresses) for nic in fabric.nics),
        "changes": len(fabric.changes),
        "islands": len(fabric.islands()),
        "contradictions": len(inventory.contradictions),
        "sources": [[source.path, source.kind] for source in inventory.sources],
        "ignored": list(inventory.ignored),
    }


def _ports(inventory: "Inventory", device: str, at: int | None) -> dict[str, Any]:
    fabric = inventory.fabric
    if device not in fabric.devices:
        raise ValueError(f"--device {device}: no such device")
    rows = []
    for port in fabric.ports(device, at):
        link, peer, qos = fabric.link(port, at), fabric.peer(port, at), inventory.qos.get(port)
        rows.append(
            {
                "port": port.port,
                "peer": str(peer),
                "speed_bps": link.speed_bps if link else 0,
                "length_m": link.length_m if link and link.length_m == link.length_m else None,
                "rail": link.rail if link else -1,
                "plane": link.plane if link else -1,
                "pfc": sorted(qos.pfc) if qos and qos.pfc is not None else None,
            }
        )
    return {"device": device, "role": fabric.role(device), "ports": rows}


def _paths(fabric: "Fabric", source: str, to: str, at: int | None) -> dict[str, Any]:
    from fabric.topology import Port

    places: list[str | Port] = []
    for option, text in (("--from", source), ("--to", to)):
        place: str | Port = text if text in fabric.devices else fabric.locate(text) or text
        if isinstance(place, str) and place not in fabric.devices:
            if ":" not in text or fabric.link(Port.parse(text), at) is None:
                raise ValueError(
                    f"{option} {text}: neither a device nor a cabled port nor an address"
                )
            place = Port.parse(text)
        places.append(place)
    paths = fabric.equal_cost_paths(places[0], places[1], at)
    return {
        "from": str(places[0]),
        "to": str(places[1]),
        "count": len(paths),
        "paths": [" > ".join(map(str, path)) for path in paths[:64]],
    }


@app.command("import")
def import_(paths: Paths, out: Out = None, kind: Kind = "", as_json: Json = False) -> int:
    """Turn what other tools know into our YAML; contradictions go to standard error.

    Exit status: 0 done, 1 done but the sources contradict each other, 2 they could not be read.

    Example: fabric topology import configs/ lldp.csv --out pod.yaml
    """
    from fabric.inventory import load

    inventory = load(paths, kind)
    _write(inventory.fabric, out, as_json, inventory.qos)
    for row in inventory.contradictions:
        typer.echo(f"fabric: {row.kind}: {row.text} ({'; '.join(row.where)})", err=True)
    return int(bool(inventory.contradictions))


@app.command()
def build(
    shape: Annotated[str, typer.Argument(help="clos2, clos3, rail, dual-plane or dragonfly.")],
    numbers: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=N", help="Its sizes, e.g. leaves=4.")
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Write a fabric by the book as our YAML.

    Example: fabric topology build clos2 leaves=4 spines=4 hosts_per_leaf=8 --out pod.yaml
    """
    import inspect

    from fabric.builders import BUILDERS

    if shape not in BUILDERS:
        raise ValueError(f"no shape {shape!r}; known are {', '.join(BUILDERS)}")
    known = inspect.signature(BUILDERS[shape]).parameters
    sizes: dict[str, int] = {}
    for text in numbers or []:
        name, equals, value = text.partition("=")
        if name not in known or not equals or not value.isdigit() or int(value) < 1:
            raise ValueError(f"{text}: write NAME=N; {shape} knows {', '.join(known)}")
        sizes[name] = int(value)
    missing = [n for n, p in known.items() if p.default is p.empty and n not in sizes]
    if missing:
        raise ValueError(f"{shape} needs {', '.join(f'{name}=N' for name in missing)}")
    _write(BUILDERS[shape](**sizes), out, as_json)
    return 0


def _write(
    fabric: "Fabric", out: Path | None, as_json: bool, qos: "Iterable[PortQos]" = ()
) -> None:
    """YAML, or the rows of LINKS as JSON; a file appears whole or not at all."""
    import json

    from fabric.inventory.write import yaml_text
    from fabric.schema import LINKS

    if as_json:
        links = [dict(zip(LINKS.names, row, strict=True)) for row in fabric.link_rows()]
        for row in links:
            row["length_m"] = None if row["length_m"] != row["length_m"] else row["length_m"]
        devices = [device._asdict() for device in fabric.devices.values()]
        whole = {"name": fabric.name, "devices": devices, "links": links}
        text = json.dumps(whole, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    else:
        text = yaml_text(fabric, qos)
    if out is None:
        typer.echo(text, nl=False)
        return
    partial = out.with_name(out.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


@app.command()
def check(
    paths: Paths,
    kind: Kind = "",
    as_json: Json = False,
    everything: Annotated[bool, typer.Option("--all", help="Show all findings.")] = False,
) -> int:
    """Hold the sources against each other and look at the cabling as a whole.

    Exit status: 0 nothing or information only, 1 a warning or worse, 2 it could not be read.

    Example: fabric topology check configs/ lldp.csv
    """
    from rich.console import Console

    from analyzers.audit import CABLING, audit
    from dashboards.report import remarks
    from fabric.inventory import load

    inventory = load(paths, kind)
    rows = audit(inventory, checks=CABLING).to_dicts()
    links = len(inventory.fabric.wiring().links)
    if as_json:
        counts = {"devices": len(inventory.fabric.devices), "links": links}
        sources = [source._asdict() for source in inventory.sources]
        typer.echo(remarks.as_text(rows, sources, counts))
    else:
        headline = f"{len(inventory.fabric.devices)} devices, {links} links"
        remarks.show(rows, headline, Console(), everything=everything)
    return remarks.status(rows)
