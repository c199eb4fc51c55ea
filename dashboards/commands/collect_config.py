"""The configuration of ``fabric collect``: TOML or YAML, checked with the place of what is wrong.

Times are written like ``1s`` or ``500ms``. Secrets may stand in the environment or in a file
(``password_env``, ``password_file``) instead of here. Paths are relative to the configuration.
"""

import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from collectors.config import Config, EventInput, Listener, Subscription, Target, Tls
from dashboards.commands.presets import ENCODINGS, PRESETS
from dashboards.commands.values import duration


class TlsText(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """``[tls]`` of a target, of a listener, or of ``defaults``."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    skip_verify: bool = False
    server_name: str = ""


class SubscriptionText(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """``[subscriptions.NAME]``."""

    paths: list[str]
    mode: str = "sample"
    interval: str = "10s"
    heartbeat: str = ""
    suppress_redundant: bool = False
    updates_only: bool = False
    target: str = ""


class TargetText(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """``[[targets]]``, and ``[defaults]`` for all of them, where nothing has to be given."""

    name: str | None = None
    address: str | None = None
    port: int | None = None
    platform: str | None = None
    subscriptions: list[str] | None = None
    tls: TlsText | None = None
    user: str | None = None
    password: str | None = None
    password_env: str | None = None
    password_file: str | None = None
    token: str | None = None
    token_env: str | None = None
    metadata: dict[str, str] | None = None
    prefix_target: str | None = None
    encoding: str | None = None
    qos: int | None = None
    depth: int | None = None
    stale: str | None = None
    timeout: str | None = None


class ListenText(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """``[[listen]]``."""

    address: str
    tls: TlsText | None = None
    user: str = ""
    password: str | None = None
    password_env: str | None = None
    password_file: str | None = None


class EventsText(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """``[[events]]``: where gnmic's events come from."""

    kind: str
    source: str
    subject: str = ""
    stream: str = ""
    group: str = "fabric"
    user: str = ""
    password: str | None = None
    password_env: str | None = None
    password_file: str | None = None


class StoreText(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """``[store]``: where readings are kept decoded; without it they are only recorded.

    ``days`` and ``size`` bound it (0 and empty: no bound); what was recorded is kept ``raw_days`` more
    after it was decoded, so that a better dictionary can read it again (0: for ever). ``dictionaries``
    is a folder of one's own beside those of the package; ``devices`` names devices by their addresses.
    """

    url: str = "store"
    days: int = 0
    size: str = ""
    raw_days: float = 1
    options: dict[str, str] = {}
    dictionaries: str = ""
    devices: dict[str, str] = {}


class DiagnoseText(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """``[diagnose]``: look at the newest readings of the store again and again.

    ``topology`` is anything ``fabric topology`` reads; ``intervals`` is how many readings back.
    """

    topology: list[str]
    every: str = "1s"
    intervals: int = 60


class AlertsText(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """``[alerts]``: who is told of incidents at least so sure; ``dashboard`` is linked to."""

    alertmanager: list[str] = []
    webhooks: list[str] = []
    token_env: str = ""
    confidence: float = 0.6
    dashboard: str = ""


class ConfigText(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The whole file."""

    folder: str
    name: str = "collector"
    defaults: TargetText = TargetText()
    targets: list[TargetText] = []
    targets_files: list[str] = []
    targets_topology: list[str] = []
    subscriptions: dict[str, SubscriptionText] = {}
    listen: list[ListenText] = []
    events: list[EventsText] = []
    store: StoreText | None = None
    diagnose: DiagnoseText | None = None
    alerts: AlertsText | None = None
    metrics: str = ""


class Loaded(msgspec.Struct, frozen=True):
    """A configuration: what collectors do, where readings are kept, what is made of them."""

    config: Config
    store: StoreText | None
    files: tuple[Path, ...]  # what it was made of: a change of any is a reason to load it again
    diagnose: DiagnoseText | None = None
    alerts: AlertsText | None = None
    metrics: str = ""


def load(path: Path) -> Loaded:
    """The configuration in a file; ValueError names file and key, OSError a file that is not there."""
    text: ConfigText = _convert(path, _parsed(path), ConfigText)
    base = path.parent
    files, targets = [path], list(text.targets)
    for name in text.targets_files:
        files.append(base / name)
        targets += _others(base / name)
    if text.targets_topology:
        sources = [base / name for name in text.targets_topology]
        files += sources
        known = {one.name for one in targets}
        targets += [TargetText(name=name) for name in _switches(sources) if name not in known]
    try:
        _check_names(text.subscriptions)
        config = Config(
            folder=base / text.folder,
            name=text.name,
            targets=tuple(
                _at(f"targets[{n}]", _target, text, one, base) for n, one in enumerate(targets)
            ),
            listeners=tuple(
                _at(f"listen[{n}]", _listener, one, base) for n, one in enumerate(text.listen)
            ),
            events=tuple(
                _at(f"events[{n}]", _events, one, base) for n, one in enumerate(text.events)
            ),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not (config.targets or config.listeners or config.events):
        raise ValueError(f"{path}: nothing to collect from: no targets, listen or events")
    if (text.diagnose or text.alerts) and not text.store:
        raise ValueError(f"{path}: diagnose and alerts work on a [store], and there is none")
    return Loaded(config, text.store, tuple(files), text.diagnose, text.alerts, text.metrics)


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if name in PRESETS:
            raise ValueError(f"subscriptions.{name}: the name of a preset")


def _parsed(path: Path) -> Any:
    raw = path.read_bytes()
    try:
        if path.suffix in (".yaml", ".yml", ".json"):
            return msgspec.yaml.decode(raw)
        return tomllib.loads(raw.decode())
    except (ValueError, msgspec.MsgspecError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error


def _convert(path: Path, data: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        place = where.strip("`").removeprefix("$").removeprefix(".").replace("[...]", "[]")
        raise ValueError(f"{path}: {place + ': ' if place else ''}{what}") from error


def _at(place: str, work: Any, *given: Any) -> Any:
    """The result of ``work``, or its complaint with the place it is about."""
    try:
        return work(*given)
    except (ValueError, OSError) as error:
        raise ValueError(f"{place}: {error}") from error


def _others(path: Path) -> list[TargetText]:
    """Targets of another file: of ``fabric replay --targets``, of ours, or gnmic's own."""
    data = _parsed(path)
    if isinstance(data, dict) and isinstance(data.get("targets"), list):
        platform = data.get("platform")
        found = [{"platform": platform, **one} if platform else one for one in data["targets"]]
        return list(_convert(path, found, list[TargetText]))
    if isinstance(data, dict) and isinstance(data.get("targets"), dict):
        data = data["targets"]
    if not isinstance(data, dict):
        raise ValueError(  # noqa: TRY004 a wrong file is a wrong value
            f"{path}: no targets: neither a list of ours nor gnmic's names"
        )
    return [_gnmic(str(name), one or {}) for name, one in data.items()]


def _switches(sources: list[Path]) -> list[str]:
    """The switches of a topology; they are called by their names at ``defaults.port``."""
    from fabric.inventory import load as learn

    devices = learn(sources).fabric.devices.values()
    return [device.name for device in devices if device.role not in ("host", "ocs")]


def _gnmic(name: str, one: dict[str, Any]) -> TargetText:
    """A target of gnmic (docs/user_guide/targets/targets.md); what it says beyond ours is left out."""
    tls = None
    if not one.get("insecure"):
        tls = TlsText(
            ca=str(one.get("tls-ca") or ""), cert=str(one.get("tls-cert") or ""),
            key=str(one.get("tls-key") or ""), skip_verify=bool(one.get("skip-verify")),
            server_name=str(one.get("tls-server-name") or ""),
        )  # fmt: skip
    return TargetText(
        name=name, address=str(one.get("address") or name), tls=tls,
        user=one.get("username"), password=one.get("password"), token=one.get("token"),
        encoding=one.get("encoding"),
    )  # fmt: skip


def _target(text: ConfigText, own: TargetText, base: Path) -> Target:
    def given(key: str) -> Any:
        value = getattr(own, key)
        return getattr(text.defaults, key) if value is None else value

    address = own.address or own.name or ""
    if given("port") and ":" not in address:
        address = f"{address}:{given('port')}"
    if ":" not in address:
        raise ValueError(f"address {address!r}: write it like leaf1:57400, or give a port")
    tls = given("tls")
    more: dict[str, Any] = {
        name: given(name)
        for name in ("encoding", "prefix_target", "qos", "depth", "user")
        if given(name)
    }
    more.setdefault("encoding", ENCODINGS.get(given("platform") or "", ""))
    for key in ("stale", "timeout"):
        if given(key):
            more[f"{key}_ns"] = duration(given(key), key)
    return Target(
        name=own.name or address.rpartition(":")[0],
        address=address,
        subscriptions=_subscriptions(text, given("platform"), given("subscriptions")),
        tls=_tls(tls, base) if tls else None,
        password=_secret(given, "password", base),
        token=_secret(given, "token", base),
        metadata=tuple((given("metadata") or {}).items()),
        **more,
    )


def _subscriptions(
    text: ConfigText, platform: str | None, names: list[str] | None
) -> tuple[Subscription, ...]:
    if names is None:
        names = [platform] if platform else list(text.subscriptions)
    found: list[Subscription] = []
    for name in names:
        if name in text.subscriptions:
            found.append(_at(f"subscriptions.{name}", _subscription, text.subscriptions[name]))
        elif name in PRESETS:
            found += PRESETS[name]
        else:
            known = ", ".join([*text.subscriptions, *PRESETS])
            raise ValueError(f"subscription {name!r}: one of {known}")
    if not found:
        raise ValueError("no subscriptions and no platform")
    return tuple(found)


def _subscription(one: SubscriptionText) -> Subscription:
    return Subscription(
        tuple(one.paths), one.mode,
        0 if one.interval in ("0", "0s") else duration(one.interval, "interval"),
        duration(one.heartbeat, "heartbeat") if one.heartbeat else 0,
        one.suppress_redundant, one.updates_only, one.target,
    )  # fmt: skip


def _listener(one: ListenText, base: Path) -> Listener:
    password = _secret(lambda key: getattr(one, key, None), "password", base)
    tls = _tls(one.tls, base) if one.tls else None
    return Listener(one.address, tls, one.user, password)


def _events(one: EventsText, base: Path) -> EventInput:
    password = _secret(lambda key: getattr(one, key, None), "password", base)
    source = str(base / one.source) if one.kind == "file" else one.source
    return EventInput(one.kind, source, one.subject, one.stream, one.group, one.user, password)


def _tls(text: TlsText, base: Path) -> Tls:
    ca, cert, key = (base / name if name else None for name in (text.ca, text.cert, text.key))
    return Tls(ca, cert, key, text.skip_verify, text.server_name)


def _secret(given: Any, name: str, base: Path) -> str:
    """A password or token: as it stands, from the environment, from a file."""
    if variable := given(f"{name}_env"):
        if variable not in os.environ:
            raise ValueError(f"{name}_env: {variable} is not set")
        return str(os.environ[variable])
    if name == "password" and (file := given("password_file")):
        return str((base / file).read_text().strip())
    return str(given(name) or "")
