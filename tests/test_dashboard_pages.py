"""Every page in a real browser, and the ways through them, on a simulated storm."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, FloatRect, Page, expect

from dashboards import readers
from tests.browser_rig import Site, browser, opened, simulated, site

ROOT_PORT = "host12"  # fault place of the scenario file


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("storm")
    with site(readers.run(simulated(folder)), folder / "state") as served:
        yield served


@pytest.fixture(scope="module")
def launched() -> Iterator[Browser]:
    with browser() as running:
        yield running


def drawn(page: Page, name: str) -> None:
    """Wait until a Plotly picture has lines or cells."""
    expect(page.locator(f"{name} .js-line, {name} .heatmaplayer image").first).to_be_attached()


def in_view(page: Page, name: str) -> FloatRect:
    """Where the mouse finds the first of these; scrolled to."""
    place = page.locator(name).first
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    assert box
    return box


def test_storm_from_overview_to_its_root_and_evidence(launched: Browser, storm: Site) -> None:
    with opened(launched, storm.url) as page:
        page.goto("/")
        expect(page.locator(".verdict .said")).to_contain_text(f"PFC storm at {ROOT_PORT}")
        drawn(page, ".columns .graph")
        drawn(page, "#ov-fleet")
        page.locator("#ov-found .ranked a").first.click()
        expect(page.locator("h1")).to_contain_text(f"PFC storm at {ROOT_PORT} port 1")
        for heading in ("What it is", "What now", "How we know", "Where it spreads", "Who suffers"):
            expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        expect(page.locator(".bars .num").first).to_contain_text("ms")
        expect(page.locator("#tree canvas").first).to_be_attached()
        drawn(page, ".graph")
        page.get_by_role("link", name=f"{ROOT_PORT} port 1, priority 3").click()
        expect(page.locator("h1")).to_have_text(f"{ROOT_PORT} port 1")
        expect(page.get_by_text("Cabled to")).to_contain_text("leaf3 port 1")
        expect(page.get_by_text("tx_pause_ns").first).to_be_visible()


def test_people_acknowledge_note_and_close(launched: Browser, storm: Site) -> None:
    incident = storm.desk.main.incidents()["id"][0]
    with opened(launched, storm.url) as page:
        page.goto(f"/incident?id={incident}")
        review = page.locator("#review")
        expect(review).to_contain_text("open")
        page.get_by_role("button", name="Acknowledge").click()
        expect(review).to_contain_text("acknowledged")
        page.get_by_label("note").fill("<b>NIC</b> pulled")
        page.get_by_role("button", name="Add note").click()
        expect(review).to_contain_text("<b>NIC</b> pulled")
        page.get_by_role("button", name="Close").click()
        expect(review).to_contain_text("closed")
    with opened(launched, storm.url) as page:  # somebody else, later
        page.goto(f"/incident?id={incident}")
        expect(page.locator("#review b")).to_have_text("closed")


def test_map_is_replayed_opened_and_shows_paths(launched: Browser, storm: Site) -> None:
    colours = """() => { const cy = document.getElementById("map")._cyreg.cy;
        return cy.edges().map((edge) => edge.data("v")).join(); }"""
    with opened(launched, storm.url) as page:
        page.goto("/fabric")
        expect(page.locator("#map canvas").first).to_be_attached()
        expect(page.locator("#map-when")).to_contain_text("ms")
        worst = page.evaluate(colours)
        page.locator("#map-time [role=slider]").focus()
        page.keyboard.press("Home")
        expect(page.locator("#map-when")).to_have_text(re.compile(r"\+0 ns|\+50 us"))
        assert page.evaluate(colours) != worst
        page.get_by_role("button", name="Play").click()
        expect(page.locator("#map-when")).not_to_have_text(re.compile(r"\+0 ns|\+50 us"))
        page.get_by_role("button", name="Pause").click()
        page.goto("/fabric?path_from=host0&path_to=host15&detail=switches")
        expect(page.locator("#map-path")).to_contain_text("4 equal-cost paths")
        page.evaluate(
            """() => document.getElementById("map")._cyreg.cy.getElementById("leaf3").emit("tap")"""
        )
        expect(page.locator("#map-picked h2")).to_have_text("leaf3")


def test_controls_and_zoom_are_in_the_url_and_the_url_is_a_deep_link(
    launched: Browser, storm: Site
) -> None:
    with opened(launched, storm.url) as page:
        page.goto("/")
        drawn(page, "#ov-fleet")
        page.locator("label", has_text="ECN marks").first.click()
        page.wait_for_url("**metric=ecn**")
        expect(page.locator("#ov-metric")).to_contain_text("marked")
        page.wait_for_load_state("networkidle")  # the strips are drawn anew
        box = in_view(page, ".columns .graph .nsewdrag")
        page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 10)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 10, steps=4)
        page.mouse.up()
        page.wait_for_url(re.compile(r"from=1700000000000\d{6}&to=170000000000"))
        link = page.url
    with opened(launched, storm.url) as page:
        page.goto(link)
        expect(page.locator("#range")).to_contain_text("for 4")
        expect(page.locator("input[value=ecn]")).to_be_checked()
        page.get_by_role("link", name="Fabric", exact=True).click()
        expect(page.locator("h1")).to_have_text("Fabric")
        assert "from=1700000000000" in page.url


def test_a_cell_of_the_heatmap_leads_to_its_port(launched: Browser, storm: Site) -> None:
    with opened(launched, storm.url) as page:
        page.goto("/?order=name&roles=switches")
        drawn(page, "#ov-fleet")
        page.wait_for_load_state("networkidle")
        box = in_view(page, "#ov-fleet .nsewdrag")
        page.mouse.move(box["x"] + 10, box["y"] + 5)
        page.mouse.move(box["x"] + 12, box["y"] + 6)
        page.mouse.click(box["x"] + 12, box["y"] + 6)
        expect(page.locator("h1")).to_have_text("leaf0 port 1")


def test_flows_are_filtered_by_the_server_and_lead_to_frames(
    launched: Browser, storm: Site
) -> None:
    events = storm.desk.main.tables.events.select("flow").head(1).collect()
    flow = int(events["flow"][0])
    with opened(launched, storm.url) as page:
        page.goto("/flows")
        expect(page.locator("#flows .ag-row").first).to_be_visible()
        everything = page.locator("#flows-count").inner_text()
        page.evaluate(
            """() => dash_ag_grid.getApi("flows").setFilterModel(
                {packets: {filterType: "number", type: "greaterThan", filter: 1000}})"""
        )
        expect(page.locator("#flows-count")).not_to_have_text(everything)
        page.locator("#flows .ag-row a").first.click()
        expect(page.get_by_role("heading", name="Sequence numbers over time")).to_be_visible()
        page.goto(f"/flows?flow={flow}&frame=5")
        drawn(page, ".graph")
        expect(page.locator("pre.dissection")).to_contain_text("UDP")
        expect(page.locator("pre.dissection")).to_contain_text("frame 5,")


def test_dark_is_chosen_and_kept(launched: Browser, storm: Site) -> None:
    background = "() => getComputedStyle(document.body).backgroundColor"
    with opened(launched, storm.url, dark=True) as page:
        page.goto("/audit")
        expect(page.locator("h1")).to_have_text("Audit")
        dark = page.evaluate(background)
        page.get_by_role("button", name="Light / dark").click()
        expect(page.locator("html")).to_have_attribute("data-scheme", "light")
        assert page.evaluate(background) != dark
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-scheme", "light")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/fabric",
        "/flows",
        "/captures",
        "/audit",
        "/collectors",
        "/collectives",
        "/incident",
        "/port",
    ],
)
def test_every_page_opens_by_keyboard_reachable_link_or_address(
    launched: Browser, storm: Site, path: str
) -> None:
    with opened(launched, storm.url) as page:
        page.goto(path)
        expect(page.locator("h1")).to_be_visible()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.wait_for_load_state("networkidle")
