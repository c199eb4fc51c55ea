"""The ICRC kernel against the frames' makers, against damage, and on captures of real adapters."""

import numpy as np
import pytest

from analyzers.capture.batch import Tally, make_batch, make_tally
from analyzers.capture.decode import decode
from analyzers.capture.icrc import BAD, GOOD, UNKNOWN, verify_icrc
from analyzers.capture.reader import Reader
from fabric import roce, wire
from fabric.codes import Fault
from tests import decoding, twin_decode
from tests.data import real_data


def checked(frames: list[decoding.Frame]) -> tuple[list[int], list[int], int]:
    """What was found per row, the faults of the rows, and the tally of bad ones."""
    window, batch, link_types = decoding.indexed(frames, 0x5A)
    tally = make_tally(len(link_types))
    found = np.zeros(len(frames), np.int8)
    kept = decode(window, batch, len(frames), link_types, tally)
    bad = verify_icrc(window, batch, kept, tally, found)
    assert bad == (found[:kept] == BAD).sum()
    faults = batch.fault[:kept].tolist()
    assert tally[:, Tally.FAULTS + Fault.BAD_ICRC].sum() == faults.count(Fault.BAD_ICRC)
    return found[:kept].tolist(), faults, bad


def by_hand(data: bytes, kind: int) -> int:
    """The twin: the writer's ICRC over the bytes the reading twin points at."""
    row = twin_decode.decode(data, kind)
    if row["icrc_at"] < 0:
        return UNKNOWN
    tail = data[row["icrc_at"] : row["icrc_at"] + 4]
    return GOOD if roce.icrc(data[row["l3_at"] : row["icrc_at"]]) == tail else BAD


def test_the_corpus_and_what_was_spoiled_of_it() -> None:
    frames = [*decoding.corpus(), *decoding.spoiled(1, 8_000, decoding.corpus())]
    frames = [each for each in frames if twin_decode.kept(decoding.twin(*each))]
    found, _, _ = checked(frames)
    assert found == [by_hand(*each) for each in frames]
    assert min(map(found.count, (GOOD, BAD, UNKNOWN))) > 100


VARIANT_BITS = {  # of frames on bare Ethernet: what a router may change, IBTA A16.5 and A17.4.5
    "v4": {15: 0xFF, 22: 0xFF, 24: 0xFF, 25: 0xFF, 40: 0xFF, 41: 0xFF, 46: 0xFF},
    "v6": {14: 0x0F, 15: 0xFF, 16: 0xFF, 17: 0xFF, 21: 0xFF, 60: 0xFF, 61: 0xFF, 66: 0xFF},
    "v1": {14: 0x0F, 15: 0xFF, 16: 0xFF, 17: 0xFF, 21: 0xFF, 58: 0xFF},
}
ROUTES = {
    "v4": decoding.ROUTE4,
    "v6": decoding.ROUTE6,
    "v1": decoding.ROUTE6._replace(v1=True),
}


@pytest.mark.parametrize("kind", ROUTES)
def test_every_changed_bit_is_noticed_unless_routers_may_change_it(kind: str) -> None:
    frame = roce.roce(ROUTES[kind], 0x0A, 7, 9, extended=wire.reth(1, 2, 3), payload=b"abcdefg")
    before = twin_decode.decode(frame)
    frames, expected = [], []
    for bit in range(14 * 8, len(frame) * 8):
        byte, mask = bit // 8, 0x80 >> bit % 8
        changed = frame[:byte] + bytes((frame[byte] ^ mask,)) + frame[byte + 1 :]
        row = decoding.twin(changed, 1)
        if all(row[name] == before[name] for name in ("kind", "version", "icrc_at")):
            frames.append((changed, 1))
            expected.append(GOOD if VARIANT_BITS[kind].get(byte, 0) & mask else BAD)
    assert len(frames) > 400
    found, faults, _ = checked(frames)
    assert found == expected
    assert {fault for fault, ok in zip(faults, found, strict=True) if ok == GOOD} == {Fault.NONE}


def test_a_tail_that_was_not_captured_is_unknown() -> None:
    frame = roce.roce(roce.Route("10.0.0.1", "10.0.0.2"), 0x04, 7, 9, payload=bytes(64))
    assert checked([(frame, 1), (frame + bytes(7), 1), (frame[:-1], 1), (frame[:60], 1)])[0] == [
        GOOD,
        GOOD,
        UNKNOWN,
        UNKNOWN,
    ]


def found_in(path: str) -> list[int]:
    reader, batch, found = Reader([path]), make_batch(), np.zeros(1 << 16, np.int8)
    outcome: list[int] = []
    for rows in reader.windows(batch):
        tally = make_tally(len(reader.link_types))
        kept = decode(reader.window, batch, rows, reader.link_types, tally)
        verify_icrc(reader.window, batch, kept, tally, found)
        outcome += found[:kept].tolist()
    return outcome


@pytest.mark.parametrize(
    ("name", "packets"),
    [
        ("icrc/pcapplusplus-fork-rxe-read-request.pcap", 1),
        ("rdma_ib_tutorial/rdma_write_bw.pcap", 20),
        ("rdma_ib_tutorial/rdma_send_bw.pcap", 20),
        ("rdma_ib_tutorial/rdma_write_lat.pcap", 20),
        ("rdma_ib_tutorial/pingpong_rc.pcap", 20),
        ("rdma_ib_tutorial/rping.pcap", 65),
        ("rdma_ib_tutorial/nccl/ring2_node0.pcap", 184),
        ("rdma_ib_tutorial/nccl/ring2_node1.pcap", 184),
        ("rdma_ib_tutorial/nccl/ring2_node2.pcap", 184),
    ],
)
def test_real_adapters_agree(name: str, packets: int) -> None:
    assert found_in(str(real_data("captures", *name.split("/")))) == packets * [GOOD]


def test_whole_frames_of_simulated_fabrics() -> None:
    total = 0
    for path in sorted(real_data("groundtruth").glob("*/full_*.pcap.gz"))[::8]:
        found = found_in(str(path))
        assert BAD not in found, path
        total += found.count(GOOD)
    assert total > 100
