"""The study of failures: its job, the facts on made-up images, what is read from a run, its files; and `serve`."""

import json
import math
from pathlib import Path

import pytest

from mpiopt.comm import threads
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies.command import read
from mpiopt.studies.failure import report, simulation
from mpiopt.studies.failure.claims import judge
from mpiopt.studies.failure.job import FailureCell, build, from_plain, plain
from mpiopt.studies.failure.outcome import FailureOutcome, RankLifetime
from mpiopt.studies.failure.outcome import from_plain as outcome_of
from mpiopt.studies.failure.simulation import CellLauncher, launch_cells, run
from mpiopt.studies.parameter_server import serve
from mpiopt.studies.parameter_server.runtime.actor import Counts
from mpiopt.studies.parameter_server.runtime.log import Accuracy, ServerEvent, Update
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.storage import read_study
from tests.cases.command import mpiopt, mpiopt_on

JOBS = Path(__file__).resolve().parents[3] / "jobs"
FIVE = ["sync-checkpoint", "async-checkpoint", "sync-chain", "async-chain", "stateless"]
FAULTS = [{"at": "3 s"}, {"at": "8 s", "outage": "2 s"}]
GRID = {"configurations": ["stateless"], "kills": [1]}
TINY = """
study = "failure"
network = "mlp[hidden=8]"
rows = 400
test_rows = 100
seconds = 4
detection = 0.4
evaluate = 0.2
out = "{out}"
[costs]
gradient = 0.02
[[fault]]
at = "1 s"
outage = "1 s"
[[grid]]
configurations = ["sync-checkpoint[every=10]", "sync-chain[every=10]", "stateless"]
workers = [2]
seeds = [0, 1]
"""


@pytest.mark.parametrize("path", sorted(JOBS.glob("failure*.toml")), ids=lambda path: path.stem)
def test_the_jobs_of_the_repository_are_read(path):
    job = read(path).job
    assert {cell.family for cell in job.cells} == set(FIVE)
    assert {cell.kills for cell in job.cells} == {1, 2}
    assert job.cells[0] in {
        cell for cell in from_plain(json.loads(json.dumps(plain(job) | {"cells": job.cells}))).cells
    }


def test_the_expected_facts_hold_over_seeds():
    """The paper's times, a tenth; two workers, so that synchronous and asynchronous differ."""
    grid = {"configurations": FIVE, "workers": [2], "kills": [2], "seeds": [0, 1]}
    job = build({"network": "mlp", "rows": 3000, "test_rows": 500, "evaluate": 0.25, "seconds": 12.0,
                 "costs": {"gradient": 0.025}, "fault": FAULTS, "grid": [grid]})  # fmt: skip
    found = run(job, threads.single(), StopSignal())
    assert all(len(o.kills) == 2 for o in found)
    judged = judge(found, job)
    wrong = [f"({fact.label}) {item.text}" for fact in judged for item in fact.comparisons if not item.holds]
    assert wrong == []
    assert [len(fact.comparisons) for fact in judged] == [4, 16, 4, 4, 2]


def made_up():
    updates = [Update(0.1 * k, k, 1, 0.01) for k in range(1, 11)]
    updates += [Update(3.0 + 0.1 * k, 6 + k, 1 if k else 60, 0.01) for k in range(5)]
    judged = [Accuracy(0.5, 5, 0.30), Accuracy(1.0, 10, 0.61), Accuracy(3.0, 6, 0.52), Accuracy(3.4, 10, 0.72)]
    events = [ServerEvent(1.02, "killed", 1, Role.SERVER, True), ServerEvent(1.5, "lost", 1, Role.SERVER, True)]
    lives = [
        RankLifetime(1, 0, Role.SERVER, Counts(applied=10)),
        RankLifetime(3, 0, Role.WORKER, Counts(computed=16, idle=2.0)),
    ]
    return FailureOutcome(FailureCell("sync-checkpoint[every=5]"), "virtual", 3, 100, updates, judged, events, lives)


def test_what_is_read_from_a_run():
    o = made_up()
    (kill,) = o.kills
    assert kill == pytest.approx((1.02, 2.0, 5, 60, 0.61, 0.52))
    assert (o.time_to(0.6), o.time_to(0.7), o.time_to(0.8)) == (1.0, 3.4, None)
    assert o.final == pytest.approx((0.30 + 0.61 + 0.52 + 0.72) / 4)
    assert (o.total("computed"), o.idle(Role.WORKER), o.most("applied")) == (16, 2.0, 10)
    assert outcome_of(json.loads(json.dumps(o.as_plain()))) == o


def test_facts_that_do_not_hold_are_printed():
    job = build({"grid": [GRID], "fault": FAULTS})
    o = made_up()
    assert judge([o], job)[1].verdict == "holds"
    far = [u._replace(version=u.version - 5) if u.seconds >= 3.0 else u for u in o.updates]
    worse = FailureOutcome(**{**vars(o), "updates": far})
    assert judge([worse], job)[1].verdict == "FAILS"
    better = FailureOutcome(
        **{**vars(o), "judged": [j._replace(accuracy=0.9) if j.seconds == 3.0 else j for j in o.judged]}
    )
    assert judge([better], job)[1].verdict == "FAILS"
    stateless = FailureOutcome(**{**vars(o), "cell": FailureCell("stateless")})
    verdicts = [fact.verdict for fact in judge([stateless], job)]
    assert verdicts == ["FAILS", "not run", "not run", "FAILS", "FAILS"]  # 0.61 → 0.52; nothing held; 60 at 0.01


def test_the_paper_s_numbers_are_those_of_all_configurations():
    for kills, runs in report.PUBLISHED.items():
        assert set(runs) == set(FIVE)
        assert all(len(seen.falls) == kills for seen in runs.values())


def test_the_tables_show_the_paper_beside():
    text = report.accuracies([made_up()])
    assert "0.610 → 0.520" in text
    assert "0.529 → 0.473" in text
    job = build({"grid": [GRID], "fault": FAULTS, "core_price": 3600.0, "seconds": 10.0})
    assert "30.000000" in report.cost([made_up()], job)  # 3 cores for 10 s


def test_the_charts_show_kills_and_the_paper_s_changes_beside_ours():
    accuracy, applied, changes = report.charts([made_up()])
    assert (accuracy.parts[1].mode, accuracy.parts[1].x, accuracy.parts[1].y) == ("markers", [1.02], [0.61])
    assert applied.parts[0].y[-1] == sum(u.gradients for u in made_up().updates)
    ours, paper = changes.parts
    assert (ours.mode, ours.x, ours.y) == ("lines", [1], [pytest.approx(0.52 - 0.61)])
    assert (paper.mode, paper.x, paper.y) == ("markers", [1], [pytest.approx(0.473 - 0.529)])


def test_the_study_writes_its_files(tmp_path, capsys):
    path = tmp_path / "job.toml"
    path.write_text(TINY.format(out=tmp_path / "found"))
    assert mpiopt("study", str(path)) == 0
    printed = capsys.readouterr().out
    assert "sync-chain[every=10] W=2 1 kill seed 1" in printed
    assert "over seeds" in printed
    groups = read_study(tmp_path / "found.h5")
    assert len(groups) == 6
    attributes, found = groups["cell-000"]
    assert attributes["configuration"] == "sync-checkpoint[every=10]"
    assert attributes["death"] == "virtual"
    assert found["updates"]["version"][-1] > 50
    assert found["kills"]["downtime"][0] == pytest.approx(1.0, abs=0.2)
    assert {b"worker", b"server", b"store"} <= set(found["lives"]["role"].tolist())
    tree = json.loads((tmp_path / "found.json").read_text())
    assert [fact["fact"] for fact in tree["facts"]] == ["i", "ii", "iii", "iv", "v"]
    assert len(tree["cells"]) == 6


def test_processes_are_not_started_from_under_mpirun(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text('mode = "processes"\n' + TINY.format(out=tmp_path / "found"))
    assert mpiopt_on(2, "study", path) == {2}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "serve JOB.toml"),
        (["{job}", "--cell", "6"], "cells are numbered from 0 to 5; there is no cell 6"),
        (["{job}"], "start it on 6 ranks, not 1: 1 spare, 1 registry, 2 worker, 1 store, 1 server"),
        (["{other}"], 'serve takes a job with study = "failure"'),
    ],
)
def test_serve_refuses_what_it_can_not_run(tmp_path, words, message):
    job = tmp_path / "job.toml"
    job.write_text(TINY.format(out=tmp_path / "found"))
    named = [word.format(job=job, other=JOBS / "stepsize.toml") for word in words]
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        serve.chosen(named, 1)


def test_serve_runs_a_cell_between_threads(tmp_path, capsys):
    job = tmp_path / "job.toml"
    text = TINY.format(out=tmp_path / "found").replace("seconds = 4\n", "seconds = 1.5\n").replace('"1 s"', '"0.4 s"')
    job.write_text(text.replace("detection = 0.4", "detection = 0.3"))
    out = tmp_path / "out.json"
    words = ["serve", str(job), "--cell", "4", "--out", str(out)]
    assert mpiopt_on(7, *words) == {0}
    printed = capsys.readouterr().out
    assert "dead ranks are silent" in printed
    found = outcome_of(json.loads(out.read_text()))
    assert found.cell == FailureCell("stateless", 2, 1, 0)
    assert found.death == "silent"
    assert not math.isnan(found.final)
    assert found.total("computed") >= sum(u.gradients for u in found.updates) > 0


def test_a_cell_that_ends_without_a_result_is_printed_and_the_others_stay(tmp_path, monkeypatch, capsys):
    def start(self, cell):
        if cell == job.cells[1]:
            raise OSError("cell 1 ended without a result: killed")
        return made_up().as_plain()

    monkeypatch.setattr(CellLauncher, "start", start)
    monkeypatch.setattr(simulation, "find", lambda environment, ulfm: None)
    path = tmp_path / "job.toml"
    path.write_text('mode = "processes"\n' + TINY.format(out=tmp_path / "found"))
    job = read(path).job
    assert len(launch_cells(job, threads.single(), StopSignal())) == 5
    assert "cell 1 ended without a result" in capsys.readouterr().out
