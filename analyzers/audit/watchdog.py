"""The PFC watchdog is absent or its times are too short.

Without a watchdog one broken NIC that pauses for ever stops the fabric behind it. One that fires too
early drops lossless traffic during ordinary congestion, and one that restores sooner than it detects
lets the storm in again and again. Times are held against the poll interval, because a state is only
seen when it is polled. It is wrong where a NIC-side watchdog is trusted alone.
"""

from collections.abc import Iterator

from analyzers.audit.common import Remark, Site
from fabric.qos import PortQos, Watchdog

MS = 1_000_000


def check(site: Site) -> Iterator[Remark]:
    """Ports with PFC on: absent watchdogs, short and inverted times."""
    for qos in site.ports:
        if qos.role == "host" or not qos.pfc or not qos.watchdog_known:
            continue
        if qos.watchdog is None:
            yield Remark(
                "watchdog_absent", "warning", qos.port, "has PFC on but no PFC watchdog",
                "Start it on every lossless port (SONiC: pfcwd start_default).",
            )  # fmt: skip
        else:
            yield from _times(site, qos, qos.watchdog)


def _times(site: Site, qos: PortQos, dog: Watchdog) -> Iterator[Remark]:
    least = max(site.knobs.least_detect_ms * MS, dog.poll_ns)
    if 0 <= dog.detect_ns < least:
        why = "than it polls" if dog.poll_ns > dog.detect_ns else "than ordinary congestion lasts"
        yield Remark(
            "watchdog_short", "warning", qos.port,
            f"takes pauses of {dog.detect_ns / MS:g} ms for a storm, which is shorter {why}",
            f"Set the detection time to {least / MS:g} ms or more.",
            value=dog.detect_ns / MS, limit=least / MS, unit="ms",
        )  # fmt: skip
    if 0 <= dog.restore_ns < dog.detect_ns:
        yield Remark(
            "watchdog_restores_early", "warning", qos.port,
            f"lets traffic back after {dog.restore_ns / MS:g} ms, sooner than it can detect a storm "
            f"({dog.detect_ns / MS:g} ms)",
            "Set the restoration time to at least the detection time.",
            value=dog.restore_ns / MS, limit=dog.detect_ns / MS, unit="ms",
        )  # fmt: skip
    if dog.action == "alert":
        yield Remark(
            "watchdog_only_alerts", "info", qos.port, "has a watchdog that reports and does nothing",
            "Use drop (or forward) where a storm must not spread.",
        )  # fmt: skip
