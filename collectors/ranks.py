"""Which rank of which job uses which RDMA device: from the processes that hold it open.

A launcher tells each process its rank in its environment (torchrun, Slurm, Open MPI, Intel MPI); a
process that uses a device has its uverbs file open. Of the environment only these variables are read.
A process of another user is seen only by root.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

RANK: Final = ("RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID")
JOB: Final = ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")


def verbs(sysfs: Path) -> dict[str, str]:
    """Name of each verbs file and its RDMA device."""
    found = {}
    for entry in sorted((sysfs / "class/infiniband_verbs").glob("uverbs*")):
        try:
            found[entry.name] = (entry / "ibdev").read_text().strip()
        except OSError:
            continue
    return found


def ranks(
    sysfs: Path, proc: Path = Path("/proc"), dev: Path = Path("/dev")
) -> list[dict[str, Any]]:
    """``{"job", "rank", "nic", "pid"}`` of each process with a rank that holds a device open."""
    devices = {str(dev / "infiniband" / name): nic for name, nic in verbs(sysfs).items()}
    if not devices:
        return []
    found = []
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        nics = sorted({devices[path] for path in _open_files(process) if path in devices})
        if nics and (told := _told(process)) and told["rank"] >= 0:
            found += [{**told, "nic": nic, "pid": int(process.name)} for nic in nics]
    return found


def _open_files(process: Path) -> Iterator[str]:
    try:
        for entry in os.scandir(process / "fd"):
            try:
                yield os.readlink(entry.path)  # noqa: PTH115 a Path each would cost more than the call
            except OSError:
                continue
    except OSError:  # it ended, or is another user's
        return


def _told(process: Path) -> dict[str, Any]:
    """Job and rank in a process's environment."""
    try:
        raw = (process / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition("=") for item in raw.decode(errors="replace").split("\0"))
    given = {name: value for name, _, value in pairs if name in RANK or name in JOB}
    rank = next((given[name] for name in RANK if given.get(name, "").isdigit()), "-1")
    job = next((given[name] for name in JOB if given.get(name)), "")
    return {"job": job, "rank": int(rank)}
