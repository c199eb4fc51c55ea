"""A Grafana dashboard over our metrics, as JSON to import (dashboard JSON model, schema 39)."""

from typing import Any, Final

WIDTH: Final = 24  # columns of Grafana's grid
SOURCE: Final = {"type": "prometheus", "uid": "${source}"}

# title, kind of panel, query, legend, unit, (width, height)
PANELS: Final = (
    ("Open incidents", "stat", 'sum(fabric_incidents_open{acknowledged="false"}) or vector(0)',
     "", "none", (6, 5)),
    ("Sources that deliver", "stat", "sum(fabric_source_up) / count(fabric_source_up)", "",
     "percentunit", (6, 5)),
    ("Records not on disk", "stat", "sum(rate(fabric_recorder_failed_total[5m]))", "", "cps", (6, 5)),
    ("Records not in the store", "stat", "sum(fabric_store_waiting)", "", "none", (6, 5)),
    ("What is open", "table", "fabric_incident_confidence", "", "percentunit", (12, 9)),
    ("Time lost", "timeseries", "fabric_incident_lost_seconds", "{{class}} at {{root}}", "s", (12, 9)),
    ("Incidents by class", "timeseries", "sum by (class) (fabric_incidents_open)", "{{class}}",
     "none", (12, 8)),
    ("Readings kept", "timeseries", "sum(rate(fabric_store_rows_total[5m]))", "rows", "rowsps", (12, 8)),
    ("Bytes by kind of source", "timeseries", "sum by (kind) (rate(fabric_source_bytes_total[5m]))",
     "{{kind}}", "Bps", (12, 8)),
    ("Silent for", "timeseries", "topk(20, time() - fabric_source_last_timestamp_seconds)",
     "{{name}}", "s", (12, 8)),
    ("Faults", "timeseries",
     "sum by (kind, name) (rate(fabric_source_faults_total[5m]) > 0)", "{{kind}} {{name}}", "cps", (12, 8)),
    ("Paths left out", "table", "fabric_source_left_out_paths > 0", "", "none", (12, 8)),
)  # fmt: skip


def dashboard() -> dict[str, Any]:
    """The dashboard; Grafana asks for the data source when it is imported."""
    panels: list[dict[str, Any]] = []
    x = y = tallest = 0
    for number, (title, kind, query, legend, unit, (width, height)) in enumerate(PANELS, 1):
        if x + width > WIDTH:
            x, y, tallest = 0, y + tallest, 0
        panels.append(
            {
                "id": number, "title": title, "type": kind, "datasource": SOURCE,
                "gridPos": {"x": x, "y": y, "w": width, "h": height},
                "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
                "targets": [{"refId": "A", "expr": query, "legendFormat": legend or "__auto",
                             "format": "table" if kind == "table" else "time_series",
                             "instant": kind == "table", "datasource": SOURCE}],
            }
        )  # fmt: skip
        x, tallest = x + width, max(tallest, height)
    return {
        "title": "RoCE fabric", "uid": "roce-fabric", "schemaVersion": 39, "version": 1,
        "tags": ["roce", "fabric"], "time": {"from": "now-1h", "to": "now"}, "refresh": "10s",
        "templating": {"list": [{"name": "source", "label": "Prometheus", "type": "datasource",
                                 "query": "prometheus"}]},
        "panels": panels,
    }  # fmt: skip
