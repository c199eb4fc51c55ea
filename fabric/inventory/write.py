"""Write a fabric as our YAML: what :mod:`fabric.inventory.native` reads gives the same fabric back."""

import math
import re
from collections.abc import Iterable, Iterator

from fabric.cables import FOREVER, Circuit, Link, Rank
from fabric.inventory.write_qos import rules
from fabric.qos import PortQos
from fabric.topology import Fabric

YAML_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
NAME = re.compile(r"[A-Za-z][\w.-]*")
LINE = re.compile(r"\w[\w:./-]*(?<!:)( [\w:./,=-]*(?<!:))+")  # several words are never a number
PREFIXES = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "K"))


def yaml_text(fabric: Fabric, qos: Iterable[PortQos] = ()) -> str:
    """The whole fabric as text, with the settings of its ports; stable order, one line per link."""
    settings = list(qos)
    lines = list(_lines(fabric))
    if settings:
        ends = [end for link in fabric.links for end in (link.a, link.b)]
        lines += ["qos:", *rules(settings, ends)]
    return "\n".join(lines) + "\n"


def speed_text(bps: int) -> str:
    """``400G``."""
    for factor, prefix in PREFIXES:
        if bps >= factor and bps % factor == 0:
            return f"{bps // factor}{prefix}"
    return str(bps)


def _lines(fabric: Fabric) -> Iterator[str]:
    yield "fabric: 1"
    if fabric.name:
        yield f"name: {_quoted(fabric.name)}"
    if fabric.routing != "ecmp":
        yield f"routing: {fabric.routing}"
    hosts = _host_lines(fabric)
    yield "devices:"
    for device in fabric.devices.values():
        pod = f", pod: {_quoted(device.pod)}" if device.pod else ""
        if device.name in hosts:
            yield f"  {_quoted(device.name)}:"
            yield f"    role: {device.role}"
            if pod:
                yield f"    pod: {_quoted(device.pod)}"
            yield from hosts[device.name]
        else:
            yield f"  {_quoted(device.name)}: {{role: {device.role}{pod}}}"
    yield "links:"
    for link in fabric.links:
        yield f"  - {_quoted(_link(link))}"
    if fabric.circuits:
        yield "circuits:"
        for circuit in fabric.circuits:
            ends = f"{circuit.device}:{circuit.a} -- {circuit.b}"
            yield f"  - {_quoted(ends + _span(circuit))}"
    if fabric.ranks:
        yield "ranks:"
        yield from (f"  - {_rank(rank)}" for rank in fabric.ranks)


def _host_lines(fabric: Fabric) -> dict[str, list[str]]:
    """The indented lines on NICs and accelerators, by device."""
    nics: dict[str, list[str]] = {}
    for nic in fabric.nics:
        words = [nic.port.port, f"name={nic.name}" if nic.name else ""]
        words += [f"address={','.join(nic.addresses)}" if nic.addresses else ""]
        words += [f"mac={nic.mac}" if nic.mac else ""]
        line = f"      - {_quoted(' '.join(filter(None, words)))}"
        nics.setdefault(nic.port.device, ["    nics:"]).append(line)
    accelerators: dict[str, list[str]] = {}
    for row in fabric.accelerators:
        words = [row.name, f"nic={row.nic}" if row.nic else "", f"pci={row.pci}" if row.pci else ""]
        line = f"      - {_quoted(' '.join(filter(None, words)))}"
        accelerators.setdefault(row.device, ["    accelerators:"]).append(line)
    return {name: nics.get(name, []) + accelerators.get(name, []) for name in nics | accelerators}


def _link(link: Link) -> str:
    words = [f"{link.a} -- {link.b}"]
    words += [f"speed={speed_text(link.speed_bps)}"] if link.speed_bps else []
    words += [] if math.isnan(link.length_m) else [f"length={link.length_m:g}m"]
    words += [f"rail={link.rail}"] if link.rail >= 0 else []
    words += [f"plane={link.plane}"] if link.plane >= 0 else []
    return " ".join(words) + _span(link)


def _span(row: Link | Circuit | Rank) -> str:
    start = f" from={row.valid_from}" if row.valid_from else ""
    return start + (f" to={row.valid_to}" if row.valid_to != FOREVER else "")


def _rank(rank: Rank) -> str:
    parts = [f"job: {_quoted(rank.job)}", f"rank: {rank.rank}", f"device: {_quoted(rank.device)}"]
    parts += [f"port: {_quoted(rank.port)}"] if rank.port else []
    parts += [f"qpn: {rank.qpn}"] if rank.qpn >= 0 else []
    parts += [f"from: {rank.valid_from}"] if rank.valid_from else []
    parts += [f"to: {rank.valid_to}"] if rank.valid_to != FOREVER else []
    return "{" + ", ".join(parts) + "}"


def _quoted(text: str) -> str:
    """Plain where YAML reads it back as the same text, in quotes otherwise."""
    if text.lower() not in YAML_WORDS and (NAME.fullmatch(text) or LINE.fullmatch(text)):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
