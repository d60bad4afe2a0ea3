"""What a job calls is compiled before its clock starts, and compiling is counted as that."""

import subprocess
import sys

import numpy as np
import pytest

import mpiopt
from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.portfolio import Portfolio
from mpiopt.comm.threads import single, spmd
from mpiopt.compress.channel import Channel
from mpiopt.core.history import Clock
from mpiopt.kernels.kernel_cache import njit
from mpiopt.objective.losses.base import Loss
from mpiopt.resilience.signals import StopSignal
from mpiopt.training import evaluating, loop, rehearsal
from mpiopt.training.rehearsal import compile_kernels, made_up, rehearse
from tests.cases import problems
from tests.conftest import ROOT

# In a process of its own, in which nothing is compiled or loaded yet. The rows of the second run are others, of the
# same form; numba's lock of the compiler is not taken again.
FRESH = """
import sys
import numpy as np
from dataclasses import replace
from mpiopt.algorithms.base import Algorithm
from mpiopt.comm.threads import single
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Stopping
from mpiopt.core.history import Clock
from mpiopt.kernels.kernel_cache import compile_seconds
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.loop import run
from mpiopt.training.problem import unmet
from mpiopt.training.rehearsal import rehearse
from mpiopt.training.run_state import RunPlan
from tests.cases import problems

late = {}
for form in ("dense", "csr"):
    target = problems.objective("logistic", 0.0, 1e-2, form, single())
    for array in (target.shard.label, target.shard.weight, target.shard.order, *vars(target.shard.rows).values()):
        if isinstance(array, np.ndarray):
            array.setflags(write=True)  # as in a job: numba compiles for arrays that cannot be written once more
    for name in sys.argv[1:]:
        algorithm = Algorithm.known()[name]()
        rehearse(target, algorithm)
        before = compile_seconds()
        plan, channel = RunPlan(Stopping(1e-8, 30.0)), Channel(single(), 0)
        run(plan, target, algorithm, channel, StopSignal(), Clock(), lambda row: None)
        if compile_seconds() > before:
            late[form, name] = compile_seconds() - before
sys.exit(str(late) if late else None)
"""


def test_after_a_rehearsal_nothing_is_left_to_compile():
    names = ["lbfgs", "newton", "newton-cg", "saga", "working-set"]
    done = subprocess.run(
        [sys.executable, "-c", FRESH, *names], cwd=ROOT, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", sorted(Loss.known()))
def test_made_up_rows_have_the_form_of_the_jobs_and_labels_that_fit(name, monkeypatch):
    for form in ("dense", "csr"):
        monkeypatch.setattr(rehearsal, "_known", set())
        target = problems.objective(name, 0.0, 1e-2, form, single())
        small = made_up(target)
        assert (small.shard.rows.values.dtype, type(small.shard.rows)) == (np.float64, type(target.shard.rows))
        assert small.outputs == target.outputs
        seen = []
        monkeypatch.setattr(rehearsal, "run", lambda *words, seen=seen: seen.append(loop.run(*words)))
        rehearse(target, Algorithm.known()["lbfgs"]())
        assert seen[0].round > 0


def test_a_form_is_rehearsed_once_in_a_process(monkeypatch):
    runs = []
    monkeypatch.setattr(rehearsal, "_known", set())
    monkeypatch.setattr(rehearsal, "run", lambda *_: runs.append(1))
    kinds = Algorithm.known()
    for form, l1 in (("dense", 0.0), ("dense", 0.0), ("csr", 0.0), ("csr", 0.1)):
        rehearse(problems.objective("logistic", l1, 1e-2, form, single()), kinds["lbfgs"]())
    assert len(runs) == 3


def test_rounds_that_are_as_long_as_the_user_says_are_short_in_a_rehearsal():
    saga = Algorithm.known()["saga"](exchange="timed", round_seconds=60.0)
    assert rehearsal.hurried(saga).round_seconds == rehearsal.ROUND_SECONDS
    lbfgs = Algorithm.known()["lbfgs"]()
    assert rehearsal.hurried(lbfgs) is lbfgs


def test_all_ranks_wait_for_the_first_and_count_it_as_compiling(monkeypatch):
    monkeypatch.setattr(rehearsal, "_known", set())

    def main(comm):
        clock = Clock()
        target = problems.objective("logistic", 0.0, 1e-2, "dense", comm)
        compile_kernels(target, Portfolio((Algorithm.known()["lbfgs"](),)), comm, clock, lambda line: None)
        return clock.seconds["compile"] > 0.0 and sum(clock.seconds.values()) == clock.seconds["compile"]

    assert spmd(2, main) == [True, True]


def test_the_budget_of_seconds_counts_from_the_start_of_the_run():
    times = iter([0.0, 0.0, 100.0, 100.5, 100.5, 101.0, 101.0])
    stop = StopSignal(now=lambda: next(times))
    stop.restart_clock()  # at 100 s, after reading and compiling
    stop.agreed(Channel(single()))
    assert stop.elapsed == 0.5


def test_what_is_compiled_in_the_loop_is_not_computing(monkeypatch):
    slow = []

    def compiles(*_):
        slow.append(njit()(lambda x: x * 3.0)(2.0))
        return ()

    judge = evaluating.judge
    monkeypatch.setattr(evaluating, "judge", lambda *words: (compiles(), judge(*words))[1])
    fit = mpiopt.fit(np.arange(8.0)[:, None], np.arange(8.0), algorithm="lbfgs")
    assert slow
    assert fit.times["compile"] > fit.times["evaluate"] >= 0.0


# As in a worker of GridSearchCV(n_jobs=2): a process of its own, after the search has fitted once elsewhere.
WORKER = """
import sys
import numpy as np
from numba.core import event
import mpiopt

class Compiled(event.Listener):
    count = 0
    def on_start(self, one): Compiled.count += 1
    def on_end(self, one): pass

event.register("numba:compile", Compiled())
x = np.random.default_rng(0).normal(size=(300, 4))
mpiopt.Classifier().fit(x, x[:, 0] + x[:, 1] > 0.1)
linalg = "numba.np.linalg" in sys.modules  # what only a compilation needs
if Compiled.count or linalg:
    sys.exit(f"{Compiled.count} kernels were compiled, and numba has loaded its typing: {linalg}")
"""


def test_a_worker_loads_what_another_process_has_compiled_and_no_more():
    x = np.random.default_rng(0).normal(size=(300, 4))
    mpiopt.Classifier().fit(x, x[:, 0] + x[:, 1] > 0.1)
    done = subprocess.run([sys.executable, "-c", WORKER], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
