"""Graphviz files as prescriptive topologies: ``"leaf1":"swp51" -- "spine1":"swp1" [speed="100G"]``.

The grammar is that of the DOT language: quoted, numeral and HTML names, chains, subgraphs as ends of
an edge, attribute lists, defaults of ``node`` and ``edge``, three kinds of comments. Attributes that
mean something here: ``function`` or ``role`` of a node; ``speed``, ``length``, ``rail``, ``plane`` of
an edge. Edges without ports cannot be cabled and are an error.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from fabric.cables import ROLES, Device, Port
from fabric.inventory.document import length_m, speed_bps
from fabric.inventory.document import text_of as text_of_file
from fabric.inventory.found import Claim, Found

KIND = "Graphviz dot"
TOKEN = re.compile(
    r"""(?P<blank>\s+|//[^\n]*|/\*.*?\*/|\#[^\n]*)
      |(?P<quoted>"(?:\\.|[^"\\])*")
      |(?P<edge>--|->)
      |(?P<number>-?(?:\.\d+|\d+(?:\.\d*)?)(?![\w.]))
      |(?P<name>[\w\u0080-\uffff][\w.\u0080-\uffff]*)
      |(?P<html><(?:[^<>]|<[^<>]*>)*>)
      |(?P<mark>[{}\[\];,:=+])""",
    re.VERBOSE | re.DOTALL,
)
WORDS = {
    "server": "host",
    "tor": "leaf",
    "superspine": "core",
    "super-spine": "core",
    "exit": "leaf",
}
COMPASS = {"n", "ne", "e", "se", "s", "sw", "w", "nw", "c", "_"}
DEEPEST = 50


class Token(NamedTuple):
    """A word of the file: its kind, its text without quotes, its line."""

    kind: str
    text: str
    line: int


class End(NamedTuple):
    """A node, or one port of it."""

    node: str
    port: str
    line: int


def matches(path: Path, head: str) -> bool:
    """Whether a file looks like one of these, from its name and beginning."""
    return (
        path.suffix in (".dot", ".gv") or re.match(r"\s*(strict\s+)?(di)?graph\b", head) is not None
    )


def read(path: Path) -> Found:
    """Read the file; ValueError names file, line and word."""
    return _Parser(path).read()


def _tokens(path: Path, text: str) -> Iterator[Token]:
    at, line = 0, 1
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"{path}:{line}: not DOT: {text[at : at + 12].splitlines()[0]!r}")
        kind, word = found.lastgroup or "", found[0]
        if kind == "quoted":
            word = word[1:-1].replace('\\"', '"').replace("\\\n", "")
        if kind != "blank":
            yield Token(kind, word, line)
        line += found[0].count("\n")
        at = found.end()
    yield Token("end", "", line)


class _Parser:
    """Recursive descent over the tokens; fills one Found."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tokens = list(_tokens(path, text_of_file(path)))
        self.i = 0
        self.depth = 0
        self.found = Found(str(path), KIND)
        self.edge_defaults: dict[str, str] = {}
        self.node_defaults: dict[str, str] = {}

    # -- words ------------------------------------------------------------------------------------

    @property
    def here(self) -> Token:
        return self.tokens[self.i]

    def error(self, reason: str, line: int = 0) -> ValueError:
        return ValueError(
            f"{self.path}:{line or self.here.line}: {self.here.text or 'end'}: {reason}"
        )

    def take(self, *marks: str) -> bool:
        token = self.here
        if token.kind in ("mark", "edge", "name") and token.text.lower() in marks:
            self.i += 1
            return True
        return False

    def need(self, mark: str) -> None:
        if not self.take(mark):
            raise self.error(f"{mark!r} is expected")

    def word(self) -> str:
        token = self.here
        if token.kind not in ("quoted", "name", "number", "html"):
            raise self.error("a name is expected")
        self.i += 1
        text = token.text
        while token.kind == "quoted" and self.take("+"):
            text += self.word()
        return text

    # -- grammar ----------------------------------------------------------------------------------

    def read(self) -> Found:
        self.take("strict")
        if not self.take("graph", "digraph"):
            raise self.error("graph or digraph is expected")
        if self.here.text != "{":
            self.found.name = self.word()
        self.statements()
        if self.here.kind != "end":
            raise self.error("nothing may follow the graph")
        return self.found

    def statements(self) -> list[End]:
        """``{ ... }``; returns the nodes named inside, for edges to a subgraph."""
        self.need("{")
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error("nested too deeply")
        defaults = (dict(self.node_defaults), dict(self.edge_defaults))
        inside: list[End] = []
        while not self.take("}"):
            if self.here.kind == "end":
                raise self.error("'}' is missing")
            inside += self.statement()
            while self.take(";", ","):
                pass
        self.node_defaults, self.edge_defaults = defaults
        self.depth -= 1
        return inside

    def statement(self) -> list[End]:
        if self.here.kind == "name" and self.here.text.lower() in ("graph", "node", "edge"):
            what = self.word().lower()
            given = self.attributes()
            if what == "node":
                self.node_defaults |= given
            elif what == "edge":
                self.edge_defaults |= given
            return []
        if self.here.kind in ("name", "quoted") and self.tokens[self.i + 1].text == "=":
            self.word()
            self.need("=")
            self.word()
            return []
        groups = [self.ends()]
        first = self.here.line
        while self.take("--", "->"):
            groups.append(self.ends())
        given = self.attributes()
        if len(groups) == 1:
            for end in groups[0]:
                self.node(end.node, given)
        for one, two in pairwise(groups):
            for a in one:
                for b in two:
                    self.edge(a, b, self.edge_defaults | given, first)
        return [end for group in groups for end in group]

    def ends(self) -> list[End]:
        """A node with its port, or all nodes of a subgraph."""
        if self.take("subgraph") and self.here.text != "{":
            self.word()
        if self.here.text == "{" and self.here.kind == "mark":
            return self.statements()
        line = self.here.line
        node, parts = self.word(), list[str]()
        while self.take(":"):
            parts.append(self.word())
        if len(parts) > 1 and parts[-1] in COMPASS:
            parts.pop()
        self.node(node, {})
        return [End(node, ":".join(parts), line)]

    def attributes(self) -> dict[str, str]:
        given: dict[str, str] = {}
        while self.take("["):
            while not self.take("]"):
                key = self.word()
                given[key] = self.word() if self.take("=") else "true"
                while self.take(",", ";"):
                    pass
        return given

    # -- meaning ----------------------------------------------------------------------------------

    def node(self, name: str, given: dict[str, str]) -> None:
        values = self.node_defaults | given
        word = (values.get("role") or values.get("function") or "").lower()
        role = WORDS.get(word, word)
        known = self.found.devices.get(name)
        if known is None or (role in ROLES and given):
            pod = values.get("pod", known.pod if known else "")
            self.found.devices[name] = Device(name, role if role in ROLES else "", pod)

    def edge(self, a: End, b: End, values: dict[str, str], line: int) -> None:
        for end in (a, b):
            if not end.port:
                raise ValueError(
                    f"{self.path}:{end.line}: {end.node}: an edge needs ports: "
                    f'"{a.node}":"PORT" -- "{b.node}":"PORT"'
                )
        try:
            claim = Claim(
                Port(a.node, a.port),
                Port(b.node, b.port),
                f"{self.path}:{line}: {a.node}:{a.port} -- {b.node}:{b.port}",
                speed_bps(values["speed"]) if "speed" in values else 0,
                rail=int(values.get("rail", -1)),
                plane=int(values.get("plane", -1)),
            )
            if "length" in values:
                claim = claim._replace(length_m=length_m(values["length"]))
        except ValueError as complaint:
            raise ValueError(f"{self.path}:{line}: {a.node} -- {b.node}: {complaint}") from None
        self.found.claims.append(claim)
