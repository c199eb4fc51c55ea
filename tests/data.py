"""Where the third-party captures and simulated fabrics lie; tests that need them skip without."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = Path(os.environ.get("FABRIC_REAL_DATA", ROOT.parent / "shared"))


def real_data(*parts: str) -> Path:
    """A path below the third-party data; skips the test where it is absent."""
    path = REAL_DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"third-party data not found: {'/'.join(parts)} (set FABRIC_REAL_DATA)")
    return path


def tool(name: str) -> str:
    """Path of a program; without it the test skips, or fails where CI is true."""
    path = shutil.which(name)
    if path is None:
        message = f"{name} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path
