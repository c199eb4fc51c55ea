"""Every form of the report: complete, harmless whatever a capture contains, and as documented."""

import io
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from itertools import pairwise

import polars as pl
import pytest
from rich.console import Console

from analyzers.detectors import run_detectors
from analyzers.tables import Tables, tables
from dashboards.report import facts as report
from dashboards.report import html, plots, svg, terminal, words
from dashboards.report import json as machine
from tests.data import ROOT
from tests.detector_cases import (
    CASES,
    MS,
    US,
    A,
    B,
    edge,
    event,
    flow,
    given_tables,
    loss,
    pause,
    point,
)

T0 = 1_700_000_000_000_000_000
HOSTILE = "<script>alert(1)</script>[red]x[/red]\x1b[31m\n&\"'"
VOID = {"meta"}


def sick(name: str = "tap") -> Tables:
    """A capture with something in every picture, at a point of the given name."""
    at = {"point": name}
    window = {"width_ns": MS, "bytes": 10_000, "ect": 10, "ce": 5}
    message = {"packets": 64, "complete": True, "flow": 1}
    return given_tables(
        {
            "points": [point(**at, path=name, first=T0, last=T0 + 20 * MS, pauses=4,
                             faults_by_kind=[0, 2], damage=f"{name}: cut")],
            "flows": [flow(1, A, B, **at, peer_flow=2, first=T0, last=T0 + 20 * MS, ce=5,
                           first_psn=0xFFFFF0, rtt_samples=9, rtt_min_ns=5 * US,
                           rtt_p50_ns=9 * US, rtt_p99_ns=50 * US, rtt_max_ns=90 * US),
                      flow(2, B, A, **at, peer_flow=1, requests=0, responses=9)],
            "flow_windows": [{"flow": 1, "start": T0 + n * MS, **window}
                             for n in range(20) if n != 7],
            "messages": [{**message, "start": T0 + n * MS, "end": T0 + n * MS + 80 * US,
                          "first_psn": 0xFFFFF0 + 64 * n & 0xFFFFFF} for n in range(20)],
            "events": [loss("downstream", **at, ts=T0 + 5 * MS, end=T0 + 6 * MS, psn=3),
                       event("timeout", "tail_loss", **at, ts=T0 + 9 * MS, end=T0 + 10 * MS,
                             psn=9, delay_ns=60 * US, proof=name)],
            "pauses": [pause(T0 + 3 * MS, MS, **at, sender=name),
                       pause(T0 + 9 * MS, MS, **at, sender=name)],
            "traffic": [edge(A, B, **at), edge(B, name, 9, **at)],
        }
    )  # fmt: skip


def facts_of(given: Tables, **more: object) -> report.Facts:
    return report.gather(given, run_detectors(given), **more)


def as_terminal(facts: report.Facts, width: int = 100) -> str:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=True, color_system="truecolor"
    )
    terminal.show(facts, console)
    return console.file.getvalue()


class Page(HTMLParser):
    """Checks that tags are balanced and remembers them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_terminal_says_the_verdict_first_and_every_finding() -> None:
    facts = facts_of(sick(), refused=["bad.snoop: a Solaris snoop file"], other_files=2)
    text = re.sub(r"\x1b\[[0-9;]*m", "", as_terminal(facts))
    assert text.startswith(" WARNING ")
    assert "1 timeout in 1 queue pair" in text.split("\n\n")[0]
    for said in ("tail loss", "loss downstream", "frames 40, 50, 60, 70", "5 ms into the record",
                 "Find the drop", "2 truncated", "bad.snoop: a Solaris snoop file", "2 files"):  # fmt: skip
        assert said in text
    assert text.index("tail loss") < text.index("loss downstream") < text.index("Good to know")


def many(taps: int) -> Tables:
    """The same at many taps."""
    names = [f"tap{n}" for n in range(taps)]
    each = {
        "points": [point(point=name) for name in names],
        "flows": [flow(n, point=name, peer_flow=n) for n, name in enumerate(names)],
        "events": [loss("downstream", flow=n, point=name, psn=n) for n, name in enumerate(names)],
        "traffic": [edge(A, B, point=name) for name in names],
    }
    return given_tables(each)


def test_what_repeats_at_many_taps_is_folded() -> None:
    facts = facts_of(many(40))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", as_terminal(facts))
    assert plain.count("Look between this tap and the receiver") == report.ALIKE
    title, more = plain.split("More of the same\n")
    assert title.count("WARNING  loss downstream") == report.ALIKE
    assert more.split("Good to know")[0].count("packet lost") == terminal.LINES
    assert "and more of the same: 25 loss downstream (--all, --json)" in more
    assert "and more of the same: 37 top talkers" in more
    whole = Console(file=io.StringIO(), width=100)
    terminal.show(facts, whole, all_notes=True)
    assert whole.file.getvalue().count("Look between this tap and the receiver") == 40
    page = html.page(facts, many(40))
    assert "<summary>37 more of the same kinds</summary>" in page
    assert all(f"downstream of tap{n} " in page for n in range(40))


def test_terminal_healthy_and_empty() -> None:
    healthy = facts_of(given_tables({"points": [point()], "flows": [flow(1, peer_flow=2)]}))
    assert "HEALTHY" in as_terminal(healthy)
    assert "nothing wrong was seen in 10,000 RoCE packets" in as_terminal(healthy)
    empty = facts_of(given_tables({"points": [point(roce=0)]}))
    assert empty.verdict == report.EMPTY
    assert "no RoCE packet and no pause frame among 10,000 packets" in as_terminal(empty)
    assert facts_of(tables()).verdict == report.EMPTY


@pytest.mark.parametrize("width", [40, 80, 200])
def test_nothing_from_a_capture_reaches_the_terminal_as_control(width: int) -> None:
    text = as_terminal(facts_of(sick(HOSTILE)), width)
    assert "\x1b[31m" not in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\n", "")
    assert "[red]" in re.sub(r"\s+", "", plain), "markup is shown, not obeyed"


def test_json_is_as_documented() -> None:
    given = json.loads(machine.as_text(facts_of(sick(), refused=["x: y"], other_files=1)))
    documented = (ROOT / "docs" / "json.md").read_text()
    tables_of = {
        title: set(re.findall(r"^\| ((?:`\w+`(?:, )?)+)", text, re.MULTILINE))
        for title, text in re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", documented, re.MULTILINE | re.DOTALL)
    }  # fmt: skip
    named = {
        title: set(re.findall(r"`(\w+)`", " ".join(rows))) for title, rows in tables_of.items()
    }
    assert set(given["inputs"][0]) == named["inputs"]
    assert set(given["summary"]) == named["summary"]
    for finding in given["findings"]:
        assert set(finding) == named["findings"]
    top = documented.split("## inputs")[0]
    assert set(given) == set(re.findall(r"^\| `(\w+)` \|", top, re.MULTILINE))
    assert given["schema_version"] == machine.SCHEMA_VERSION == 1
    for incident in given["incidents"]:
        assert set(incident) == named["incidents"]
    assert given["inputs"][0]["faults"] == {"truncated": 2}
    assert given["summary"]["events"] == {"loss": 1, "timeout": 1}
    assert given["summary"]["verdict"] == "warning"
    assert given["refused"] == ["x: y"]


def test_json_has_no_nan_for_any_case() -> None:
    for case in CASES:
        text = machine.as_text(facts_of(given_tables(case.given)))
        json.loads(text, parse_constant=pytest.fail)


def test_html_is_one_sound_harmless_file() -> None:
    for name in ("tap", HOSTILE):
        given = sick(name)
        text = html.page(facts_of(given, refused=[HOSTILE]), given)
        page = Page()
        page.feed(text)
        assert not page.open
        assert not page.tags & {"script", "link", "iframe", "object", "img", "style "}
        assert not {key for key, _ in page.attributes if key in ("src", "href") or key[:2] == "on"}
        assert "url(" not in text
        assert "@import" not in text
        assert "http" not in re.sub(r"http-equiv", "", text)
        assert "<script" not in text
        assert text == html.page(facts_of(given, refused=[HOSTILE]), given)


def test_html_has_every_picture_and_its_table() -> None:
    given = sick()
    text = html.page(facts_of(given), given)
    titles = re.findall(r"<figure><h3>([^<]*)", text)
    assert [title.split(" ")[0] for title in titles] == [
        "Sequence", "Sequence", "Load", "Pauses", "Round", "Who",
    ]  # fmt: skip
    assert text.count("<details>") == len(titles)
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(pictures) == len(titles)
    for picture in pictures:
        root = ET.fromstring(picture)
        assert root.get("aria-label")
        for element in root.iter():
            for value in element.attrib.values():
                assert "nan" not in value
                assert "inf" not in value
    load = pictures[2]
    # Bin 7 is missing in the middle: the line of the CE share lifts its pen there.
    assert re.search(r'class="line c2" d="([^"]*)"', load)[1].count("M") == 2


def test_wide_bins_are_spread_over_narrow_ones() -> None:
    bins = pl.DataFrame(
        {"start": [0, MS, 8 * MS], "width_ns": [MS, MS, 8 * MS], "bytes": [5, 6, 80],
         "ect": [5, 6, 8], "ce": [5, 0, 4]}
    )  # fmt: skip
    rows, width = plots._even(bins, 16 * MS)
    assert width == MS
    assert rows["start"].to_list() == [0, MS, *(n * MS for n in range(8, 16))]
    assert rows["bytes"].to_list() == [5, 6, *([10] * 8)]
    assert plots._even(bins, 10 * MS - 1)[0]["bytes"].to_list() == [5, 6, 40, 40]
    rows, width = plots._even(bins.with_columns(pl.col("start") * 1000), 10**12)
    assert width == 32 * MS
    assert rows["bytes"].sum() == 91


def test_a_capture_damaged_before_its_first_packet() -> None:
    given = given_tables(
        {"points": [point(first=None, last=None, packets=0, roce=0, damage="bad block")]}
    )
    facts = facts_of(given)
    assert "reading stopped after 0 packets: bad block" in as_terminal(facts, 200)
    assert "bad block" in html.page(facts, given)
    assert json.loads(machine.as_text(facts))["inputs"][0]["first"] is None


def test_html_of_nothing() -> None:
    text = html.page(facts_of(tables()), tables())
    assert "<svg" not in text
    assert "nothing to judge" in text


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.detector}: {case.name}")
def test_every_case_can_be_told(case) -> None:
    given = given_tables(case.given)
    facts = facts_of(given)
    assert len(facts.main) + len(facts.notes) + len(facts.undecided) == len(facts.findings)
    text = as_terminal(facts, 300)
    for row in facts.main:
        assert words.clean(row["summary"]) in re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "</html>" in html.page(facts, given)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 7), (3, 1e9), (-5, 5), (0.001, 0.002), (5, 5), (0, 33_700_000)]
)
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    values = svg.ticks(low, high)
    assert 1 <= len(values) <= 14
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in values)
    steps = {round((b - a) / (high - low), 6) for a, b in pairwise(values)}
    assert len(steps) <= 1


def test_words() -> None:
    assert [words.duration(ns) for ns in (0, 999, 1_500, 2_000_000, 90 * 10**9)] == [
        "0 ns", "999 ns", "1.5 us", "2 ms", "90 s",
    ]  # fmt: skip
    assert words.clock(1_700_000_000_000_000_123) == "2023-11-14 22:13:20.000000123"
    assert words.clock(-(2**63)) == "1677-09-21 00:12:43.145224192"
    assert words.clock(2**63 - 1) == "2262-04-11 23:47:16.854775807"
    assert words.rate(400 * 10**9) == "400 Gb/s"
    assert words.rate(0) == "unknown"
    assert words.size(1_500_000) == "1.5 MB"
    assert words.kind("pfc_storm") == "PFC storm"
    assert words.joined(["a", "b", "c"], 2) == "a, b and 1 more"
    assert words.clean("a\x1b[1m\nb") == "a\ufffd[1m\ufffdb"
