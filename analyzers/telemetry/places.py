"""What a numbered path stands for: whose reading, and its elements in the words of the dictionaries."""

import ipaddress
import json
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from analyzers.telemetry.intern import entry_of
from analyzers.telemetry.rows import EntryKind, Names
from collectors import messages as gnmi
from collectors.messages import Elem, path_text

# Targets of sonic-gnmi that are databases, not names of devices (sonic_data_client/)
DATABASES: Final = frozenset(
    [
        "COUNTERS_DB",
        "APPL_DB",
        "CONFIG_DB",
        "STATE_DB",
        "ASIC_DB",
        "FLEX_COUNTER_DB",
        "APPL_STATE_DB",
        "OTHERS",
        "SHOW",
        "EVENTS",
    ]
)
GROUPS: Final = frozenset(["Queues", "PriorityGroups", "Pfcwd", "VoQs", "Ports", "BufferPools"])
PERIODIC: Final = ":periodic"


class Place(NamedTuple):
    """An entry resolved: the device, where the path counts from, its elements, and SONiC's database.

    ``names`` are the keys of JSON below a path; they stand apart because SONiC needs both sides.
    """

    device: str
    elems: tuple[Elem, ...] = ()
    names: tuple[str, ...] = ()
    database: str = ""
    snapshot: bool = False


class Places:
    """Places of entries, remembered for those that have others below them."""

    def __init__(self, rename: Callable[[str], str]) -> None:
        self._rename = rename
        self._known: dict[int, Place | None] = {}

    def of(self, names: Names, entry: int) -> Place | None:
        """The place of an entry; None where its bytes are no path."""
        if entry in self._known:
            return self._known[entry]
        parent, kind, name = entry_of(names, entry)
        if kind == EntryKind.PEER:
            place: Place | None = Place(self._rename(name.decode(errors="replace")))
        else:
            # Only what is above is worth remembering: leaves come once.
            above = self._known[parent] = self.of(names, parent)
            place = _below(above, kind, name) if above else None
        return place


def _below(above: Place, kind: int, name: bytes) -> Place | None:
    if kind == EntryKind.SNAPSHOT:
        return above._replace(snapshot=True)
    if kind == EntryKind.KEY:
        try:
            return above._replace(names=(*above.names, json.loads(b'"' + name + b'"')))
        except ValueError:
            return None
    try:
        path = gnmi.Path.FromString(name)
        elems = tuple(gnmi.elements_of(path))
    except (DecodeError, ValueError):
        return None
    place = above._replace(elems=above.elems + elems)
    if path.target.split("/")[0] in DATABASES:
        place = place._replace(database=path.target.split("/")[0])
    elif path.target and kind == EntryKind.PREFIX and is_address(above.device):
        place = place._replace(device=path.target)
    return place


def is_address(name: str) -> bool:
    """Whether a device is known by its address only."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def words(place: Place) -> list[Elem]:
    """The elements by which dictionaries know a place."""
    if place.snapshot:
        # {"tables": {TABLE: {KEY: {FIELD: ..}}}}, the table's name a path of its own
        if len(place.names) < 2 or place.names[0] != "tables":
            return [(name, {}) for name in ("snapshot", *place.names)]
        _, table, *rest = place.names
        return [(name, {}) for name in (*table.split("/"), *_periodic(rest)) if name]
    if place.database:
        return sonic_words(place.database, [name for name, _ in place.elems], place.names)
    found = [(_bare(name), keys) for name, keys in place.elems]
    return found + [(_bare(name), {}) for name in place.names]


def sonic_words(database: str, path: Sequence[str], keys: Sequence[str]) -> list[Elem]:
    """Elements of a virtual path of sonic-gnmi and the keys of the JSON below it.

    The path comes back with its wildcards; which port it is stands in the keys then.
    """
    if keys and path and path[-1] == keys[-1]:
        path = path[:-1]  # a field asked for by name stands in the path and in the JSON
    named = [name for name in (*path, *keys) if "*" not in name]
    groups = [name for name in path if name in GROUPS]
    named = [name for name in named if name not in GROUPS or name not in groups]
    if not named:
        return []
    table, *rest = named
    if database != "COUNTERS_DB":
        return [(name, {}) for name in (database, table, *rest)]
    # COUNTERS/Ethernet0/Queues with the key Ethernet0:3: the port stands there twice.
    if len(rest) > 2 and rest[1].startswith(f"{rest[0]}:"):
        del rest[0]
    if len(rest) > 0 and rest[0].endswith(PERIODIC):
        table, rest[0] = "PERIODIC_WATERMARKS", rest[0][: -len(PERIODIC)]
    group = groups[0] if groups else "Ports"
    return [(name, {}) for name in (table, group, *rest)]


def _periodic(names: Sequence[str]) -> list[str]:
    return [n.removesuffix(PERIODIC) for n in names]


def _bare(name: str) -> str:
    """A name without its module."""
    return name.rpartition(":")[2] if ":" in name else name


def place_text(place: Place) -> str:
    """A path for people, with its target where that is a database."""
    head = f"{place.database}:" if place.database else ""
    names: list[Elem] = [(name, {}) for name in place.names]
    return head + path_text([*place.elems, *names])
