"""What every test run says at its end: how much it could not check."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests were skipped because the third-party data was absent."""
    skipped = terminalreporter.stats.get("skipped", [])
    without = [report for report in skipped if "third-party data" in str(report.longrepr)]
    terminalreporter.write_line(
        f"tests skipped for want of third-party data: {len(without)}; for other reasons: "
        f"{len(skipped) - len(without)}"
    )
