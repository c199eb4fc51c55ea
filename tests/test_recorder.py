"""Raw records: what was acknowledged is on disk, whatever happens to the process, the disk or the file."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from collectors.recorder import LOCK, STATE, Recorder, adopt
from collectors.records import MAX_PAYLOAD, Method
from collectors.segments import MARKER, pack, parse_name, read_segment, segments
from tests.data import ROOT, tool


def everything(folder: Path) -> list[tuple[str, int, bytes]]:
    return [(r.peer, r.method, r.payload) for path in segments(folder) for r in read_segment(path)]


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    given = [(f"leaf{i}", Method.GNMI, os.urandom(i * 37 % 3000)) for i in range(300)]
    with Recorder(tmp_path, "here", limit_bytes=100_000) as recorder:
        tickets = [recorder.record(*one, ts=-i, seen=i) for i, one in enumerate(given)]
        assert recorder.wait(tickets[-1], 10)
        assert tickets == sorted(set(tickets))
        assert recorder.stats.acknowledged == 300
        assert recorder.stats.fsyncs < 100  # shared
    assert everything(tmp_path) == given
    assert all(path.suffix == ".seg" for path in segments(tmp_path))
    records = [r for path in segments(tmp_path) for r in read_segment(path)]
    assert [(r.ts, r.seen) for r in records] == [(-i, i) for i in range(300)]


def test_segments_close_by_size_and_age_and_never_share_a_number(tmp_path: Path) -> None:
    for _ in range(3):
        with Recorder(tmp_path, "here", limit_bytes=2000) as recorder:
            for _ in range(5):
                recorder.record("leaf1", Method.GNMI, bytes(1500))
                recorder.flush()
    names = [parse_name(path) for path in segments(tmp_path, closed=True)]
    assert [name.number for name in names if name] == list(range(1, len(names) + 1))
    assert len(names) >= 6
    assert len({name.recorder for name in names if name}) == 1
    for path in segments(tmp_path):  # all old ones deleted: the numbers go on
        path.unlink()
    with Recorder(tmp_path, "here", limit_s=0.05) as recorder:
        recorder.record("leaf1", Method.GNMI, b"x")
        recorder.flush()
        for _ in range(100):
            if segments(tmp_path, closed=True):
                break
            time.sleep(0.02)
        (path,) = segments(tmp_path, closed=True)
    assert (found := parse_name(path))
    assert found.number == len(names) + 1
    reader = read_segment(path)
    assert (reader.recorder, reader.number) == (found.recorder, found.number)


def test_a_new_folder_has_a_name_of_its_own(tmp_path: Path) -> None:
    names = []
    for folder in ("a", "b"):
        with Recorder(tmp_path / folder, "tower 1/x") as recorder:
            names.append(recorder.name)
    assert names[0] != names[1]
    assert all(name.startswith("tower_1_x-") for name in names)


def test_one_recorder_a_folder(tmp_path: Path) -> None:
    with Recorder(tmp_path, "here") as recorder:
        recorder.record("leaf1", Method.GNMI, b"x")
        recorder.flush()
        with pytest.raises(OSError, match=r"another process records into this folder"):
            Recorder(tmp_path, "here")
        assert adopt(tmp_path) == []
        assert segments(tmp_path)[0].suffix == ".part"


def test_damaged_state_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / STATE).write_text("{}")
    with pytest.raises(ValueError, match=r"recorder\.json: .*delete it to start under a new name"):
        Recorder(tmp_path, "here")
    (tmp_path / STATE).unlink()
    Recorder(tmp_path, "here").close()


def test_many_threads_and_a_slow_reader_of_futures(tmp_path: Path) -> None:
    with Recorder(tmp_path, "here", buffer_bytes=10_000) as recorder:

        def work(n: int) -> None:
            last = [recorder.record(f"t{n}", 1, str(i).encode() * 50) for i in range(200)][-1]
            assert recorder.wait(last, 20)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()

        async def waits() -> None:
            futures = [recorder.future(recorder.record("aio", 1, b"y")) for _ in range(5)]
            await asyncio.gather(*(asyncio.wrap_future(future) for future in futures))

        asyncio.run(waits())
        for thread in threads:
            thread.join()
    found = everything(tmp_path)
    assert len(found) == 1605
    for n in range(8):  # order is kept within a thread
        assert [p for peer, _, p in found if peer == f"t{n}"] == [
            str(i).encode() * 50 for i in range(200)
        ]


def test_refused_arguments(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "here")
    with pytest.raises(ValueError, match="payload of"):
        recorder.record("a", 1, _Long())
    with pytest.raises(ValueError, match="ts 9223372036854775808"):
        recorder.record("a", 1, b"", ts=1 << 63)
    recorder.record("é" * 200, 255, b"")
    recorder.close()
    recorder.close()
    with pytest.raises(RuntimeError, match="closed"):
        recorder.record("a", 1, b"")
    ((peer, method, _),) = everything(tmp_path)
    assert method == 255
    assert peer.startswith("é" * 127)


class _Long(bytes):
    def __len__(self) -> int:
        return MAX_PAYLOAD + 1


def some_segment(folder: Path, count: int = 20) -> tuple[Path, list[bytes]]:
    payloads = [os.urandom(100 + i) for i in range(count)]
    with Recorder(folder, "here") as recorder:
        for payload in payloads:
            recorder.record("leaf1", Method.GNMI, payload)
    (path,) = segments(folder)
    return path, payloads


def test_a_torn_end_is_said_and_nothing_before_it_lost(tmp_path: Path) -> None:
    path, payloads = some_segment(tmp_path)
    data = path.read_bytes()
    starts = [r.offset for r in read_segment(path)]
    for cut in (1, 5, 29, 80, 119):
        path.write_bytes(data[:-cut])
        reader = read_segment(path)
        assert [r.payload for r in reader] == payloads[:-1]
        (damage,) = reader.damage
        assert damage.offset == starts[-1]
        assert "torn" in damage.reason
        assert str(damage).startswith(f"{path}: at byte {starts[-1]}: torn")
        assert reader.offset == starts[-1]


def test_damage_costs_the_damaged_record_only(tmp_path: Path) -> None:
    path, payloads = some_segment(tmp_path)
    data = path.read_bytes()
    starts = [r.offset for r in read_segment(path)] + [len(data)]
    random.seed(4)
    for _ in range(200):
        spoiled = bytearray(data)
        hit = random.randrange(20)
        at = random.randrange(starts[hit], starts[hit + 1])
        spoiled[at] ^= 1 << random.randrange(8)
        path.write_bytes(spoiled)
        reader = read_segment(path)
        assert [r.payload for r in reader] == [p for i, p in enumerate(payloads) if i != hit]
        assert [d.offset for d in reader.damage] == [starts[hit]]
        assert reader.damage[0].length == starts[hit + 1] - starts[hit]


def test_random_bytes_are_damage_not_a_crash(tmp_path: Path) -> None:
    path, _ = some_segment(tmp_path, 1)
    head = path.read_bytes()[: next(iter(read_segment(path))).offset]
    random.seed(5)
    for _ in range(200):
        noise = b"".join(
            random.choice((MARKER, os.urandom(9), bytes(5), pack("p", 1, b"qqqqq", 0, 0)[:-5]))
            for _ in range(30)
        )
        path.write_bytes(head + noise)
        reader = read_segment(path)
        assert list(reader) == []
        assert sum(d.length for d in reader.damage) == len(noise)
    for bad in (b"", head[:7], b"FABSEG\0\2" + head[8:], head[:20] + b"\xff" + head[21:]):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=str(path)):
            read_segment(path)


def test_a_growing_segment_is_tailed(tmp_path: Path) -> None:
    with Recorder(tmp_path, "here") as recorder:
        recorder.record("leaf1", 1, b"one")
        recorder.flush()
        (path,) = segments(tmp_path)
        reader = read_segment(path)
        assert [r.payload for r in reader] == [b"one"]
        with path.open("ab") as file:  # half a record, as a reader may see it
            file.write(pack("leaf1", 1, b"two", 0, 0)[:10])
        assert list(reader) == []
        assert reader.damage == []


def test_a_segment_is_not_read_before_its_head_is_there(tmp_path: Path) -> None:
    path, payloads = some_segment(tmp_path, 3)
    data = path.read_bytes()
    growing = path.with_suffix(".part")
    for size in (0, 3, 9, 14, 20, data.index(MARKER)):
        growing.write_bytes(data[:size])
        reader = read_segment(growing)
        assert list(reader) == []
        offset = reader.offset
        growing.write_bytes(data)
        later = read_segment(growing, offset)
        assert [r.payload for r in later] == payloads
        assert later.damage == []


WRITER = """
import sys
from pathlib import Path
from collectors.recorder import Recorder
recorder = Recorder(Path(sys.argv[1]), "chaos", limit_bytes=20_000, limit_s=0.05, gather_s=0.001)
number = int(sys.argv[2])
while True:
    tickets = [recorder.record("leaf1", 1, b"%d " % (number + i) * 20) for i in range(50)]
    number += 50
    recorder.wait(tickets[-1])
    print(number, flush=True)
"""


def test_kill_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    random.seed(6)
    promised = 0
    for _ in range(int(os.environ.get("FABRIC_KILLS", "5"))):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(promised)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        first = process.stdout.readline()
        assert first
        time.sleep(random.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        lines = [first, *process.stdout.readlines()]
        process.wait()
        # The last line may be cut short.
        promised = max(int(line) for line in lines if line.endswith("\n"))
        found = {int(p.split()[0]) for _, _, p in everything(tmp_path)}
        assert set(range(promised)) <= found
    adopt(tmp_path)
    assert all(path.suffix == ".seg" for path in segments(tmp_path))
    numbers = [name.number for path in segments(tmp_path) if (name := parse_name(path))]
    assert len(set(numbers)) == len(numbers)


FULL = """
import json, os, sys
from pathlib import Path
from collectors.recorder import Recorder
folder = Path(sys.argv[1])
recorder = Recorder(folder, "full", limit_bytes=40_000)
said, errors = [], []
for n in range(60):
    ticket = recorder.record("leaf1", 1, b"%03d" % n * 4000)
    try:
        assert recorder.wait(ticket, 20)
        said.append(n)
    except OSError as error:
        errors.append(str(error))
        if len(errors) == 2:  # somebody makes room
            for path in sorted(folder.glob("*.seg"))[:3]:
                said = [n for n in said if b"%03d" % n * 4000 not in path.read_bytes()]
                path.unlink()
        if len(errors) == 4:
            break
stats = recorder.stats
print(json.dumps([said, errors, stats.failed, stats.acknowledged]))
"""


def test_a_full_disk_is_said_counted_and_survived(tmp_path: Path) -> None:
    unshare = tool("unshare")
    (tmp_path / "full.py").write_text(FULL)
    script = (
        f"mount -t tmpfs -o size=300k none {tmp_path}/disk || exit 77; "
        f"{sys.executable} {tmp_path}/full.py {tmp_path}/disk && cp {tmp_path}/disk/* {tmp_path}/kept"
    )
    for folder in ("disk", "kept"):
        (tmp_path / folder).mkdir()
    done = subprocess.run(
        [unshare, "-rm", "sh", "-c", script],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77 or done.stderr.startswith("unshare:"):
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    said, errors, failed, acknowledged = json.loads(done.stdout)
    assert failed == len(errors) == 4
    assert all("cannot record: No space left on device" in error for error in errors)
    assert acknowledged > len(said)  # it went on after room was made
    kept = [int(p[:3]) for _, _, p in everything(tmp_path / "kept")]
    assert sorted(kept) == said
    assert (tmp_path / "kept" / LOCK).exists()
