"""What a raw record holds: one number for each form of payload, with the shape it must have.

A collector writes what it received, byte for byte where there is a message, and decides nothing. The
decoders of :mod:`analyzers.telemetry` know these numbers; one they do not know is counted and kept.

``peer`` of a record names the device: the name of the target in the configuration where we called it,
its address without the port where it called us. A payload that names its device itself is believed
over an address. ``ts`` is the device's clock in ns, 0 where only the payload has it or nobody has.
"""

from enum import IntEnum
from typing import Final


class Method(IntEnum):
    """The form of a record's payload.

    ``NOTE``: the collector about itself, a JSON object with ``kind`` (connected, disconnected, synced,
    stale, refused, capabilities, gap, dropped, error...), ``text`` and whatever else belongs to it.

    ``GNMI``: a serialised ``gnmi.SubscribeResponse``, from dial-in and from every dial-out that speaks
    it (SONiC, Juniper, Nokia). Readings taken by Get are wrapped into one.

    ``SONIC``: Redis of a switch at one moment, a JSON object ``{"device": name, "tables": {TABLE:
    {KEY: {FIELD: text}}}}``. Tables of COUNTERS_DB are named as gNMI's virtual paths name them, so
    that queues and priority groups stay apart: ``COUNTERS/Ports`` (key ``Ethernet0``),
    ``COUNTERS/Queues`` and ``COUNTERS/PriorityGroups`` (``Ethernet0:3``), ``COUNTERS/BufferPools``
    (the pool's name), ``COUNTERS/Pfcwd`` (``Ethernet0:3``), ``RATES/Ports``,
    ``PERIODIC_WATERMARKS/Queues``, ``PERIODIC_WATERMARKS/PriorityGroups``,
    ``PERIODIC_WATERMARKS/BufferPools``, and ``PERSISTENT_`` and ``USER_WATERMARKS/`` alike. Tables of
    other databases carry the database: ``APPL_DB/LLDP_ENTRY_TABLE``, ``APPL_DB/PORT_TABLE``,
    ``CONFIG_DB/PORT_QOS_MAP``, ``STATE_DB/TRANSCEIVER_DOM_SENSOR``. Values are Redis's strings.

    ``RDMA``: the NICs of a host at one moment, a JSON object ``{"device": name, "nics": [{"nic":
    "mlx5_0", "port": 1, "netdev": "eth2", "driver": "mlx5_core", "speed_bps": n, "hw_counters":
    {name: number}, "counters": {name: number}, "ethtool": {name: number}, ...}]}``; a NIC without
    RDMA has an empty ``nic``.

    ``OTLP``: a serialised ``ExportMetricsServiceRequest`` of OpenTelemetry.

    ``H3C``: a serialised ``grpc_dialout.DialoutMsg``, fragments put together again.

    ``H3C_V3``: the ``data`` of a message of ``grpc_dialout_v3``.

    ``HUAWEI``: the ``data`` (or ``data_json``) of a ``huawei_dialout.serviceArgs``: a ``Telemetry``.

    ``CISCO``: the ``data`` of a ``mdt_dialout.MdtDialoutArgs``: a ``Telemetry``, GPB or JSON.

    ``GNMIC``: event JSON of gnmic: an object, an array of them, or one a line.

    ``EVENTS``: things that happened, an array of JSON objects ``{"ts": ns, "device": name, "source":
    "syslog"..., "kind": word, "text": line, ...}``: logs, drop reasons, configuration changes.
    """

    NOTE = 0
    GNMI = 1
    SONIC = 2
    RDMA = 3
    OTLP = 4
    H3C = 5
    H3C_V3 = 6
    HUAWEI = 7
    CISCO = 8
    GNMIC = 9
    EVENTS = 10


MAX_PAYLOAD: Final = 512 << 20  # bytes; more is a fault, not telemetry
