"""The trace of a run keeps the rules of Chrome's trace event format, and says what the run has measured."""

import itertools
import json
import math

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.core.history import SAMPLED, Event, PhaseSample
from mpiopt.results.phases import MOST_ROWS, gather_phases, thinned
from mpiopt.results.run_record import read_record
from tests.cases.command import mpiopt, mpiopt_on
from tests.cases.result_files import changed, made_run

RNG = np.random.default_rng(3)
NEEDED = {  # fields of an event by its kind, besides ph, name, pid and tid: Trace Event Format, "Event Descriptions"
    "X": {"ts": float, "dur": float},
    "i": {"ts": float, "s": str},
    "C": {"ts": float, "args": dict},
    "M": {"args": dict},
}


def sample(k, scale=1.0):
    return PhaseSample(k, 1.0 * k, *(scale * k * share for share in (0.4, 0.1, 0.2, 0.1, 0.1, 0.0, 0.0)))


def check(trace):
    """Raise where a trace breaks a rule; return its events by kind."""
    assert trace["displayTimeUnit"] in ("ms", "ns")
    kinds = {kind: [] for kind in NEEDED}
    for event in trace["traceEvents"]:
        kinds[event["ph"]].append(event)
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        for name, kind in NEEDED[event["ph"]].items():
            assert isinstance(event[name], kind), (name, event)
        assert event.get("ts", 0.0) >= 0.0
        assert event.get("dur", 0.0) >= 0.0
    assert {event["name"] for event in kinds["M"]} <= {"process_name", "thread_name", "thread_sort_index"}
    assert all(event["s"] in "gpt" for event in kinds["i"])
    assert all(math.isfinite(v) for event in kinds["C"] for v in event["args"].values())
    named = {event["tid"] for event in kinds["M"] if event["name"] == "thread_name"}
    assert {event["tid"] for event in kinds["X"]} <= named
    for rank in named:  # complete events of a thread may be nested, but must not overlap otherwise
        mine = sorted((event["ts"], event["ts"] + event["dur"]) for event in kinds["X"] if event["tid"] == rank)
        assert all(before[1] <= after[0] + 1e-3 for before, after in itertools.pairwise(mine))
    return kinds


def test_the_trace_of_a_run_has_each_ranks_phases(here):
    x = RNG.normal(size=(300, 5))
    np.savetxt("data.csv", np.column_stack([x, x[:, 0] + RNG.normal(size=300) > 0]), delimiter=",")
    assert mpiopt_on(3, "train", "data.csv", "--loss", "logistic", "--quiet", "--out", "run.h5") == {0}
    assert mpiopt("export", "run.h5", "--trace") == 0
    kinds = check(json.loads((here / "run.trace.json").read_text()))
    assert {event["tid"] for event in kinds["X"]} == {0, 1, 2}
    assert {event["name"] for event in kinds["X"]} <= set(SAMPLED)
    record = read_record("run.h5")
    for rank in range(3):
        mine = record.phases[record.phases["rank"] == rank]
        assert mine["round"].tolist()[: len(record.history)] == record.history["round"].tolist()
        for name in ("communicate", "wait"):  # what the table of the whole run counts
            assert mine[name].sum() <= record.time[name][rank] + 1e-9
        spent = sum(mine[name].sum() for name in SAMPLED)
        assert spent == pytest.approx(mine["seconds"][-1], rel=1e-6)


def test_losses_and_the_certificate_are_in_the_trace(here):
    table = spmd(2, lambda comm: gather_phases([sample(1), sample(2)], comm))[0]
    made_run(here / "run.h5", events=[Event(0.5, 1, "failed", 1, "rank 1"), Event(0.6, 1, "recovered", -1, "both")])
    with changed(here / "run.h5") as file:
        file["phases"] = table
    assert mpiopt("export", "run.h5", "out.json") == 0
    kinds = check(json.loads((here / "out.json").read_text()))
    assert [(event["name"], event["tid"], event["s"]) for event in kinds["i"]] == [
        ("failed", 1, "t"),
        ("recovered", 0, "p"),
    ]
    assert kinds["C"][3]["args"]["digits"] == pytest.approx(3 * math.log10(2))
    computed = [event for event in kinds["X"] if event["name"] == "compute" and event["tid"] == 1]
    assert [event["dur"] for event in computed] == pytest.approx([0.4e6, 0.4e6])


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_the_table_is_equal_on_all_ranks_and_bounded(ranks):
    many = [sample(k) for k in range(1, 60_001)]
    first, *others = spmd(ranks, lambda comm: gather_phases(many, comm))
    assert all(first.tobytes() == other.tobytes() for other in others)
    assert ranks <= len(first) <= MOST_ROWS
    for rank in range(ranks):
        mine = first[first["rank"] == rank]
        assert mine["compute"].sum() == pytest.approx(0.4 * 60_000)
        assert mine["round"][-1] == 60_000


def test_thinning_keeps_the_last():
    assert thinned([], 3) == []
    for count in range(1, 20):
        found = thinned([sample(k) for k in range(count)], 4)
        assert found[-1].round == count - 1
        assert len(found) <= 4


def test_what_has_no_trace_is_one_line(here, capsys):
    made_run("old.h5")
    for words, message in {
        ("old.h5", "--trace"): "old.h5: there are no phases in it: an earlier version wrote it",
        ("old.h5", "a.csv", "--trace", "--to", "csv"): "--trace and --to csv are two kinds of files",
        ("--trace",): "export needs a run",
    }.items():
        assert mpiopt("export", *words) == 2
        assert message in capsys.readouterr().err
    assert not list(here.glob("*.json"))
