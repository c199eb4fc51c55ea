"""Frames of a network interface through a ring shared with the kernel.

linux: Documentation/networking/packet_mmap.rst (TPACKET_V3), include/uapi/linux/if_packet.h. Times are
the kernel's, in nanoseconds. A tag that the NIC took out of the frame is put back, because its priority
is evidence.
"""

import ctypes
import errno
import mmap
import select
import socket
import struct
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

SOL_PACKET: Final = 263
ADD_MEMBERSHIP, RX_RING, STATISTICS, VERSION = 1, 5, 6, 10
MR_PROMISC: Final = 1
TPACKET_V3: Final = 2
SO_ATTACH_FILTER: Final = 26
ETH_P_ALL: Final = 3
BLOCK_BYTES: Final = 1 << 20
RETIRE_MS: Final = 50  # a block that is not full is handed over after so long
USER: Final = 1  # TP_STATUS_USER: the block is ours
VLAN_VALID, TPID_VALID = 1 << 4, 1 << 6
OUTGOING: Final = 4  # PACKET_OUTGOING
LOOPBACK: Final = 0x8  # IFF_LOOPBACK
FRAME: Final = struct.Struct("=IIIIIIHHIIH")  # tpacket3_hdr up to the tag's ethertype
ADDRESS_AT: Final = 48  # sockaddr_ll behind the header
TYPE_AT: Final = ADDRESS_AT + 10


class Seen(NamedTuple):
    """A frame: when, what was kept of it, how long it was on the wire."""

    ts: int
    frame: bytes
    wire_bytes: int


class Ring:
    """An open capture; OSError where the interface is missing or root's rights are."""

    def __init__(
        self, interface: str, program: bytes, *, blocks: int = 32, promiscuous: bool = True
    ) -> None:
        self.interface = interface
        self.received = self.dropped = 0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._filter(program)
            self._socket.setsockopt(SOL_PACKET, VERSION, TPACKET_V3)
            request = struct.pack(
                "=7I", BLOCK_BYTES, blocks, 2048, BLOCK_BYTES // 2048 * blocks, RETIRE_MS, 0, 0
            )
            self._socket.setsockopt(SOL_PACKET, RX_RING, request)
            self._map = mmap.mmap(self._socket.fileno(), BLOCK_BYTES * blocks)
            self._socket.bind((interface, ETH_P_ALL))
            index = socket.if_nametoindex(interface)
            if promiscuous:
                member = struct.pack("=iHH8s", index, MR_PROMISC, 0, b"")
                self._socket.setsockopt(SOL_PACKET, ADD_MEMBERSHIP, member)
        except OSError as error:
            self._socket.close()
            raise OSError(error.errno, error.strerror, interface) from error
        self._blocks, self._block = blocks, 0
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN | select.POLLERR)
        with open(f"/sys/class/net/{interface}/flags") as flags:  # noqa: PTH123 one line of sysfs
            self._twice = bool(int(flags.read(), 16) & LOOPBACK)

    def close(self) -> None:
        """Give the ring back."""
        self._map.close()
        self._socket.close()

    def _filter(self, program: bytes) -> None:
        held = ctypes.create_string_buffer(program)
        count = len(program) // 8
        fprog = struct.pack("HxxxxxxP", count, ctypes.addressof(held))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)

    def read(self, timeout_s: float) -> Iterator[list[Seen]]:
        """Frames of each block that is full or old enough; ends when there is none for a while.

        OSError when the interface is gone; one that is only down is waited for.
        """
        while True:
            at = self._block * BLOCK_BYTES
            status, count, first = struct.unpack_from("=III", self._map, at + 8)
            if not status & USER:
                woken = self._poll.poll(timeout_s * 1000)
                if not woken:
                    return
                if woken[0][1] & select.POLLERR:
                    self._down(timeout_s)
                status, count, first = struct.unpack_from("=III", self._map, at + 8)
                if not status & USER:
                    return
            frames = list(self._frames(at + first, count))
            struct.pack_into(
                "=I", self._map, at + 8, 0
            )  # before the yield: the reader may stop there
            self._block = (self._block + 1) % self._blocks
            yield frames

    def _down(self, timeout_s: float) -> None:
        """Take the error off the socket, which would wake us for ever, and wait in its place."""
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            socket.if_nametoindex(self.interface)
        except OSError as error:
            raise OSError(errno.ENODEV, "the interface is gone", self.interface) from error
        time.sleep(timeout_s)

    def _frames(self, at: int, count: int) -> Iterator[Seen]:
        data = self._map
        for _ in range(count):
            following, sec, nsec, size, length, status, mac, _, _, tci, tpid = FRAME.unpack_from(
                data, at
            )
            if not (
                self._twice and data[at + TYPE_AT] == OUTGOING
            ):  # loopback shows each frame twice
                frame = data[at + mac : at + mac + size]
                if status & VLAN_VALID:
                    tag = struct.pack(">HH", tpid if status & TPID_VALID else 0x8100, tci)
                    frame, length = frame[:12] + tag + frame[12:], length + 4
                yield Seen(sec * 1_000_000_000 + nsec, frame, length)
            at += following

    def count(self) -> None:
        """Bring ``received`` and ``dropped`` up to date (the kernel's counts start over when read)."""
        raw = self._socket.getsockopt(SOL_PACKET, STATISTICS, 12)
        packets, drops, _ = struct.unpack("=III", raw)
        self.received += packets
        self.dropped += drops
