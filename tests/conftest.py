"""The same chance in every test run, and at its end how much could not be checked."""

import os
import random
import zlib

import pytest


@pytest.fixture(autouse=True)
def _chance(request: pytest.FixtureRequest) -> None:
    """Random input is the same each time, so that a change answers for what it changed.

    ``FABRIC_SEED=drawn`` draws it anew; a test that does says its seed where it fails.
    """
    if os.environ.get("FABRIC_SEED") != "drawn":
        random.seed(zlib.crc32(request.node.nodeid.encode()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests were skipped because the third-party data was absent, and why others were."""
    skipped = terminalreporter.stats.get("skipped", [])
    without = [report for report in skipped if "third-party data" in str(report.longrepr)]
    terminalreporter.write_line(
        f"tests skipped for want of third-party data: {len(without)}; for other reasons: "
        f"{len(skipped) - len(without)}"
    )
    for report in skipped:
        if report not in without:
            terminalreporter.write_line(f"skipped: {report.nodeid}: {report.longrepr[-1]}")
