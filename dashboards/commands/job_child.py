"""Child process of the dashboard: analyse captures into a folder, telling on standard output how far.

Arguments: the folder, a JSON object of options, the captures. A line of output is a JSON object:
``{"done": bytes, "total": bytes}``, at last ``{"finished": true}`` or ``{"failed": reason}``.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

EVERY_S = 0.2


def main(folder: str, options: str, paths: list[str]) -> int:
    """Run the analysis; 0 done, 2 nothing could be read."""
    from analyzers.detectors import run_detectors
    from analyzers.diagnosis.whole import incidents
    from analyzers.pipeline import Options, analyze
    from dashboards.commands.keep import keep
    from dashboards.report.facts import gather

    given: dict[str, Any] = json.loads(options)
    said = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= EVERY_S:
            said = now
            _say({"done": done, "total": total})

    with analyze(paths, Options(speed_bps=int(given.get("speed_bps", 0))), progress) as run:
        findings = run_detectors(run.tables)
        causes = incidents(run.tables, findings, None)
        facts = gather(run.tables, findings, run.refused, run.skipped, None, causes)
        if not facts.inputs:
            _say({"failed": run.refused[0] if run.refused else "nothing to read"})
            return 2
        keep(Path(folder), facts, replace(run.tables, incidents=causes.lazy()), findings)
    _say({"finished": True})
    return 0


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
    except (OSError, ValueError) as error:
        _say({"failed": " ".join(str(error).split())})
        sys.exit(2)
