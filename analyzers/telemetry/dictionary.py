"""Dictionaries: what each network OS and NIC driver calls the canonical counters, and in which unit.

One TOML file a platform, in the folder ``dictionaries``; a folder of one's own can add to them::

    title = "Arista EOS"
    source = "aristanetworks/yang: EOS-4.36.1F"      # where the facts were read
    provenance = "vendor"                            # seen, yang, vendor or unverified

    [[group]]
    path = "/interfaces/interface[name={port}]/ethernet/pfc/priorities/priority[index={index}]/state"
    object = "priority"
    leaves.in-frames = "rx_pfc_frames"
    leaves.pfc-on-total-rx-time = { counter = "rx_pause_ns", unit = "ns" }

``{port}`` and ``{index}`` stand in a key (an index is the number a key's value ends in) or in a name
(``SAI_PORT_STAT_PFC_{index}_RX_PKTS``); other keys must be given and equal, ``*`` for any value. A
leaf is a canonical name, ``-`` for one that is known and not kept, or a table of: ``counter``;
``unit``, where it is not the canonical one; ``words``, numbers for texts; ``bits``, where it wraps
earlier than at 64; ``object``, ``provenance`` and ``source``, where they are not the group's.
``optional`` leaves out what is switched off by default. What nobody could check is ``unverified``, and
is shown as such.

Paths are compared without the names of modules. Readings that are no gNMI have paths too: fields of
SONiC's Redis ``/COUNTERS/Queues/Ethernet0:3/FIELD`` (:mod:`collectors.records`), of a NIC
``/nics/nic[driver=mlx5_core][netdev=eth2]/ethtool/NAME``, OpenTelemetry's ``/otlp/METRIC[attribute=..]``.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple

from collectors.messages import Elem, elements
from fabric.counters import COUNTERS

PROVENANCES: Final = ("seen", "yang", "vendor", "unverified")
IGNORED: Final = "-"

# (unit of the device, canonical unit) -> factor
FACTORS: Final[Mapping[tuple[str, str], int]] = {
    ("us", "ns"): 1_000,
    ("ms", "ns"): 1_000_000,
    ("s", "ns"): 1_000_000_000,
    ("KB", "bytes"): 1_024,
    ("words", "bytes"): 4,  # the 4-octet units of InfiniBand's port counters
    ("kbit/s", "bit/s"): 1_000,
    ("Mbit/s", "bit/s"): 1_000_000,
    ("percent", "1e-6"): 10_000,
    ("ratio", "1e-18"): 10**18,
    ("dBm", "1e-3 dBm"): 1_000,
    ("mA", "1e-6 A"): 1_000,
}
_FILE = {"title", "source", "provenance", "group"}
_GROUP = {"path", "object", "source", "provenance", "unit", "optional", "note", "leaves"}
_LEAF = {"counter", "object", "unit", "words", "bits", "provenance", "source", "optional", "note"}
_SLOT = re.compile(r"\{(port|index)\}")
_LAST_NUMBER = re.compile(r"(\d{1,9})$")
_MULTICAST = re.compile(r"^(mc|multicast)", re.IGNORECASE)


class Entry(NamedTuple):
    """What one leaf of a platform means."""

    dictionary: str
    path: str
    object: str
    counter: str  # canonical, or IGNORED
    factor: int  # canonical units in one of the device's
    words: Mapping[str, int]
    bits: int
    optional: bool
    provenance: str
    source: str


class Match(NamedTuple):
    """An entry and whose reading it is."""

    entry: Entry
    port: str
    number: int  # of the object; -1 none


@dataclass
class _Node:
    """Names that may come next, and the entries that end here with the keys they ask for."""

    exact: "dict[str, _Node]" = field(default_factory=dict)
    slots: "list[tuple[re.Pattern[str], _Node]]" = field(default_factory=list)
    ends: list[tuple[tuple[dict[str, str], ...], Entry]] = field(default_factory=list)


class Dictionary:
    """All dictionaries together; :meth:`find` says what a path means."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.titles: dict[str, str] = {}
        self.keys: dict[str, set[str]] = {}  # element name -> names of its keys
        self._root = _Node()

    def find(self, elems: Sequence[Elem]) -> Match | None:
        """The entry of a path without module names; None where no dictionary knows it."""
        return _find(self._root, elems, 0, "", "")

    def add(self, name: str, text: str) -> None:
        """Read a dictionary; ValueError with its name and the key where it says something wrong."""
        try:
            content = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{name}: {error}") from error
        _only(f"{name}", content, _FILE)
        self.titles[Path(name).stem] = str(content.get("title", ""))
        for number, group in enumerate(_list(name, content, "group"), 1):
            where = f"{name}: group {number}"
            _only(where, group, _GROUP)
            base = {k: v for k, v in {**content, **group}.items() if k not in ("group", "leaves")}
            for leaf, said in _leaves(where, group).items():
                self._add(
                    Path(name).stem,
                    f"{where} ({group.get('path')}): leaves.{leaf}",
                    leaf,
                    said,
                    base,
                )

    def _add(self, name: str, where: str, leaf: str, said: Any, group: Mapping[str, Any]) -> None:
        given = {"counter": said} if isinstance(said, str) else said
        if not isinstance(given, dict):
            raise ValueError(f"{where}: a counter's name or a table")  # noqa: TRY004  bad input
        _only(where, given, _LEAF)
        try:
            elems = elements(f"{group.get('path', '')}/{leaf}")
            entry = _entry(name, f"{group.get('path', '')}/{leaf}", {**group, **given})
            slots = _slots_of(elems)
            _check_slots(entry, slots)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        node = self._root
        for element, keys in elems:
            node = _child(node, element)
            self.keys.setdefault(element, set()).update(keys)
        wanted = tuple(keys for _, keys in elems)
        if any(keys == wanted for keys, _ in node.ends):
            other = next(e for keys, e in node.ends if keys == wanted)
            raise ValueError(f"{where}: the dictionary {other.dictionary} has this path already")
        node.ends.append((wanted, entry))
        self.entries.append(entry)


def _entry(name: str, path: str, said: Mapping[str, Any]) -> Entry:
    """The entry of a leaf, all of its group merged in; ValueError says what is wrong."""
    counter, of = str(said.get("counter", "")), str(said.get("object", "port"))
    provenance = said.get("provenance")
    if provenance not in PROVENANCES:
        raise ValueError(f"provenance {provenance!r}: one of {', '.join(PROVENANCES)}")
    factor = 1
    if counter != IGNORED:
        canonical = COUNTERS.get((of, counter))
        if canonical is None:
            raise ValueError(f"no canonical counter {counter!r} of a {of} (fabric/counters.py)")
        unit = said.get("unit", canonical.unit)
        found = 1 if unit == canonical.unit else FACTORS.get((unit, canonical.unit))
        if found is None:
            raise ValueError(f"unit {unit!r} cannot become {canonical.unit!r}")
        factor = found
    words = said.get("words", {})
    if not isinstance(words, dict) or not all(type(v) is int for v in words.values()):
        raise ValueError(f"words {words!r}: a table of texts and whole numbers")
    bits = said.get("bits", 64)
    if bits not in (8, 16, 32, 48, 64):
        raise ValueError(f"bits {bits!r}: 8, 16, 32, 48 or 64")
    return Entry(
        dictionary=name,
        path=path,
        object=of,
        counter=counter,
        factor=factor,
        words=words,
        bits=bits,
        optional=bool(said.get("optional", False)),
        provenance=provenance,
        source=str(said.get("source", "")),
    )


def _slots_of(elems: Iterable[Elem]) -> list[str]:
    texts = [text for name, keys in elems for text in (name, *keys.values())]
    slots = [slot for text in texts for slot in _SLOT.findall(text)]
    if len(set(slots)) < len(slots):
        raise ValueError("{port} or {index} stands there twice")
    if any("{" in _SLOT.sub("", text) for text in texts):
        raise ValueError("only {port} and {index} can be filled in")
    return slots


def _check_slots(entry: Entry, slots: Sequence[str]) -> None:
    if entry.counter == IGNORED:
        return
    if "port" not in slots:
        raise ValueError("the path has no {port}")
    if ("index" in slots) != (entry.object not in ("port", "pool")):
        raise ValueError(
            f"a {entry.object} {'has no' if 'index' in slots else 'needs an'} {{index}}"
        )


def _child(node: _Node, name: str) -> _Node:
    if "{" not in name:
        return node.exact.setdefault(name, _Node())
    pattern = _pattern(name)
    for known, child in node.slots:
        if known.pattern == pattern.pattern:
            return child
    child = _Node()
    node.slots.append((pattern, child))
    return child


@cache
def _pattern(text: str) -> "re.Pattern[str]":
    """A text with slots as a pattern: a port's name may hold anything, an index is digits."""
    parts = _SLOT.split(text)
    slots = {"port": r"(?P<port>.+)", "index": r"(?P<index>\d{1,9})"}
    return re.compile(
        "".join(slots[part] if place % 2 else re.escape(part) for place, part in enumerate(parts))
    )


def _find(node: _Node, elems: Sequence[Elem], at: int, port: str, index: str) -> Match | None:
    if at == len(elems):
        for wanted, entry in node.ends:
            found = _keys_match(wanted, elems, port, index)
            if found:
                return Match(entry, found[0], int(found[1]) if found[1] else -1)
        return None
    name = elems[at][0]
    if (child := node.exact.get(name)) and (match := _find(child, elems, at + 1, port, index)):
        return match
    for pattern, child in node.slots:
        if hit := pattern.fullmatch(name):
            groups = hit.groupdict()
            match = _find(
                child, elems, at + 1, groups.get("port") or port, groups.get("index") or index
            )
            if match:
                return match
    return None


def _keys_match(
    wanted: Sequence[dict[str, str]], elems: Sequence[Elem], port: str, index: str
) -> tuple[str, str] | None:
    """Port and index from the keys of a path, or None where a key is missing or another."""
    for keys, (_, have) in zip(wanted, elems, strict=True):
        for key, want in keys.items():
            value = have.get(key)
            if value is None:
                return None
            if want == "{port}":
                port = value
            elif want == "{index}":
                # Queues are called 3, UC3, Ethernet1-3; what is for multicast is another queue.
                number = None if _MULTICAST.match(value) else _LAST_NUMBER.search(value)
                if not number:
                    return None
                index = number[1]
            elif "{" in want:  # both, or with other text: Ethernet0|3
                hit = _pattern(want).fullmatch(value)
                if not hit:
                    return None
                groups = hit.groupdict()
                port, index = groups.get("port") or port, groups.get("index") or index
            elif want not in ("*", value):
                return None
    return port, index


def plain(elems: Iterable[Elem]) -> list[Elem]:
    """A path without the names of modules."""
    return [(name.rpartition(":")[2] if ":" in name else name, keys) for name, keys in elems]


@cache
def builtin() -> Dictionary:
    """The dictionaries of the package."""
    made = Dictionary()
    folder = files("analyzers.telemetry") / "dictionaries"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            made.add(file.name, file.read_text(encoding="utf-8"))
    return made


def load(folder: Path | None = None) -> Dictionary:
    """The package's dictionaries, and those of a folder of one's own beside them.

    ValueError names file and key; OSError where the folder cannot be read.
    """
    if folder is None:
        return builtin()
    made = Dictionary()
    for path in sorted(folder.glob("*.toml")):
        made.add(str(path), path.read_text(encoding="utf-8"))
    own = {path.name for path in folder.glob("*.toml")}
    for file in sorted(
        (files("analyzers.telemetry") / "dictionaries").iterdir(), key=lambda f: f.name
    ):
        if (
            file.name.endswith(".toml") and file.name not in own
        ):  # a file of one's own replaces ours
            made.add(file.name, file.read_text(encoding="utf-8"))
    return made


def _only(where: str, given: Mapping[str, Any], allowed: set[str]) -> None:
    if unknown := sorted(set(given) - allowed):
        raise ValueError(
            f"{where}: unknown key {', '.join(unknown)}; known: {', '.join(sorted(allowed))}"
        )


def _list(where: str, given: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = given.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{where}: {key}: tables of the form [[{key}]]")
    return found


def _leaves(where: str, group: Mapping[str, Any]) -> dict[str, Any]:
    found = group.get("leaves")
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{where}: leaves: a table with at least one leaf")
    return found
