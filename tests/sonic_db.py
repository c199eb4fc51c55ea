"""A real redis-server filled as a SONiC switch fills its own (sonic-swss: orchagent), behind its unix socket."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from tests.data import tool

DATABASES = {
    "APPL_DB": 0, "ASIC_DB": 1, "COUNTERS_DB": 2, "CONFIG_DB": 4, "PFC_WD_DB": 5, "FLEX_COUNTER_DB": 5,
    "STATE_DB": 6,
}  # fmt: skip
PORT = (
    [f"SAI_PORT_STAT_PFC_{n}_{way}_PKTS" for n in range(8) for way in ("RX", "TX")]
    + [f"SAI_PORT_STAT_IF_{way}_{what}" for way in ("IN", "OUT")
       for what in ("OCTETS", "UCAST_PKTS", "NON_UCAST_PKTS", "MULTICAST_PKTS", "BROADCAST_PKTS",
                    "DISCARDS", "ERRORS")]
    + [f"SAI_PORT_STAT_ETHER_{way}_PKTS_{size}_OCTETS" for way in ("IN", "OUT")
       for size in ("64", "65_TO_127", "128_TO_255", "256_TO_511", "512_TO_1023", "1024_TO_1518",
                    "1519_TO_2047", "2048_TO_4095", "4096_TO_9216", "9217_TO_16383")]
    + ["SAI_PORT_STAT_PAUSE_RX_PKTS", "SAI_PORT_STAT_PAUSE_TX_PKTS",
       "SAI_PORT_STAT_IF_IN_FEC_CORRECTABLE_FRAMES", "SAI_PORT_STAT_IF_IN_FEC_NOT_CORRECTABLE_FRAMES",
       "SAI_PORT_STAT_IF_IN_FEC_SYMBOL_ERRORS", "SAI_PORT_STAT_IN_DROPPED_PKTS",
       "SAI_PORT_STAT_OUT_DROPPED_PKTS", "SAI_PORT_STAT_WRED_DROPPED_PACKETS",
       "SAI_PORT_STAT_IP_IN_RECEIVES", "SAI_PORT_STAT_ETHER_STATS_TX_NO_ERRORS"]
)  # fmt: skip
QUEUE = [f"SAI_QUEUE_STAT_{what}" for what in (
    "PACKETS", "BYTES", "DROPPED_PACKETS", "DROPPED_BYTES", "SHARED_WATERMARK_BYTES",
    "WRED_ECN_MARKED_PACKETS", "WRED_ECN_MARKED_BYTES", "WRED_DROPPED_PACKETS",
    "TRIM_PACKETS",
)]  # fmt: skip
WATCHDOG = [f"PFC_WD_QUEUE_STATS_{what}" for what in (
    "DEADLOCK_DETECTED", "DEADLOCK_RESTORED", "TX_PACKETS", "TX_DROPPED_PACKETS", "RX_PACKETS",
    "RX_DROPPED_PACKETS",
)]  # fmt: skip
PG = [f"SAI_INGRESS_PRIORITY_GROUP_STAT_{what}" for what in (
    "XOFF_ROOM_WATERMARK_BYTES", "SHARED_WATERMARK_BYTES", "DROPPED_PACKETS",
)]  # fmt: skip
RATES = ["RX_BPS", "RX_PPS", "TX_BPS", "TX_PPS", "FEC_PRE_BER", "FEC_POST_BER"]


def oid(kind: int, number: int) -> str:
    return f"oid:0x{kind:x}{number:012x}"


class Switch:
    """A switch's databases; ``clients`` by name."""

    def __init__(self, folder: Path, socket: Path) -> None:
        self.folder, self.socket = folder, socket
        self.config = folder / "database_config.json"
        self.config.write_text(
            json.dumps(
                {
                    "INSTANCES": {
                        "redis": {
                            "hostname": "127.0.0.1", "port": 6379, "unix_socket_path": str(socket),
                        }
                    },
                    "DATABASES": {
                        name: {
                            "id": number,
                            "separator": ":" if name in ("APPL_DB", "COUNTERS_DB") else "|",
                            "instance": "redis",
                        }
                        for name, number in DATABASES.items()
                    },
                    "VERSION": "1.0",
                }
            )
        )  # fmt: skip

    def database(self, name: str) -> Any:
        return redis.Redis(
            unix_socket_path=str(self.socket), db=DATABASES[name], decode_responses=True
        )

    def fill(self, ports: int = 64, n: int = 1) -> None:
        """Every table of ``ports`` ports with 8 queues and 8 priority groups; values grow with ``n``."""
        counters = self.database("COUNTERS_DB").pipeline(transaction=False)
        for p in range(ports):
            name, port = f"Ethernet{8 * p}", oid(1, p)
            counters.hset("COUNTERS_PORT_NAME_MAP", name, port)
            counters.hset(
                f"COUNTERS:{port}", mapping={f: n * (i + 1) + p for i, f in enumerate(PORT)}
            )
            counters.hset(f"RATES:{port}", mapping=dict.fromkeys(RATES, f"{n}.5"))
            for q in range(8):
                queue, pg = oid(0x15, 8 * p + q), oid(0x1A, 8 * p + q)
                counters.hset("COUNTERS_QUEUE_NAME_MAP", f"{name}:{q}", queue)
                counters.hset("COUNTERS_PG_NAME_MAP", f"{name}:{q}", pg)
                fields = QUEUE + (WATCHDOG if q in (3, 4) else [])
                counters.hset(
                    f"COUNTERS:{queue}", mapping={f: n * (i + q) for i, f in enumerate(fields)}
                )
                if q in (3, 4):
                    counters.hset(f"COUNTERS:{queue}", "PFC_WD_STATUS", "operational")
                counters.hset(f"COUNTERS:{pg}", mapping={f: n * i for i, f in enumerate(PG)})
                for window in ("PERIODIC", "PERSISTENT", "USER"):
                    counters.hset(
                        f"{window}_WATERMARKS:{queue}", "SAI_QUEUE_STAT_SHARED_WATERMARK_BYTES", 9
                    )
                    counters.hset(
                        f"{window}_WATERMARKS:{pg}", PG[0], "N/A" if window == "USER" else 5
                    )
        pool = oid(0x18, 1)
        counters.hset("COUNTERS_BUFFER_POOL_NAME_MAP", "ingress_lossless_pool", pool)
        counters.hset(f"COUNTERS:{pool}", "SAI_BUFFER_POOL_STAT_WATERMARK_BYTES", 100)
        counters.execute()

    def describe(self, ports: int = 2) -> None:
        """Configuration, neighbours and state of some ports."""
        config, appl, state = map(self.database, ("CONFIG_DB", "APPL_DB", "STATE_DB"))
        config.hset(
            "DEVICE_METADATA|localhost", mapping={"hostname": "leaf1", "hwsku": "Any-32x400"}
        )
        config.hset("PFC_WD|GLOBAL", "POLL_INTERVAL", 200)
        config.hset(
            "WRED_PROFILE|AZURE_LOSSLESS",
            mapping={"ecn": "ecn_all", "green_max_threshold": 2097152},
        )
        config.hset(
            "FLEX_COUNTER_TABLE|QUEUE",
            mapping={"FLEX_COUNTER_STATUS": "enable", "POLL_INTERVAL": 10000},
        )
        config.hset("FLEX_COUNTER_TABLE|WRED_ECN_QUEUE", "FLEX_COUNTER_STATUS", "disable")
        for p in range(ports):
            name = f"Ethernet{8 * p}"
            config.hset(
                f"PORT_QOS_MAP|{name}", mapping={"pfc_enable": "3,4", "dscp_to_tc_map": "AZURE"}
            )
            config.hset(f"QUEUE|{name}|3", "wred_profile", "AZURE_LOSSLESS")
            appl.hset(f"LLDP_ENTRY_TABLE:{name}", mapping={
                "lldp_rem_sys_name": f"host{p}", "lldp_rem_port_id": "eth0",
                "lldp_rem_sys_desc": "two\r\nlines",
            })  # fmt: skip
            appl.hset(
                f"PORT_TABLE:{name}",
                mapping={"speed": "400000", "oper_status": "up", "alias": f"etp{p}"},
            )
            state.hset(
                f"TRANSCEIVER_DOM_SENSOR|{name}", mapping={"rx1power": "-1.2", "temperature": "N/A"}
            )


@contextmanager
def switch(folder: Path) -> Iterator[Switch]:
    """A redis-server that listens on a unix socket only, as a switch's does for its own processes."""
    socket = folder / "redis.sock"
    server = subprocess.Popen(
        [tool("redis-server"), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(500):
            if socket.exists():
                break
            time.sleep(0.01)
        yield Switch(folder, socket)
    finally:
        server.terminate()
        server.wait()
