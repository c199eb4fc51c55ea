"""Who is let in, what answers carry, which files can be reached, what an export holds; over real HTTP."""

import http.client
import io
import json
import shutil
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from analyzers.frames import schema
from analyzers.pipeline import Options
from analyzers.tables import tables
from dashboards.readers import Fixed, captures
from dashboards.serving import auth
from dashboards.serving.auth import Gate
from dashboards.serving.jobs import Jobs
from dashboards.serving.places import Places
from dashboards.serving.serve import Serving
from dashboards.source import Memory
from dashboards.state import link, read
from fabric.schema import FINDINGS, INCIDENTS
from tests.browser_rig import Site, site
from tests.data import ROOT

FORMULA = '=HYPERLINK("http://x")'
SCRIPT = "<script>alert(1)</script>"


def fixed() -> Fixed:
    """A finding and an incident full of what must be escaped."""
    texts = {name: SCRIPT for name, kind in schema(FINDINGS).items() if kind == pl.String}
    numbers = {"start": 1, "end": 2, "priority": 3, "lost_ns": 0, "confidence": 0.5, "frames": [1]}
    finding = texts | numbers | {"id": "f:1", "severity": "warning", "summary": FORMULA}
    lists = {
        name: [SCRIPT] for name, kind in schema(INCIDENTS).items() if isinstance(kind, pl.List)
    }
    incident = lists | {
        "id": "i1", "cls": "pfc_storm", "scope": "port", "start": 1, "end": 2, "confidence": 0.5,
        "advice": SCRIPT, "findings": ["f:1"], "lost_ns": 0.0, "tier": "counters",
    }  # fmt: skip
    given = {
        "findings": pl.DataFrame([finding], schema=schema(FINDINGS)).lazy(),
        "incidents": pl.DataFrame([incident], schema=schema(INCIDENTS)).lazy(),
    }
    return Fixed("evil", "result", tables(given))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("served")
    roots = folder / "root"
    (roots / "inner").mkdir(parents=True)
    shutil.copy(ROOT / "captures/incast.pcap", roots / "inner/tap.pcap")
    with site(fixed(), folder / "state", (roots,), upload_bytes=200_000) as running:
        yield running


def ask(
    where: Site, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    host, port = where.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_answers_forbid_what_a_page_does_not_need(served: Site) -> None:
    status, headers, page = ask(served, "/")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy.replace("'", "")
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "waitress" not in str(headers).lower()
    assert b"https://" not in page.replace(b"https:\\u002f", b"")


def test_foreign_names_and_foreign_pages_are_refused(served: Site) -> None:
    assert ask(served, "/", Host="evil.example")[0] == 400
    body = json.dumps({}).encode()
    for origin in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        status, _, _ = ask(
            served,
            "/_dash-update-component",
            "POST",
            body,
            Content_Type="application/json",
            **origin,
        )
        assert status == 403


def test_only_loopback_goes_without_a_login() -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        Serving(host).check()
    for host in ("0.0.0.0", "::", "10.0.0.1", "example"):
        with pytest.raises(ValueError, match="--users"):
            Serving(host).check()
        Serving(host, gate=Gate({"a": auth.NOBODY})).check()


def test_the_command_refuses_an_open_port_and_says_how(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dashboards.cli", "dashboard", str(tmp_path), "--host", "0.0.0.0", "--port", "0"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--users" in done.stderr


def test_passwords_are_hashed_and_asked_for(tmp_path: Path) -> None:
    line = auth.hashed("ann", "s3cret:with colon")
    assert "s3cret" not in line
    (tmp_path / "users").write_text(f"# people\n\n{line}\n")
    gate = Gate(auth.read_users(tmp_path / "users"))
    with site(fixed(), tmp_path / "state", gate=gate) as closed:
        status, headers, _ = ask(closed, "/")
        assert status == 401
        assert headers["WWW-Authenticate"].startswith("Basic")
        for path in ("/_dash-layout", "/assets/fabric.js", "/export/findings", "/upload/x.pcap"):
            assert ask(closed, path)[0] == 401
        for given, wanted in (
            ("ann:s3cret:with colon", 200),
            ("ann:s3cret", 401),
            ("bob:x", 401),
            ("ann", 401),
        ):
            coded = b64encode(given.encode()).decode()
            assert ask(closed, "/", Authorization=f"Basic {coded}")[0] == wanted
        for broken in (
            "Basic %%%",
            "Bearer x",
            "Basic",
            "Basic " + b64encode(b"\xff\xfe").decode(),
        ):
            assert ask(closed, "/", Authorization=broken)[0] == 401


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "ann:scrypt$3$8$1$00$00",
        "ann:plain",
        "ann:scrypt$16777216$8$1$" + "00" * 16 + "$" + "00" * 32,
    ],
)
def test_a_wrong_password_file_is_named_by_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "users").write_text(text)
    with pytest.raises(ValueError, match="users"):
        auth.read_users(tmp_path / "users")


def test_a_proxy_is_believed_and_nobody_else(tmp_path: Path) -> None:
    gate = Gate({}, "X-User", auth.networks(["127.0.0.1", "10.0.0.0/8"]))
    assert gate.user("10.1.2.3", {"x-user": "ann"}) == "ann"
    assert gate.user("10.1.2.3", {}) is None
    assert gate.user("192.0.2.1", {"X-User": "ann"}) is None
    with site(fixed(), tmp_path / "state", gate=gate) as closed:
        assert ask(closed, "/", X_User="ann")[0] == 200
        assert ask(closed, "/")[0] == 401


def test_exports_are_whole_escaped_and_defused(served: Site) -> None:
    status, headers, text = ask(served, "/export/findings?as=csv")
    assert status == 200
    assert headers["Content-Disposition"].startswith("attachment")
    assert b"'=HYPERLINK" in text
    status, _, packed = ask(served, "/export/findings?as=parquet")
    assert pl.read_parquet(io.BytesIO(packed))["summary"].to_list() == [FORMULA]
    status, _, page = ask(served, "/export/incident?id=i1")
    assert status == 200
    assert b"<script" not in page
    assert b"&lt;script&gt;" in page
    for path in ("/export/nothing", "/export/findings?as=exe", "/export/incident?id=x"):
        assert ask(served, path)[0] == 404
    assert ask(served, "/export/findings?src=../../etc")[0] == 400


def test_paths_lead_nowhere_else(served: Site, tmp_path: Path) -> None:
    places = served.desk.places
    assert [file.path for file in places.files(1)] == ["inner/tap.pcap"]
    (places.roots[0] / "out").symlink_to("/etc/passwd")
    (places.roots[0] / "away").symlink_to("/etc")
    assert [file.path for file in places.files(1)] == ["inner/tap.pcap"]
    for path in (
        "../state/reviews.sqlite",
        "/etc/passwd",
        "out",
        "away/passwd",
        "inner/../../x",
        "a\0b",
        "none.pcap",
    ):
        with pytest.raises(ValueError, match="no such"):
            places.resolve(1, path)
    with pytest.raises(ValueError, match="no such"):
        places.resolve(7, "inner/tap.pcap")
    for path in (
        "/assets/../app.py",
        "/assets/%2e%2e/app.py",
        "/_dash-component-suites/../../etc/passwd",
    ):
        assert ask(served, path)[0] in (400, 404)


def test_uploads_are_kept_whole_or_not_at_all(served: Site) -> None:
    capture = (ROOT / "captures/incast.pcap").read_bytes()
    assert len(capture) < 200_000
    for name in ("a.pcap", "a.pcap"):
        status, _, kept = ask(served, f"/upload/{name}", "PUT", capture)
        assert status == 201
    assert kept == b"a-2.pcap"
    refused = {
        "b.pcap": (b"no capture", b"not a capture"), "c.pcap": (b"", b"empty"),
        "d.pcap": (bytes(300_000), b""), ".hidden": (capture, b"file name"),
        "%3Cscript%3E.pcap": (capture, b"file name"), "x" * 200: (capture, b"file name"),
    }  # fmt: skip
    for name, (body, reason) in refused.items():
        status, _, said = ask(served, f"/upload/{name}", "PUT", body)
        assert status in (400, 413), name
        assert reason in said, name
    assert ask(served, "/upload/..%2Fe.pcap", "PUT", capture)[0] in (400, 404, 405)
    assert sorted(path.name for path in served.desk.places.uploads.iterdir()) == [
        "a-2.pcap",
        "a.pcap",
    ]


def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    places = Places(tmp_path / "up")
    with pytest.raises(ValueError, match="broke off"):
        places.receive("a.pcap", io.BytesIO(b"12"), 5)
    assert list((tmp_path / "up").iterdir()) == []


def test_five_gigabytes_are_refused_before_they_are_sent(served: Site) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.putrequest("PUT", "/upload/big.pcap")
    connection.putheader("Content-Length", str(5_000_000_000))
    connection.endheaders()
    connection.send(bytes(1000))
    assert connection.getresponse().status == 413
    connection.close()


def ended(jobs: Jobs, name: str) -> str:
    end = time.monotonic() + 250  # kernels may have to be compiled
    while (job := jobs.get(name)) and job.state in ("waiting", "running"):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert job
    return job.state


def test_jobs_run_fail_and_are_found_again(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    good = jobs.start([str(ROOT / "captures/incast.pcap")], {"speed_bps": 10**11}, "ann").id
    bad = jobs.start([str(ROOT / "Makefile")], {}).id
    waiting = jobs.start([str(ROOT / "captures/incast.pcap")], {}).id
    jobs.cancel(waiting)
    assert [ended(jobs, good), ended(jobs, bad), ended(jobs, waiting)] == [
        "done",
        "failed",
        "cancelled",
    ]
    failed = jobs.get(bad)
    assert failed
    assert "not a capture" in failed.error
    again = Jobs(tmp_path / "jobs")
    assert again.result(good).joinpath("report.json").is_file()
    for name in (bad, waiting, "000000000000", "../x"):
        with pytest.raises(ValueError, match="no such result"):
            again.result(name)
    again.remove(good)
    assert not (tmp_path / "jobs" / good).exists()


def test_states_and_links() -> None:
    state = read("?from=5&to=50&x=%3Cb%3E&at=12&n=abc")
    assert state.span((0, 100)) == (5, 50)
    assert state.text("x") == "<b>"
    assert state.number("n") is None
    assert read("?last=1").span((0, 5 * 10**9)) == (4 * 10**9, 5 * 10**9)
    for broken in (
        "?from=x&to=y",
        "?from=99999999999999999999",
        "?from=80&to=20",
        "?last=-5",
        "?" + "a" * 10**5,
    ):
        assert read(broken).span((0, 100)) == (0, 100)
    assert link("/p", device="a b", port="1/2", none=None) == "/p?device=a+b&port=1%2F2"


def test_answers_are_remembered_until_the_version_changes() -> None:
    memory, asked = Memory(2), []
    for version, key in ((1, "a"), (1, "a"), (1, "b"), (1, "c"), (1, "a"), (2, "a")):
        memory.get(version, key, lambda key=key: asked.append(key))
    assert asked == ["a", "b", "c", "a", "a"]


def test_captures_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    (tmp_path / "x.pcap").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"x\.pcap"):
        captures([str(tmp_path / "x.pcap")], Options())
