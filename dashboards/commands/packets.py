"""``fabric packets``: frames of a capture, listed and filtered, or one of them to its last field."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import polars as pl

    from analyzers.capture.source import Tap
    from dashboards.commands.select import Wanted

FILTERS = "Filters"


def packets(
    file: Annotated[str, typer.Argument(help="A capture, or - for standard input.")],
    frame: Annotated[
        int | None, typer.Option(min=1, help="Show this frame to its last field, by tshark.")
    ] = None,
    flow: Annotated[int | None, typer.Option(help="Flow number.", rich_help_panel=FILTERS)] = None,
    src: Annotated[str | None, typer.Option(help="Source address or MAC.")] = None,
    dst: Annotated[str | None, typer.Option(help="Destination address.")] = None,
    qpn: Annotated[str | None, typer.Option(help="Destination queue pair, 17 or 0x11.")] = None,
    opcode: Annotated[
        str | None, typer.Option(help="BTH opcode: a number, or part of its name.")
    ] = None,
    psn: Annotated[str | None, typer.Option(metavar="A-B", help="PSN, or a range of them.")] = None,
    time: Annotated[
        str | None, typer.Option(metavar="A-B", help="After the first packet, like 1ms-2.5ms.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="roce, roce_v1, cnp, pfc, pause or fault.")
    ] = None,
    fault: Annotated[str | None, typer.Option(help="Name of a fault, or any.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Frames to show at most.")] = 100,
    icrc: Annotated[bool, typer.Option("--icrc", help="Check the invariant CRCs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
) -> int:
    """List the RoCE, CNP and pause frames of a capture, and those that could not be read.

    Exit status: 0 also where nothing matches, 2 where the file cannot be read.

    Example: fabric packets tap.pcapng --qpn 0x11 --psn 1000-1020
    """
    from dashboards.commands.dissect import dissect
    from dashboards.commands.interrupt import interruptible
    from dashboards.commands.select import Wanted

    interruptible()
    if frame is not None:
        sys.stdout.write(dissect(file, _tap(file), frame))
        return 0
    wanted = Wanted(
        flow=flow, src=src, dst=dst, qpn=qpn, opcode=opcode, psn=psn, time=time, kind=kind,
        fault=fault,
    )  # fmt: skip
    shown, first, more = _matching(file, wanted, limit, icrc=icrc)
    if as_json:
        sys.stdout.write(shown.write_ndjson())
    elif as_csv:
        sys.stdout.write(_flat(shown).write_csv())
    else:
        _print(shown, first)
    if more and sys.stderr.isatty():
        sys.stderr.write(f"the first {limit} frames; --limit shows more\n")
    return 0


def _tap(file: str) -> "Tap":
    """The one capture that the user named; ValueError where it is none or several."""
    from analyzers.capture.source import find

    found = find([file])
    if found.refused or not found.taps:
        raise ValueError(found.refused[0] if found.refused else f"{file}: not a capture")
    if len(found.taps) > 1:
        raise ValueError(f"{file}: {len(found.taps)} captures; name one")
    return found.taps[0]


def _matching(
    file: str, wanted: "Wanted", limit: int, *, icrc: bool
) -> "tuple[pl.DataFrame, int, bool]":
    """The first rows that match, the time of the first packet, and whether there are more matches.

    No more of the file is read than that takes.
    """
    import polars as pl

    from analyzers.capture.batch import ROWS
    from analyzers.frames import empty
    from analyzers.pipeline import Options
    from analyzers.taps import Work, list_packets
    from dashboards.commands.select import condition
    from fabric.schema import PACKETS

    matches = condition(wanted)
    tap = _tap(file)
    kept, rows, first = [empty(PACKETS)], 0, 0
    work = Work(0, tap, Path(), Options().limits, icrc=icrc, batch_rows=ROWS)
    for first, frame in list_packets(work):
        some = frame.filter(matches(first)).head(limit + 1 - rows)
        kept.append(some)
        rows += some.height
        if rows > limit:
            break
    return pl.concat(kept).head(limit), first, rows > limit


def _flat(rows: "pl.DataFrame") -> "pl.DataFrame":
    """CSV has no lists: quanta become numbers with spaces between."""
    import polars as pl

    quanta = pl.col("quanta").cast(pl.List(pl.String)).list.join(" ")
    return rows.with_columns(quanta)


def _print(rows: "pl.DataFrame", first: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from dashboards.report.words import clean

    table = Table(box=None, pad_edge=False)
    for name in ("frame", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("from", "to", "what", "details"):
        table.add_column(name, no_wrap=name != "details", overflow="fold")
    for row in rows.to_dicts():
        cells = (
            str(row["frame"]), f"{(row['ts'] - first) / 1e9:.9f}", row["src"] or "",
            row["dst"] or "", _what(row), _details(row),
        )  # fmt: skip
        table.add_row(*(Text(clean(cell)) for cell in cells))
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table)


def _what(row: dict[str, Any]) -> str:
    from fabric.codes import Fault, FrameKind, opcode_name

    if row["kind"] == FrameKind.PFC:
        return "PFC"
    if row["kind"] == FrameKind.GLOBAL_PAUSE:
        return "PAUSE"
    name = opcode_name(row["opcode"]) if row["opcode"] is not None else ""
    if row["fault"]:
        known = row["fault"] in set(Fault)
        fault = Fault(row["fault"]).name.lower() if known else str(row["fault"])
        return f"{name} [{fault}]".strip()
    return name


def _details(row: dict[str, Any]) -> str:
    """The fields that matter for the kind of frame, in the order of the headers."""
    if row["quanta"] and row["pause_vector"] is not None:
        vector = row["pause_vector"]
        if vector > 0xFF:
            return f"all priorities: {row['quanta'][0]} quanta"
        held = [f"{n}: {q}" for n, q in enumerate(row["quanta"]) if vector >> n & 1]
        return "quanta by priority " + ", ".join(held)
    fields = (
        ("qp", "qpn", "{:#08x}"), ("psn", "psn", "{}"), ("payload", "payload_bytes", "{}"),
        ("syndrome", "syndrome", "{:#04x}"), ("msn", "msn", "{}"), ("va", "va", "{:#x}"),
        ("rkey", "rkey", "{:#x}"), ("dma", "dma_bytes", "{}"), ("imm", "immediate", "{:#x}"),
        ("sqp", "src_qpn", "{:#08x}"), ("icrc", "icrc_ok", "{}"),
    )  # fmt: skip
    said = [
        f"{label} {form.format(row[name])}" for label, name, form in fields if row[name] is not None
    ]
    said += ["ack?"] if row["ack_request"] else []
    said += ["CE"] if row["ecn"] == 3 else []
    return " ".join(said)
