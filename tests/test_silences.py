"""Inferred pauses: what must be there for a silence to be taken for a hold, one condition after the other."""

from typing import Any

import polars as pl
import pytest

from analyzers.frames import schema
from analyzers.pipeline import analyze
from analyzers.silences import silences
from fabric.schema import PAUSES
from tests.data import real_data
from tests.detector_cases import MS, A, B, C, Row, event, flow, frame

END = 30  # ms
HELD = range(10, 18)


def bins(number: int, *times: range) -> list[Row]:
    """Bins of 1 ms in which flow ``number`` sent something."""
    return [
        {"flow": number, "start": n * MS, "width_ns": MS, "packets": 9, "payload_bytes": 9000}
        for some in times
        for n in some
    ]


def message(number: int, start: int, end: int, **more: Any) -> Row:
    return {"flow": number, "operation": 1, "start": start * MS, "end": end * MS, **more}


def around(hold: range) -> tuple[range, range]:
    """The times before and after a hold."""
    return range(hold.start), range(hold.stop, END)


class Given(dict[str, list[Row]]):
    """Two flows of priority 3 that A sends to B and C, held for 8 ms, and one of priority 0 that goes on."""

    def __init__(self) -> None:
        flows = [
            flow(n, A, dst, priority=-1, dscp=dscp)
            for n, dst, dscp in ((1, B, 26), (2, C, 26), (3, B, 0))
        ]
        windows = [*bins(1, *around(HELD)), *bins(2, *around(HELD)), *bins(3, range(END))]
        messages = [message(1, 2, 25), message(2, 9, 19), message(3, 0, 1)]
        super().__init__(flows=flows, flow_windows=windows, messages=messages, events=[])

    def found(self) -> list[Row]:
        names = ("flows", "flow_windows", "messages", "events")
        rows = silences(*(frame(name, self[name]) for name in names))
        assert rows.schema == schema(PAUSES)
        return rows.select(
            "held_device", "priority", "start", "end", "paused_ns", "kind"
        ).to_dicts()


EXPECTED = {"held_device": A, "priority": 3, "start": 10 * MS, "end": 18 * MS, "paused_ns": 8 * MS,
            "kind": "inferred"}  # fmt: skip


def test_a_hold() -> None:
    assert Given().found() == [EXPECTED]


def test_the_tag_counts_before_the_dscp() -> None:
    given = Given()
    given["flows"] = [
        {**row, "priority": n} for row, n in zip(given["flows"], (5, 5, 1), strict=True)
    ]
    assert given.found() == [{**EXPECTED, "priority": 5}]


def test_wider_bins_of_one_flow() -> None:
    given = Given()
    wide = {"flow": 2, "start": 8 * MS, "width_ns": 2 * MS, "packets": 9}
    given["flow_windows"] = [wide, *(row for row in given["flow_windows"]
                                     if row["flow"] != 2 or row["start"] not in (8 * MS, 9 * MS))]  # fmt: skip
    assert given.found() == [EXPECTED]


def test_twice() -> None:
    given = Given()
    times = range(10), range(18, 20), range(23, END)
    given["flow_windows"] = [*bins(1, *times), *bins(2, *times), *bins(3, range(END))]
    given["messages"] = [message(1, 2, 25), message(2, 9, 25)]
    assert given.found() == [
        EXPECTED,
        {**EXPECTED, "start": 20 * MS, "end": 23 * MS, "paused_ns": 3 * MS},
    ]


def one_goes_on(given: Given) -> None:
    given["flow_windows"] += bins(2, HELD)


def a_third_goes_on(given: Given) -> None:
    given["flows"].append(flow(4, A, C, priority=-1, dscp=26))
    given["flow_windows"] += bins(4, range(END))


def only_one_flow(given: Given) -> None:
    given["flow_windows"] = [row for row in given["flow_windows"] if row["flow"] != 2]


def one_destination(given: Given) -> None:
    given["flows"][1]["dst"] = B


def nothing_to_send(given: Given) -> None:
    given["messages"] = [message(1, 2, 9), message(1, 18, 25), message(2, 2, 25)]


def reads_only(given: Given) -> None:
    given["messages"] = [message(1, 2, 25, operation=2), message(2, 2, 25)]


def the_other_priority_stops_too(given: Given) -> None:
    given["flow_windows"] = [row for row in given["flow_windows"] if row["flow"] != 3]
    given["flow_windows"] += bins(3, *around(HELD))


def no_other_priority(given: Given) -> None:
    given["flows"][2]["dscp"] = 24


def another_sender_goes_on(given: Given) -> None:
    given["flows"][2]["src"] = B


def a_timeout(given: Given) -> None:
    given["events"] = [event("timeout", "tail_loss", flow=2, ts=18 * MS, delay_ns=8 * MS)]


def a_receiver_that_was_not_ready(given: Given) -> None:
    given["events"] = [event("rnr", "timer_honoured", flow=1, ts=10 * MS, delay_ns=8 * MS)]


@pytest.mark.parametrize(
    "change",
    [one_goes_on, a_third_goes_on, only_one_flow, one_destination, nothing_to_send, reads_only,
     the_other_priority_stops_too, no_other_priority, another_sender_goes_on, a_timeout,
     a_receiver_that_was_not_ready],
    ids=lambda change: change.__name__,
)  # fmt: skip
def test_no_hold_where(change: Any) -> None:
    given = Given()
    change(given)
    assert given.found() == []


def test_a_timeout_of_another_time_explains_nothing() -> None:
    given = Given()
    given["events"] = [event("timeout", "tail_loss", flow=2, ts=9 * MS, delay_ns=8 * MS)]
    assert given.found() == [EXPECTED]


def test_nothing_in_nothing_out() -> None:
    given = Given()
    given.update(flows=[], flow_windows=[], messages=[])
    assert given.found() == []


def test_captures_of_others_hold_none() -> None:
    folders = [str(real_data("captures")), str(real_data("groundtruth"))]
    with analyze(folders) as run:
        assert run.tables.pauses.filter(pl.col("kind") == "inferred").collect().is_empty()
