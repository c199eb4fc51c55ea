"""How the accuracy is counted: masks, mapping, intervals, and the command."""

import json
import math
from pathlib import Path

import polars as pl
import pytest

from dashboards import cli
from dashboards.score.masks import Mask, masked
from dashboards.score.outcome import compare
from dashboards.score.suite import score, spans
from dashboards.score.tally import confusion, f1, lines, once, summary, wilson
from dashboards.score.truth import Fault, Truth, find
from tests.accuracy.families import make
from tests.data import real_data


def incident(cls: str, root: str, confidence: float = 0.9, start: int = 0, end: int = 100) -> dict:
    return {
        "cls": cls, "roots": [f"{root}:3"], "confidence": confidence, "start": start, "end": end,
        "victims": [], "contributors": [],
    }  # fmt: skip


def truth(*faults: Fault, name: str = "run") -> Truth:
    return Truth(
        Path(), name, faults[0].cls if faults else "healthy", faults, (("a:1", "b:2"),), (), 10
    )


def told(*incidents: dict, edges: tuple = (("a:1", "b:2"),)) -> dict:
    return {
        "incidents": list(incidents),
        "edges": [list(e) for e in edges],
        "start": 0,
        "seconds": 0.1,
    }


STORM = Fault("pfc_storm", ("h:1",), 10, 90)
LOSS = Fault("lossy_link", ("l:1", "s:2"), 10, 90)


@pytest.mark.parametrize(
    ("faults", "given", "said", "credit", "root"),
    [
        ((STORM,), [incident("pfc_storm", "h:1")], "pfc_storm", 1, 1),
        ((STORM,), [incident("pfc_storm", "x:1")], "pfc_storm", 1, 0),
        ((STORM,), [incident("incast", "h:1")], "incast", 0, -1),
        ((STORM,), [incident("pfc_storm", "h:1", 0.4)], "undetermined", 0, -1),
        ((STORM,), [], "healthy", 0, -1),
        ((Fault("incast", ("l:1",), 0, 9),), [incident("contention", "l:1")], "contention", 0.5, 1),
        ((Fault("slow_receiver", ("h:1",), 0, 9),), [incident("pcie_bottleneck", "h:1")], "pcie_bottleneck", 1, 1),
        ((LOSS,), [incident("lossy_link", "s:2")], "lossy_link", 1, 1),
        ((), [], "healthy", 1, -1),
        ((), [incident("incast", "l:1")], "incast", 0, -1),
        ((), [incident("incast", "l:1", 0.3)], "undetermined", 0, -1),
    ],
)  # fmt: skip
def test_an_answer_is_right_half_right_or_wrong(faults, given, said, credit, root) -> None:
    answer = compare(truth(*faults), told(*given)).answers[0]
    assert (answer.said, answer.credit, answer.root) == (said, credit, root)
    assert answer.wrong == (credit == 0 and said != "undetermined")


def test_two_faults_are_matched_by_class_and_place() -> None:
    outcome = compare(
        truth(STORM, LOSS),
        told(
            incident("lossy_link", "l:1"), incident("pfc_storm", "h:1"), incident("incast", "q:1")
        ),
    )
    assert [answer.said for answer in outcome.answers] == ["pfc_storm", "lossy_link"]
    assert outcome.extra == ("incast",)


def test_never_counts_twins_twice_and_takes_the_worse() -> None:
    right = compare(truth(STORM, name="a"), told(incident("pfc_storm", "h:1")))
    wrong = compare(truth(STORM, name="inetx_a"), told(incident("incast", "h:1")))
    answers = once([*right.answers, *wrong.answers])
    assert [answer.said for answer in answers] == ["incast"]
    whole = summary("x", [right, wrong])
    assert (whole.samples, whole.wrong, whole.edges) == (1, 1, 1.0)
    columns, rows = confusion(answers)
    assert columns == ["incast"]
    assert rows["pfc_storm"]["incast"] == 1
    assert lines(answers, ["pfc_storm"])[0].precision == 0


def test_wilson_and_f1() -> None:
    low, high = wilson(47, 47)
    assert math.isclose(low, 0.9244, abs_tol=1e-4)
    assert high == 1
    assert wilson(0, 0) == (0, 1)
    assert f1([(1, 1, 0), (1, 0, 0)]) == 0.8
    assert math.isnan(f1([(0, 0, 0)]))


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored")
    make("pfc_storm", 77, folder / "storm")
    return folder


def test_masks_take_away_and_keep_sums(storm: Path) -> None:
    one = find([storm])[0]
    whole = pl.read_parquet(storm / "storm" / "counters.parquet")
    a = masked(whole, set(one.hosts), Mask("a"), 1)
    assert "rx_pause_ns" not in a["counter"].to_list()
    assert a.equals(masked(whole, set(one.hosts), Mask("a"), 1))
    assert not a.equals(masked(whole, set(one.hosts), Mask("a"), 2))
    slow = masked(whole, set(one.hosts), Mask("c", slower=4, phase=False), 1)
    total = pl.col("value").max().sum()
    by = ["device", "port"]
    sent = [
        f.filter(pl.col("counter") == "tx_bytes", pl.col("object") == "port") for f in (whole, slow)
    ]
    sums = [f.group_by(by).agg(total)["value"].sum() for f in sent]
    assert sums[1] == pytest.approx(sums[0], rel=0.1)
    assert slow.height < whole.height / 3
    quiet = masked(whole, set(one.hosts), Mask("b", silent=0.3), 1)
    gone = set(whole["device"]) - set(quiet["device"])
    assert gone
    assert not gone & one.hosts
    assert spans(one, Mask("b"))
    assert not spans(one, Mask("b", slower=1000))


def test_the_child_sees_neither_label_nor_name(storm: Path) -> None:
    outcome = score(find([storm]), Mask("b"), 1, history=True)[0]
    assert outcome.answers[0].credit == 1
    assert outcome.answers[0].late_ns >= 0
    assert outcome.edges[0] > 0


def test_the_command_writes_the_page(
    storm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "accuracy.md"
    assert cli.run(["score", str(storm), "--quick", "--write", str(page), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["conditions"][1]["wrong"] == 0
    text = page.read_text()
    assert "Self-graded" in text
    assert "| pfc_storm | 1/1" in text


def test_what_cannot_be_scored_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["score", str(tmp_path)]) == 2
    assert "no labelled run" in capsys.readouterr().err
    assert cli.run(["score", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "label.json").write_text('{"cls": 1')
    assert cli.run(["score", str(tmp_path)]) == 2
    assert "label.json" in capsys.readouterr().err


def test_explain_says_why_and_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    run = str(real_data() / "groundtruth" / "inet_pfc_storm-s1")
    assert cli.run(["explain", "1", run]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "host10:1" in text
    assert "slow_receiver: it would let bytes through" in text
    assert cli.run(["explain", "pfc_storm", run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cls"] == "pfc_storm"
    assert cli.run(["explain", "incast", run]) == 2
    assert "no incident is named incast" in capsys.readouterr().err


def test_counters_without_a_topology_are_not_called_healthy(
    storm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "counters.parquet").write_bytes((storm / "storm" / "counters.parquet").read_bytes())
    assert cli.run(["analyze", str(run)]) == 2
    assert "without a topology.json" in capsys.readouterr().err
