"""Every case of the acceptance on real data: 1 to 4 ranks and an independent solver agree to 1e-9."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from sklearn.datasets import dump_svmlight_file, load_digits
from threadpoolctl import threadpool_limits

from mpiopt.comm.threads import spmd
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.result_file import read_result
from mpiopt.training.train import train
from tests.acceptance import reference

AGREE = 1e-9
EPOCHS = 300
DIGITS = "digits"  # of scikit-learn, written as a LIBSVM file
PROGRAM = ("-m", "mpi4py", "-m", "mpiopt", "train")


@dataclass(frozen=True)
class Case:
    file: str
    loss: str
    scale: str = "none"
    l1: float = 0.0
    delta: float = 1.0

    def __str__(self):
        parts = [self.file.split("/")[0], self.loss, *([self.scale] if self.scale != "none" else [])]
        return "-".join([*parts, *(["l1"] if self.l1 else [])])

    def flags(self):
        """Return the flags of the command line."""
        loss = f"huber[delta={self.delta:g}]" if self.loss == "huber" else self.loss
        flags = ["--loss", loss, "--scale", self.scale, "--tol", "1e-10", "--quiet"]
        return [*flags, "--l1", f"{self.l1:g}"] if self.l1 else flags


CASES = [
    Case("a9a/a9a", "logistic"),
    Case("mushrooms/mushrooms", "logistic"),
    Case("phishing_prefix/phishing.first8618", "logistic"),
    Case("rcv1_cocoa/small_train.dat", "logistic"),
    Case("cadata/cadata", "squared", "standard"),
    Case("cpusmall/cpusmall", "squared", "standard"),
    Case("abalone/abalone", "squared", "standard"),
    Case("pendigits/pendigits.tr", "softmax", "standard"),
    Case(DIGITS, "softmax", "maxabs"),
    Case("a9a/a9a", "logistic", l1=1e-3),
    Case("cadata/cadata", "squared", "standard", l1=1e3),
    Case("cadata/cadata", "huber", "maxabs", delta=5e4),
]


@cache
def solved(case, path):
    """Return the case's problem and its optimal value."""
    problem = reference.read(path, case.loss, case.scale, case.l1, case.delta)
    return problem, reference.solve(problem)[1]


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("digits") / "digits"
    dump_svmlight_file(*load_digits(return_X_y=True), str(path), zero_based=False)
    return path


@pytest.fixture
def file_of(real_data, digits):
    return lambda case: digits if case.file == DIGITS else real_data(case.file)


@pytest.fixture
def alone(monkeypatch):
    """Return a process of its own accord to threads: no launcher's variables, one thread for each rank."""
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    with threadpool_limits(1):
        yield


def compare(case, path, out, algorithm, ranks, table):
    """Compare the result file with the reference; also the objective of its coefficients."""
    problem, best = solved(case, path)
    result = read_result(out)
    last = result.history[-1]
    difference = (last["objective"] - best) / best
    table.append((case, algorithm, ranks, last["epoch"], last["round"], difference, last["certificate"]))
    assert abs(difference) <= AGREE, (case, algorithm, ranks, difference)
    scale = 1.0 if result.model.feature_scale is None else result.model.feature_scale
    value = problem.value(result.coef * scale)
    assert abs(value - best) <= AGREE * best, (case, algorithm, ranks, value)
    assert last["epoch"] <= EPOCHS, (case, algorithm, ranks)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("algorithm", ["saga", "auto"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_objective_is_that_of_an_independent_solver(case, algorithm, ranks, file_of, tmp_path, table, alone):
    path = file_of(case)
    words = [str(path), *case.flags(), "--algorithm", algorithm, "--out", str(tmp_path / "run.h5")]
    codes = spmd(ranks, lambda comm: train(words, comm, StopSignal()), timeout=300)
    assert codes == [0] * ranks
    compare(case, path, tmp_path / "run.h5", algorithm, ranks, table)


@pytest.mark.parametrize(("case", "ranks"), [(CASES[6], 2), (CASES[3], 3), (CASES[1], 4)], ids=str)
def test_it_is_so_under_mpirun(case, ranks, file_of, tmp_path, mpirun):
    path = file_of(case)
    words = [path, *case.flags(), "--algorithm", "saga", "--out", tmp_path / "run.h5"]
    done = mpirun(ranks, *PROGRAM, *words, seconds=120)
    assert (done.returncode, done.stderr) == (0, "")
    compare(case, path, tmp_path / "run.h5", "saga", ranks, [])


def test_the_reference_tells_a_wrong_answer(real_data):
    problem, best = solved(CASES[6], real_data(CASES[6].file))
    wrong = np.full((1, problem.x.shape[1]), 0.1)
    assert problem.value(wrong) > best * (1 + 100 * AGREE)
    assert problem.excess(wrong) > problem.value(wrong) - best
