"""LLDP neighbours as rows: CSV or JSON, one per neighbour and port, as seen by the reporting device.

Known are our own column names, those of SONiC's ``LLDP_ENTRY_TABLE`` (a dump of APPL_DB or STATE_DB)
and of OpenConfig. The reporting device of a SONiC dump is told by the file's name.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from fabric.cables import Port
from fabric.inventory.document import Node, read_json, text_of
from fabric.inventory.found import Claim, Found, device_of_file

KIND = "LLDP rows"
COLUMNS = {
    "device": ("device", "local_device", "hostname"),
    "port": ("port", "local_port", "interface", "ifname"),
    "peer_device": ("peer_device", "neighbor", "neighbour", "system-name", "lldp_rem_sys_name"),
    "peer_port": ("peer_port", "neighbor_port", "neighbour_port", "port-id", "lldp_rem_port_id"),
}
TABLE = "LLDP_ENTRY_TABLE"
MANAGEMENT = ("eth0", "mgmt0", "mgmt", "Management0", "Management1", "ma1", "oob")


def matches(path: Path, head: str) -> bool:
    """Whether a file looks like one of these, from its name and beginning."""
    if path.suffix == ".csv":
        return "peer_device" in head.partition("\n")[0] or "neighbo" in head.partition("\n")[0]
    if path.suffix != ".json":
        return False
    return TABLE in head or ("peer_device" in head and "peer_port" in head)


def read(path: Path) -> Found:
    """Read the file; ValueError names file, line and column."""
    found = Found(str(path), KIND)
    rows = _csv_rows(path) if path.suffix == ".csv" else _json_rows(path)
    for where, row in rows:
        values = {}
        for name, spellings in COLUMNS.items():
            value = next((row[key] for key in spellings if row.get(key)), "")
            if not value:
                raise ValueError(f"{where}: {name} is missing")
            values[name] = value.strip()
        if values["port"] in MANAGEMENT:
            continue
        a = Port(values["device"], values["port"])
        b = Port(values["peer_device"], values["peer_port"])
        found.add_device(a.device)
        found.claims.append(Claim(a, b, where, view=a.device))
    return found


def _csv_rows(path: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    reader = csv.DictReader(io.StringIO(text_of(path), newline=""))
    try:
        for row in reader:
            where = f"{path}:{reader.line_num}"
            if None in row or None in row.values():
                raise ValueError(f"{where}: {len(reader.fieldnames or ())} columns are expected")
            yield where, row
    except csv.Error as bad:
        raise ValueError(f"{path}:{reader.line_num}: not CSV: {bad}") from None


def _json_rows(path: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    root = read_json(path)
    if isinstance(root.value, list):
        for node in root.elements():
            yield (
                f"{path}: row {node.keys[-1]}",
                {key: value.text() for key, value in node.members()},
            )
        return
    device = device_of_file(path)
    for key, node in _entries(root):
        name = f"{path}: {TABLE}:{key}"
        row = {field: value.text() for field, value in node.members()}
        yield name, {"device": device, "port": key, **row}


def _entries(root: Node) -> Iterator[tuple[str, Node]]:
    """Entries of the table in a dump, with or without the wrapper that tells a hash's type."""
    for key, node in root.members():
        table, _, port = key.replace("|", ":").partition(":")
        if table == TABLE and port:
            yield port, node.get("value") if node.get("type").value == "hash" else node
        elif table == TABLE:
            yield from node.members()
