"""Reading a switch's Redis: a real redis-server with SONiC-shaped keys behind its unix socket."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collectors.redis_wire import Reader, parse
from collectors.sonic import Sonic, SonicOptions, databases
from tests.sonic_db import PG, QUEUE, WATCHDOG, Switch, oid, switch

SECOND = 10**9


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Switch]:
    with switch(tmp_path) as one:
        one.fill(ports=4)
        one.describe()
        yield one


def reader(one: Switch, **how: Any) -> Sonic:
    return Sonic(SonicOptions(one.config, **how))


def test_everything_is_read_and_named(filled: Switch) -> None:
    sonic = reader(filled)
    ((ts, body),) = sonic.readings()
    tables = body["tables"]
    assert ts > 10**18
    assert body["device"] == "leaf1"
    assert set(tables) == {
        "COUNTERS/Ports", "COUNTERS/Queues", "COUNTERS/PriorityGroups", "COUNTERS/BufferPools",
        "COUNTERS/Pfcwd", "RATES/Ports",
        *(f"{w}_WATERMARKS/{o}" for w in ("PERIODIC", "PERSISTENT", "USER") for o in ("Queues", "PriorityGroups")),
        "APPL_DB/LLDP_ENTRY_TABLE", "APPL_DB/PORT_TABLE", "STATE_DB/TRANSCEIVER_DOM_SENSOR",
        "CONFIG_DB/DEVICE_METADATA", "CONFIG_DB/PFC_WD", "CONFIG_DB/WRED_PROFILE", "CONFIG_DB/QUEUE",
        "CONFIG_DB/PORT_QOS_MAP", "CONFIG_DB/FLEX_COUNTER_TABLE",
    }  # fmt: skip
    assert set(tables["COUNTERS/Ports"]) == {"Ethernet0", "Ethernet8", "Ethernet16", "Ethernet24"}
    assert tables["COUNTERS/Ports"]["Ethernet8"]["SAI_PORT_STAT_PFC_0_RX_PKTS"] == "2"
    assert len(tables["COUNTERS/Queues"]) == 32
    assert set(tables["COUNTERS/Queues"]["Ethernet0:3"]) == set(QUEUE)
    assert set(tables["COUNTERS/Pfcwd"]) == {
        f"Ethernet{8 * p}:{q}" for p in range(4) for q in (3, 4)
    }
    assert set(tables["COUNTERS/Pfcwd"]["Ethernet0:3"]) == {*WATCHDOG, "PFC_WD_STATUS"}
    assert tables["COUNTERS/PriorityGroups"]["Ethernet24:7"][PG[1]] == "1"
    assert tables["COUNTERS/BufferPools"]["ingress_lossless_pool"]
    assert tables["RATES/Ports"]["Ethernet0"]["RX_BPS"] == "1.5"
    assert tables["USER_WATERMARKS/PriorityGroups"]["Ethernet0:0"][PG[0]] == "N/A"
    assert tables["CONFIG_DB/QUEUE"]["Ethernet0|3"] == {"wred_profile": "AZURE_LOSSLESS"}
    assert tables["APPL_DB/LLDP_ENTRY_TABLE"]["Ethernet8"]["lldp_rem_sys_desc"] == "two\r\nlines"
    sonic.close()


def test_unchanged_hashes_are_left_out_and_no_rate_is_spread(filled: Switch) -> None:
    sonic = reader(filled)
    start = 1000 * SECOND
    sonic.read(start)
    for second in (1, 2, 3):
        assert sonic.read(start + second * SECOND) == []
    queue = f"COUNTERS:{oid(0x15, 3)}"
    filled.database("COUNTERS_DB").hset(queue, "SAI_QUEUE_STAT_PACKETS", 999)
    before, after = sonic.read(start + 4 * SECOND)
    assert (before.ts, after.ts) == (start + 3 * SECOND, start + 4 * SECOND)
    assert set(before.tables) == set(after.tables) == {"COUNTERS/Queues"}
    assert set(before.tables["COUNTERS/Queues"]) == {"Ethernet0:3"}
    assert before.tables["COUNTERS/Queues"]["Ethernet0:3"]["SAI_QUEUE_STAT_PACKETS"] == "3"
    assert after.tables["COUNTERS/Queues"]["Ethernet0:3"]["SAI_QUEUE_STAT_PACKETS"] == "999"
    filled.database("COUNTERS_DB").hset(queue, "SAI_QUEUE_STAT_PACKETS", 1000)
    (again,) = sonic.read(start + 5 * SECOND)  # the reading before was sent already
    assert again.ts == start + 5 * SECOND
    (beat,) = sonic.read(start + 61 * SECOND)
    assert len(beat.tables["COUNTERS/Queues"]) == 31  # the one that changed was sent later


def test_nothing_but_reading_commands_reaches_redis(filled: Switch) -> None:
    """Watermarks are cleared by commands, so none may be sent."""
    commands = filled.database("COUNTERS_DB")
    commands.config_resetstat()
    sonic = reader(filled)
    sonic.read()
    used = {name.removeprefix("cmdstat_") for name in commands.info("commandstats")}
    assert used - {"info", "config|resetstat", "client|setinfo", "hello"} == {
        "hgetall",
        "select",
        "scan",
    }
    with pytest.raises(AssertionError):
        Reader(str(filled.socket)).ask(2, [("DEL", "COUNTERS:x")])


def test_new_ports_and_a_restarted_redis(tmp_path: Path) -> None:
    with switch(tmp_path) as one:
        one.fill(ports=1)
        sonic = reader(one)
        sonic.read(0)
        one.fill(ports=2)
        assert sonic.read(SECOND) == []  # which ports there are is asked once a minute
        found = sonic.read(61 * SECOND)
        assert "Ethernet8" in found[-1].tables["COUNTERS/Ports"]
    with pytest.raises(OSError, match=r"redis\.sock"):
        sonic.read(62 * SECOND)
    with switch(tmp_path) as one:
        one.fill(ports=2, n=2)
        assert sonic.read(63 * SECOND)[-1].tables["COUNTERS/Ports"]


def test_a_switch_of_several_asics(tmp_path: Path) -> None:
    first, second = tmp_path / "asic0", tmp_path / "asic1"
    first.mkdir()
    second.mkdir()
    everything = tmp_path / "database_global.json"
    everything.write_text(json.dumps({"INCLUDES": [
        {"namespace": "asic0", "include": "asic0/database_config.json"},
        {"namespace": "asic1", "include": "asic1/database_config.json"},
    ]}))  # fmt: skip
    with switch(first) as a, switch(second) as b:
        a.fill(ports=1)
        b.database("COUNTERS_DB").hset("COUNTERS_PORT_NAME_MAP", "Ethernet-BP0", "oid:0x1")
        b.database("COUNTERS_DB").hset("COUNTERS:oid:0x1", "SAI_PORT_STAT_IF_IN_OCTETS", 5)
        (reading,) = Sonic(SonicOptions(everything)).read()
        assert set(reading.tables["COUNTERS/Ports"]) == {"Ethernet0", "Ethernet-BP0"}


@pytest.mark.parametrize(
    "text", ["{}", "[]", "no json", '{"INSTANCES": {}, "DATABASES": {"A": {}}}']
)
def test_a_bad_database_configuration_is_named(tmp_path: Path, text: str) -> None:
    config = tmp_path / "database_config.json"
    config.write_text(text)
    with pytest.raises(ValueError, match=r"database_config\.json"):
        databases(config)


REPLIES = (
    b"+OK\r\n:7\r\n$-1\r\n$0\r\n\r\n*0\r\n"
    b"*4\r\n$1\r\na\r\n$4\r\n\r\n\r\n\r\n$2\r\n\xc3\xbc\r\n$1\r\nd\r\n"
    b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\nk\r\n$2\r\n$1\r\n"
)
MEANT = ["OK", "7", None, "", [], ["a", "\r\n\r\n", "ü", "d"], ["0", ["k", "$1"]]]


def test_replies_are_parsed_wherever_the_network_cuts_them() -> None:
    assert parse(REPLIES) == (MEANT, b"")
    cuts = [at + 2 for at in range(len(REPLIES) - 1) if REPLIES[at : at + 2] == b"\r\n"]
    for cut in cuts:
        first, rest = parse(REPLIES[:cut])
        assert first + parse(rest + REPLIES[cut:])[0] == MEANT


@pytest.mark.parametrize("bad", [b"-ERR no\r\n", b"?\r\n", b"*x\r\n", b"*1\r\n$y\r\n\r\n"])
def test_what_is_no_reply_is_an_error(bad: bytes) -> None:
    with pytest.raises((OSError, ValueError)):
        parse(bad)
