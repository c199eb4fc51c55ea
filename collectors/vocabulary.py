"""Where a platform keeps each canonical counter, and in which unit it reports it.

Used to speak as a platform does (the replay of a run). Canonical names are those of COUNTERS
(``object`` and ``counter``). A counter that a platform does not report, or not with that meaning, has no
line; what only hosts count (CNPs, NAKs, marked packets received) is on no switch, but on their NICs.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from collectors.messages import Elem, elements
from collectors.timeline import Key


class Leaf(NamedTuple):
    """One leaf of a platform's tree.

    ``source`` is the YANG module that names it, or on SONiC the database that holds it (the target of
    a path); ``unit`` counts canonical units in one of the platform's, 0 for a speed in words.
    """

    source: str
    unit: int
    path: str

    def elements(self, key: Key) -> list[Elem]:
        """The path of one port and object."""
        words = vars(key)
        return [
            (name.format_map(words), {k: v.format_map(words) for k, v in keys.items()})
            for name, keys in elements(self.path)
        ]

    def written(self, value: int) -> int | str:
        """A canonical value as the platform writes it."""
        if self.unit == 0:
            return SPEEDS.get(value, "SPEED_UNKNOWN")
        return value // self.unit


Vocabulary = Mapping[tuple[str, str], Leaf]

# ETHERNET_SPEED of openconfig-if-ethernet
SPEEDS: Final = {
    bps * 1_000_000: f"SPEED_{name}"
    for bps, name in (
        (10, "10MB"), (100, "100MB"), (1_000, "1GB"), (2_500, "2500MB"), (5_000, "5GB"),
        (10_000, "10GB"), (25_000, "25GB"), (40_000, "40GB"), (50_000, "50GB"), (100_000, "100GB"),
        (200_000, "200GB"), (400_000, "400GB"), (600_000, "600GB"), (800_000, "800GB"),
        (1_600_000, "1600GB"),
    )
}  # fmt: skip


def _table(text: str) -> dict[tuple[str, str], Leaf]:
    found = {}
    for line in text.strip().splitlines():
        of, counter, source, unit, path = line.split()
        found[of, counter] = Leaf(source.strip("-"), int(unit), path)
    return found


# OpenConfig names no PFC counter; EOS adds them below ethernet/pfc (EOS 4.36 augments). The module of
# some is not public: '-'. EOS counts the time a priority was held, in ns, and not the time it held.
OPENCONFIG: Final[Vocabulary] = _table("""
    port     link_bps           openconfig-if-ethernet             0 /interfaces/interface[name={port}]/ethernet/state/port-speed
    port     rx_bytes           openconfig-interfaces              1 /interfaces/interface[name={port}]/state/counters/in-octets
    port     rx_packets         openconfig-interfaces              1 /interfaces/interface[name={port}]/state/counters/in-pkts
    port     tx_bytes           openconfig-interfaces              1 /interfaces/interface[name={port}]/state/counters/out-octets
    port     tx_packets         openconfig-interfaces              1 /interfaces/interface[name={port}]/state/counters/out-pkts
    port     rx_crc_errors      openconfig-interfaces              1 /interfaces/interface[name={port}]/state/counters/in-fcs-errors
    priority rx_pfc_frames      -                                  1 /interfaces/interface[name={port}]/ethernet/pfc/priorities/priority[index={index}]/state/in-frames
    priority tx_pfc_frames      -                                  1 /interfaces/interface[name={port}]/ethernet/pfc/priorities/priority[index={index}]/state/out-frames
    priority rx_pause_ns        arista-pfc-buffer-counters-augment 1 /interfaces/interface[name={port}]/ethernet/pfc/priorities/priority[index={index}]/state/pfc-on-total-rx-time
    pg       dropped_packets    arista-pfc-buffer-counters-augment 1 /interfaces/interface[name={port}]/ethernet/pfc/priorities/priority[index={index}]/state/dropped-pkts
    queue    tx_bytes           openconfig-qos                     1 /qos/interfaces/interface[interface-id={port}]/output/queues/queue[name={index}]/state/transmit-octets
    queue    tx_packets         openconfig-qos                     1 /qos/interfaces/interface[interface-id={port}]/output/queues/queue[name={index}]/state/transmit-pkts
    queue    ecn_marked_packets openconfig-qos                     1 /qos/interfaces/interface[interface-id={port}]/output/queues/queue[name={index}]/state/ecn-marked-pkts
    queue    dropped_packets    openconfig-qos                     1 /qos/interfaces/interface[interface-id={port}]/output/queues/queue[name={index}]/state/dropped-pkts
    queue    queue_peak_bytes   openconfig-qos                     1 /qos/interfaces/interface[interface-id={port}]/output/queues/queue[name={index}]/state/max-queue-len
    queue    watchdog_storms    -                                  1 /interfaces/interface[name={port}]/ethernet/pfc/watchdog/tx-queues/tx-queue[index={index}][queue-type=unicast]/state/stuck-count
""")

# Virtual paths of sonic-gnmi. RoCE is unicast, and SONiC polls no sum of packets and no FCS errors of
# their own. Paused time is in us and only where the PFC watchdog polls it (NVIDIA's ASICs); live
# counters of priority groups have no path, their watermarks do.
SONIC: Final[Vocabulary] = _table("""
    port     link_bps            APPL_DB     1000000 /PORT_TABLE/{port}/speed
    port     rx_bytes            COUNTERS_DB 1       /COUNTERS/{port}/SAI_PORT_STAT_IF_IN_OCTETS
    port     rx_packets          COUNTERS_DB 1       /COUNTERS/{port}/SAI_PORT_STAT_IF_IN_UCAST_PKTS
    port     tx_bytes            COUNTERS_DB 1       /COUNTERS/{port}/SAI_PORT_STAT_IF_OUT_OCTETS
    port     tx_packets          COUNTERS_DB 1       /COUNTERS/{port}/SAI_PORT_STAT_IF_OUT_UCAST_PKTS
    port     rx_crc_errors       COUNTERS_DB 1       /COUNTERS/{port}/SAI_PORT_STAT_IF_IN_ERRORS
    priority rx_pfc_frames       COUNTERS_DB 1       /COUNTERS/{port}/SAI_PORT_STAT_PFC_{index}_RX_PKTS
    priority tx_pfc_frames       COUNTERS_DB 1       /COUNTERS/{port}/SAI_PORT_STAT_PFC_{index}_TX_PKTS
    priority rx_pause_ns         COUNTERS_DB 1000    /COUNTERS/{port}/SAI_PORT_STAT_PFC_{index}_RX_PAUSE_DURATION_US
    queue    tx_bytes            COUNTERS_DB 1       /COUNTERS/{port}/Queues/{port}:{index}/SAI_QUEUE_STAT_BYTES
    queue    tx_packets          COUNTERS_DB 1       /COUNTERS/{port}/Queues/{port}:{index}/SAI_QUEUE_STAT_PACKETS
    queue    ecn_marked_packets  COUNTERS_DB 1       /COUNTERS/{port}/Queues/{port}:{index}/SAI_QUEUE_STAT_WRED_ECN_MARKED_PACKETS
    queue    dropped_packets     COUNTERS_DB 1       /COUNTERS/{port}/Queues/{port}:{index}/SAI_QUEUE_STAT_DROPPED_PACKETS
    queue    queue_peak_bytes    COUNTERS_DB 1       /COUNTERS/{port}/Queues/{port}:{index}:periodic/SAI_QUEUE_STAT_SHARED_WATERMARK_BYTES
    queue    watchdog_storms     COUNTERS_DB 1       /COUNTERS/{port}/Pfcwd/{port}:{index}/PFC_WD_QUEUE_STATS_DEADLOCK_DETECTED
    queue    watchdog_drops      COUNTERS_DB 1       /COUNTERS/{port}/Pfcwd/{port}:{index}/PFC_WD_QUEUE_STATS_TX_DROPPED_PACKETS
    pg       headroom_peak_bytes COUNTERS_DB 1       /PERIODIC_WATERMARKS/{port}/PriorityGroups/{port}:{index}/SAI_INGRESS_PRIORITY_GROUP_STAT_XOFF_ROOM_WATERMARK_BYTES
""")

# What mlx5 counts, by the names of `ethtool -S` and of hw_counters (linux: mlx5 counters.rst,
# drivers/infiniband/hw/mlx5/counters.c), in the paths the agent on a host gives them. The bytes of a
# priority are those of its queue and of its buffer; paused time is in us.
MLX5: Final[Vocabulary] = _table("""
    port     rx_bytes           mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/ethtool/rx_bytes_phy
    port     rx_packets         mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/ethtool/rx_packets_phy
    port     tx_bytes           mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/ethtool/tx_bytes_phy
    port     tx_packets         mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/ethtool/tx_packets_phy
    port     rx_crc_errors      mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/ethtool/rx_crc_errors_phy
    port     pci_write_stalled_share mlx5_core 1 /nics/nic[driver=mlx5_core][port={port}]/ethtool/outbound_pci_stalled_wr
    priority rx_pfc_frames      mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/ethtool/rx_prio{index}_pause
    priority tx_pfc_frames      mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/ethtool/tx_prio{index}_pause
    priority rx_pause_ns        mlx5_core 1000 /nics/nic[driver=mlx5_core][port={port}]/ethtool/rx_prio{index}_pause_duration
    priority tx_pause_ns        mlx5_core 1000 /nics/nic[driver=mlx5_core][port={port}]/ethtool/tx_prio{index}_pause_duration
    queue    tx_bytes           mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/ethtool/tx_prio{index}_bytes
    queue    tx_packets         mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/ethtool/tx_prio{index}_packets
    pg       rx_bytes           mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/ethtool/rx_prio{index}_bytes
    pg       rx_packets         mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/ethtool/rx_prio{index}_packets
    pg       dropped_packets    mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/ethtool/rx_prio{index}_discards
    port     tx_cnp             mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/hw_counters/np_cnp_sent
    port     rx_ce_packets      mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/hw_counters/np_ecn_marked_roce_packets
    port     rx_cnp             mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/hw_counters/rp_cnp_handled
    port     out_of_sequence    mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/hw_counters/out_of_sequence
    port     rx_naks            mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/hw_counters/packet_seq_err
    port     implied_naks       mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/hw_counters/implied_nak_seq_err
    port     duplicate_requests mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/hw_counters/duplicate_request
    port     ack_timeouts       mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/hw_counters/local_ack_timeout_err
    port     rnr_naks           mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/hw_counters/rnr_nak_retry_err
    port     out_of_buffer      mlx5_core 1    /nics/nic[driver=mlx5_core][port={port}]/hw_counters/out_of_buffer
""")

PLATFORMS: Final[Mapping[str, Vocabulary]] = {"openconfig": OPENCONFIG, "sonic": SONIC}

# name, organisation, version, as Capabilities lists them
MODELS: Final = {
    "openconfig": (
        ("openconfig-interfaces", "OpenConfig working group", "3.8.1"),
        ("openconfig-if-ethernet", "OpenConfig working group", "2.18.0"),
        ("openconfig-qos", "OpenConfig working group", "2.2.0"),
        ("arista-pfc-buffer-counters-augment", "Arista Networks <http://arista.com/>", "1.0.0"),
    ),
    "sonic": (("sonic-db", "SONiC", "0.1.0"),),
}
VERSIONS: Final = {"openconfig": "0.10.0", "sonic": "0.7.0"}  # of gNMI
