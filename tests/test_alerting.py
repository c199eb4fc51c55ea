"""Alerts at a real Alertmanager, metrics scraped by a real Prometheus, webhooks at a server of ours."""

import json
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from analyzers.state import Incident, State
from dashboards.alerting.alerts import Alerts, Receiver, alert, web_address
from dashboards.alerting.grafana import PANELS, dashboard
from dashboards.alerting.metrics import MOST, Metrics, Serving
from tests.data import tool
from tests.test_collecting import soon

HOSTILE = '<script>alert("x")</script>\n"quoted" \\ and {braces}'


def incident(name: str, state: str = "open", sure: float = 0.9, **more: Any) -> Incident:
    now = time.time_ns()
    body = {"confidence": sure, "roots": ["leaf1:eth3:3"], "evidence": ["held 80 % of 10 ms"],
            "victims": ["h1:eth0 2 ms"], "advice": "reset the NIC", "lost_ns": 2e6, **more}  # fmt: skip
    return Incident(name, "pfc_storm", state, now - 10**9, now, body)


def put(path: Path, *rows: Incident) -> None:
    with State(path) as state:
        state.put_incidents(rows)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


@contextmanager
def serving(*command: str, ready: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        soon(lambda: answers(ready))
        yield
    finally:
        process.terminate()
        process.wait(20)


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


@contextmanager
def alertmanager(folder: Path, port: int) -> Iterator[str]:
    config = folder / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    url = f"http://127.0.0.1:{port}"
    with serving(
        tool("prometheus-alertmanager"), f"--config.file={config}", f"--storage.path={folder / 'am'}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", ready=f"{url}/-/ready",
    ):  # fmt: skip
        yield url


@contextmanager
def hook(answer: Callable[[Any], int]) -> Iterator[tuple[str, list[Any]]]:
    """A webhook that keeps what it took."""
    took: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            code = answer(said)
            if code == 200:
                took.append((said, self.headers.get("Authorization")))
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", took
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_alertmanager_is_told_when_it_comes_up_and_what_is_over_is_resolved(tmp_path: Path) -> None:
    state, port = tmp_path / "state.sqlite", free_port()
    clock = [1000.0]
    receiver = Receiver(f"http://127.0.0.1:{port}", webhook=False)
    alerts = Alerts(state, tmp_path / "heard.json", [receiver], dashboard="https://see.example")
    put(state, incident("one"), incident("two", sure=0.3), incident("three", roots=[HOSTILE]))
    alerts.step(lambda: clock[0])
    assert "refused" in receiver.error
    assert not receiver.heard
    with alertmanager(tmp_path, port) as url:
        alerts.step(lambda: clock[0])
        assert not receiver.heard, "its pause is not over"
        clock[0] += 60
        alerts.step(lambda: clock[0])
        assert receiver.error == ""
        found = {one["labels"]["incident"]: one for one in get(f"{url}/api/v2/alerts")}
        assert found.keys() == {"one", "three"}  # the other is not sure enough
        assert found["one"]["labels"]["class"] == "pfc_storm"
        assert found["one"]["labels"]["root"] == "leaf1:eth3:3"
        assert found["one"]["annotations"]["summary"] == "pfc_storm at leaf1:eth3:3, 90 % sure"
        assert found["one"]["generatorURL"] == "https://see.example/incident?id=one"
        assert found["three"]["labels"]["root"] == HOSTILE
        put(state, incident("one", "over"))
        alerts.step(lambda: clock[0])
        soon(
            lambda: {one["labels"]["incident"] for one in get(f"{url}/api/v2/alerts")} == {"three"}
        )


def test_a_webhook_hears_each_change_once_even_after_a_restart(tmp_path: Path) -> None:
    state, memory, broken = tmp_path / "state.sqlite", tmp_path / "heard.json", [True]
    clock = [0.0]
    with hook(lambda said: 500 if broken[0] else 200) as (url, took):
        receiver = Receiver(url, webhook=True, token="secret")
        alerts = Alerts(state, memory, [receiver])
        put(state, incident("one"))
        for _ in range(5):
            alerts.step(lambda: clock[0])
            clock[0] += 200
        assert (took, receiver.failures) == ([], 5)
        assert "500" in receiver.error
        broken[0] = False
        alerts.step(lambda: clock[0])
        alerts.step(lambda: clock[0])
        again = Alerts(state, memory, [Receiver(url, webhook=True, token="secret")])
        again.step(lambda: clock[0])
        put(state, incident("one", "over"), incident("never told", "over"))
        again.step(lambda: clock[0])
        again.step(lambda: clock[0])
    assert [(said["state"], said["incident"]["id"]) for said, _ in took] == [
        ("open", "one"), ("over", "one"),
    ]  # fmt: skip
    assert {token for _, token in took} == {"Bearer secret"}
    assert took[0][0]["incident"]["advice"] == "reset the NIC"


def test_what_is_acknowledged_for_a_time_is_silent_until_then(tmp_path: Path) -> None:
    state = tmp_path / "state.sqlite"
    put(state, incident("one"), incident("two"))
    with State(state) as file:
        file.acknowledge("one", "ann", until_ns=time.time_ns() + 10**12)
        file.acknowledge("two", "ann", until_ns=1)
    with hook(lambda said: 200) as (url, took):
        Alerts(state, tmp_path / "heard.json", [Receiver(url, webhook=True)]).step()
    assert [said["incident"]["id"] for said, _ in took] == ["two"]


def test_an_address_that_is_none_and_a_memory_that_is_damaged(tmp_path: Path) -> None:
    for wrong in ("file:///etc/passwd", "alerts.example", "http://", "ftp://x/"):
        with pytest.raises(ValueError, match=r"alerts\.webhooks: .* no http or https address"):
            web_address(wrong, "alerts.webhooks")
    (tmp_path / "heard.json").write_text("{")
    with pytest.raises(ValueError, match=r"heard\.json: .*delete it"):
        Alerts(tmp_path / "state.sqlite", tmp_path / "heard.json", [])


def test_an_alert_is_whole_without_a_word_in_it() -> None:
    told = alert(Incident("x", "undetermined", "over", 5, 5, {}), "")
    assert told["labels"]["severity"] == "warning"
    assert told["startsAt"] == "1970-01-01T00:00:00.000000005Z"
    assert told["endsAt"] > told["startsAt"]


def status() -> dict[str, Any]:
    source = {"kind": "gnmi", "name": HOSTILE, "state": "streaming", "last_ns": 5 * 10**9,
              "messages": 7, "bytes": 900, "faults": 1, "connections": 2, "left_out": {"/x": "no"}}  # fmt: skip
    return {"sources": [source, {**source, "name": "leaf2", "state": "down"}],
            "recorder": {"records": 7, "acknowledged": 6, "failed": 1},
            "store": {"rows": 100, "faults": 0, "segments": 3, "waiting": 4}}  # fmt: skip


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_open_metrics_and_bounded(tmp_path: Path) -> None:
    state = tmp_path / "state.sqlite"
    put(state, *(incident(f"i{n}", sure=n / 1000) for n in range(MOST + 50)))
    served = Serving("127.0.0.1:0", Metrics(status, state))
    try:
        request = urllib.request.Request(
            f"http://127.0.0.1:{served.port}/metrics",
            headers={"Accept": "application/openmetrics-text; version=1.0.0"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            found = samples(answer.read().decode())
    finally:
        served.close()
    assert found["fabric_source_up", ("gnmi", HOSTILE)] == 1
    assert found["fabric_source_up", ("gnmi", "leaf2")] == 0
    assert found["fabric_source_messages_total", ("gnmi", "leaf2")] == 7
    assert found["fabric_recorder_failed_total", ()] == 1
    assert found["fabric_store_waiting", ()] == 4
    assert found["fabric_incidents_open", ("false", "pfc_storm")] == MOST + 50
    own = [labels for name, labels in found if name == "fabric_incident_confidence"]
    assert len(own) == MOST
    assert ("pfc_storm", "i149", "leaf1:eth3:3") in own  # the surest are the ones kept


def test_a_prometheus_scrapes_and_every_panel_has_its_series(tmp_path: Path) -> None:
    state, port = tmp_path / "state.sqlite", free_port()
    put(state, incident("one"))
    served = Serving("127.0.0.1:0", Metrics(status, state))
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n"
        f"- {{job_name: fabric, static_configs: [{{targets: ['127.0.0.1:{served.port}']}}]}}\n"
    )
    url = f"http://127.0.0.1:{port}"

    def ask(query: str) -> list[Any]:
        words = urllib.parse.urlencode({"query": query})
        return list(get(f"{url}/api/v1/query?{words}")["data"]["result"])

    try:
        with serving(
            tool("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}", ready=f"{url}/-/ready",
        ):  # fmt: skip
            soon(lambda: ask("fabric_incident_confidence"))
            assert ask("fabric_incident_confidence")[0]["metric"]["class"] == "pfc_storm"
            assert ask('up{job="fabric"}')[0]["value"][1] == "1"
            for title, _, query, *_ in PANELS:
                if (
                    "rate(" in query
                ):  # needs two scrapes and a change: that it is well formed is enough
                    ask(query)
                else:
                    assert ask(query), title
    finally:
        served.close()


def test_panels_lie_beside_each_other() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        own = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not own & cells
        assert max(x for x, _ in own) < 24
        cells |= own
