"""Reads a SONiC switch from its own Redis: counters, rates, watermarks, watchdog, neighbours, settings.

Nothing is written and nothing cleared: COUNTERS and the PERIODIC, PERSISTENT and USER watermarks are
plain hashes, which their owners clear by the clock or by command, never because somebody read them.

Most hashes do not change from one second to the next (queue counters refresh every 10 s by default,
watermarks every 60 s). One that has not changed is left out, but when it changes the reading
before is sent along with its own time: no rate is spread over seconds in which nothing happened.

Database numbers, separators and sockets are those of database_config.json (sonic-swss-common:
common/dbconnector.h); on a switch of several ASICs, of each namespace that database_global.json names.
"""

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from collectors.redis_wire import Reader

Tables = dict[str, dict[str, dict[str, str]]]  # table: key: field: text

CONFIG: Final = Path("/var/run/redis/sonic-db/database_config.json")
MAPS: Final = {
    "Ports": "COUNTERS_PORT_NAME_MAP",
    "Queues": "COUNTERS_QUEUE_NAME_MAP",
    "PriorityGroups": "COUNTERS_PG_NAME_MAP",
    "BufferPools": "COUNTERS_BUFFER_POOL_NAME_MAP",
    "VoQs": "COUNTERS_VOQ_NAME_MAP",
}
FAST: Final = (
    ("COUNTERS", "Ports"), ("COUNTERS", "Queues"), ("COUNTERS", "PriorityGroups"),
    ("COUNTERS", "BufferPools"), ("COUNTERS", "VoQs"), ("RATES", "Ports"),
)  # fmt: skip
MARKS: Final = tuple(
    (f"{window}_WATERMARKS", objects)
    for window in ("PERIODIC", "PERSISTENT", "USER")
    for objects in ("Queues", "PriorityGroups", "BufferPools")
)
# Large databases are asked for the keys of our ports only; a switch may hold 100,000 routes in them.
OF_PORTS: Final = (
    ("APPL_DB", "PORT_TABLE"), ("APPL_DB", "LLDP_ENTRY_TABLE"), ("STATE_DB", "TRANSCEIVER_DOM_SENSOR"),
    ("STATE_DB", "TRANSCEIVER_INFO"), ("STATE_DB", "TRANSCEIVER_STATUS"), ("STATE_DB", "PORT_TABLE"),
)  # fmt: skip
OF_SWITCH: Final = (("STATE_DB", "PORT_COUNTER_CAPABILITIES"), ("STATE_DB", "QUEUE_COUNTER_CAPABILITIES"))  # fmt: skip
SETTINGS: Final = frozenset(
    [
        "BUFFER_PG",
        "BUFFER_POOL",
        "BUFFER_PROFILE",
        "BUFFER_QUEUE",
        "CABLE_LENGTH",
        "DEFAULT_LOSSLESS_BUFFER_PARAMETER",
        "DEVICE_METADATA",
        "DEVICE_NEIGHBOR",
        "DEVICE_NEIGHBOR_METADATA",
        "DSCP_TO_TC_MAP",
        "FLEX_COUNTER_TABLE",
        "MAP_PFC_PRIORITY_TO_QUEUE",
        "PFC_PRIORITY_TO_PRIORITY_GROUP_MAP",
        "PFC_WD",
        "PORT",
        "PORT_QOS_MAP",
        "QUEUE",
        "SCHEDULER",
        "TC_TO_PRIORITY_GROUP_MAP",
        "TC_TO_QUEUE_MAP",
        "WATERMARK_TABLE",
        "WRED_PROFILE",
    ]
)
WATCHDOG: Final = ("PFC_WD_", "EST_PORT_STAT_PFC_", "BIG_RED_SWITCH")


@dataclass(frozen=True)
class SonicOptions:
    """How a switch is read. ``heartbeat_ns``: even what has not changed is sent this often."""

    config: Path = CONFIG
    device: str = ""
    interval_ns: int = 1_000_000_000
    marks_ns: int = 5_000_000_000
    settings_ns: int = 60_000_000_000
    heartbeat_ns: int = 60_000_000_000


class Reading(NamedTuple):
    """Tables as they were at one moment."""

    ts: int
    tables: Tables


class Database(NamedTuple):
    """Where a database lies."""

    address: str | tuple[str, int]
    number: int
    separator: str
    password: str


def databases(config: Path) -> list[dict[str, Database]]:
    """Databases by name, for each namespace; ValueError or OSError names the file at fault."""
    try:
        described = json.loads(config.read_bytes())
        if "INCLUDES" in described:
            parts = [config.parent / one["include"] for one in described["INCLUDES"]]
            return [namespace for part in parts for namespace in databases(part)]
        instances = described["INSTANCES"]
        found = {}
        for name, one in described["DATABASES"].items():
            instance = instances[one["instance"]]
            address = instance.get("unix_socket_path") or (
                instance["hostname"],
                int(instance["port"]),
            )
            secret = instance.get("password_path")
            password = Path(secret).read_text().strip() if secret else ""
            found[name] = Database(address, int(one["id"]), one.get("separator", "|"), password)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{config}: no database configuration of SONiC: {error!r}") from error
    return [found]


class Namespace:
    """The databases of one ASIC."""

    def __init__(self, databases: dict[str, Database]) -> None:
        self.databases = databases
        self.readers: dict[Any, Reader] = {}
        self.oids: dict[str, dict[str, str]] = {}  # kind of object: name: its oid

    def hashes(self, database: str, keys: list[str]) -> list[dict[str, str]]:
        """Hashes of a database; none where the switch has no such database."""
        where = self.databases.get(database)
        return self._reader(where).hashes(where.number, keys) if where else [{}] * len(keys)

    def _reader(self, where: Database) -> Reader:
        if where.address not in self.readers:
            self.readers[where.address] = Reader(where.address, where.password)
        return self.readers[where.address]

    def name(self) -> None:
        """Learn which objects there are."""
        found = self.hashes("COUNTERS_DB", list(MAPS.values()))
        self.oids = dict(zip(MAPS, found, strict=True))

    def objects(self, table: str, kind: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Name and hash of every object of a kind."""
        oids = self.oids.get(kind, {})
        found = self.hashes("COUNTERS_DB", [f"{table}:{oid}" for oid in oids.values()])
        return ((name, fields) for name, fields in zip(oids, found, strict=True) if fields)

    def named(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """Table, key and hash of neighbours, states and settings."""
        ports = list(self.oids.get("Ports", {}))
        for database, table in OF_PORTS + OF_SWITCH:
            where = self.databases.get(database)
            keys = ports if (database, table) in OF_PORTS else ["switch", "Ethernet0"]
            separator = where.separator if where else "|"
            found = self.hashes(database, [f"{table}{separator}{key}" for key in keys])
            for key, fields in zip(keys, found, strict=True):
                yield f"{database}/{table}", key, fields
        where = self.databases.get("CONFIG_DB")
        if where:
            reader = self._reader(where)
            names = [
                n for n in reader.keys(where.number) if n.partition(where.separator)[0] in SETTINGS
            ]
            for name, fields in zip(names, reader.hashes(where.number, names), strict=True):
                table, _, key = name.partition(where.separator)
                yield f"CONFIG_DB/{table}", key, fields

    def close(self) -> None:
        """Hang up."""
        for reader in self.readers.values():
            reader.close()


class _Last(NamedTuple):
    """What was last read of an object, when, and when it was last sent."""

    fields: dict[str, str]
    read: int
    sent: int


class Sonic:
    """Reads one switch again and again."""

    def __init__(self, options: SonicOptions) -> None:
        self.options = options
        self.namespaces = [Namespace(found) for found in databases(options.config)]
        self.device = options.device
        self._last: dict[tuple[str, str], _Last] = {}
        self._due = {"marks": 0, "settings": 0}

    def close(self) -> None:
        """Hang up."""
        for namespace in self.namespaces:
            namespace.close()

    def read(self, now_ns: int | None = None) -> list[Reading]:
        """What is new: the readings before of what changed, then those of now.

        OSError where Redis does not answer; the next call tries again.
        """
        now = time.time_ns() if now_ns is None else now_ns
        before: dict[int, Tables] = {}
        tables: Tables = {}
        for table, key, fields in self._all(now):
            last = self._last.get((table, key))
            fresh = last is None or last.fields != fields
            if not fresh and last and now - last.sent < self.options.heartbeat_ns:
                self._last[table, key] = _Last(fields, now, last.sent)
                continue
            if fresh and last and last.read != last.sent:
                before.setdefault(last.read, {}).setdefault(table, {})[key] = last.fields
            tables.setdefault(table, {})[key] = fields
            self._last[table, key] = _Last(fields, now, now)
        found = [Reading(ts, before[ts]) for ts in sorted(before)]
        return [*found, Reading(now, tables)] if tables else found

    def _all(self, now: int) -> Iterator[tuple[str, str, dict[str, str]]]:
        """Table, key and hash of everything that is due."""
        settings = self._is_due("settings", now, self.options.settings_ns)
        marks = self._is_due("marks", now, self.options.marks_ns)
        for namespace in self.namespaces:
            if settings or not namespace.oids.get("Ports"):
                namespace.name()
            for table, kind in FAST + (MARKS if marks else ()):
                for name, fields in namespace.objects(table, kind):
                    if kind == "Queues" and "PFC_WD_STATUS" in fields:
                        watched = {f: v for f, v in fields.items() if f.startswith(WATCHDOG)}
                        yield f"{table}/Pfcwd", name, watched
                        fields = {f: v for f, v in fields.items() if f not in watched}
                    yield f"{table}/{kind}", name, fields
            if settings:
                for table, name, fields in namespace.named():
                    if fields:
                        yield table, name, fields
                        self._learn(table, fields)
        if settings:
            self._due["settings"] = now + self.options.settings_ns

    def _is_due(self, what: str, now: int, every_ns: int) -> bool:
        due = now >= self._due[what]
        if due and what != "settings":  # settings are done only when all of them were read
            self._due[what] = now + every_ns
        return due

    def _learn(self, table: str, fields: dict[str, str]) -> None:
        if not self.device and table == "CONFIG_DB/DEVICE_METADATA":
            self.device = fields.get("hostname", "")

    def readings(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Time and JSON object of each reading, as :data:`collectors.records.Method.SONIC` has it."""
        found = self.read()
        device = self.device or socket.gethostname()
        for ts, tables in found:
            yield ts, {"device": device, "tables": tables}
