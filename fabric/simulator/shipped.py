"""The scenarios that come with the project: at least one for every class of cause."""

import re
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "scenarios"


class Shipped(NamedTuple):
    """A scenario file and what its first line says of it."""

    name: str
    path: Path
    classes: tuple[int, ...]  # A-numbers; none: nothing is wrong
    text: str


def shipped() -> list[Shipped]:
    """All of them, by class."""
    found = []
    for path in FOLDER.glob("*.toml"):
        first = path.read_text().splitlines()[0].removeprefix("#").strip()
        classes, text = [int(n) for n in re.findall(r"\bA(\d+)\b", first)], first
        if head := re.match(r"(A\d+)(, A\d+)*: ", first):
            text = first[head.end() :]
        found.append(Shipped(path.stem, path, tuple(classes), text[:1].upper() + text[1:]))
    return sorted(found, key=lambda one: (len(one.classes), one.classes, one.name))


def find(text: str) -> Path:
    """The file of a path, or of the name of a shipped scenario; FileNotFoundError where it is neither."""
    path = Path(text)
    if path.is_file():
        return path
    named = FOLDER / f"{text}.toml"
    if re.fullmatch(r"\w+", text) and named.is_file():
        return named
    raise FileNotFoundError(f"{text}: no such scenario file, and no scenario of that name (--list)")


def table() -> str:
    """The shipped scenarios as a Markdown table."""
    rows = [("class", "scenario", "what happens"), ("---", "---", "---")]
    for one in shipped():
        classes = ", ".join(f"A{number}" for number in one.classes) or "-"
        rows.append((classes, one.name, one.text))
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    return "\n".join(f"| {a:{widths[0]}} | {b:{widths[1]}} | {c} |" for a, b, c in rows)
