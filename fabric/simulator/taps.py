"""Captures at taps: every frame a tapped port sent or received, correct to the last bit."""

from pathlib import Path

import numpy as np

from fabric import roce, wire
from fabric.codes import Operation
from fabric.pcap import PcapWriter
from fabric.simulator import state as st
from fabric.simulator.build import Built
from fabric.simulator.plan import qpns, start_psn
from fabric.simulator.scenario import Scenario

PAGE = 1 << 28  # remote buffers lie this far apart
DSCP = {3: 26, 4: 34, 6: 48}
CNP_DSCP = 48
# (first, last) packet of a message -> word of its opcode
PARTS = {
    (True, True): "ONLY",
    (True, False): "FIRST",
    (False, True): "LAST",
    (False, False): "MIDDLE",
}


class TapFiles:
    """One nanosecond pcap per tapped port; sets the engine's tap flags."""

    def __init__(self, folder: Path, scenario: Scenario, built: Built) -> None:
        self.scenario, self.built = scenario, built
        self.writers: dict[int, PcapWriter] = {}
        self.zeros = bytes(16384)
        self._ttl: dict[tuple[int, int, int], int] = {}
        for name in scenario.output.taps:
            if name not in built.port_of:
                raise ValueError(f"output.taps: no port {name!r}")
            port = built.port_of[name]
            built.state.port["tapped"][port] = 1
            path = folder / f"tap_{name.replace(':', '_').replace('/', '-')}.pcap"
            self.writers[port] = PcapWriter(path, snaplen=scenario.output.snap_bytes)

    def write(self, rows: np.ndarray) -> None:
        """Encode the logged frames."""
        output = self.scenario.output
        for row in rows:
            time = int(row["ps"]) // 1000
            if output.tap_from_ns <= time <= output.tap_until_ns:
                frame = self._frame(row)
                ts = output.start_ns + time
                self.writers[int(row["port"])].write(ts, frame)

    def close(self) -> None:
        """End the files."""
        for writer in self.writers.values():
            writer.close()

    def _frame(self, row: np.void) -> bytes:
        if row["kind"] == st.PFC:
            return self._pause(row)
        connection = self.scenario.plan.connections[row["qp"]]
        route = roce.Route(
            connection.source_ip,
            connection.target_ip,
            connection.sport,
            DSCP.get(int(row["priority"]), 26),
        )
        sender, receiver = qpns(int(row["qp"]))
        psn = (start_psn(self.scenario.seed, int(row["qp"])) + int(row["psn"])) & 0xFFFFFF
        ttl = self._hops(row)
        if row["kind"] == st.DATA:
            return self._data(row, route, receiver, psn, ttl)
        if row["kind"] == st.RESPONSE:
            return self._response(row, route, receiver, psn, ttl)
        back = route.back()
        if row["kind"] == st.REQUEST:
            return roce.roce(
                back, Operation.READ_REQUEST, sender, psn, extended=self._asked(row), ttl=ttl
            )
        if row["kind"] == st.NAK and connection.pair.read:  # from the side that has the data
            back, sender = route, receiver
        if row["kind"] == st.CNP:
            return roce.cnp(back._replace(ttl=ttl, dscp=CNP_DSCP), sender)
        return roce.roce(
            back, Operation.ACKNOWLEDGE, sender, psn,
            extended=wire.aeth(int(row["syndrome"]), int(row["msn"])), ttl=ttl,
        )  # fmt: skip

    def _data(self, row: np.void, route: roce.Route, qpn: int, psn: int, ttl: int) -> bytes:
        message = self.built.state.message[row["message"]]
        at = int(row["psn"]) - int(message["first"])
        first, last = at == 0, at == int(message["packets"]) - 1
        immediate = last and bool(message["immediate"])
        name = f"WRITE_{PARTS[first, last]}" + ("_IMM" if immediate else "")
        extended = b""
        if first:
            extended = self._reth(row, 0, int(message["bytes"]))
        if immediate:
            extended += wire.immdt(int(message["bytes"]) & 0xFFFFFFFF)
        return roce.roce(
            route, Operation[name], qpn, psn, extended=extended,
            payload=self.zeros[: int(row["payload"])], ack_request=bool(row["ack_request"]),
            ecn=3 if row["ce"] else 2, ip_id=int(row["ip_id"]), ttl=ttl,
        )  # fmt: skip

    def _response(self, row: np.void, route: roce.Route, qpn: int, psn: int, ttl: int) -> bytes:
        first, last = (bool(row["quanta_mask"] & bit) for bit in (st.OPENS, st.CLOSES))
        extended = b""
        if first or last:  # the responder counts a READ when it begins to answer (IBTA 9.7.7.1)
            first_message = int(self.built.state.qp["first_message"][row["qp"]])
            number = int(row["message"]) - first_message + 1
            extended = wire.aeth(0x1F, number & 0xFFFFFF)
        return roce.roce(
            route, Operation[f"READ_RESPONSE_{PARTS[first, last]}"], qpn, psn, extended=extended,
            payload=self.zeros[: int(row["payload"])], ecn=3 if row["ce"] else 2,
            ip_id=int(row["ip_id"]), ttl=ttl,
        )  # fmt: skip

    def _asked(self, row: np.void) -> bytes:
        """RETH of a READ request, which may begin within the message."""
        message = self.built.state.message[row["message"]]
        mtu = int(self.built.state.qp["mtu"][row["qp"]])
        return self._reth(row, (int(row["psn"]) - int(message["first"])) * mtu, int(row["payload"]))

    def _reth(self, row: np.void, offset: int, length: int) -> bytes:
        address = 0x7F0000000000 + int(row["message"]) * PAGE + offset
        return wire.reth(address, 0x1000 + int(row["qp"]), length)

    def _pause(self, row: np.void) -> bytes:
        port = int(row["port"])
        sender = int(self.built.state.port["peer"][port]) if row["incoming"] else port
        quanta = {
            q: 0xFFFF if int(row["quanta_mask"]) >> q & 1 else 0
            for q in range(8)
            if int(row["vector"]) >> q & 1
        }
        return wire.pfc(self.mac(sender), quanta)

    def mac(self, port: int) -> str:
        """A locally administered address made of device and port number."""
        device, local = (int(self.built.state.port[name][port]) for name in ("node", "local"))
        return f"02:00:00:{device >> 8 & 255:02x}:{device & 255:02x}:{local + 1:02x}"

    def _hops(self, row: np.void) -> int:
        """Time to live after the routers it has passed; each takes one (RFC 1812 section 5.3.1)."""
        egress = int(row["port"])
        if row["incoming"]:
            egress = int(self.built.state.port["peer"][egress])
        read = self.scenario.plan.connections[row["qp"]].pair.read
        forward = int(row["kind"] in (st.DATA, st.RESPONSE) or (read and row["kind"] == st.NAK))
        key = (int(row["qp"]), egress, forward)
        if key not in self._ttl:
            pair = self.scenario.plan.connections[key[0]].pair
            name = self.built.ports[egress]
            ways = pair.paths if forward else pair.back
            self._ttl[key] = 64 - next((list(w).index(name) for w in ways if name in w), 0)
        return self._ttl[key]
