"""The report for a person at a terminal: the verdict first, then what, where, when, what now.

Everything is put into ``Text`` objects, whose content rich never reads as markup, and cleaned of
control characters: names of files and interfaces come from outside.
"""

from collections import Counter

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dashboards.report import jobs, words
from dashboards.report.facts import ALIKE, DECIDED, EMPTY, HEALTHY, Facts, Row, folded

STYLES = {
    "critical": "bold white on red",
    "warning": "black on yellow",
    "info": "cyan",
    HEALTHY: "bold black on green",
    EMPTY: "black on white",
}
FRAMES_SHOWN = 6
LINES = 12  # of repeated findings


def report(facts: Facts, *, all_notes: bool = False) -> RenderableType:
    """The whole report; without ``all_notes`` what repeats is told shortly, or counted."""
    alike = len(facts.findings) if all_notes else ALIKE
    shown, repeats = folded(facts.main, alike)
    parts: list[RenderableType] = [_verdict(facts), Text()]
    if facts.incidents:
        parts.append(Text("Causes", "bold"))
    for number, row in enumerate(facts.incidents, 1):
        parts += [incident(number, row, facts.begin), Text()]
    if facts.incidents and shown:
        parts.append(Text("What was seen", "bold"))
    for number, row in enumerate(shown, 1):
        parts += [_finding(number, row, facts), Text()]
    if repeats:
        some, rest = repeats[:LINES], repeats[LINES:]
        parts += [_notes("More of the same", some, rest, facts.names), Text()]
    for title, rows in (
        ("Good to know", facts.notes),
        ("Could not be decided, and why", facts.undecided),
    ):
        if rows:
            parts += [_notes(title, *folded(rows, alike), facts.names), Text()]
    if facts.collectives:
        parts += [jobs.table(facts.collectives), Text()]
    parts.append(_inputs(facts))
    parts += [Text(f"not read: {words.clean(line)}", "yellow") for line in facts.refused]
    if facts.other_files:
        files = words.count(facts.other_files, "file is no capture", "files are no captures")
        parts.append(Text(f"passed over: {files}", "dim"))
    return Group(*parts)


def show(facts: Facts, console: Console, *, all_notes: bool = False) -> None:
    """Print the report."""
    console.print(report(facts, all_notes=all_notes))


def _verdict(facts: Facts) -> Text:
    name = facts.verdict
    line = Text(f" {words.kind(name).upper()} ", STYLES[name])
    line.append(" " + words.clean(words.named(facts.sentence, facts.names)), "bold")
    numbers = [f"{n} {severity}" for severity, n in facts.severities.items() if n]
    counts = facts.counts
    several = f" ({counts['distinct']:,} distinct)" if len(facts.inputs) > 1 else ""
    looked = (
        f"{words.count(len(facts.inputs), 'point')}, {words.count(counts['packets'], 'packet')}, "
        f"{counts['roce']:,} RoCE{several} in {words.count(counts['flows'], 'flow')} "
        f"({words.count(counts['queue_pairs'], 'queue pair')} seen both ways), "
        f"{words.count(counts['messages'], 'message')}, {words.count(counts['pauses'], 'pause frame')}"
    )
    if facts.begin:
        looked += f", from {words.clock(facts.begin)} UTC"
    line.append("\n" + (", ".join(numbers) + " · " if numbers else "") + looked, "dim")
    return line


def incident(number: int, row: Row, begin: int, *, whole: bool = False) -> RenderableType:
    """A cause: where, when, why, who suffers, what now; with ``whole`` all of the argument."""
    sure = row["confidence"]
    title = Text(f"{number}. " if number else "")
    title.append(
        f" {words.kind(row['cls']).upper()} ", STYLES["critical" if sure >= DECIDED else "info"]
    )
    title.append(f" {', '.join(row['roots'][:8]) or 'place unknown'}", "bold")
    title.append(f"  {row['id']}", "dim")
    most = 1000 if whole else 3
    lines = [
        (
            "sure",
            f"{sure * 100:.0f} % ({row['tier']})" + ("" if sure >= DECIDED else ", undecided"),
        ),
        ("when", words.span(row["start"], row["end"], begin)),
        *(("why", text) for text in row["evidence"][:most]),
        *(("not", text) for text in row["alternatives"][:most] if whole),
        *(("missing", text) for text in row["missing"][:most]),
        ("tree", "; ".join(row["tree"][: most * 4])),
        ("from", ", ".join(row["contributors"][: most * 4])),
        ("victims", ", ".join(row["victims"][: most * 2])),
        ("findings", ", ".join(row["findings"][: most * 2]) if whole else ""),
        ("now", row["advice"]),
    ]
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in lines:
        if text:
            grid.add_row(label, Text(words.clean(text)))
    return Group(title, Padding(grid, (0, 0, 0, 3)))


def _finding(number: int, row: Row, facts: Facts) -> RenderableType:
    title = Text(f"{number}. ")
    title.append(f" {row['severity'].upper()} ", STYLES[row["severity"]])
    title.append(" " + words.kind(row["kind"]), "bold")
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in _lines(row, facts.begin):
        grid.add_row(label, Text(words.clean(words.named(text, facts.names))))
    return Group(title, Padding(grid, (0, 0, 0, 3)))


def _lines(row: Row, begin: int) -> list[tuple[str, str]]:
    when = words.span(row["start"], row["end"], begin)
    if row["lost_ns"]:
        when += f"; {words.duration(row['lost_ns'])} lost in sum"
    frames = [f"{frame}" for frame in row["frames"]]
    sure = f"{row['confidence'] * 100:.0f} % ({row['evidence']})"
    if row["missing"]:
        sure += f"; not seen: {row['missing']}"
    lines = [
        ("what", row["summary"]),
        ("who", row["subject"]),
        ("where", f"seen at {row['point']}"),
    ]
    lines.append(("when", when))
    if frames:
        lines.append(("proof", f"frames {words.joined(frames, FRAMES_SHOWN)}"))
    return [*lines, ("sure", sure), ("now", row["advice"])]


def _notes(title: str, rows: list[Row], rest: list[Row], names: dict[str, str]) -> RenderableType:
    """One line each, and how many of each kind are left out."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for row in rows:
        said = Text(words.clean(words.named(row["summary"], names)))
        subject = "" if row["subject"] in f"{row['point']}\n{row['summary']}" else row["subject"]
        where = " · ".join(filter(None, (words.named(subject, names), row["point"])))
        said.append(f"  {words.clean(where)}", "dim")
        table.add_row(words.kind(row["kind"]), said)
    if rest:
        kinds = Counter(words.kind(row["kind"]) for row in rest)
        more = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
        table.add_row("", Text(f"and more of the same: {more} (--all, --json)", "dim"))
    return Group(Text(title, "bold"), Padding(table, (0, 0, 0, 3)))


def _inputs(facts: Facts) -> Table:
    table = Table(title="Looked at", title_justify="left", title_style="bold", box=None)
    table.add_column("point", overflow="fold")
    for name in ("packets", "RoCE", "CE", "CNP", "pauses", "span"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("speed", overflow="fold")
    table.add_column("faults", overflow="fold")
    for row in facts.inputs:
        faults = [f"{number:,} {words.kind(name)}" for name, number in row["faults"].items()]
        if row["damage"]:
            faults.append(words.clean(row["damage"]))
        if row["dropped"] > 0:
            faults.append(f"{row['dropped']:,} dropped by the capturing system")
        speed = words.rate(row["speed_bps"])
        if speed != "unknown":
            speed += f" ({row['speed_source']})"
        span = words.duration(row["last"] - row["first"]) if row["packets"] else ""
        cells = [f"{row[name]:,}" for name in ("packets", "roce", "ce", "cnp", "pauses")]
        texts = [words.clean(row["point"]), *cells, span, speed, ", ".join(faults) or "none"]
        table.add_row(*map(Text, texts))
    return table
