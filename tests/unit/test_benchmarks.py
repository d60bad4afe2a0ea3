"""The arithmetic of the benchmarks: data, the bound of the optimum, ratios and goals."""

import json

import numpy as np
import pytest

import mpiopt
from benchmarks import compressors, data, natural, overlap, peers, slow_link, step_sizes, targets, tightness
from benchmarks.model_classes import LOSSES, ModelProblem, posed
from benchmarks.peer_solvers import FAMILIES, LIBRARIES, Solver, solvers

MADE = ["syn_c10", "syn_c1e4", "cov_like", "uniform", "text"]


@pytest.mark.parametrize("name", MADE)
def test_a_recipe_is_the_same_each_time_and_its_gradient_fits_its_value(name):
    one, two = data.load(name, 0.002), data.load(name, 0.002)
    assert set(one.y) == {-1.0, 1.0}
    assert abs(one.x - two.x).sum() == 0
    rng = np.random.default_rng(0)
    w, p = rng.standard_normal((2, one.x.shape[1])) * 0.1
    slope = (one.value(w + 1e-5 * p) - one.value(w - 1e-5 * p)) / 2e-5
    assert slope == pytest.approx(one.gradient(w) @ p, rel=1e-6, abs=1e-9)


def test_text_has_unit_rows_and_gaussian_the_condition_asked_for():
    text = data.load("text", 0.01)
    assert np.sqrt(text.x.multiply(text.x).sum(axis=1)) == pytest.approx(1.0)
    assert 50 < text.x.nnz / len(text.y) < 90
    wanted = np.linalg.eigvalsh(np.cov(data.gaussian(20_000, 10, 1e4, 0)[0].T))
    assert wanted[-1] / wanted[0] == pytest.approx(1e4, rel=0.1)


def test_a_set_that_is_not_there_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("MPIOPT_DATA", str(tmp_path))
    assert data.load("a9a", 1.0) is None


LABELS = {
    "binary": lambda z: np.where(z > 0, 1.0, -1.0),
    "multiclass": lambda z: np.digitize(z, [-0.5, 0.5]).astype(float),
    "real": lambda z: z,
    "count": lambda z: np.floor(np.exp(0.5 * z)),
}


def small(loss, penalty, intercept=True):
    random = np.random.default_rng(3)
    x = random.standard_normal((60, 4))
    kind = next(kind for kind, losses in LOSSES.items() if loss in losses)
    return posed(x, LABELS[kind](x[:, 0] + random.standard_normal(60)), loss, penalty, intercept)


@pytest.mark.parametrize("loss", [loss for losses in LOSSES.values() for loss in losses])
def test_the_objective_of_the_peers_is_ours_and_zero_is_best_from_the_largest_l1_on(loss):
    problem = small(loss, "both")
    options = {"loss": loss, "tol": 1e-10}
    fit = mpiopt.fit(problem.x, problem.y, l1=problem.l1, l2=problem.l2, **options)
    assert problem.value(fit.coef, fit.intercept) == pytest.approx(fit.objective, rel=1e-9)
    largest = small(loss, "l1").largest_l1()
    assert not mpiopt.fit(problem.x, problem.y, l1=1.001 * largest, l2=0.0, **options).coef.any()
    assert mpiopt.fit(problem.x, problem.y, l1=0.95 * largest, l2=0.0, **options).coef.any()


@pytest.mark.filterwarnings("ignore")  # fits are meant to reach their iteration limits
@pytest.mark.parametrize("loss", ["logistic", "squared", "poisson", "softmax"])
@pytest.mark.parametrize("penalty", ["l2", "l1"])
def test_scikit_learn_and_glum_minimise_the_same_function(loss, penalty):
    problem = small(loss, penalty)
    fit = mpiopt.fit(problem.x, problem.y, loss=loss, l1=problem.l1, l2=problem.l2, tol=1e-12)
    for solver in solvers(problem, ["scikit-learn", "glum"]):
        w, b = solver.fit(problem, solver.ladder[-3:][0])
        assert problem.value(w, b) == pytest.approx(fit.objective, abs=1e-5), solver.name


def test_a_problem_is_the_same_in_another_process(tmp_path):
    from scipy import sparse

    x = sparse.csr_matrix(np.eye(3))
    ModelProblem(x, np.ones(3), "squared", 0.5, 0.0, False).save(tmp_path / "p.npz")
    found = ModelProblem.load(tmp_path / "p.npz")
    assert (found.x != x).nnz == 0
    assert (found.loss, found.l1, found.l2, found.intercept) == ("squared", 0.5, 0.0, False)


def test_a_worker_fits_and_a_library_that_fails_ends_with_a_note(tmp_path):
    problem = small("squared", "l2")
    problem.save(tmp_path / "p.npz")
    worker = peers.Worker("scikit-learn", 60.0)
    try:
        seconds, value, note = worker.fit(tmp_path / "p.npz", Solver("scikit-learn cholesky", None, [0]), 0.0)
        assert (seconds > 0, note) == (True, "")
        assert value == pytest.approx(mpiopt.fit(problem.x, problem.y, loss="squared", tol=1e-12).objective)
        note = worker.fit(tmp_path / "p.npz", Solver("scikit-learn sparse_cg", None, [0]), -1.0)[2]
        assert note.startswith("InvalidParameterError")
    finally:
        worker.close()


def test_a_level_counts_the_first_setting_that_reached_it_and_its_least_seconds():
    fits = [
        peers.Fitted(1, 0.1, 5.0),
        peers.Fitted(2, 0.5, 1.0),
        peers.Fitted(2, 0.4, 1.0),
        peers.Fitted(3, 0.2, 1.0),
    ]
    climb = peers.Climb(Solver("peer", None, [1, 2, 3]), fits)
    assert (climb.reached(2.0), climb.seconds(2.0), climb.seconds(0.5)) == (2, 0.4, np.inf)


def test_the_page_names_the_ratio_to_the_fastest_peer():
    times = {"mpiopt": [0.2, 0.3, 0.4], "one": [0.1, 0.4, np.inf], "two": [0.5, 0.15, np.inf]}
    cell = peers.Cell("a9a", 20_000, 5, "squared", "l1", True, times, {})
    assert [cell.best(k) for k in range(3)] == ["one", "two", ""]
    page = peers.page([cell], "How.", ["mpiopt", "one", "two"])
    assert "2.00 / 2.00 / –" in page
    assert "| from 10000 | 1e-06 | 1 | 2.00 | 2.00 | 0 | 0 | 0 |" in page
    assert "of 1 cells with 10000 rows or more ahead in 0, more than 1.5 times behind in 1" in page
    assert page.count("| a9a |") == 2  # among those that miss the goal, and among all
    assert set(LIBRARIES) == set(FAMILIES)


def test_a_race_goes_on_with_its_log(tmp_path):
    times = {"mpiopt": [0.2, 0.3, np.inf], "one": [0.1, 0.4, np.inf]}
    cell = peers.Cell("a9a", 20_000, 5, "squared", "l1", True, times, {"one": "ended"})
    log = tmp_path / "log"
    assert peers.read_log(log) == []
    log.write_text(json.dumps(vars(cell)) + "\n")
    assert peers.read_log(log) == [cell]


def test_every_goal_of_the_compressors_is_measured_for_the_largest_vector():
    found = targets.of_compressors((40, 50), 1)
    assert {t.what for t in found if t.ratio > 0 and "d = 50" in t.what} == {
        f"{what} encode, d = 50" if what.partition("[")[0] in ("quantised", "sign", "top-k") else f"{what}, d = 50"
        for what in compressors.GOALS
    }
    assert all(np.isnan(t.ratio) for t in found if "d = 40" in t.what)
    assert "none decode, d = 40" in {t.what for t in found}


def run_of(seconds, chosen=""):
    return slow_link.LinkRun(seconds, 1.0, 2.0, 0.0, 3.0, 4.0, 5, chosen)


def test_the_slow_links_table_and_verdicts():
    slow = {"none": run_of(10.0), "quantised": run_of(2.0), "auto": run_of(2.1), "rand-k": "rand-k: code 2: no"}
    lines = slow_link.table("title", slow)
    assert lines[5].startswith("| quantised | 2.00 | 5.00 |")
    assert lines[7].endswith("rand-k: code 2: no |")
    verdicts = slow_link.verdicts(slow, {"auto": run_of(1.0, "compress none")})
    assert "best is quantised, 5.00 times" in verdicts[0]
    assert "1.05 of the best: reached" in verdicts[1]
    assert verdicts[2].endswith("compress none")
    assert "MISSED" in slow_link.verdicts(slow | {"auto": run_of(3.0)}, {})[1]
    assert slow_link.median([run_of(3.0), run_of(1.0), run_of(2.0)]).seconds == 2.0


def test_the_part_without_a_wait_is_hidden():
    times = {"steps": 10.0, "exchange": 4.0, "in turn": 14.0, "overlapped": 10.5}
    assert overlap.hidden(times | {"waited": 1.0}) == pytest.approx(0.75)
    assert overlap.hidden(times | {"steps": 2.0, "waited": 2.0}) == 1.0
    assert overlap.hidden(times | {"waited": 4.0}) == 0.0


def test_ratios_above_the_promise_are_marked():
    kept, broken, never = (
        natural.RaceResult(15.0, 0.0),
        natural.RaceResult(15.1, 0.0),
        natural.RaceResult(np.inf, 0.1),
    )
    best = natural.RaceResult(10.0, 0.0, 4.0)
    assert [step_sizes.ratio(ran, best) for ran in (kept, broken, never)] == ["1.50", "1.51 MISSED", "MISSED"]
    assert step_sizes.ratio(never, never) == "–"
    row = {"auto": kept, "none fixed": never, "full fixed": best}
    assert step_sizes.fixed(row) == best
    assert [step_sizes.cell(ran) for ran in (best, never, None)] == ["10.0 (×4)", "> 1e-01", ""]


def test_the_grid_finds_the_best_step_and_counts_as_scikit_learn_does(real_data):
    real_data("heart_scale/heart_scale")
    row = step_sizes.on_ranks(1, "heart_scale", ["none"], 60.0)
    assert row["auto"].epochs <= 1.5 * step_sizes.fixed(row).epochs
    assert row["none fixed"].epochs <= row["none theoretical"].epochs
    assert 5 < row["sklearn"].epochs < 60


def test_the_price_of_a_certificate_is_read_off_the_evaluations():
    epochs = np.array([0.0, 4.0, 8.0, 12.0])
    certificate, excess = np.array([1e0, 1e-2, 1e-5, 1e-8]), np.array([1e0, 1e-4, 1e-7, 1e-10])
    assert tightness.first_within(epochs, certificate) == 12.0
    assert tightness.first_within(epochs, excess) == 8.0
    assert tightness.first_within(epochs, certificate, between=True) == pytest.approx(8.0 + 4.0 / 3.0)
    assert tightness.first_within(epochs[:3], certificate[:3]) == np.inf
    run = tightness.Run("a", "logistic", "l2", True, "saga", 12.0, 8.0, 9.5, 7.0)
    never = tightness.Run("b", "logistic", "l2", True, "saga", np.inf, np.inf, np.inf, np.inf)
    page = tightness.page("python -m benchmarks.tightness", [run, never])
    assert "| all | 2 | 1 | 1.50 | 1.50 | 1.50 | 0 % |" in page
    assert "| b | logistic | l2 | yes | saga | not in 500 | not in 500 |" in page


def test_the_table_of_tightness_finds_certificates_that_are_never_early(real_data):
    real_data("heart_scale/heart_scale")
    data = tightness.read("heart_scale/heart_scale", "binary")
    assert data.x.shape == (270, 13)
    for run in tightness.runs(data, "logistic", "both", intercept=True):
        assert 1.0 <= run.ratio < np.inf
