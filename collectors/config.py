"""What a collector is told to do: plain values, checked where they are used.

Reading them from a file, with the name of a wrong key, is the business of the floors above. Secrets are
left out of every representation, so that a log or a traceback never shows them.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

MODES: Final = ("sample", "on_change", "target_defined", "poll")
SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True)
class Tls:
    """How a connection is secured.

    ``ca`` verifies the other side (the system's authorities by default); ``cert`` and ``key`` are shown
    to it. ``skip_verify`` takes whatever certificate a target shows, so somebody in between goes
    unnoticed; ``server_name`` is the name its certificate bears where the address is another one.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    skip_verify: bool = False
    server_name: str = ""

    def __post_init__(self) -> None:
        """Refuse halves."""
        if (self.cert is None) != (self.key is None):
            raise ValueError("tls: a certificate needs its key, and a key its certificate")


@dataclass(frozen=True)
class Subscription:
    """Paths that are wanted alike.

    ``interval_ns`` 0 is as fast as the target offers. ``heartbeat_ns`` sends a value again that has not
    changed. ``target`` is the prefix's target where it differs from the device's (SONiC: a database).
    ``updates_only`` leaves out the first state. A path may begin with ``origin:/``.
    """

    paths: tuple[str, ...]
    mode: str = "sample"
    interval_ns: int = 10 * SECOND_NS
    heartbeat_ns: int = 0
    suppress_redundant: bool = False
    updates_only: bool = False
    target: str = ""

    def __post_init__(self) -> None:
        """Refuse what no target understands."""
        if self.mode not in MODES:
            raise ValueError(f"mode {self.mode!r}: one of {', '.join(MODES)}")
        if not self.paths:
            raise ValueError("a subscription without paths")
        if self.interval_ns < 0 or self.heartbeat_ns < 0:
            raise ValueError("an interval below zero")
        if self.mode == "poll" and not self.interval_ns:
            raise ValueError("poll needs an interval")


@dataclass(frozen=True)
class Target:
    """A device to dial in to.

    ``encoding`` is found by Capabilities where it is empty. ``token`` is sent as a bearer's;
    ``metadata`` is for devices with fields of their own. ``prefix_target`` is sent where a subscription
    names none. ``depth`` asks for at most so many levels below a path, where a target knows the extension.
    """

    name: str
    address: str
    subscriptions: tuple[Subscription, ...]
    tls: Tls | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    prefix_target: str = ""
    encoding: str = ""
    qos: int = 0
    depth: int = 0
    stale_ns: int = 0  # silence that is reported; 0: three intervals, at least 10 s
    timeout_ns: int = 10 * SECOND_NS  # for a connection, Capabilities, the first answer
    max_message_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        """Refuse what cannot be dialled."""
        if not self.name or not self.address:
            raise ValueError("a target needs a name and an address")
        if not self.subscriptions:
            raise ValueError(f"{self.name}: no subscriptions")


@dataclass(frozen=True)
class Backoff:
    """Pauses before dialling again: doubling from ``first_s`` to ``last_s``.

    Each is longer or shorter by up to ``jitter`` of itself; after a stream that lived ``stable_s`` they
    start over.
    """

    first_s: float = 1.0
    last_s: float = 60.0
    stable_s: float = 60.0
    jitter: float = 0.2


@dataclass(frozen=True)
class Listener:
    """Where devices dial in to us: every dial-out service and OTLP on one port.

    ``tls.ca`` demands certificates of its authority. ``user`` and ``password`` are demanded in the metadata.
    """

    address: str
    tls: Tls | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    max_message_bytes: int = 256 << 20


@dataclass(frozen=True)
class EventInput:
    """Where gnmic's events come from: ``file``, ``tcp``, ``nats`` or ``kafka``.

    ``source`` is a path, HOST:PORT to listen on, or the servers; ``subject`` is a NATS subject or a Kafka
    topic, ``stream`` a JetStream stream, ``group`` the name under which our progress is kept.
    """

    kind: str
    source: str
    subject: str = ""
    stream: str = ""
    group: str = "fabric"
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Config:
    """One process that records: its folder, its name, and from whom."""

    folder: Path
    name: str = "collector"
    targets: tuple[Target, ...] = ()
    listeners: tuple[Listener, ...] = ()
    events: tuple[EventInput, ...] = ()
    backoff: Backoff = Backoff()
    status_s: float = 2.0  # how often status.json is written

    def __post_init__(self) -> None:
        """Refuse names that cannot be told apart."""
        seen: set[str] = set()
        for target in self.targets:
            if target.name in seen:
                raise ValueError(f"targets: {target.name} is there twice")
            seen.add(target.name)
