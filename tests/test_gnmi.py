"""gNMI dial-in against real targets: what is asked, what is recorded, what happens when things break."""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from collectors import messages as gnmi
from collectors.config import Backoff, Subscription, Target, Tls
from collectors.gnmi import Pauses
from collectors.records import Method
from collectors.requests import asks, depth
from collectors.server import Options, serving
from dashboards.commands.presets import PRESETS
from tests.collecting import (
    SYNC,
    Authority,
    Proxy,
    dialling,
    free_port,
    notification,
    of,
    responses,
    sampled,
    target,
    until,
    values,
)
from tests.test_replay import MARKED, PATHS, READINGS, timeline

ANY = "/interfaces/interface[name=*]/state/counters"


def notes(folder: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(record.payload) for record in of(folder, Method.NOTE)]
    return [note for note in found if note["kind"] == kind]


async def recorded(folder: Path, *targets: Target, count: int) -> None:
    """Dial until every target has delivered so many messages."""
    async with dialling(folder, *targets) as (_, board):
        await until(lambda: all(h.messages >= count for h in board) and len(list(board)))


def test_dozens_of_targets_with_tls_and_passwords(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    server_cert, server_key = authority.issue("switch")
    cert, key = authority.issue("collector")
    options = Options(
        cert=server_cert, key=server_key, client_ca=authority.cert, user="u", password="p", wait=36
    )
    with serving([timeline(n) for n in range(36)], options) as replay:
        tls = Tls(ca=authority.cert, cert=cert, key=key)
        targets = [
            Target(name, address, sampled(ANY, PATHS[MARKED]), tls=tls, user="u", password="p")
            for name, address in replay.endpoints
        ]
        # first state and sync, then a notification of the interface and one of its queue a reading
        asyncio.run(recorded(tmp_path / "log", *targets, count=2 * READINGS + 1))
    for n in range(36):
        found = values(responses(tmp_path / "log", f"leaf{n}"))
        octets = "/interfaces/interface[name=Ethernet1/1]/state/counters/in-octets"
        own = sorted(value for _, path, value in found if path == octets)
        assert own == sorted(f"uint_val: {100 * i + n}" for i in range(READINGS))
        assert max(found.values()) == 1


def test_a_wrong_password_is_said(tmp_path: Path) -> None:
    async def run(address: str) -> None:
        wrong = Target("leaf0", address, sampled(ANY), user="u", password="wrong")
        assert "wrong" not in repr(wrong)
        async with dialling(tmp_path, wrong) as (_, board):
            health = board.of("gnmi", "leaf0")
            await until(lambda: health.state == "down")
            assert health.error == "UNAUTHENTICATED: user or password is wrong"

    with serving([timeline()], Options(user="u", password="p")) as replay:
        asyncio.run(run(replay.endpoints[0].address))
    assert not of(tmp_path, Method.GNMI)


@pytest.mark.parametrize("names", ["DNS:switch.lab", "IP:10.1.2.3", ""])
def test_certificates_of_other_names(tmp_path: Path, names: str) -> None:
    """A name that is not the address: refused, taken under its own name, taken on trust."""
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue("switch.lab", names)
    ways = {
        "verified": Tls(ca=authority.cert),
        "named": Tls(ca=authority.cert, server_name=names.partition(":")[2] or "switch.lab"),
        "skipped": Tls(skip_verify=True),
    }

    async def run(address: str) -> None:
        targets = [Target(name, address, sampled(ANY), tls=tls) for name, tls in ways.items()]
        async with dialling(tmp_path / "log", *targets) as (_, board):
            for name in ("named", "skipped"):
                await until(lambda name=name: board.of("gnmi", name).state == "streaming", name)
            await until(lambda: board.of("gnmi", "verified").state == "down")
            assert board.of("gnmi", "verified").error.startswith("UNAVAILABLE")

    with serving([timeline()], Options(cert=cert, key=key, single=True, loop=True)) as replay:
        asyncio.run(run(replay.endpoints[0].address))


def test_missing_certificate_file_is_one_line_of_health(tmp_path: Path) -> None:
    async def run() -> None:
        lost = Target("leaf0", "127.0.0.1:1", sampled(ANY), tls=Tls(ca=tmp_path / "none.pem"))
        async with dialling(tmp_path / "log", lost) as (_, board):
            await until(lambda: board.of("gnmi", "leaf0").state == "down")
            assert "none.pem" in board.of("gnmi", "leaf0").error

    asyncio.run(run())


def picky(bad: dict[str, grpc.StatusCode], asked: list[Any] | None = None) -> Any:
    """A target that refuses some paths, and sends one value for each of the others."""

    async def subscribe(requests: Any, context: Any) -> Any:
        first = await anext(requests)
        if asked is not None:
            asked.append(first)
        for one in first.subscribe.subscription:
            if code := bad.get(gnmi.path_text(one.path)):
                await context.abort(code, f"no {gnmi.path_text(one.path)}")
        for place, one in enumerate(first.subscribe.subscription):
            yield notification(gnmi.path_text(one.path), place + 1)
        yield SYNC
        await asyncio.Event().wait()

    return subscribe


def test_paths_a_target_refuses_are_left_out_and_the_rest_goes_on(tmp_path: Path) -> None:
    paths = [f"/p{n}" for n in range(20)]
    bad = {
        "/p3": grpc.StatusCode.UNIMPLEMENTED,
        "/p4": grpc.StatusCode.INVALID_ARGUMENT,
        "/p17": grpc.StatusCode.UNKNOWN,
    }

    async def run() -> None:
        async with (
            target(picky(bad)) as address,
            dialling(tmp_path, Target("a", address, sampled(*paths))) as (_, board),
        ):
            health = board.of("gnmi", "a")
            await until(lambda: health.state == "streaming")
            assert set(health.left_out) == set(bad)
            assert health.left_out["/p17"] == "UNKNOWN: no /p17"

    asyncio.run(run())
    got = {path for _, path, _ in values(responses(tmp_path))}
    assert got == set(paths) - set(bad)
    assert {note["path"] for note in notes(tmp_path, "left out")} == set(bad)


def test_a_target_that_refuses_everything_is_refused_not_hammered(tmp_path: Path) -> None:
    asked: list[Any] = []

    async def run() -> None:
        bad = {"/p": grpc.StatusCode.UNIMPLEMENTED}
        slow = Backoff(first_s=30)
        async with target(picky(bad, asked)) as address:
            one = Target("a", address, sampled("/p"))
            async with dialling(tmp_path, one, backoff=slow) as (_, board):
                await until(lambda: board.of("gnmi", "a").state == "refused")

    asyncio.run(run())
    assert len(asked) < 12


def test_intervals_and_modes_a_target_cannot_do(tmp_path: Path) -> None:
    """A longer interval, the target's own mode; heartbeats and suppression given up first."""

    async def subscribe(requests: Any, context: Any) -> Any:
        first = await anext(requests)
        for one in first.subscribe.subscription:
            sample = one.mode == gnmi.SubscriptionMode.SAMPLE
            if (sample and one.sample_interval < 10**10) or one.mode == 1 or one.heartbeat_interval:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "cannot")
        yield SYNC
        await asyncio.Event().wait()

    wanted = (
        Subscription(("/a",), interval_ns=10**9, heartbeat_ns=5, suppress_redundant=True),
        Subscription(("/b",), mode="on_change"),
        Subscription(("/c",), mode="target_defined"),
    )

    async def run() -> None:
        async with (
            target(subscribe) as address,
            dialling(tmp_path, Target("a", address, wanted)) as (_, board),
        ):
            health = board.of("gnmi", "a")
            await until(lambda: health.state == "streaming")
            assert health.changed == {"/a": "every 10 s", "/b": "as the target defines"}
            assert not health.left_out

    asyncio.run(run())


@pytest.mark.parametrize("told", [True, False])
def test_encodings_fall_back(tmp_path: Path, told: bool) -> None:
    """With Capabilities the target is asked once; without, PROTO is tried and given up."""
    asked: list[int] = []

    async def subscribe(requests: Any, context: Any) -> Any:
        encoding = (await anext(requests)).subscribe.encoding
        asked.append(encoding)
        if encoding != gnmi.Encoding.JSON_IETF:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "encoding")
        yield SYNC
        await asyncio.Event().wait()

    async def capabilities(raw: bytes, context: Any) -> bytes:
        offered = [gnmi.Encoding.JSON, gnmi.Encoding.JSON_IETF]
        return bytes(gnmi.CapabilityResponse(supported_encodings=offered).SerializeToString())

    async def run() -> None:
        async with (
            target(subscribe, capabilities if told else None) as address,
            dialling(tmp_path, Target("a", address, sampled("/p"))) as (_, board),
        ):
            await until(lambda: board.of("gnmi", "a").state == "streaming")
            assert board.of("gnmi", "a").encoding == "json_ietf"

    asyncio.run(run())
    assert asked[-1] == gnmi.Encoding.JSON_IETF
    assert (len(asked) == 1) == told


def test_requests_say_all_that_was_configured() -> None:
    wanted = Target(
        "a",
        "h:1",
        (
            Subscription(("openconfig:/a/b[k=v]", "/c"), interval_ns=7, heartbeat_ns=9,
                         suppress_redundant=True, target="COUNTERS_DB"),
            Subscription(("/d",), mode="on_change", updates_only=True),
            Subscription(("/e",), mode="poll", interval_ns=5),
        ),
        prefix_target="leaf0", qos=46, depth=3,
    )  # fmt: skip
    found = {ask.target + str(ask.updates_only) + str(ask.poll_ns): ask.request(wanted) for ask in asks(wanted)}  # fmt: skip
    assert set(found) == {"COUNTERS_DBFalse0", "leaf0True0", "leaf0False5"}
    first = found["COUNTERS_DBFalse0"]
    one, two = first.subscribe.subscription
    assert first.subscribe.prefix.target == "COUNTERS_DB"
    assert first.subscribe.qos.marking == 46
    assert list(first.extension) == [depth(3)] == [bytes.fromhex("2a020803")]
    assert (one.path.origin, one.sample_interval, one.heartbeat_interval) == ("openconfig", 7, 9)
    assert (one.suppress_redundant, one.mode, two.path.origin) == (True, 2, "")
    assert found["leaf0True0"].subscribe.updates_only
    assert found["leaf0False5"].subscribe.mode == gnmi.ListMode.POLL


def test_polls_and_tcp_connections(tmp_path: Path) -> None:
    """Each Subscribe has a connection of its own, and a poll is answered again and again."""
    peers: Counter[str] = Counter()

    async def subscribe(requests: Any, context: Any) -> Any:
        first = await anext(requests)
        peers[context.peer()] += 1
        yield SYNC
        if first.subscribe.mode == gnmi.ListMode.POLL:
            async for request in requests:
                assert request.WhichOneof("request") == "poll"
                yield notification("/e", 1)
                yield SYNC
        await asyncio.Event().wait()

    wanted = (
        Subscription(("/a",)),
        Subscription(("/d",), target="STATE_DB"),
        Subscription(("/e",), mode="poll", interval_ns=10_000_000),
    )

    async def run() -> None:
        async with (
            target(subscribe) as address,
            dialling(tmp_path, Target("a", address, wanted)) as (_, board),
        ):
            await until(lambda: len(list(board)) == 3 and sum(h.syncs for h in board) > 5)

    asyncio.run(run())
    assert list(peers.values()) == [1, 1, 1]


async def counting(requests: Any, context: Any) -> Any:
    """A target whose every value is another; the size follows the path, as in /size[n=1000000]."""
    first = await anext(requests)
    keys = first.subscribe.subscription[0].path.elem[-1].key
    size = int(keys.get("n", 0))
    yield SYNC
    for n in range(1, 1 << 30):
        made = gnmi.SubscribeResponse()
        made.update.timestamp = n
        made.update.update.add(path=gnmi.path("/n")).val.bytes_val = bytes(size)
        yield made.SerializeToString()
        await asyncio.sleep(0.001)


def test_a_network_cut_in_the_middle_of_a_message(tmp_path: Path) -> None:
    async def run() -> None:
        async with target(counting) as address, Proxy(address) as wire:
            wire.limit = 1_500_000
            one = Target("a", wire.address, sampled("/size[n=1000000]"))
            async with dialling(tmp_path, one) as (_, board):
                health = board.of("gnmi", "a")
                await until(lambda: health.connections >= 2 and health.messages > 6)
                wire.cut()
                await until(lambda: health.connections >= 3 and health.syncs >= 3)

    asyncio.run(run())
    times = [r.update.timestamp for r in responses(tmp_path) if r.HasField("update")]
    assert times[:2] == [1, 1]  # the second never came whole and began anew after the cut
    assert len(notes(tmp_path, "disconnected")) >= 2


def test_messages_of_tens_of_megabytes(tmp_path: Path) -> None:
    async def run() -> None:
        async with target(counting) as address:
            big = Target("big", address, sampled("/size[n=60000000]"))
            small = replace(big, name="small", max_message_bytes=1 << 20)
            async with dialling(tmp_path, big, small) as (_, board):
                await until(lambda: board.of("gnmi", "big").messages >= 2)
                await until(lambda: "RESOURCE_EXHAUSTED" in board.of("gnmi", "small").error)

    asyncio.run(run())
    assert max(len(record.payload) for record in of(tmp_path, Method.GNMI)) > 60_000_000


def test_a_flapping_target_is_dialled_again(tmp_path: Path) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"

    async def run() -> None:
        async with dialling(tmp_path, Target("a", address, sampled("/n"))) as (_, board):
            health = board.of("gnmi", "a")
            for flap in range(1, 4):
                async with target(counting, address=address):
                    await until(lambda flap=flap: health.syncs >= flap)
                await until(lambda: health.state in ("down", "connecting"))
            assert health.syncs == 3

    asyncio.run(run())
    assert len(notes(tmp_path, "synced")) == 3


def test_silence_is_stale_and_a_dead_stream_is_opened_anew(tmp_path: Path) -> None:
    async def run() -> None:
        async with target(counting) as address, Proxy(address) as wire:
            one = Target(
                "a", wire.address, sampled("/n", interval_ns=10**7), stale_ns=2 * 10**8,
                timeout_ns=10**9,
            )  # fmt: skip
            async with dialling(tmp_path, one) as (_, board):
                health = board.of("gnmi", "a")
                await until(lambda: health.messages > 2)
                wire.silent = True
                await until(lambda: health.state == "stale")
                await until(lambda: health.state == "down")
                wire.silent = False
                await until(lambda: health.syncs >= 2)

    asyncio.run(run())
    assert notes(tmp_path, "stale")


def test_a_target_that_never_says_it_is_in_sync(tmp_path: Path) -> None:
    async def subscribe(requests: Any, context: Any) -> Any:
        await anext(requests)
        for n in range(1 << 30):
            yield notification("/x", n)
            await asyncio.sleep(0.01)

    async def run() -> None:
        async with target(subscribe) as address:
            one = Target("a", address, sampled("/x", interval_ns=10**7), stale_ns=10**8)
            async with dialling(tmp_path, one) as (_, board):
                await until(lambda: board.of("gnmi", "a").state == "streaming")

    asyncio.run(run())
    assert not notes(tmp_path, "synced")


def test_sonic_has_a_connection_and_a_database_for_each_subscription(tmp_path: Path) -> None:
    """The preset on a SONiC target: what it does not have is left out, JSON comes in its own form."""

    async def run(address: str) -> None:
        wanted = Target("leaf0", address, PRESETS["sonic"], encoding="json_ietf")
        async with dialling(tmp_path, wanted) as (_, board):
            await until(lambda: len(list(board)) == 3)
            counters = board.of("gnmi", "leaf0/COUNTERS_DB")
            await until(lambda: counters.state == "streaming")
            await until(lambda: all(h.state in ("refused", "streaming") for h in board))
            assert counters.encoding == "json_ietf"

    with serving([timeline()], Options(platform="sonic", loop=True, wait=0)) as replay:
        asyncio.run(run(replay.endpoints[0].address))
    found = [r.update for r in responses(tmp_path) if r.HasField("update")]
    blobs = [(u.path, json.loads(u.val.json_ietf_val)) for n in found for u in n.update]
    queues = next(blob for path, blob in blobs if path.elem[-1].name == "Queues")
    assert {n.prefix.target for n in found} <= {"COUNTERS_DB", "APPL_DB", "STATE_DB"}
    assert any(key.endswith(":3") for key in queues)


def test_odd_responses_are_counted_not_fatal(tmp_path: Path) -> None:
    """Empty keepalives of NX-OS, the old error message, bytes that are no message at all."""
    error = gnmi.SubscribeResponse()
    error.error.code, error.error.message = 3, "old"

    async def subscribe(requests: Any, context: Any) -> Any:
        await anext(requests)
        for raw in (b"", error.SerializeToString(), b"\xff\xff", SYNC, notification("/x", 1)):
            yield raw
        await asyncio.Event().wait()

    async def run() -> None:
        async with (
            target(subscribe) as address,
            dialling(tmp_path, Target("a", address, sampled("/x"))) as (_, board),
        ):
            health = board.of("gnmi", "a")
            await until(lambda: health.messages >= 5)
            assert (health.faults, health.syncs, health.connections) == (2, 1, 1)

    asyncio.run(run())
    assert len(of(tmp_path, Method.GNMI)) == 4  # all but the empty one
    assert notes(tmp_path, "error")[0]["text"] == "error 3: old"


def test_targets_change_while_it_runs(tmp_path: Path) -> None:
    async def run() -> None:
        async with target(counting) as address:
            a, b = (Target(name, address, sampled("/n")) for name in "ab")
            async with dialling(tmp_path, a, b) as (dialer, board):
                await until(lambda: all(h.state == "streaming" for h in board))
                health = board.of("gnmi", "b")
                await dialer.dial([b, replace(a, name="c")])
                await until(lambda: board.of("gnmi", "c").state == "streaming")
                assert {h.name for h in board} == {"b", "c"}
                assert health.connections == 1

    asyncio.run(run())


def test_pauses_double_with_jitter_and_start_over() -> None:
    pauses = Pauses(Backoff(first_s=1, last_s=60, stable_s=60, jitter=0.2))
    seen = [pauses.next_s(0) for _ in range(9)]
    for n, pause in enumerate(seen):
        middle = min(2**n, 60)
        assert 0.8 * middle <= pause <= 1.2 * middle
    assert pauses.next_s(61) <= 1.2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"subscriptions": ()}, "no subscriptions"),
        ({"name": ""}, "a name and an address"),
    ],
)
def test_what_cannot_be_dialled_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(Target("a", "h:1", sampled("/n")), **change)


def test_a_bad_path_or_encoding_stops_a_reload_before_it_starts(tmp_path: Path) -> None:
    async def run() -> None:
        async with dialling(tmp_path) as (dialer, board):
            for bad in (
                Target("a", "h:1", sampled("/n[k")),
                Target("a", "h:1", sampled("/n"), encoding="xml"),
            ):
                with pytest.raises(ValueError, match=r"\[k|xml"):
                    await dialer.dial([bad])
            assert not list(board)

    asyncio.run(run())
