"""The study of algorithms along graphs: its job, its cells against the other study, its verdicts, its files."""

import json
from pathlib import Path

import numpy as np
import pytest

from mpiopt.comm import lockstep, threads
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies.command import read, study
from mpiopt.studies.decentralised import problems
from mpiopt.studies.decentralised.claims import judge
from mpiopt.studies.decentralised.job import DecentralisedCell, DecentralisedStudy
from mpiopt.studies.decentralised.simulation import DecentralisedOutcome, follow, solve

JOBS = Path(__file__).resolve().parents[3] / "jobs"
TINY = """
study = "decentralised"
rows = 20
features = 3
condition = 2.0
max_iterations = 600
out = "{out}"
[[grid]]
ranks = [5]
topologies = ["exponential", "random-k[k=3]"]
spreads = [1]
algorithms = ["dlas", "graph-saga", "dgd", "gradient-tracking"]
"""


def test_the_jobs_of_the_repository_are_read():
    job = read(JOBS / "stepsize-algorithms.toml").job
    assert {cell.ranks for cell in job.cells} == {4, 8, 16}
    assert {cell.algorithm for cell in job.cells} >= {"graph-saga", "gt-saga", "push-saga", "dgd", "datos", "adgt"}
    job = read(JOBS / "stepsize-mushrooms.toml").job
    assert (job.data, {cell.ranks for cell in job.cells}) == ("../shared/data/mushrooms/mushrooms", {5})


def test_it_runs_prints_and_writes(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = tmp_path / "job.toml"
    path.write_text(TINY.format(out=tmp_path / "found"))
    assert threads.spmd(2, lambda comm: study([str(path)], comm, StopSignal())) == [0, 0]
    printed = capsys.readouterr().out
    for letter in "abc":
        assert f"({letter}) holds" in printed
    found = json.loads((tmp_path / "found.json").read_text())
    ended = {tuple(cell["cell"]): cell for cell in found["cells"]}
    assert len(ended) == 8
    assert "degrees differ" in ended[5, "random-k[k=3]", 1.0, "dgd"]["refused"]
    assert "refused: dgd on random-k[k=3]: no doubly stochastic weights" in printed
    tracking = ended[5, "exponential", 1.0, "gradient-tracking"]
    iterations = len(tracking["gaps"]) - 1
    hops = 2  # in which the ranks find out about the graph and the largest L_i
    assert tracking["rounds"][-1] == iterations + hops
    found_out = tracking["megabytes"][-1] - iterations * 15 * 8 * 17 / 1e6  # 2 · 8 + 1 numbers along each edge
    assert 0.0 < found_out < 5e-3
    saga = ended[5, "exponential", 1.0, "graph-saga"]
    assert saga["rounds"][1] > 3 * (5 + hops)  # the table's first sum and the metric count as well
    assert (tmp_path / "found.png").stat().st_size > 10_000


def test_a_step_that_is_too_long_diverges():
    study_ = DecentralisedStudy(
        rows=20, features=3, condition=4.0, max_iterations=2000, cells=(DecentralisedCell(3, "ring", 10.0, "dlas"),)
    )
    for algorithm in ("gradient-tracking[step_size=50]", "dlas[rule=fixed]", "dgd[step_size=1e100]"):
        o = solve(DecentralisedCell(3, "ring", 1e4, algorithm), study_)
        assert o.diverged, algorithm
        assert o.ending(1e-9) == "diverges"


def test_verdicts():
    def ended(algorithm, gaps, topology="ring"):
        n = len(gaps)
        return DecentralisedOutcome(
            DecentralisedCell(3, topology, 1.0, algorithm),
            gaps,
            [float(k) for k in range(n)],
            list(range(n)),
            3,
            [0.0] * n,
        )

    study_ = DecentralisedStudy(cells=(DecentralisedCell(3, "ring", 1.0, "dlas"),))
    good, bad = [1.0, 1e-10], [1.0, *np.full(20, 1e-3)]
    held = [
        ended("graph-saga", good),
        ended("graph-saga", good, "star"),
        ended("dgd", bad),
        ended("dlas", [1.0, *good]),
    ]
    assert [f.verdict for f in judge(held, study_)] == ["holds"] * 4
    broken = [ended("graph-saga", bad), ended("graph-saga", good, "star"), ended("dgd", good), ended("dlas", good)]
    assert all(f.verdict != "holds" for f in judge(broken, study_))


def test_rows_of_a_file_are_cut_by_label_and_have_the_optimum_that_is_claimed(tmp_path):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(203, 4))
    y = np.where(x[:, 0] + rng.normal(size=203) > 0, 1, -1)
    cells = [" ".join(f"{j + 1}:{v:.6f}" for j, v in enumerate(row)) for row in x]
    (tmp_path / "rows.svm").write_text("".join(f"{a} {b}\n" for a, b in zip(y, cells, strict=True)))
    problem = problems.read(str(tmp_path / "rows.svm"), 5, 3)
    assert [len(b) for _, b in problem.parts] == [40] * 5
    assert (np.diff(problem.whole.b) >= 0).all()
    assert problem.gap(np.zeros(4)) == pytest.approx(1.0)
    budget, cell = DecentralisedStudy(max_iterations=400, tols=(1e-9,)), DecentralisedCell(5, "ring-both", 1, "datos")
    assert lockstep.spmd(5, lambda comm: follow(cell, budget, problem, comm))[0].at(1e-9) is not None
