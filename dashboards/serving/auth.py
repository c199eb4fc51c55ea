"""Who may ask: nobody is asked on loopback, a password or a trusted proxy's word anywhere else.

A password file has a line ``user:scrypt$N$r$p$salt$hash`` per user (RFC 7914; salt and hash in
hexadecimal), as ``fabric dashboard --hash-password`` prints it. Passwords travel as HTTP basic
authentication (RFC 7617), so anything but loopback belongs behind TLS: a reverse proxy, which may
also do the login and name the user in a header.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

COST, BLOCK, LANES = 1 << 14, 8, 1  # 16 MiB and about 50 ms per try: RFC 7914 section 2
MOST_COST: Final = 1 << 20
HASH_BYTES: Final = 32
LINE = re.compile(
    r"(?P<user>[^:\s]{1,64}):scrypt\$(?P<cost>\d{1,7})\$(?P<block>\d{1,2})\$(?P<lanes>\d{1,2})"
    r"\$(?P<salt>(?:[0-9a-f]{2}){8,64})\$(?P<hash>[0-9a-f]{64})"
)
TRIES_AT_ONCE: Final = 2  # password checks cost memory on purpose; more than this wait
REMEMBERED: Final = 256


@dataclass(frozen=True)
class Password:
    """A hashed password."""

    cost: int
    block: int
    lanes: int
    salt: bytes
    digest: bytes

    def matches(self, password: str) -> bool:
        """Whether this is the password; in a time that does not depend on where it differs."""
        return hmac.compare_digest(
            _scrypt(password, self.salt, self.cost, self.block, self.lanes), self.digest
        )


@dataclass
class Gate:
    """Decides whether a request may pass.

    Attributes
    ----------
    users
        Password of each user; empty where no password is asked for.
    header
        Name of the header in which a reverse proxy names the user; empty where there is none.
    proxies
        Networks from which that header is believed.
    """

    users: Mapping[str, Password] = field(default_factory=dict)
    header: str = ""
    proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    def __post_init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._known: dict[bytes, str] = {}
        self._tries = threading.Semaphore(TRIES_AT_ONCE)

    @property
    def closed(self) -> bool:
        """Whether anybody is asked who they are."""
        return bool(self.users or self.header)

    def user(self, peer: str, headers: Mapping[str, str]) -> str | None:
        """Name of the user behind a request, ``""`` where nobody is asked; None: not let in."""
        if not self.closed:
            return ""
        if self.header and self._believed(peer) and (named := _header(headers, self.header)):
            return named[:64]
        return self._basic(headers.get("Authorization", "")) if self.users else None

    def _believed(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self.proxies)

    def _basic(self, authorization: str) -> str | None:
        """The user of an Authorization header; a right one is remembered under a keyed hash."""
        key = hmac.digest(self._secret, authorization.encode("utf-8", "replace"), "sha256")
        if (known := self._known.get(key)) is not None:
            return known
        scheme, _, coded = authorization.partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, _, password = base64.b64decode(coded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        stored = self.users.get(user) or NOBODY  # an unknown user takes as long as a known one
        with self._tries:
            right = stored.matches(password)
        if not right or stored is NOBODY:
            return None
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[key] = user
        return user


def _header(headers: Mapping[str, str], name: str) -> str:
    """Value of a header, whatever case its name is written in."""
    wanted = name.lower()
    return next((value.strip() for key, value in headers.items() if key.lower() == wanted), "")


def hashed(user: str, password: str) -> str:
    """The line of a password file; ValueError for a name that cannot stand in it."""
    salt = os.urandom(16)
    digest = _scrypt(password, salt, COST, BLOCK, LANES)
    line = f"{user}:scrypt${COST}${BLOCK}${LANES}${salt.hex()}${digest.hex()}"
    if not LINE.fullmatch(line):
        raise ValueError(f"user {user!r}: 1 to 64 characters, no colon, no space")
    return line


def read_users(path: Path) -> dict[str, Password]:
    """Users of a password file; ValueError naming file and line where one cannot be read."""
    users: dict[str, Password] = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = text.strip()
        if not line or line.startswith("#"):
            continue
        found = LINE.fullmatch(line)
        cost = int(found["cost"]) if found else 0
        if found is None or cost < 2 or cost > MOST_COST or cost & (cost - 1):
            raise ValueError(
                f"{path}, line {number}: not a user; fabric dashboard --hash-password prints one"
            )
        users[found["user"]] = Password(
            cost, int(found["block"]), int(found["lanes"]),
            bytes.fromhex(found["salt"]), bytes.fromhex(found["hash"]),
        )  # fmt: skip
    if not users:
        raise ValueError(f"{path}: no user in it")
    return users


def networks(texts: list[str]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Addresses and networks of trusted proxies; ValueError for anything else."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _scrypt(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=salt, n=cost, r=block, p=lanes,
        maxmem=256 * cost * max(block, 1) * max(lanes, 1), dklen=HASH_BYTES,
    )  # fmt: skip


NOBODY: Final = Password(COST, BLOCK, LANES, bytes(16), bytes(HASH_BYTES))
