"""The job, the tables and the files of a study."""

import json
from pathlib import Path

import numpy as np
import pytest

from mpiopt.comm import lockstep
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.studies.command import read
from mpiopt.studies.saga_facts.claims import judge
from mpiopt.studies.saga_facts.job import SagaCell, SagaStudy, build, visits
from mpiopt.studies.saga_facts.simulation import CurvePoint, Outcomes, SagaOutcome, multiples, solve
from mpiopt.studies.saga_facts.synthetic import make
from tests.cases.command import mpiopt, mpiopt_on

JOBS = Path(__file__).resolve().parents[3] / "jobs"
BLOCK = {"ranks": [1, 2], "local_steps": [4, "n"], "shards": ["shuffled"], "methods": ["B", "E"]}
TINY = """
rows = 64
features = 3
max_epochs = 2.0
repeats = 2
steps = [1]
out = "{out}"
[[grid]]
ranks = [1, 2]
local_steps = [16, "n"]
shards = ["shuffled", "sorted-by-label"]
methods = ["B", "C", "metric"]
"""


@pytest.mark.parametrize(
    ("text", "n", "want"), [("10", 64, 10), ("n", 64, 64), ("4n", 64, 256), ("n/4", 64, 16), ("n/100", 64, 1)]
)
def test_visits(text, n, want):
    assert visits(text, n) == want


@pytest.mark.parametrize("text", ["", "x", "0", "n/0", "n/", "n4", "1.5n", "-1"])
def test_other_forms_of_local_steps_are_refused(text):
    with pytest.raises(ValueError, match="local_steps must be like"):
        visits(text, 64)


def test_the_jobs_of_the_repository_are_read():
    assert len(read(JOBS / "saga-facts.toml").job.cells) == 136
    assert {cell.ranks for cell in read(JOBS / "saga-facts-full.toml").job.cells} == {1, 4, 16, 64}


def test_made_up_data_have_the_optimum_that_is_claimed():
    problem = make(256, 5, 1.0, 3)
    np.testing.assert_allclose(np.linalg.norm(problem.x, axis=1), 1.0)
    labels = problem.y[problem.order["sorted-by-label"]]
    assert (np.diff(labels) >= 0).all()
    assert set(labels) == {-1.0, 1.0}

    def value(comm):
        from mpiopt.compress.channel import Channel

        objective = problem.objective("shuffled", comm)
        return evaluate_exact(objective, objective.zeros(), Channel(comm)).value

    for size in (1, 4):
        assert problem.gap(lockstep.spmd(size, value)[0]) == pytest.approx(1.0, abs=1e-13)
    rng = np.random.default_rng(0)
    for w in rng.normal(size=(20, 5)):
        f = np.logaddexp(0, -problem.y * (problem.x @ w)).mean() + 0.5 * problem.l2 * w @ w
        assert f > problem.best


def test_c_tries_longer_steps_and_the_metric_none():
    study = build({"rows": 64, "grid": [BLOCK], "steps": [1, 2]})
    assert multiples(SagaCell("shuffled", 4, "n", "B"), study) == [1, 2]
    assert multiples(SagaCell("shuffled", 4, "n", "C"), study) == [4, 8, 1, 2]
    assert multiples(SagaCell("shuffled", 4, "n", "metric"), study) == [0]


def test_a_run_that_diverges_is_no_error():
    cell = SagaCell("sorted-by-label", 4, "n", "B")
    found = solve(cell, SagaStudy(rows=64, features=3, repeats=1, steps=(1e4,), cells=(cell,)), make(64, 3, 1.0, 0))
    assert not found.reached
    assert found.last.gap > 1


def outcome(method, steps, epochs, gap, ranks=4):
    trace = [CurvePoint(0, 0, 1.0), CurvePoint(epochs, 7, gap)]
    return SagaOutcome(SagaCell("shuffled", ranks, steps, method), 10, 1.0, trace, gap <= 1e-8, gap, (epochs, epochs))


def test_facts_are_judged_by_the_numbers():
    saga = outcome("B", "n/4", 10.0, 1e-9, ranks=1)

    def verdict(letter, *outcomes):
        return next(f.verdict for f in judge(Outcomes([saga, *outcomes])) if f.label == letter)

    assert verdict("a", outcome("B", "10", 12.0, 1e-9)) == "holds"
    assert verdict("a", outcome("B", "10", 12.5, 1e-9)) == "FAILS"
    assert verdict("a") == "not run"
    assert verdict("c", outcome("B", "n", 30.0, 1e-9), outcome("B", "4n", 60.0, 1e-3)) == "holds"
    assert verdict("c", outcome("B", "n", 30.0, 1e-9), outcome("B", "4n", 50.0, 1e-9)) == "partly"
    assert verdict("d", outcome("E", "n", 60.0, 1e-3)) == "holds"
    assert verdict("d", outcome("E", "n", 60.0, 1e-9)) == "FAILS"
    assert verdict("e1", *(outcome(v, "n/4", e, 1e-9) for v, e in zip("ABD", (12, 10, 11), strict=True))) == "holds"
    assert verdict("e1", *(outcome(v, "n/4", e, 1e-9) for v, e in zip("ABD", (13, 10, 11), strict=True))) == "FAILS"
    assert verdict("f3", outcome("B", "n", 60.0, 1e-3), outcome("metric", "n", 9.0, 1e-9)) == "holds"


def study_of(folder, name):
    path = folder / f"{name}.toml"
    path.write_text(TINY.format(out=(folder / name).as_posix()))
    return ["study", str(path)]


def test_cells_dealt_to_ranks_give_the_same_outcomes(tmp_path):
    words = {size: study_of(tmp_path, f"on{size}") for size in (1, 3)}
    for size in words:
        assert mpiopt_on(size, *words[size]) == {0}
    one, three = (json.loads((tmp_path / f"on{size}.json").read_text()) for size in words)
    assert one["cells"] == three["cells"]
    assert one["facts"] == three["facts"]


def test_files_of_another_job_stay(tmp_path, capsys):
    words = study_of(tmp_path, "out")
    assert mpiopt(*words) == 0
    assert mpiopt(*words) == 0
    job = tmp_path / words[1]
    job.write_text("seed = 9\n" + job.read_text().replace("seed =", "# seed ="))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    capsys.readouterr()
    assert mpiopt(*words) == 2
    assert "out.json: exists; choose another name, or say --overwrite" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert mpiopt(*words, "--overwrite") == 0


@pytest.mark.parametrize("words", [["study"], ["study", "a", "b"], ["study", "no-such-file.toml"]])
def test_a_wrong_command_line_is_one_line(words, capsys):
    assert mpiopt(*words) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_job_that_is_not_there_is_one_line_that_names_the_near_one(here, capsys):
    assert mpiopt("study", "nope.toml") == 2
    assert capsys.readouterr().err == "mpiopt: nope.toml: no such file\n"
    (here / "hope.toml").touch()
    assert mpiopt("study", "nope.toml") == 2
    assert capsys.readouterr().err == "mpiopt: nope.toml: no such file (did you mean 'hope.toml'?)\n"
