"""Readers of what a job leaves behind: real logs, files of every known form, and broken ones."""

import json
import pickle
import struct
from pathlib import Path
from random import Random

import pytest

from analyzers.collectives.job import READERS, load
from analyzers.frames import schema
from fabric.schema import OPERATIONS, RANKS
from tests.data import real_data

CALL = (
    "w1:615:18953 [2] NCCL INFO AllReduce: opCount 139d sendbuff 0x78d0 recvbuff 0x78d0 count 7382228 "
    "datatype 7 op 0 root 0 comm 0x78cf [nranks=128] stream 0x78d0"
)
INIT = (
    "w1:615:18953 [2] NCCL INFO comm 0x78cf rank 5 nranks 128 cudaDev 2 nvmlDev 2 busId 80 "
    "commId 0xabc - Init COMPLETE"
)
NEWER = (
    "[2026-05-05 06:16:47] w1:615:700 [2] NCCL INFO NET/IB: ncclIbConnect: NCCL Dev 1 IbDev 3 Port 1 "
    "qp_num 1234 mtu 5 GID 3 (0/100000AFFFF0000) fifoRkey=0x1 fifoLkey=0x2"
)
RECORD = {
    "header": {"id": "0xad56", "rank": 1, "n_ranks": 3, "nnodes": 3},
    "metadata": {"hostname": "w1", "pid": 48, "dump_timestamp_us": 1_772_585_717_263_338},
    "coll_perf": {
        "coll": "AllGather", "coll_sn": 8995, "coll_msg_size_bytes": 2360832,
        "coll_exec_time_us": 5663.0, "coll_algobw_gbs": 0.41, "coll_busbw_gbs": 0.55,
    },
}  # fmt: skip
DUMP = {
    "version": "2.10",
    "pg_config": {"0": {"name": "0", "desc": "default_pg", "ranks": "[0, 4]"}},
    "entries": [
        {
            "record_id": 1, "pg_id": 0, "process_group": ["0", "default_pg"], "collective_seq_id": 7,
            "profiling_name": "nccl:_all_gather_base", "input_sizes": [[3, 4]],
            "input_dtypes": ["Float"], "output_sizes": [[6, 4]], "output_dtypes": ["Float"],
            "time_created_ns": 5, "time_discovered_started_ns": None,
            "time_discovered_completed_ns": 90, "state": "completed", "is_p2p": False,
        },
        {
            "record_id": 2, "pg_id": 0, "process_group": ["0", ""], "p2p_seq_id": 3,
            "profiling_name": "nccl:send 0->1", "input_sizes": [[8]], "input_dtypes": ["BFloat16"],
            "output_sizes": [[8]], "output_dtypes": ["BFloat16"], "time_created_ns": 6,
        },
    ],
}  # fmt: skip
HCCL = (
    "[INFO] HCCL(301,python):2025-03-07-11:43:30.000.001 [a.cc:5][9]Entry-HcclCommInitRootInfoConfigInner:"
    "ranks[16], rank[3], rootinfo: host ip[127.0.0.1] port[6] identifier[group_name_0]\n"
    "[INFO] HCCL(301,python):2025-03-07-11:43:32.305.623 [b.cc:56][9]Entry-HcclAllReduce: tag[AllReduce_x],"
    " sendBuf[0x1], recvBuf[0x2], count[1024], dataType[float32], op[sum], localRank[3], streamId[7]\n"
)


def test_real_nccl_logs_give_ranks_rings_and_queue_pairs() -> None:
    job = load([*sorted(real_data("captures/rdma_ib_tutorial/nccl").glob("*.log"))])
    assert [(m.rank, m.ranks, m.device) for m in job.members] == [
        (0, 3, "node0"), (1, 3, "node1"), (2, 3, "node2"),
    ]  # fmt: skip
    ring = {edge[2:] for file in job.files for edge in file.edges if edge[1] == "ring"}
    assert ring == {(0, 1), (1, 2), (2, 0)}
    pairs = {(p.address, p.qpn, p.peer_qpn, p.peer, p.nic) for p in job.pairs}
    assert {
        ("172.30.0.25", 34, 35, 1, "rxe0"), ("172.30.0.11", 34, 40, 2, "rxe0"),
        ("172.30.0.12", 39, 35, 0, "rxe0"),
    } <= pairs  # fmt: skip
    assert not job.operations
    assert not job.notes
    assert job.ranks_frame().height == len(pairs)


def test_calls_of_an_nccl_log(tmp_path: Path) -> None:
    path = tmp_path / "nccl.log"
    prefix = "(RayTrainWorker pid=615, ip=10.72.7.6) "
    path.write_text("\n".join([INIT, prefix + CALL, NEWER, "noise", CALL.replace("139d", "139e")]))
    job = load([path])
    first, second = job.operations
    assert (first.communicator, first.rank, first.ranks) == ("0xabc", 5, 128)
    assert (first.number, second.number) == (0x139D, 0x139E)
    assert (first.kind, first.size) == ("all_reduce", 4 * 7382228)
    assert (job.pairs[0].address, job.pairs[0].qpn) == ("10.0.0.1", 1234)


def test_inspector(tmp_path: Path) -> None:
    path = tmp_path / "w1.log"
    traced = json.loads(json.dumps(RECORD))
    traced["coll_perf"]["coll"] = "AllReduce"
    traced["coll_perf"]["event_trace_ts"] = {
        "kernel_events": [{"channel_id": 0, "kernel_start_ts": 70, "kernel_stop_ts": 95}]
    }
    cut_short = json.dumps(RECORD)[:60]
    path.write_text(json.dumps(RECORD) + "\n" + json.dumps(traced, indent=1) + "\n" + cut_short)
    job = load([path])
    late, exact = job.operations
    assert (late.kind, late.size, late.exact) == ("all_gather", 3 * 2360832, False)
    assert late.end - late.start == 5_663_000
    assert (exact.start, exact.end, exact.exact) == (70_000, 95_000, True)
    assert [(m.communicator, m.rank, m.ranks, m.device) for m in job.members] == [
        ("0xad56", 1, 3, "w1")
    ]


def test_flight_recorder(tmp_path: Path) -> None:
    path = tmp_path / "nccl_trace_rank_4.json"
    path.write_text(json.dumps(DUMP))
    gather, send = load([path]).operations
    assert (gather.kind, gather.size, gather.rank, gather.ranks) == ("all_gather", 96, 1, 2)
    assert (gather.number, gather.start, gather.end, gather.exact) == (7, 5, 90, False)
    assert (send.kind, send.size, send.peer, send.number) == ("send", 16, 1, 3)


@pytest.mark.parametrize("name", ["trace.pkl", "trace_3"])
def test_a_pickle_is_never_opened(tmp_path: Path, name: str) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (pytest.fail, ("it was unpickled",))

    path = tmp_path / name
    path.write_bytes(pickle.dumps({"entries": Harm(), "more": list(range(9))}))
    with pytest.raises(ValueError, match="pickle") as raised:
        load([path])
    assert str(path) in str(raised.value)


def test_hccl(tmp_path: Path) -> None:
    path = tmp_path / "plog.txt"
    path.write_text(HCCL)
    (call,) = load([path]).operations
    assert (call.communicator, call.rank, call.ranks) == ("group_name_0", 3, 16)
    assert (call.kind, call.size, call.start % 10**9) == ("all_reduce", 4096, 305_623_000)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def attribute(name: str, number: int, value: int | bytes) -> bytes:
    return field(10, field(1, name.encode()) + field(number, value))


def chakra_nodes() -> bytes:
    metadata = field(1, b"0.0.4")
    coll = field(1, 7) + field(2, b"allreduce") + field(3, 7) + field(6, 100) + field(7, 25)
    coll += attribute("comm_type", 9, 0) + attribute("comm_size", 9, 1 << 20)
    coll += attribute("pg_name", 29, b"dp")
    compute = field(1, 8) + field(3, 4)
    send = field(1, 9) + field(3, 5) + attribute("comm_dst", 7, 6) + attribute("comm_size", 9, 64)
    return b"".join(varint(len(m)) + m for m in (metadata, coll, compute, send))


def chakra_json() -> str:
    nodes = [
        {
            "id": "7", "name": "allreduce", "type": "COMM_COLL_NODE", "startTimeMicros": "100",
            "durationMicros": "25", "attr": [
                {"name": "comm_type", "int64Val": "0"}, {"name": "comm_size", "int64Val": "1048576"},
                {"name": "pg_name", "stringVal": "dp"},
            ],
        },
        {"id": "8", "type": "COMP_NODE"},
        {"id": "9", "type": "COMM_SEND_NODE", "attr": [
            {"name": "comm_dst", "int32Val": 6}, {"name": "comm_size", "int64Val": "64"}]},
    ]  # fmt: skip
    return "\n".join(json.dumps(node) for node in nodes)


@pytest.mark.parametrize("form", ["et", "json"])
def test_chakra(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"trace.3.{form}"
    if form == "et":
        path.write_bytes(chakra_nodes())
    else:
        path.write_text(chakra_json())
    reduce, send = load([path]).operations
    assert (reduce.kind, reduce.size, reduce.communicator) == ("all_reduce", 1 << 20, "dp")
    assert (reduce.rank, reduce.start, reduce.end) == (3, 100_000, 125_000)
    assert (send.kind, send.peer, send.size) == ("send", 6, 64)


def test_nccl_xml(tmp_path: Path) -> None:
    topology = tmp_path / "node7_topo.xml"
    topology.write_text(
        '<system version="1"><cpu numaid="0"><pci busid="0"><gpu dev="0" rank="3"/></pci>'
        '<pci busid="1"><nic><net name="mlx5_0" dev="0"/></nic></pci></cpu></system>'
    )
    graph = tmp_path / "graph.xml"
    graph.write_text('<graphs version="1"><graph id="0" pattern="4" nchannels="2"/></graphs>')
    job = load([topology, graph])
    assert [(m.rank, m.device, m.nic) for m in job.members] == [(3, "node7", "mlx5_0")]
    assert job.notes == [f"{graph}: ring, 2 channels"]


def test_the_tables_have_their_schema(tmp_path: Path) -> None:
    path = tmp_path / "nccl.log"
    path.write_text(INIT + "\n" + CALL)
    job = load([path])
    assert job.operations_frame().schema == schema(OPERATIONS)
    assert job.ranks_frame().schema == schema(RANKS)


BROKEN = {
    "nothing.txt": b"hello\n",
    "half.json": b'{"pg_config": {}, "entries": [',
    "entries.json": b'{"pg_config": {}, "entries": 3}',
    "rows.json": b'{"pg_config": {}, "entries": [3]}',
    "sizes.json": b'{"pg_config": {}, "entries": [{"profiling_name": "nccl:all_reduce", "input_sizes":'
    b' [["x"]], "input_dtypes": ["Float"]}]}',
    "deep.json": b'{"pg_config": ' + b"[" * 200_000,
    "perf.json": b'{"header": {"rank": "x"}, "coll_perf": {"coll": "AllReduce"}}',
    "big.json": b'{"header": {"rank": 1e999}, "coll_perf": {"coll": "AllReduce"}}',
    "cut.et": chakra_nodes()[:-9],
    "noise.et": b"\xff" * 64,
    "pairs.et": b"\x02\x18\x07\x05",
    "list.json": b'[{"type": "COMM_COLL_NODE", "id": {}}]',
    "system.xml": b"<system><cpu></system>",
    "bomb.xml": b'<!DOCTYPE a [<!ENTITY b "c">]><graphs>&b;</graphs>',
    "line\nbreak.json": b'{"coll_perf": 1, ]',
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_clear_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(BROKEN[name])
    with pytest.raises(ValueError, match=r"[a-z]") as raised:
        load([path])
    text = str(raised.value)
    assert name.replace("\n", " ") in text
    assert "\n" not in text


def test_an_absent_or_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load([tmp_path / "absent.log"])
    with pytest.raises(ValueError, match="nothing here"):
        load([tmp_path])


def test_random_damage_never_surprises(tmp_path: Path) -> None:
    rng = Random(0xC0FFEE)
    log = real_data("captures/rdma_ib_tutorial/nccl") / "ring2_node0.log"
    samples = {
        "a.log": log.read_bytes(), "b.json": json.dumps(RECORD).encode(),
        "c_rank_0.json": json.dumps(DUMP).encode(), "d.txt": HCCL.encode(), "e.0.et": chakra_nodes(),
        "f.0.json": chakra_json().encode(),
    }  # fmt: skip
    for round_ in range(300):
        name, data = rng.choice(list(samples.items()))
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 8)):
            at = rng.randrange(len(damaged))
            damaged[at : at + rng.randrange(3)] = struct.pack("<Q", rng.getrandbits(64))[
                : rng.randrange(4)
            ]
        path = tmp_path / name
        path.write_bytes(damaged)
        try:
            job = load([path])
            job.operations_frame()
            job.ranks_frame()
        except ValueError as complaint:
            assert str(path) in str(complaint), round_  # noqa: PT017


def test_every_reader_says_what_it_reads() -> None:
    assert len({module.KIND for module in READERS}) == len(READERS)
