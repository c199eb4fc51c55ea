"""From a switch's Redis and a host's sysfs to COUNTERS: agent, listener, recorder, decoder, store."""

import asyncio
from pathlib import Path

import polars as pl

from analyzers.committer import Committer
from analyzers.store import Store, collect
from collectors.agent import Agent, AgentOptions
from collectors.publisher import Servers
from collectors.rdma import RdmaOptions
from collectors.sonic import SonicOptions
from tests.collecting import until
from tests.sonic_db import Switch, switch
from tests.test_dialout import listening
from tests.test_rdma import MLX5_HW, Host


async def published(one: Switch, sysfs: Path, log: Path) -> None:
    """Two readings of the switch, all values of the second greater, and two of the host."""
    async with listening(log) as (at, _):
        for options in (SonicOptions(one.config), RdmaOptions(sysfs, "node1", ethernet=False)):
            agent = Agent(AgentOptions(options, Servers((at,))))
            try:
                agent.read()
                one.fill(ports=4, n=2)
                agent.read()
                await until(lambda agent=agent: len(agent.outbox) == 0)
            finally:
                agent.source.close()
                agent.publisher.close(0)


def test_every_counter_of_a_switch_and_a_host_arrives(tmp_path: Path) -> None:
    host = Host(tmp_path / "sys")
    home = host.pci("0000:17:00.0", "mlx5_core")
    host.net("eth2", home, 400_000)
    host.rdma("mlx5_0", home, MLX5_HW, counters=("port_rcv_data",))
    with switch(tmp_path) as one:
        one.fill(ports=4)
        one.describe()
        asyncio.run(published(one, host.root, tmp_path / "log"))
    store = Store(tmp_path / "store")
    progress = Committer(store, [tmp_path / "log"]).step()
    assert (progress.faults, progress.waiting, progress.unreadable) == (0, 0, [])
    rows = collect(store.scan("counters"))

    def value(device: str, of: str, port: str, index: int, counter: str) -> list[int]:
        found = rows.filter(
            pl.col("object") == of, device=device, port=port, index=index, counter=counter
        )
        return found.sort("ts")["value"].to_list()

    # The names are sonic_db's: field i of a queue q holds n * (i + q), of a port p n * (i + 1) + p.
    assert value("leaf1", "queue", "Ethernet8", 3, "tx_packets") == [3, 6]
    assert value("leaf1", "queue", "Ethernet8", 3, "ecn_marked_packets") == [8, 16]
    assert value("leaf1", "priority", "Ethernet8", 0, "rx_pfc_frames") == [2, 3]
    assert value("leaf1", "pg", "Ethernet0", 3, "dropped_packets") == [2, 4]
    (speed,) = set(value("leaf1", "port", "Ethernet0", -1, "link_bps"))
    assert speed == 400_000_000_000
    assert rows.filter(device="node1", counter="tx_cnp")["value"].to_list() == [100, 100]
    assert rows.filter(device="node1", counter="link_bps")["value"].unique().to_list() == [400_000_000_000]  # fmt: skip
