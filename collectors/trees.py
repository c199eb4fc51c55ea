"""What a path means on a platform, and how its readings are written into notifications.

``select`` resolves one path of a request to a selection; the selection writes any of its columns of a
row. Errors are builtin and stand for the status of gNMI's specification (3.5.1.3, 3.3.4): ValueError
for a path that cannot be read, NotImplementedError for one the platform has not, and an empty selection
for one that exists in the schema but not (yet) on the device.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol

from collectors import messages as gnmi
from collectors.messages import Elem, Encoding
from collectors.timeline import MISSING, Key, Timeline
from collectors.vocabulary import MLX5, OPENCONFIG, PLATFORMS, Leaf, Vocabulary

Row = Sequence[int]
CHUNK = (
    500  # updates in a notification: about 50 kB, well below the 4 MB a receiver takes by default
)


class Selection(Protocol):
    """Readings that one path names."""

    @property
    def columns(self) -> tuple[int, ...]:
        """All of them, by their columns in a row."""
        ...

    @property
    def states(self) -> frozenset[int]:
        """Those that are no counters."""
        ...

    def responses(self, ts: int, row: Row, columns: Sequence[int]) -> Iterator[Any]:
        """SubscribeResponses with the readings of ``columns``; each is valid until the next is asked for.

        Columns that will be asked for again and again come as the same tuple.
        """
        ...


class Tree(Protocol):
    """A platform's tree on one device."""

    @property
    def encodings(self) -> tuple[Encoding, ...]:
        """Those it can write."""
        ...

    def select(self, prefix: Any, path: Any, encoding: Encoding, *, grouped: bool) -> Selection:
        """What ``path`` below ``prefix`` names; ``grouped``: containers as one value where JSON is asked."""
        ...


def tree(platform: str, timeline: Timeline) -> Tree:
    """The tree of a platform over the readings of a device."""
    switch = SonicTree(timeline) if platform == "sonic" else OpenConfigTree(timeline)
    return HostTree(switch, OpenConfigTree(timeline, MLX5)) if timeline.host else switch


def covers(pattern: Sequence[Elem], elems: Sequence[Elem]) -> bool:
    """Whether a path with wildcards names the node ``elems`` or one above it (gNMI 2.2.2 and 2.4).

    ``*`` stands for one element or any value of a key, a key left out likewise, ``...`` for any number
    of elements. A module's name before a colon is not looked at.
    """
    if not pattern:
        return True
    name, keys = pattern[0]
    if name == "...":
        return any(covers(pattern[1:], elems[skip:]) for skip in range(len(elems) + 1))
    if not elems or name.rpartition(":")[2] not in ("*", elems[0][0]):
        return False
    have = elems[0][1]
    if any(k not in have or want not in ("*", have[k]) for k, want in keys.items()):
        return False
    return covers(pattern[1:], elems[1:])


class OpenConfigTree:
    """Leaves addressed one by one, as OpenConfig targets and the agent on a host report them."""

    encodings = (Encoding.PROTO, Encoding.JSON_IETF, Encoding.JSON)

    def __init__(self, timeline: Timeline, words: Vocabulary = OPENCONFIG) -> None:
        self.leaves = [
            (column, leaf, leaf.elements(key))
            for column, key in enumerate(timeline.keys)
            if (leaf := words.get((key.object, key.counter)))
        ]
        self.schema = [gnmi.elements(leaf.path) for leaf in words.values()]

    def select(self, prefix: Any, path: Any, encoding: Encoding, *, grouped: bool) -> Selection:
        """See :class:`Tree`."""
        for origin in (prefix.origin, path.origin):
            if origin not in ("", "openconfig"):
                raise NotImplementedError(f"origin {origin!r}")
        pattern = gnmi.elements_of(prefix, path)
        anywhere = [(name, dict.fromkeys(keys, "*")) for name, keys in pattern]
        if not any(covers(anywhere, elems) for elems in self.schema):
            raise NotImplementedError(f"no such path: {gnmi.path_text(pattern)}")
        chosen = [leaf for leaf in self.leaves if covers(pattern, leaf[2])]
        head = gnmi.Path(target=prefix.target, origin=prefix.origin)
        if grouped and encoding in (Encoding.JSON, Encoding.JSON_IETF):
            return Containers(chosen, head, encoding)
        return Leaves(chosen, head, encoding)


class HostTree:
    """A host: its ports as those of a switch, and below ``nics`` what its NICs count."""

    def __init__(self, ports: Tree, nics: Tree) -> None:
        self.ports, self.nics = ports, nics
        self.encodings = ports.encodings

    def select(self, prefix: Any, path: Any, encoding: Encoding, *, grouped: bool) -> Selection:
        """See :class:`Tree`."""
        asked = gnmi.elements_of(prefix, path)
        side = self.nics if asked and asked[0][0] == "nics" else self.ports
        return side.select(prefix, path, encoding, grouped=grouped)


Chosen = tuple[int, Leaf, list[Elem]]
# a message, and in it the values to set: plain counts, and those a leaf has to write
Prepared = tuple[Any, list[tuple[Any, int]], list[tuple[Any, int, Leaf]]]


class Leaves:
    """One update per leaf."""

    def __init__(self, chosen: Sequence[Chosen], prefix: Any, encoding: Encoding) -> None:
        self.columns = tuple(column for column, _, _ in chosen)
        self.states = frozenset(column for column, leaf, _ in chosen if leaf.unit == 0)
        self.prefix = prefix
        self.plain, self.put = encoding == Encoding.PROTO, PUT[encoding]
        self.leaf = {column: (leaf, _path(elems)) for column, leaf, elems in chosen}
        self.prepared: dict[tuple[int, ...], list[Prepared]] = {}

    def responses(self, ts: int, row: Row, columns: Sequence[int]) -> Iterator[Any]:
        """See :class:`Selection`."""
        if self.plain and isinstance(columns, tuple) and MISSING not in row:
            yield from self._again(ts, row, columns)
            return
        present = [column for column in columns if row[column] != MISSING]
        for start in range(0, len(present), CHUNK):
            response = gnmi.SubscribeResponse()
            note = response.update
            note.timestamp = ts
            note.prefix.CopyFrom(self.prefix)
            for column in present[start : start + CHUNK]:
                leaf, path = self.leaf[column]
                self.put(note.update.add(path=path).val, leaf.written(row[column]))
            yield response

    def _again(self, ts: int, row: Row, columns: tuple[int, ...]) -> Iterator[Any]:
        """Typed values of columns that come often: only the numbers in messages made once are new."""
        if columns not in self.prepared:
            self.prepared[columns] = list(self._prepare(columns))
        for response, counts, others in self.prepared[columns]:
            response.update.timestamp = ts
            for val, column in counts:
                val.uint_val = row[column]
            for val, column, leaf in others:
                _put_typed(val, leaf.written(row[column]))
            yield response

    def _prepare(self, columns: tuple[int, ...]) -> Iterator[Prepared]:
        for start in range(0, len(columns), CHUNK):
            response = gnmi.SubscribeResponse()
            note = response.update
            note.prefix.CopyFrom(self.prefix)
            counts, others = [], []
            for column in columns[start : start + CHUNK]:
                leaf, path = self.leaf[column]
                val = note.update.add(path=path).val
                if leaf.unit == 1:
                    counts.append((val, column))
                else:
                    others.append((val, column, leaf))
            yield response, counts, others


class Containers:
    """One update per container, its leaves a JSON object: what many devices send for JSON."""

    def __init__(self, chosen: Sequence[Chosen], prefix: Any, encoding: Encoding) -> None:
        self.columns = tuple(column for column, _, _ in chosen)
        self.states = frozenset(column for column, leaf, _ in chosen if leaf.unit == 0)
        self.prefix, self.ietf = prefix, encoding == Encoding.JSON_IETF
        self.place: dict[int, tuple[str, str, Leaf]] = {}
        self.paths: dict[str, Any] = {}
        for column, leaf, elems in chosen:
            above = gnmi.path_text(elems[:-1])
            # RFC 7951 4: the names at the top of an instance carry their module.
            module = f"{leaf.source}:" if self.ietf and leaf.source else ""
            self.place[column] = (above, module + elems[-1][0], leaf)
            self.paths.setdefault(above, _path(elems[:-1]))

    def responses(self, ts: int, row: Row, columns: Sequence[int]) -> Iterator[Any]:
        """See :class:`Selection`."""
        objects: dict[str, dict[str, int | str]] = {}
        for column in columns:
            if row[column] != MISSING:
                above, name, leaf = self.place[column]
                value = leaf.written(row[column])
                # RFC 7951 6.1: 64-bit integers are strings.
                objects.setdefault(above, {})[name] = str(value) if self.ietf else value
        names = list(objects)
        for start in range(0, len(names), CHUNK):
            response = gnmi.SubscribeResponse()
            response.update.timestamp = ts
            response.update.prefix.CopyFrom(self.prefix)
            for above in names[start : start + CHUNK]:
                val = response.update.update.add(path=self.paths[above]).val
                text = json.dumps(objects[above]).encode()
                if self.ietf:
                    val.json_ietf_val = text
                else:
                    val.json_val = text
            yield response


class SonicTree:
    """Fields of Redis hashes by the virtual paths of sonic-gnmi; values are JSON with strings inside."""

    encodings = (Encoding.JSON, Encoding.JSON_IETF, Encoding.PROTO)

    def __init__(self, timeline: Timeline) -> None:
        words = PLATFORMS["sonic"]
        self.databases = {leaf.source for leaf in words.values()}
        self.cells = [
            (column, leaf, [name for name, _ in leaf.elements(key)])
            for column, key in enumerate(timeline.keys)
            if (leaf := words.get((key.object, key.counter)))
        ]
        anything = Key("*", "", "*", "")  # type: ignore[arg-type]  # fills the text
        self.schema = [
            (leaf.source, [name for name, _ in leaf.elements(anything)]) for leaf in words.values()
        ]

    def select(self, prefix: Any, path: Any, encoding: Encoding, *, grouped: bool) -> Selection:
        """See :class:`Tree`; the encoding makes no difference here (sonic-gnmi: db_client.go)."""
        del encoding, grouped
        database = prefix.target or path.target
        if database not in self.databases:
            raise NotImplementedError(f"target {database!r}; one of {sorted(self.databases)}")
        if prefix.origin or path.origin:
            raise NotImplementedError(f"origin {prefix.origin or path.origin!r}")
        asked = [name for name, _ in gnmi.elements_of(prefix, path)]
        if not any(source == database and _names(asked, cell) for source, cell in self.schema):
            raise NotImplementedError(f"no such path in {database}: {'/'.join(asked)}")
        found = [
            (column, leaf, *_place(asked, cell))
            for column, leaf, cell in self.cells
            if leaf.source == database and _names(asked, cell)
        ]
        return Hashes(found, gnmi.Path(target=database), _path((name, {}) for name in asked))


def _names(asked: Sequence[str], cell: Sequence[str]) -> bool:
    """Whether ``asked`` names the cell table/port/field or table/port/group/key/field.

    A port without more means the fields of the port itself; a group has to be named.
    """
    if not asked or len(asked) > 3 or asked[0] != cell[0]:
        return False
    # All front ports, also where they go by an alias.
    if len(asked) > 1 and asked[1] != "Ethernet*" and not _meet(asked[1], cell[1]):
        return False
    if len(cell) == 5:
        return asked[2:] == [cell[2]]
    return len(asked) < 3 or _meet(asked[2], cell[2])


def _meet(one: str, other: str) -> bool:
    return one == other or fnmatchcase(one, other) or fnmatchcase(other, one)


def _place(asked: Sequence[str], cell: Sequence[str]) -> tuple[str, str]:
    """Key of the object in which a cell stands ("" at the top) and its name there.

    A field asked for by its exact path has no name: its value stands alone.
    """
    if len(cell) == 5:
        return cell[3], cell[4]
    if len(asked) < 2 or "*" in asked[1]:
        return cell[1], cell[2]
    return "", "" if asked[2:] == [cell[2]] else cell[2]


class Hashes:
    """One update per path, which it echoes as asked: an object by port or queue, values as strings."""

    def __init__(self, found: Sequence[tuple[int, Leaf, str, str]], prefix: Any, path: Any) -> None:
        self.columns = tuple(cell[0] for cell in found)
        self.states = frozenset(cell[0] for cell in found if cell[1].source == "APPL_DB")
        self.cells = {column: (leaf, key, name) for column, leaf, key, name in found}
        self.prefix, self.path = prefix, path

    def responses(self, ts: int, row: Row, columns: Sequence[int]) -> Iterator[Any]:
        """See :class:`Selection`."""
        response = gnmi.SubscribeResponse()
        response.update.timestamp = ts
        response.update.prefix.CopyFrom(self.prefix)
        val = response.update.update.add(path=self.path).val
        top: dict[str, Any] = {}
        for column in columns:
            if row[column] != MISSING:
                leaf, key, name = self.cells[column]
                into = top.setdefault(key, {}) if key else top
                into[name] = str(leaf.written(row[column]))
        if not top:
            return
        if "" in top:
            val.string_val = top[""]
        else:
            val.json_ietf_val = json.dumps(top).encode()
        yield response


def _path(elems: Iterable[Elem]) -> Any:
    made = gnmi.Path()
    for name, keys in elems:
        made.elem.add(name=name, key=keys)
    return made


def _put_typed(val: Any, value: int | str) -> None:
    if isinstance(value, str):
        val.string_val = value
    elif value < 0:
        val.int_val = value
    else:
        val.uint_val = value


def _put_json(val: Any, value: int | str) -> None:
    val.json_val = json.dumps(value).encode()


def _put_json_ietf(val: Any, value: int | str) -> None:
    val.json_ietf_val = json.dumps(str(value)).encode()  # RFC 7951 6.1: 64-bit integers are strings


PUT: dict[Encoding, Callable[[Any, int | str], None]] = {
    Encoding.PROTO: _put_typed,
    Encoding.JSON: _put_json,
    Encoding.JSON_IETF: _put_json_ietf,
}
