"""OpenMetrics at ``/metrics``: how the collector fares, and what is wrong with the fabric.

Names are stable. A series exists per source, per class of incident and per open incident, of these at
most ``MOST``: what grows with the fabric is the list of its targets and nothing else.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from analyzers.state import Incident, State
from fabric import __version__

MOST: Final = 100  # open incidents with a series of their own
SECOND_NS: Final = 1e9

# name, help, key in the status of a source; counters end in _total by the format's own rule
SOURCE_COUNTERS: Final = (
    ("fabric_source_messages", "Messages received from a source", "messages"),
    ("fabric_source_bytes", "Bytes received from a source", "bytes"),
    ("fabric_source_faults", "Messages of a source that could not be taken", "faults"),
    ("fabric_source_connections", "Connections made to a source", "connections"),
)
RECORDER_COUNTERS: Final = (
    ("fabric_recorder_records", "Records written", "records"),
    ("fabric_recorder_acknowledged", "Records that are on disk for certain", "acknowledged"),
    ("fabric_recorder_failed", "Records that could not be written", "failed"),
)
STORE_COUNTERS: Final = (
    ("fabric_store_rows", "Readings kept in the store", "rows"),
    ("fabric_store_faults", "Records that could not be decoded to their end", "faults"),
    ("fabric_store_segments", "Segments committed", "segments"),
)


class Metrics:
    """Collector of the registry: asked at each scrape.

    ``status`` gives what ``fabric collect --status`` shows; ``state`` is the file of incidents, None
    where nothing is diagnosed.
    """

    def __init__(self, status: Callable[[], dict[str, Any]], state: Path | None) -> None:
        self.status, self.state = status, state

    def collect(self) -> Iterator[Metric]:
        """Every family, with the values of this moment."""
        found = self.status()
        yield InfoMetricFamily("fabric_build", "The running release", {"version": __version__})
        yield from _sources(found["sources"])
        yield from _plain(RECORDER_COUNTERS, found.get("recorder", {}))
        if store := found.get("store"):
            yield from _plain(STORE_COUNTERS, store)
            waiting = GaugeMetricFamily("fabric_store_waiting", "Records not yet in the store")
            waiting.add_metric([], float(store.get("waiting", 0)))
            yield waiting
        if self.state is not None and self.state.exists():
            yield from self._incidents(self.state)

    def _incidents(self, path: Path) -> Iterator[Metric]:
        with State(path) as state:
            rows = state.incidents(state="open")
            acknowledged = {note.incident for note in state.acknowledgements()}
        counted = GaugeMetricFamily(
            "fabric_incidents_open", "Open incidents by class", labels=["class", "acknowledged"]
        )
        kinds = Counter((one.cls, str(one.id in acknowledged).lower()) for one in rows)
        for labels, number in sorted(kinds.items()):
            counted.add_metric(list(labels), number)
        yield counted
        rows.sort(key=lambda one: (-float(one.body.get("confidence", 0.0)), one.id))
        yield from _each(rows[:MOST])


def _each(rows: list[Incident]) -> Iterator[Metric]:
    """The open incidents, one series each."""
    labels = ["incident", "class", "root"]
    sure = GaugeMetricFamily("fabric_incident_confidence", "How sure, 0 to 1", labels=labels)
    lost = GaugeMetricFamily(
        "fabric_incident_lost_seconds", "Time that the sufferers lost, summed", labels=labels
    )
    since = GaugeMetricFamily(
        "fabric_incident_start_timestamp_seconds", "When it began", labels=labels
    )
    for one in rows:
        roots = one.body.get("roots") or [""]
        names = [one.id, one.cls, str(roots[0])]
        sure.add_metric(names, float(one.body.get("confidence", 0.0)))
        lost.add_metric(names, float(one.body.get("lost_ns") or 0.0) / SECOND_NS)
        since.add_metric(names, one.first_ns / SECOND_NS)
    yield from (sure, lost, since)


def _sources(sources: list[dict[str, Any]]) -> Iterator[Metric]:
    labels = ["kind", "name"]
    up = GaugeMetricFamily("fabric_source_up", "1 while readings arrive", labels=labels)
    last = GaugeMetricFamily(
        "fabric_source_last_timestamp_seconds", "When something last came", labels=labels
    )
    refused = GaugeMetricFamily(
        "fabric_source_left_out_paths", "Paths that the source refused", labels=labels
    )
    for one in sources:
        names = [one["kind"], one["name"]]
        up.add_metric(names, float(one["state"] == "streaming"))
        last.add_metric(names, one["last_ns"] / SECOND_NS)
        refused.add_metric(names, len(one["left_out"]))
    yield from (up, last, refused)
    for name, text, key in SOURCE_COUNTERS:
        family = CounterMetricFamily(name, text, labels=labels)
        for one in sources:
            family.add_metric([one["kind"], one["name"]], one[key])
        yield family


def _plain(declared: tuple[tuple[str, str, str], ...], values: dict[str, Any]) -> Iterator[Metric]:
    for name, text, key in declared:
        yield CounterMetricFamily(name, text, value=float(values.get(key, 0)))


class Serving:
    """Serves metrics until it is closed; ``port`` is the one that was got."""

    def __init__(self, address: str, metrics: Metrics) -> None:
        """OSError where the address cannot be used, ValueError where it is none."""
        host, _, port = address.rpartition(":")
        if not port.isdigit():
            raise ValueError(f"metrics: {address!r} is no address; write it like 127.0.0.1:9464")
        registry = CollectorRegistry()
        registry.register(metrics)
        self._server, self._thread = start_http_server(int(port), host or "127.0.0.1", registry)
        self.port: int = self._server.server_port

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()
        assert isinstance(self._thread, threading.Thread)
        self._thread.join()
