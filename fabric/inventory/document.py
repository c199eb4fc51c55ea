"""A file as a tree of nodes that know where they stand: every complaint names file, line and key.

Parsing runs at full speed without positions; the line of a key is looked up again in the text only
when there is something to complain about.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from json.decoder import JSONDecodeError
from pathlib import Path
from typing import Any, NamedTuple

from fabric.topology import ROUTINGS

Key = str | int
LineOf = Callable[[str, Sequence[Key]], int]

SPEED = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:b(?:it|ps)?(?:/s)?|bps)?", re.IGNORECASE)
LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(cm|m|km)?", re.IGNORECASE)
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]?)(i?)b?", re.IGNORECASE)
TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|ms|s)", re.IGNORECASE)
DECIMAL = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
METRES = {"cm": 0.01, "m": 1.0, "km": 1000.0}
LARGEST = 1 << 62  # beyond it neither tables nor arithmetic follow
MERGED_KEYS = 100_000  # more pairs than this behind "<<" is an attack, not a configuration


def speed_bps(text: str) -> int:
    """``400G``, ``100Gbps``, ``25000M``, a plain number in bit/s."""
    found = SPEED.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"not a speed: {text!r} (write 400G)")
    return round(float(found[1]) * DECIMAL[found[2].upper()])


def length_m(text: str) -> float:
    """``3m``, ``2km``, a plain number in metres."""
    found = LENGTH.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"not a length: {text!r} (write 30m)")
    return float(found[1]) * METRES[(found[2] or "m").lower()]


def size_bytes(text: str) -> int:
    """``150K`` and ``150KB`` are thousands, ``150KiB`` is 1024s, a plain number is bytes."""
    found = SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"not a size: {text!r} (write 150K or 150KiB)")
    base = 1024.0 if found[3] else 1000.0
    return round(float(found[1]) * math.pow(base, " KMG".index(found[2].upper() or " ")))


def span_ns(text: str) -> int:
    """``200ms``: a duration with its unit."""
    found = TIME.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"not a duration: {text!r} (write 200ms)")
    return round(float(found[1]) * NANOSECONDS[found[2].lower()])


def moment_ns(text: str) -> int:
    """Nanoseconds since 1970, or an ISO 8601 date and time (UTC where it names no zone)."""
    if text.strip().isdigit():
        return int(text)
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"not a time: {text!r} (nanoseconds or ISO 8601)") from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    whole = when - datetime(1970, 1, 1, tzinfo=UTC)
    return (whole.days * 86400 + whole.seconds) * 10**9 + whole.microseconds * 1000


class Document(NamedTuple):
    """A parsed file, its text, and how to find the line of a key in it."""

    path: str
    text: str
    line_of: LineOf

    def error(self, keys: Sequence[Key], reason: str) -> ValueError:
        """The one line to raise: file, line, key, reason."""
        return ValueError(f"{self.where(keys)}: {reason}")

    def where(self, keys: Sequence[Key]) -> str:
        """``file:line: key.key``."""
        name = ".".join(str(key) for key in keys)
        line = self.line_of(self.text, keys)
        return f"{self.path}:{line}" + (f": {name}" if name else "")


class Node(NamedTuple):
    """A value in a document, and the keys that lead to it."""

    document: Document
    keys: tuple[Key, ...]
    value: Any

    def error(self, reason: str) -> ValueError:
        """A complaint about this node."""
        return self.document.error(self.keys, reason)

    def __str__(self) -> str:
        """File, line and key; looked up only now."""
        return self.document.where(self.keys)

    def members(self) -> Iterator[tuple[str, "Node"]]:
        """The members of a mapping; an absent value has none."""
        if self.value is None:
            return
        if not isinstance(self.value, dict):
            raise self.error(f"a mapping is expected, not {self._kind()}")
        for key, value in self.value.items():
            yield str(key), Node(self.document, (*self.keys, key), value)

    def elements(self) -> Iterator["Node"]:
        """The elements of a list; an absent value has none."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            raise self.error(f"a list is expected, not {self._kind()}")
        for i, value in enumerate(self.value):
            yield Node(self.document, (*self.keys, i), value)

    def get(self, key: str) -> "Node":
        """A member; its value is None where it is absent."""
        if self.value is not None and not isinstance(self.value, dict):
            raise self.error(f"a mapping is expected, not {self._kind()}")
        value = self.value.get(key) if self.value else None
        return Node(self.document, (*self.keys, key), value)

    def need(self, key: str) -> "Node":
        """A member that must be there."""
        node = self.get(key)
        if node.value is None:
            raise self.error(f"{key} is missing")
        return node

    def known(self, *names: str) -> "Node":
        """The same mapping, after a complaint about the first key that is none of ``names``."""
        for key, node in self.members():
            if key not in names:
                raise node.error(f"unknown key; known are {', '.join(names)}")
        return self

    def text(self, default: str = "") -> str:
        """A scalar as text."""
        if self.value is None:
            return default
        if isinstance(self.value, dict | list):
            raise self.error(f"a single value is expected, not {self._kind()}")
        return str(self.value)

    def integer(self, default: int = 0) -> int:
        """A whole number; SONiC writes them as strings."""
        if self.value is None:
            return default
        try:
            number = int(self.text().strip(), 0)
        except ValueError:
            raise self.error(f"a whole number is expected, not {self.value!r}") from None
        if abs(number) >= LARGEST:
            raise self.error("the number is too large")
        return number

    def read(self, reader: Callable[[str], Any], default: Any = ...) -> Any:
        """A scalar through one of the readers above; without a default there must be one."""
        if self.value is None:
            if default is ...:
                raise self.error("a value is expected")
            return default
        try:
            value = reader(self.text())
        except ValueError as complaint:
            raise self.error(str(complaint)) from None
        if isinstance(value, int | float) and not abs(value) < LARGEST:
            raise self.error("the number is too large")
        return value

    def _kind(self) -> str:
        names = {dict: "a mapping", list: "a list", str: "text", bool: "a truth value"}
        return names.get(type(self.value), f"{self.value!r}")


def routing_of(node: Node) -> str:
    """A declared way to choose among equal paths; empty where none is declared."""
    text = node.text()
    if text not in ("", *ROUTINGS):
        raise node.error(f"routing is one of {', '.join(ROUTINGS)}")
    return text


def text_of(path: Path) -> str:
    """The text of a file; ValueError names the offset of a byte that is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        raise ValueError(f"{path}: not UTF-8 text at byte {bad.start}") from None


def read_json(path: Path) -> Node:
    """A JSON file. A key that stands twice in one object is an error, not silently the last."""
    text = text_of(path)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [key for key, _ in pairs]
            twice = next(key for key in names if names.count(key) > 1)
            raise ValueError(f"{path}:{_line_of_text(text, twice)}: {twice}: the key stands twice")
        return found

    try:
        data = json.loads(text, object_pairs_hook=once)
    except JSONDecodeError as bad:
        raise ValueError(f"{path}:{bad.lineno}: not JSON: {bad.msg}") from None
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply") from None
    return Node(Document(str(path), text, json_line), (), data)


def _line_of_text(text: str, key: str) -> int:
    """The line where a key stands for the second time."""
    places = [m.start() for m in re.finditer(re.escape(json.dumps(key)) + r"\s*:", text)]
    return text.count("\n", 0, places[1]) + 1 if len(places) > 1 else 1


def json_line(text: str, keys: Sequence[Key]) -> int:
    """The line on which the last of ``keys`` that exists stands in JSON text."""
    decoder = json.JSONDecoder()
    blank = re.compile(r"[\s,:]*")

    def skip(i: int) -> int:
        found = blank.match(text, i)
        return found.end() if found else i

    place = i = skip(0)
    for key in keys:
        opening = text[i : i + 1]
        i = skip(i + 1)
        index = 0
        while i < len(text) and text[i] not in "]}":
            start = i
            name: Key = index
            if opening == "{":
                name, i = decoder.raw_decode(text, i)
                i = skip(i)
            if name == key:
                place = start
                break
            i = skip(decoder.raw_decode(text, i)[1])
            index += 1
        else:
            break
    return text.count("\n", 0, place) + 1


def read_yaml(path: Path) -> Node:
    """A YAML file, read with the safe loader. A key that stands twice is an error."""
    import yaml

    text = text_of(path)
    try:
        data = yaml.load(text, Loader=_strict_loader())  # noqa: S506  a SafeLoader underneath
    except yaml.YAMLError as bad:
        mark = getattr(bad, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        reason = getattr(bad, "problem", None) or str(bad).splitlines()[0]
        raise ValueError(f"{path}:{line}: not YAML: {reason}") from None
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply") from None
    return Node(Document(str(path), text, yaml_line), (), data)


def _strict_loader() -> Any:
    """The safe loader of PyYAML (compiled where it can be) that refuses repeated keys and bombs."""
    import yaml

    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    checked: set[int] = set()

    class Strict(base):  # type: ignore[misc, valid-type]  # base is chosen at run time
        def flatten_mapping(self, node: Any) -> None:
            keys = [] if id(node) in checked else [key for key, _ in node.value]
            checked.add(id(node))  # a node that others merge comes again, merged pairs included
            seen = set()
            for key in keys:
                if isinstance(key.value, str) and key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value} stands twice", problem_mark=key.start_mark
                    )
                seen.add(key.value if isinstance(key.value, str) else id(key))
            super().flatten_mapping(node)
            if len(node.value) > MERGED_KEYS:
                raise yaml.MarkedYAMLError(
                    problem="too many merged keys", problem_mark=node.start_mark
                )

    return Strict


@lru_cache(maxsize=2)
def _composed(text: str) -> Any:
    import yaml

    return yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def yaml_line(text: str, keys: Sequence[Key]) -> int:
    """The line on which the last of ``keys`` that exists stands in YAML text."""
    import yaml

    node = _composed(text)
    line = 1
    for key in keys:
        if isinstance(node, yaml.SequenceNode) and isinstance(key, int):
            node = node.value[key]
            line = node.start_mark.line + 1
            continue
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        found = [(name, value) for name, value in pairs if name.value == str(key)]
        if not found:
            break
        line = found[0][0].start_mark.line + 1
        node = found[0][1]
    return line
