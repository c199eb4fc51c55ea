"""What is subscribed to on each platform where a configuration does not say: every counter we know.

Paths are those of the dictionaries in :mod:`analyzers.telemetry`; a path that a device does not have is
left out by the client and reported. Counters that a device refreshes slowly are asked for more often
than that: a reading that has not changed costs little, one that is late costs the cause.
"""

from typing import Final

from collectors.config import SECOND_NS, Subscription


def _sample(*paths: str, seconds: int = 10, target: str = "") -> Subscription:
    return Subscription(paths, interval_ns=seconds * SECOND_NS, target=target)


_OPENCONFIG: Final = (
    _sample(
        "/interfaces/interface[name=*]/state/counters",
        "/interfaces/interface[name=*]/ethernet/state",
        "/qos/interfaces/interface[interface-id=*]/output/queues/queue[name=*]/state",
    ),
    _sample(
        "/components/component[name=*]/transceiver/physical-channels/channel[index=*]/state",
        seconds=60,
    ),
    Subscription(("/interfaces/interface[name=*]/state/oper-status",), mode="on_change"),
    Subscription(("/lldp/interfaces/interface[name=*]/neighbors/neighbor[id=*]/state",),
                 mode="on_change", heartbeat_ns=600 * SECOND_NS),
)  # fmt: skip

PRESETS: Final[dict[str, tuple[Subscription, ...]]] = {
    "openconfig": _OPENCONFIG,
    "arista": (
        *_OPENCONFIG,
        _sample("/interfaces/interface[name=*]/ethernet/pfc"),
        _sample("/interfaces/interface[name=*]/ethernet/phys", seconds=60),
    ),
    "sonic": (
        _sample(
            "/COUNTERS/Ethernet*", "/COUNTERS/Ethernet*/Queues", "/COUNTERS/Ethernet*/Pfcwd",
            target="COUNTERS_DB",
        ),
        _sample("/PERIODIC_WATERMARKS/Ethernet*/PriorityGroups", "/RATES/Ethernet*",
                target="COUNTERS_DB"),
        _sample("/LLDP_ENTRY_TABLE", "/PORT_TABLE", seconds=60, target="APPL_DB"),
        _sample("/TRANSCEIVER_DOM_SENSOR", seconds=60, target="STATE_DB"),
    ),
    "srlinux": (
        _sample(
            "/interface[name=*]/statistics", "/interface[name=*]/ethernet/statistics",
            "/qos/interfaces/interface[interface-id=*]/pfc",
            "/qos/interfaces/interface[interface-id=*]/output/queues/queue[queue-name=*]",
        ),
        Subscription(("/interface[name=*]/oper-state",), mode="on_change"),
    ),
    "iosxr": (
        _sample(
            "Cisco-IOS-XR-infra-statsd-oper:/infra-statistics/interfaces/interface/latest/generic-counters",
            "Cisco-IOS-XR-drivers-media-eth-oper:/ethernet-interface/pfc-statistics",
            "Cisco-IOS-XR-8000-platforms-npu-pfc-pause-duration-oper:/ofa/stats/nodes/node/pause-duration-stats",
            "Cisco-IOS-XR-ofa-npu-qos-oper:/npu-qos/nodes/node/high-water-marks",
        ),
    ),
    "junos": _OPENCONFIG,
    "cumulus": (
        *_OPENCONFIG,
        _sample(
            "/qos/interfaces/interface[interface-id=*]/switch-priority[priority=*]",
            "/qos/interfaces/interface[interface-id=*]/state/switch-priority[priority=*]",
            "/interfaces/interface[name=*]/ethernet/phy",
        ),
    ),
}  # fmt: skip

# SONiC offers PROTO too, but writes its tables as JSON whatever is asked for (sonic-gnmi: db_client.go).
ENCODINGS: Final = {"sonic": "json_ietf"}
