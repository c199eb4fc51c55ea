"""The same packets as real frames in a pcap file, written by :mod:`fabric.roce`."""

from collections.abc import Iterable
from pathlib import Path

from fabric.codes import Header, headers_of
from fabric.pcap import PcapWriter
from fabric.roce import Route, roce
from fabric.wire import aeth, atomicacketh, atomiceth, ieth, immdt, reth
from tests.injector.packets import Packet


def address(number: int) -> str:
    """An IPv4 address as text."""
    return ".".join(str(number >> shift & 0xFF) for shift in (24, 16, 8, 0))


def frame(packet: Packet) -> bytes:
    """The Ethernet frame of one packet."""
    headers = headers_of(packet.opcode) or Header.BTH
    extended = b""  # in the order of IBTA 9.3
    if headers & Header.RETH:
        extended += reth(0, 0, packet.dma)
    if headers & Header.AETH:
        extended += aeth(packet.syndrome, packet.msn)
    if headers & Header.IMMDT:
        extended += immdt(0)
    if headers & Header.ATOMICETH:
        extended += atomiceth(0, 0, 0)
    if headers & Header.ATOMICACKETH:
        extended += atomicacketh(0)
    if headers & Header.IETH:
        extended += ieth(0)
    return roce(
        Route(address(packet.src), address(packet.dst), packet.sport),
        packet.opcode,
        packet.qpn,
        packet.psn,
        extended=extended,
        payload=bytes(packet.payload),
        ack_request=bool(packet.ask),
        ip_id=packet.ip_id,
        ttl=packet.ttl,
    )


def write_pcap(path: Path, packets: Iterable[Packet]) -> None:
    """A pcap file with nanosecond times."""
    with PcapWriter(path) as writer:
        for packet in packets:
            writer.write(packet.ts, frame(packet))
