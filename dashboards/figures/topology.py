"""Cytoscape elements of a drawn map, and how they look. Colours over time are set in the browser."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import dash_cytoscape as cyto

from dashboards.figures.layout import Edge, Map
from dashboards.report import words

SWITCHES: Final = (
    ("leaf", "#4f7fa8"),
    ("spine", "#41698c"),
    ("core", "#345470"),
    ("switch", "#4f7fa8"),
)
GREY, INK, ROOT, HELD = "#98a3ad", "#7d8894", "#c3271b", "#e8762d"


def elements(drawn: Map) -> list[dict[str, Any]]:
    """Nodes at their places and edges; ``data.v`` of an edge is its colour, set by the page."""
    nodes = [
        {"data": {"id": n.key, "label": words.clean(n.label).replace("\ufffd", "\n"), "role": n.role, "members": n.members},
         "position": {"x": n.x, "y": n.y}, "classes": f"role-{n.role}"}
        for n in drawn.nodes
    ]  # fmt: skip
    edges = [
        {"data": {"id": e.key, "source": e.a, "target": e.b, "links": len(e.links),
                  "width": min(1.5 + 0.7 * (len(e.links) - 1), 6.0), "v": GREY},
         "classes": "link"}
        for e in drawn.edges
    ]  # fmt: skip
    return nodes + edges


def stylesheet() -> list[dict[str, Any]]:
    """Looks that read on a light and on a dark page."""

    def shape(role: str, form: str, wide: float, high: float, colour: str) -> dict[str, Any]:
        return {"selector": f".role-{role}", "style": {"shape": form, "width": wide, "height": high, "background-color": colour}}  # fmt: skip

    return [
        {"selector": "node", "style": {
            "label": "data(label)", "color": INK, "font-size": 13, "text-valign": "bottom", "text-margin-y": 4,
            "text-wrap": "wrap", "border-width": 0, "font-family": "system-ui, sans-serif", "min-zoomed-font-size": 7,
        }},
        shape("host", "round-rectangle", 22, 14, "#7d96ad"),
        shape("hosts", "round-rectangle", 58, 20, "#6f89a1"),
        *(shape(role, "rectangle", 66, 24, colour) for role, colour in SWITCHES),
        shape("pod", "round-rectangle", 130, 60, "#41698c"),
        {"selector": ", ".join(f".role-{role}" for role in ("hosts", "pod", *dict(SWITCHES))), "style": {
            "text-valign": "center", "text-margin-y": 0, "color": "#ffffff", "font-size": 12,
        }},
        {"selector": "edge", "style": {
            "width": "data(width)", "line-color": "data(v)", "curve-style": "haystack", "haystack-radius": 0,
        }},
        {"selector": ".unread", "style": {"line-style": "dashed"}},
        {"selector": ".path", "style": {"line-color": "#8250df", "width": 5, "z-index": 20}},
        {"selector": ".tree", "style": {
            "curve-style": "bezier", "line-color": HELD, "width": 3, "target-arrow-color": HELD,
            "target-arrow-shape": "triangle", "arrow-scale": 1.2, "z-index": 30,
        }},
        {"selector": ".root", "style": {"border-width": 4, "border-color": ROOT, "font-weight": "bold"}},
        {"selector": ".held", "style": {"border-width": 3, "border-color": HELD}},
        {"selector": ":selected", "style": {"border-width": 3, "border-color": "#1f6feb", "line-color": "#1f6feb"}},
    ]  # fmt: skip


def picture(name: Any, parts: list[dict[str, Any]], height: int) -> cyto.Cytoscape:
    """The component; positions are given, nothing is laid out in the browser."""
    return cyto.Cytoscape(
        id=name, elements=parts, stylesheet=stylesheet(), layout={"name": "preset", "fit": True, "padding": 24},
        style={"width": "100%", "height": f"{height}px"}, minZoom=0.05, maxZoom=4, className="map",
        boxSelectionEnabled=False, autoungrabify=True, responsive=True, wheelSensitivity=1,
    )  # fmt: skip


def ends(edge: Edge) -> Iterable[tuple[str, str]]:
    """(device, port) of both ends of all links of an edge."""
    for link in edge.links:
        yield link.a.device, link.a.port
        yield link.b.device, link.b.port


def marked(
    parts: list[dict[str, Any]], classes: Mapping[str, str], arrows: Iterable[tuple[str, str]] = ()
) -> list[dict[str, Any]]:
    """The same elements with classes added by id, and arrows of a pause tree between nodes."""
    ids = {part["data"]["id"] for part in parts}
    for part in parts:
        if extra := classes.get(part["data"]["id"]):
            part["classes"] = f"{part['classes']} {extra}"
    seen = dict.fromkeys((a, b) for a, b in arrows if a in ids and b in ids and a != b)
    return parts + [
        {"data": {"id": f"t{n}", "source": a, "target": b, "v": HELD, "width": 3}, "classes": "tree"}
        for n, (a, b) in enumerate(seen)
    ]  # fmt: skip
