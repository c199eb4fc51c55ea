"""``fabric score``: how often the diagnosis is right, on runs whose cause is known."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dashboards.score.masks import Mask
    from dashboards.score.page import Part
    from dashboards.score.truth import Truth

FAILED = 2
MOST_HISTORIES = 100  # delays of more runs take twenty diagnoses each and add little


def score(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR", help="Labelled runs, or folders of such.")
    ],
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the figures there, as Markdown.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiers only: no silent switches, no slower samples.")
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Of the moments of reading and the silent switches.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Diagnose masked copies of labelled runs in a process of its own, and hold the answers against the labels.

    Exit status: 0 no confident wrong answer at tier b, 1 there is one, 2 nothing could be read.

    Example: fabric score ../shared/groundtruth --write docs/accuracy.md
    """
    from dashboards.commands.files import write_text
    from dashboards.commands.interrupt import interruptible
    from dashboards.score.page import page, section
    from dashboards.score.suite import HARDER, TIERS
    from dashboards.score.tally import summary
    from dashboards.score.truth import find

    interruptible()
    if write and not write.parent.is_dir():
        raise FileNotFoundError(f"{write.parent}: no such folder")
    sets = [(folder, find([folder])) for folder in folders]
    masks = TIERS if quick else (*TIERS, *HARDER)
    parts = [_part(folder, truths, masks, seed) for folder, truths in sets]
    if write:
        write_text(write, page(parts))
    if as_json:
        typer.echo(json.dumps([_plain(part) for part in parts]))
    elif not write:
        typer.echo("".join(map(section, parts)))
    wrong = sum(summary(p.detail, dict(p.conditions)[p.detail]).wrong for p in parts)
    return 1 if wrong else 0


def _part(folder: Path, truths: "Sequence[Truth]", masks: "Sequence[Mask]", seed: int) -> "Part":
    """Score one folder under every condition."""
    from dashboards.score.baselines import roots_right
    from dashboards.score.page import Part
    from dashboards.score.suite import counters_of, score
    from fabric.inventory import load

    detail = masks[1].name  # tier b
    conditions = []
    for mask in masks:
        if sys.stderr.isatty():
            sys.stderr.write(f"{folder}: {mask.name}\n")
        history = mask.name == detail and len(truths) <= MOST_HISTORIES
        outcomes = score(truths, mask, seed, history)
        if outcomes:
            conditions.append((mask.name, outcomes))
    rooted = [t for t in truths if any(fault.roots for fault in t.faults)]
    rooted = list({t.twin: t for t in rooted}.values())
    right = [
        roots_right(t, counters_of(t), load([t.folder / "topology.json"]).fabric) for t in rooted
    ]
    return Part(
        title=folder.resolve().name,
        independent=not all(t.own for t in truths),
        truths=truths,
        conditions=conditions,
        detail=detail,
        baselines=(len(rooted), sum(a for a, _ in right), sum(b for _, b in right)),
    )


def _plain(part: "Part") -> dict[str, Any]:
    """A part for machines."""
    from dataclasses import asdict

    from dashboards.score.tally import summary

    return {
        "folder": part.title,
        "independent": part.independent,
        "conditions": [asdict(summary(name, some)) for name, some in part.conditions],
        "answers": [
            {"condition": name, **asdict(answer)}
            for name, outcomes in part.conditions
            for outcome in outcomes
            for answer in outcome.answers
        ],
        "baselines": dict(zip(("runs", "marks", "pauses"), part.baselines, strict=True)),
    }
