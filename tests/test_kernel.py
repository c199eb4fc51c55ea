"""Where compiled kernels are kept."""

import os
import subprocess
import sys
from pathlib import Path

from tests.data import ROOT


def test_kernels_lie_in_the_cache_folder_whoever_imports_numba_first(tmp_path: Path) -> None:
    """Beside the sources numba would not notice that a helper in another file has changed."""
    code = """
import numba
from fabric.kernel import cache_folder
from analyzers.capture.index import index_pcap
print(cache_folder(), index_pcap._cache.cache_path)
"""
    kept = {name: text for name, text in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT,
        env=kept | {"FABRIC_CACHE_DIR": str(tmp_path)},
    ).stdout.split()  # fmt: skip
    assert Path(found[0]).parent == tmp_path
    assert Path(found[1]).parent == Path(found[0])
