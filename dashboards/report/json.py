"""The report for machines: one object whose shape ``docs/json.md`` describes.

``SCHEMA_VERSION`` grows when a key changes its meaning or goes; new keys may come without.
"""

import json
from typing import Any, Final

from dashboards.report.facts import Facts
from fabric import __version__

SCHEMA_VERSION: Final = 1
INPUT: Final = (
    "path", "point", "interface", "link_type", "first", "last", "packets", "bytes", "roce", "cnp",
    "pauses", "ce", "faults", "dropped", "unordered", "untimed", "speed_bps", "speed_source", "damage",
)  # fmt: skip


def as_object(facts: Facts) -> dict[str, Any]:
    """The report as one JSON object: schema_version, inputs, refused, summary, incidents, findings, collectives."""
    return {
        "schema_version": SCHEMA_VERSION,
        "generator": f"fabric {__version__}",
        "inputs": [{name: row[name] for name in INPUT} for row in facts.inputs],
        "refused": list(facts.refused),
        "other_files": facts.other_files,
        "summary": {
            "verdict": facts.verdict,
            "sentence": facts.sentence,
            **facts.counts,
            "findings": facts.severities,
            "events": facts.events,
        },
        "incidents": facts.incidents,
        "findings": facts.findings,
        "collectives": facts.collectives,
    }


def as_text(facts: Facts) -> str:
    """The same as text: UTF-8 friendly, no NaN, two spaces of indent."""
    return json.dumps(as_object(facts), ensure_ascii=False, allow_nan=False, indent=2)
