"""The study of step sizes: its job, its data, its verdicts."""

from pathlib import Path

import numpy as np
import pytest

from mpiopt.studies.command import read
from mpiopt.studies.stepsize import claims, report
from mpiopt.studies.stepsize.job import StepSizeCell, StepSizeStudy
from mpiopt.studies.stepsize.simulation import StepSizeOutcome, solve
from mpiopt.studies.stepsize.synthetic import make

JOBS = Path(__file__).resolve().parents[3] / "jobs"


def test_the_job_of_the_repository_is_read():
    job = read(JOBS / "stepsize.toml").job
    assert {cell.ranks for cell in job.cells} == {4, 8, 10, 16, 32}
    wide = read(JOBS / "stepsize-graphs.toml").job
    assert {cell.spread for cell in wide.cells if cell.ranks == 32} == {1, 4, 100, 1e4}
    assert {cell.spread for cell in job.cells} == {1.0, 4.0, 100.0, 1e4}


def test_made_up_data_have_the_spread_and_the_optimum_that_are_claimed():
    problem = make(6, 4000, 3, 20.0, [100.0], 1)[100.0]
    limits = problem.limits
    assert limits[-1] / limits[0] == pytest.approx(100.0, rel=0.1)
    eigenvalues = np.linalg.eigvalsh(problem.h[0])
    assert eigenvalues[-1] / eigenvalues[0] == pytest.approx(20.0, rel=0.15)
    best = np.linalg.solve(problem.h.mean(axis=0), problem.c.mean(axis=0))
    assert problem.gap(best) < 1e-25
    assert problem.gap(np.zeros(3)) == pytest.approx(1.0)
    f = lambda x: np.mean([0.5 * x @ h @ x - c @ x for h, c in zip(problem.h, problem.c, strict=True)])  # noqa: E731
    x = np.array([1.0, -2.0, 0.5])
    assert problem.gap(x) == pytest.approx((f(x) - f(best)) / (f(0 * x) - f(best)))
    g = np.mean([problem.gradient(i, x) for i in range(6)], axis=0)
    step = 1e-6 * np.eye(3)
    np.testing.assert_allclose(g, [(f(x + e) - f(x - e)) / 2e-6 for e in step], rtol=1e-6)


@pytest.mark.parametrize(("spread", "column"), [(100.0, c) for c in range(7)] + [(1e4, 0), (1e4, 1), (1.0, 2)])
def test_the_iterations_are_those_of_the_reference(spread, column):
    """Against another program's counts on the same data (claims.REFERENCE): 10 ranks, spreads drawn one by one."""
    cell = StepSizeCell(10, "exponential", spread, claims.METHODS[column], "flooding")
    study = StepSizeStudy(max_iterations=250, cells=(cell,))
    found = solve(cell, study, make(10, 50, 10, 20.0, [1.0, 4.0, 100.0, 1e4], 0)[spread])
    want = claims.REFERENCE[spread][column]
    assert found.diverged == (want == 0)
    assert found.reached == bool(want)
    if want:
        assert found.iterations == pytest.approx(want, rel=0.2)


def test_messages_are_rounds_times_edges():
    cell = StepSizeCell(5, "ring", 4.0, "min")
    found = solve(cell, StepSizeStudy(max_iterations=7, cells=(cell,)), make(5, 50, 10, 20.0, [4.0], 0)[4.0])
    assert found.iterations == 7
    assert found.rounds == 7 * (5 + 4 + 4)  # of the mean: size and D; of the maximum: D
    assert found.messages == 5 * found.rounds
    assert 0 < found.megabytes < 1


def outcome(method, gaps, spread=100.0, topology="ring", form="merged", diverged=False):
    cell = StepSizeCell(10, topology, spread, method, "finite-field", form)
    return StepSizeOutcome(cell, gaps, [0.1], gaps[-1] <= 1e-9, diverged, 0.2, 10, 10, 0.1)


def test_facts_are_judged_by_the_numbers():
    good, bad = [1.0, 1e-10], [1.0, 1e-3]

    def verdict(letter, *found):
        judged = claims.judge(found, StepSizeStudy(cells=tuple(o.cell for o in found)))
        return next(f.verdict for f in judged if f.label == letter)

    assert verdict("a", outcome("mean", bad, diverged=True)) == "holds"
    assert verdict("a", outcome("mean", good)) == "FAILS"
    assert verdict("a", outcome("mean", good), outcome("mean", good, 1.0)) == "partly"
    assert verdict("a", outcome("harmonic", good)) == "not run"
    assert verdict("b", outcome("mean", bad, diverged=True)) == "holds"
    assert verdict("b", outcome("mean", good)) == "FAILS"
    assert verdict("b", outcome("mean[alpha=0.3]", good)) == "not run"
    assert verdict("c", outcome("min", good)) == "holds"
    assert verdict("c", outcome("min", bad)) == "FAILS"
    assert verdict("d", outcome("global", good), outcome("fixed", [1.0, 0.1, 1e-10])) == "holds"
    assert verdict("d", outcome("global", good), outcome("fixed", good)) == "FAILS"
    assert verdict("e", outcome("none", bad * 10)) == "holds"
    assert verdict("e", outcome("none", good)) == "FAILS"
    assert verdict("e", outcome("none", [0.5**i for i in range(25)])) == "FAILS"
    assert verdict("f", outcome("min", good), outcome("min", good, topology="star")) == "holds"
    assert verdict("f", outcome("min", good), outcome("min", [1.0, 2e-10], topology="star")) == "FAILS"
    assert verdict("g", outcome("min", good), outcome("min", [1.0, 2e-10], form="unmerged")) == "holds"
    assert verdict("g", outcome("min", good), outcome("min", [1.0, 1.0, 1.0, 2e-10], form="unmerged")) == "FAILS"
    assert verdict("h", outcome("harmonic", [1.0] * 79 + [1e-10])) == "holds"
    assert verdict("h", outcome("harmonic", [1.0] * 150 + [1e-10])) == "FAILS"


def test_the_table_says_how_a_run_ended():
    text = report.table([outcome("mean", [1.0, 1e13], diverged=True), outcome("none", [1.0, 2e-4])])
    assert "diverges" in text
    assert "only 2e-04" in text
    assert report.entry(outcome("min", [1.0, 1e-10])) == "1/0.0k"
