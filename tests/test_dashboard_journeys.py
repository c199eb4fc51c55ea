"""Captures by upload, hostile names and vanished stores, and a store that grows, in a real browser."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser, expect

from analyzers.frames import schema
from analyzers.inventory_tables import inventory_tables
from analyzers.live import Live
from analyzers.state import State
from analyzers.store import Store, placed
from analyzers.tables import tables
from analyzers.telemetry.labelled_runs import read_counters
from dashboards.readers import Fixed
from dashboards.store_reader import StoreReader
from fabric.cables import Device, Link, Port
from fabric.inventory import Inventory, load
from fabric.qos import Qos
from fabric.schema import COUNTERS, FINDINGS, INCIDENTS
from fabric.topology import Fabric
from tests.browser_rig import Site, browser, opened, simulated, site
from tests.data import ROOT

BEGIN = 1_700_000_000_000_000_000
EVIL = "<script>alert(1)</script>"
BOLD = '<b>x</b><a href="http://evil.example">y</a>'


@pytest.fixture(scope="module")
def launched() -> Iterator[Browser]:
    with browser() as running:
        yield running


def hostile() -> Fixed:
    """A fabric whose devices, findings and incidents are named to break a page."""
    links = [Link(Port(EVIL, "1"), Port(BOLD, "<i>2"), 10**11)]
    fabric = Fabric([Device(EVIL, "leaf"), Device(BOLD, "spine")], links, name=EVIL)
    inventory = Inventory(fabric, Qos(), {}, {}, {}, ())
    readings = [
        (n, n, device, port, "priority", 3, "rx_pause_ns", n // 2)
        for n in range(0, 2_000_000, 50_000)
        for device, port in ((EVIL, "1"), (BOLD, "<i>2"))
    ]
    texts = {name: EVIL for name, kind in schema(FINDINGS).items() if kind == pl.String}
    numbers = {"start": 1, "end": 2, "priority": 3, "lost_ns": 0, "confidence": 0.5, "frames": [1]}
    finding = texts | numbers | {"id": "f:1", "severity": "critical", "flow": 1}
    lists = {
        name: [f"{EVIL}:1 ← {BOLD}:2"]
        for name, kind in schema(INCIDENTS).items()
        if isinstance(kind, pl.List)
    }
    incident = lists | {
        "id": "i1", "cls": EVIL, "scope": EVIL, "start": 1, "end": 2, "confidence": 0.5, "advice": EVIL,
        "findings": ["f:1"], "lost_ns": 0.0, "tier": EVIL, "roots": [f"{EVIL}:1:3"],
    }  # fmt: skip
    given = inventory_tables(inventory) | {
        "counters": pl.DataFrame(readings, schema=schema(COUNTERS), orient="row").lazy(),
        "findings": pl.DataFrame([finding], schema=schema(FINDINGS)).lazy(),
        "incidents": pl.DataFrame([incident], schema=schema(INCIDENTS)).lazy(),
    }
    return Fixed(EVIL, "run", tables(given), inventory)


def test_names_from_devices_are_shown_and_never_obeyed(launched: Browser, tmp_path: Path) -> None:
    with site(hostile(), tmp_path) as served, opened(launched, served.url) as page:
        page.on("dialog", lambda _: pytest.fail("a script ran"))
        for path in ("/", "/fabric", "/incident", "/incident?id=i1", "/incident?finding=f:1", "/collectors",
                     "/audit", f"/port?device={EVIL}&port=1", f"/port?device={BOLD}&port=<i>2"):  # fmt: skip
            page.goto(path)
            expect(page.locator("h1")).to_be_visible()
            page.wait_for_load_state("networkidle")
            assert page.locator("#page script, #page iframe, #page a[href^='http']").count() == 0, (
                path
            )
        expect(page.locator("h1")).to_contain_text(BOLD)


def test_what_is_not_there_is_said(launched: Browser, tmp_path: Path) -> None:
    with site(hostile(), tmp_path) as served, opened(launched, served.url) as page:
        for path, text in {
            "/port?device=nobody&port=1": "No device is named nobody",
            f"/port?device={EVIL}&port=77": "has no port 77",
            "/flows?flow=99": "Flow 99 is not in this analysis",
            "/flows?flow=x": "No packet was captured",
            "/incident?id=../../etc/passwd": "is not known here",
            "/?src=../../etc": "there is no such result",
            "/nowhere": "there is no page /nowhere",
            "/?from=zzz&to=-1&metric=nothing&at=9e9": "Every port",
            "/fabric?path_from=x&path_to=y": "no such device: x",
        }.items():
            page.goto(path)
            expect(page.locator("main")).to_contain_text(text)


def test_an_upload_becomes_findings(launched: Browser, tmp_path: Path) -> None:
    bogus = tmp_path / "notes.pcap"
    bogus.write_text("no capture at all")
    large = tmp_path / "large.pcap"
    large.write_bytes(bytes(2_000_001))
    with (
        site(hostile(), tmp_path / "state", upload_bytes=2_000_000) as served,
        opened(launched, served.url, expected=("400",)) as page,
    ):
        page.goto("/captures")
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose files").click()
        chooser.value.set_files([ROOT / "captures/pfc_storm.pcap", bogus, large])
        uploads = page.locator("#upload-list")
        expect(uploads).to_contain_text("kept as pfc_storm.pcap")
        expect(uploads).to_contain_text("notes.pcap: not a capture")
        expect(uploads).to_contain_text("larger than")
        page.get_by_role("button", name="Analyse the chosen files").click()
        expect(page.locator("#notice")).to_contain_text("choose one or more files first")
        page.locator("#captures-files .ag-row", has_text="pfc_storm.pcap").click()
        page.get_by_label("Link speed").fill("100G")
        page.get_by_role("button", name="Analyse the chosen files").click()
        page.locator("#jobs .what a", has_text="pfc_storm.pcap").click(timeout=250_000)
        expect(page.locator(".verdict .said")).to_contain_text(
            re.compile("PFC storm|held priority 3")
        )
        page.get_by_role("link", name="Flows", exact=True).click()
        expect(page).to_have_url(re.compile("src="))


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Path, pl.DataFrame]]:
    """A store with the quiet beginning of a storm, and the readings that are still to come."""
    folder = tmp_path_factory.mktemp("growing")
    run = simulated(folder)
    counters = read_counters(run)
    moments = counters["ts"].unique().sort()
    early = counters.filter(pl.col("ts") <= moments[10])
    store = Store(folder / "store")
    store.append("counters", rows(early), {"r": 1})
    store.table("quality")
    with site(
        StoreReader(folder / "store", load([run / "topology.json"])), folder / "state"
    ) as served:
        yield served, folder, counters.filter(pl.col("ts") > moments[10])


def rows(counters: pl.DataFrame) -> pl.DataFrame:
    return placed(
        "counters", counters.with_columns(recorder=pl.lit("r"), segment=pl.lit(1, pl.Int64))
    )


def test_a_store_is_followed_while_it_grows_and_missed_when_it_goes(
    launched: Browser, growing: tuple[Site, Path, pl.DataFrame]
) -> None:
    served, folder, later = growing
    with opened(launched, served.url, expected=("500",)) as page:
        page.goto("/?live=1")
        expect(page.locator(".verdict .word")).to_have_text("healthy")
        store = Store(folder / "store")
        fabric = load([folder / "pfc_storm/topology.json"]).fabric
        for upto, said in ((1_500_000, "PFC storm at host12"), (2_000_000, "nothing is wrong now")):
            some = later.filter(pl.col("ts") <= BEGIN + upto)
            store.append("counters", rows(some), {"r": upto})
            with State(folder / "store/state.sqlite") as state:
                Live(store, state, fabric).step()
            expect(page.locator(".verdict .said")).to_contain_text(said)
            later = later.filter(pl.col("ts") > BEGIN + upto)
        expect(page.locator("#range")).to_contain_text("2 ms")
        shutil.move(folder / "store", folder / "gone")
        expect(page.locator("main")).to_contain_text("the store is not there")
        assert not (folder / "store").exists()  # nobody made it anew
        shutil.move(folder / "gone", folder / "store")
        page.goto("/")
        expect(page.locator(".verdict .said")).to_contain_text("PFC storm at host12")
