"""What docs/howto/analysis.md shows runs: its commands, its Python, its solver."""

import re
import shlex
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from mpiopt.core.history import SAMPLED, PhaseSample
from tests.cases.command import mpiopt
from tests.cases.result_files import made_run, rows

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/howto/analysis.md"
TEXT = (ROOT / PAGE).read_text()
TRACKERS = re.findall(r"^mpiopt (.* --to (?:tensorboard|mlflow))$", TEXT, re.M)  # tests.real_trackers runs them
COMMANDS = [command for command in re.findall(r"^mpiopt (.*)$", TEXT, re.M) if command not in TRACKERS]
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)


@pytest.fixture
def with_runs(here):
    (here / "runs").mkdir()
    samples = [PhaseSample(k, 1.0 * k, *(0.1 * k for _ in SAMPLED)) for k in (1, 2)]
    made_run("runs/a.h5", rows(0.5), "seed = 1", samples=samples)
    made_run("runs/b.h5", rows(0.4), "seed = 2")
    return here


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(with_runs, command, capsys):
    pytest.importorskip("skl2onnx")
    words = shlex.split(command)
    assert mpiopt(*words) == 0
    assert capsys.readouterr().out
    for word in words[1:]:
        if "." in word:
            assert (with_runs / word).stat().st_size > 40


def test_snippets_in_their_order(with_runs, capsys):
    names = {}
    for snippet in SNIPPETS[:2]:
        exec(compile(snippet, PAGE, "exec"), names)
    shown = capsys.readouterr().out
    assert "16000 bytes, 2.00 s to 1e-6; ended: True" in shown
    assert "classifier__l2" in shown


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_the_solver_reaches_the_optimum_of_the_benchmark(monkeypatch, fit_intercept):
    from scipy.optimize import minimize

    stand_in = types.ModuleType("benchopt")
    stand_in.BaseSolver = object
    monkeypatch.setitem(sys.modules, "benchopt", stand_in)
    names = {}
    exec(compile(SNIPPETS[2], PAGE, "exec"), names)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 3))
    y = np.where(x[:, 0] + rng.normal(size=40) > 0.3, 1.0, -1.0)

    def objective(beta):
        z = x @ beta[:3] + (beta[3] if fit_intercept else 0.0)
        return np.logaddexp(0.0, -y * z).sum() + 0.5 * 0.1 * beta[:3] @ beta[:3]

    solver = names["Solver"]()
    solver.algorithm = "auto"
    solver.set_objective(x, y, 0.1, fit_intercept)
    solver.run(1e-12)
    best = minimize(objective, np.zeros(3 + fit_intercept), tol=1e-12)
    np.testing.assert_allclose(solver.get_result()["beta"], best.x, atol=1e-5)
    assert objective(solver.get_result()["beta"]) <= best.fun + 1e-9
