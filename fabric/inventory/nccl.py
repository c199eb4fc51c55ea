"""NCCL topology XML (``NCCL_TOPO_DUMP_FILE``): the inside of a host, which NIC sits next to which GPU.

The XML does not name the host: the file's name does. The parser is the standard library's expat with
document type declarations refused, so there are no entities to expand and nothing external to load.
A GPU belongs to the NICs that share the most of its PCIe path, nearest first; several GPUs at the same
distance share them out in the order of the bus.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from fabric.cables import Accelerator, Nic, Port, Rank
from fabric.inventory.found import Found, device_of_file
from fabric.qos import PortQos, Roce

KIND = "NCCL topology XML"
DEEPEST = 100
LANE_BPS = {2.5: 2.0e9, 5.0: 4.0e9, 8.0: 7.877e9, 16.0: 15.754e9, 32.0: 31.508e9, 64.0: 60.5e9}
"""What a PCIe lane carries after line coding, by GT/s: PCI Express base specification, section 4.2."""


class Element(NamedTuple):
    """An XML element, the elements around it from the outermost inwards, and its line."""

    tag: str
    values: dict[str, str]
    around: tuple["Element", ...]
    line: int


def matches(path: Path, head: str) -> bool:
    """Whether a file looks like one of these, from its name and beginning."""
    return path.suffix == ".xml" and "<system" in head


def read(path: Path) -> Found:
    """Read the file; ValueError names file, line and attribute."""
    found = Found(str(path), KIND)
    host = device_of_file(path)
    found.add_device(host, "host")
    elements = _elements(path)
    nets = [element for element in elements if element.tag == "net"]
    gpus = [element for element in elements if element.tag == "gpu"]
    ports = _port_names(nets)
    for net in nets:
        _net(net, host, ports[id(net)], path, found)
    for order, (gpu, nic) in enumerate(_nearest(gpus, nets)):
        name = f"gpu{_number(gpu, 'dev', path, order)}"
        port = ports[id(nic)] if nic else ""
        slot = _slot(gpu)
        pci = slot.values.get("busid", "") if slot else ""
        found.accelerators.append(Accelerator(host, name, port, pci))
        rank = _number(gpu, "rank", path, -1)
        if rank >= 0:
            found.ranks.append(Rank("", rank, host, port))
    return found


def _elements(path: Path) -> list[Element]:
    """All elements in the order of the file."""
    elements: list[Element] = []
    around: list[Element] = []
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise ValueError(f"{path}:{parser.CurrentLineNumber}: a document type is not accepted")

    def start(tag: str, values: dict[str, str]) -> None:
        if len(around) >= DEEPEST:
            raise ValueError(f"{path}:{parser.CurrentLineNumber}: {tag}: nested too deeply")
        elements.append(Element(tag, values, tuple(around), parser.CurrentLineNumber))
        around.append(elements[-1])

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: around.pop()
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as bad:
        reason = expat.errors.messages[bad.code]
        raise ValueError(f"{path}:{bad.lineno}: not XML: {reason}") from None
    if not elements or elements[0].tag != "system":
        raise ValueError(f"{path}:1: system is expected as the outermost element")
    return elements


def _slot(element: Element) -> Element | None:
    """The PCI device that an element is part of."""
    return next((outer for outer in reversed(element.around) if outer.tag == "pci"), None)


def _number(element: Element, key: str, path: Path, absent: int) -> int:
    """A whole number; a topology written by hand may leave it out."""
    text = element.values.get(key)
    if text is None:
        return absent
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f"{path}:{element.line}: {element.tag}.{key}: a whole number is expected, not {text!r}"
        ) from None


def _port_names(nets: list[Element]) -> dict[int, str]:
    """Port of the host by net: the RDMA device, with the number of its second port."""
    count = Counter(net.values.get("name", "") for net in nets)
    names = {}
    for net in nets:
        name, port = net.values.get("name", ""), net.values.get("port", "1")
        names[id(net)] = name if count[name] == 1 or port in ("0", "1") else f"{name}/{port}"
    return names


def _net(net: Element, host: str, port: str, path: Path, found: Found) -> None:
    if not net.values.get("name"):
        raise ValueError(f"{path}:{net.line}: net: name is missing")
    found.nics.append(Nic(Port(host, port), net.values["name"]))
    speed = _number(net, "speed", path, 0) * 1_000_000
    roce = Roce(pcie_bps=_pcie_bps(net, path))
    found.qos.append(PortQos(Port(host, port), str(path), "host", speed_bps=speed, roce=roce))


def _pcie_bps(net: Element, path: Path) -> int:
    """What the slot of a NIC carries; -1 where the file does not say.

    Only its own link counts: bridges above it, virtual ones above all, often report nonsense.
    """
    slot = _slot(net)
    speed = slot.values.get("link_speed", "") if slot else ""
    width = slot.values.get("link_width", "") if slot else ""
    if slot is None or not (speed and width):
        return -1
    try:
        lanes, per_lane = int(width), LANE_BPS.get(float(speed.split()[0]))
    except ValueError:
        text = f"{speed} x{width}"
        raise ValueError(f"{path}:{slot.line}: pci.link_speed: not a PCIe link: {text!r}") from None
    return round(lanes * per_lane) if lanes and per_lane else -1  # NCCL writes 0 for not known


def _nearest(gpus: list[Element], nets: list[Element]) -> list[tuple[Element, Element | None]]:
    """Each GPU with its NIC: the longest shared way from the root, then the least used."""
    used: dict[int, int] = {}
    pairs: list[tuple[Element, Element | None]] = []
    for gpu in gpus:
        best: Element | None = None
        rank = (-1, 0)
        for net in nets:
            shared = 0
            for one, two in zip(gpu.around, net.around, strict=False):
                if one is not two:
                    break
                shared += 1
            if (shared, -used.get(id(net), 0)) > rank:
                best, rank = net, (shared, -used.get(id(net), 0))
        if best is not None:
            used[id(best)] = used.get(id(best), 0) + 1
        pairs.append((gpu, best))
    return pairs
