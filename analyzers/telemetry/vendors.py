"""Payloads that are no gNMI: each form to readings by a function of its own."""

from collections.abc import Iterable
from typing import Final

from analyzers.telemetry.dictionary import Dictionary
from analyzers.telemetry.gnmic import gnmic
from analyzers.telemetry.h3c import h3c
from analyzers.telemetry.mdt import cisco, huawei
from analyzers.telemetry.otlp import otlp
from analyzers.telemetry.readings import Reader, VendorReading, json_object
from collectors.messages import Elem
from collectors.records import Method


def rdma(payload: bytes, _: Dictionary) -> Iterable[VendorReading]:
    """The NICs of a host: the driver decides what a name means (:mod:`collectors.records`)."""
    snapshot = json_object(payload)
    device = str(snapshot.get("device", ""))
    nics = snapshot.get("nics", [])
    if not isinstance(nics, list):
        raise ValueError("nics is no list")  # noqa: TRY004
    for nic in nics:
        if not isinstance(nic, dict):
            raise ValueError("a NIC is no object")  # noqa: TRY004
        port = str(nic.get("netdev") or nic.get("nic") or "")
        who = {"driver": str(nic.get("driver", "")), "port": port}
        above: tuple[Elem, ...] = (("nics", {}), ("nic", who))
        if isinstance(speed := nic.get("speed_bps"), int) and speed > 0:
            yield VendorReading(device, 0, (*above, ("speed_bps", {})), speed)
        for group in ("hw_counters", "counters", "ethtool"):
            values = nic.get(group, {})
            if not isinstance(values, dict):
                raise ValueError(f"{group} is no object")  # noqa: TRY004
            for name, value in values.items():
                if isinstance(value, int | str | float):
                    yield VendorReading(device, 0, (*above, (group, {}), (name, {})), value)


READERS: Final[dict[int, Reader]] = {
    Method.RDMA: rdma,
    Method.GNMIC: gnmic,
    Method.OTLP: otlp,
    Method.H3C: h3c,
    Method.H3C_V3: huawei,
    Method.HUAWEI: huawei,
    Method.CISCO: cisco,
}
