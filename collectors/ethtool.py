"""A driver's own counters (``ethtool -S``) by ioctl: netlink has no request for them.

linux: include/uapi/linux/ethtool.h (ETHTOOL_GSSET_INFO, ETHTOOL_GSTRINGS, ETHTOOL_GSTATS).
"""

import array
import fcntl
import re
import socket
import struct
from typing import Final

SIOCETHTOOL: Final = 0x8946
GSTRINGS, GSTATS, GSSET_INFO = 0x1B, 0x1D, 0x37
STATS: Final = 1  # ETH_SS_STATS
NAME_BYTES: Final = 32  # ETH_GSTRING_LEN
# Counters of single rings and channels: thousands of them, and none says what the port does.
# The sizes of frames (rx_64_bytes_phy, rx_65_to_127_bytes_phy) look like them, but start at 64.
RING: Final = re.compile(
    r"(rx|tx|ch|rxq|txq|xdp|xsk|rx_queue_|tx_queue_|queue_)\d+_|(rx|tx)_([1-5]?\d|6[0-3])_|(rx|tx)-\d+\."
    r"|.*\[\d+\]"
)


class Ethtool:
    """The counters of one network interface; which ones there are is asked once."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.count = self._set_size()
            names = self._names()
        except BaseException:
            self._socket.close()
            raise
        self.wanted = [(n, name) for n, name in enumerate(names) if name and not RING.match(name)]

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()

    def read(self) -> dict[str, int]:
        """Counters by name; OSError where the interface is gone."""
        if not self.wanted:
            return {}
        reply = array.array("B", struct.pack("II", GSTATS, self.count) + bytes(8 * self.count))
        self._call(reply)
        values = struct.unpack_from(f"{self.count}Q", reply, 8)
        return {name: values[n] for n, name in self.wanted}

    def _set_size(self) -> int:
        request = array.array("B", struct.pack("IIQI", GSSET_INFO, 0, 1 << STATS, 0))
        self._call(request)
        _, _, mask, size = struct.unpack("IIQI", request)
        return int(size) if mask else 0

    def _names(self) -> list[str]:
        head = struct.pack("III", GSTRINGS, STATS, self.count)
        reply = array.array("B", head + bytes(NAME_BYTES * self.count))
        self._call(reply)
        text = reply.tobytes()[len(head) :]
        return [
            text[at : at + NAME_BYTES].split(b"\0")[0].decode(errors="replace").strip()
            for at in range(0, len(text), NAME_BYTES)
        ]

    def _call(self, buffer: "array.array[int]") -> None:
        name = self.interface.encode()[:15]
        where, _ = buffer.buffer_info()
        fcntl.ioctl(self._socket, SIOCETHTOOL, struct.pack("16sP", name, where) + bytes(16))
