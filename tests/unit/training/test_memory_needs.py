"""An algorithm is chosen only if its memory is available; what does not fit is one line with the numbers."""

import resource
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.cost_model import COSTS
from mpiopt.cli import main
from mpiopt.comm.threads import single, spmd
from mpiopt.compress.channel import Channel
from mpiopt.core import memory
from mpiopt.core.config.job import Model
from mpiopt.core.config.spec import parse_spec
from mpiopt.core.memory import Available
from mpiopt.core.partition import block
from mpiopt.data.shard import DenseRows, Shard
from mpiopt.resilience.signals import StopSignal
from mpiopt.training import memory_needs, network_model
from mpiopt.training.memory_needs import needed_nbytes
from mpiopt.training.problem import make_algorithm, pick, pose

INF = float("inf")


def posed(comm, rows=600, width=16, classes=2):
    """Return an objective with dense rows; softmax above two classes."""
    start, stop = block(rows, comm.size, comm.rank)
    x = np.random.default_rng(comm.rank).normal(size=(stop - start, width))
    number = (np.arange(start, stop) % classes).astype(float)
    binary = classes == 2
    label = 2.0 * number - 1.0 if binary else number
    n = stop - start
    shard = Shard(DenseRows(x), label, np.ones(n), np.arange(n), start, rows, width, False)
    model = Model(parse_spec("logistic" if binary else "softmax"), 0.0, 1e-3)
    return pose(model, shard, "binary" if binary else "multiclass", np.arange(float(classes)))


def limited(monkeypatch, shared, own=INF):
    monkeypatch.setattr(memory, "available", lambda: Available(float(shared), float(own)))


def picked(spec="auto", size=1, **shape):
    return spmd(size, lambda c: pick(parse_spec(spec), posed(c, **shape), 1e-6, c))


@pytest.mark.parametrize("name", [n for n in Algorithm.known() if not Algorithm.known()[n].needs - {"small model"}])
@pytest.mark.parametrize(
    "shape", [{}, {"rows": 90, "width": 40}, {"classes": 4}, {"rows": 40, "width": 8, "classes": 9}]
)
def test_the_arrays_of_a_state_are_counted(name, shape):
    objective, algorithm = posed(single(), **shape), make_algorithm(parse_spec(name))
    state = algorithm.blank(objective, 1)
    held = sum(a.nbytes for a in vars(state).values() if isinstance(a, np.ndarray))
    assert needed_nbytes(algorithm, objective, len(objective.shard), 1) > held


@pytest.mark.parametrize("spec", ["newton", "lbfgs", "saga", "lbfgs[sampled=false]", "saga[preconditioner=none]"])
@pytest.mark.parametrize("shape", [{"rows": 2000, "width": 400}, {"rows": 4000, "width": 104, "classes": 3}])
def test_what_a_run_takes_is_near_what_is_counted(spec, shape):
    objective, algorithm = posed(single(), **shape), make_algorithm(parse_spec(spec))
    channel = Channel(single())
    algorithm.step(0, algorithm.init(objective, channel), objective, channel)  # compiles
    tracemalloc.start()
    algorithm.step(0, algorithm.init(objective, channel), objective, channel)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    counted = needed_nbytes(algorithm, objective, len(objective.shard), 1)
    assert peak < 1.5 * counted + (1 << 20)
    if spec != "lbfgs":  # whose matrix is not worth its time here
        assert peak > counted / 3


def test_with_enough_memory_nothing_changes(monkeypatch):
    limited(monkeypatch, 1e12)
    portfolio, why = picked()[0]
    algorithm = portfolio.first
    assert "memory" not in why
    assert algorithm == make_algorithm(parse_spec(algorithm.name))


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("shape", [{"width": 400}, {"width": 80, "classes": 7}, {"rows": 30000}])
def test_auto_takes_what_fits_or_says_that_nothing_does(monkeypatch, size, shape):
    seen = set()
    for room in np.geomspace(3e8, 1e4, 40):
        limited(monkeypatch, room * size)
        if room < 2e4:
            with pytest.raises(ValueError, match=r"^no algorithm fits the memory: [\w-]+ needs .*; use more nodes$"):
                picked(size=size, **shape)
            continue
        try:
            found = picked(size=size, **shape)
        except ValueError:
            seen.add("none")
            continue
        assert len({repr(portfolio) for portfolio, _ in found}) == 1
        rows = -(-shape.get("rows", 600) // size)
        objective = posed(single(), **shape)
        for algorithm in found[0][0].algorithms:
            assert needed_nbytes(algorithm, objective, rows, size) <= room
        seen.add(found[0][0].first.name)
    assert "none" in seen
    assert len(seen) >= 2


@pytest.mark.parametrize("name", ["newton", "saga", "lbfgs", "gradient-tracking", "local-sgd", "ef21"])
@pytest.mark.parametrize("size", [1, 2])
def test_a_named_algorithm_that_does_not_fit_is_refused_with_the_numbers(monkeypatch, name, size):
    limited(monkeypatch, 2e3)
    with pytest.raises(
        ValueError, match=rf"^{name} needs \S+ GB on each rank, and \S+e-06 GB are available"
    ) as caught:
        picked(name, size, width=400)
    assert ("shared by 2 ranks" in str(caught.value)) == (size == 2)


def test_a_matrix_that_does_not_fit_is_left_out(monkeypatch):
    limited(monkeypatch, 2e6)
    portfolio, why = picked("lbfgs[memory=5]", width=400)[0]
    algorithm = portfolio.first
    assert (algorithm.sampled, algorithm.memory) == (False, 5)
    assert "without a matrix of curvature" in why


def test_the_ranks_of_a_node_share_and_a_limit_of_a_process_is_its_own(monkeypatch):
    objective = posed(single(), width=400)
    need = needed_nbytes(make_algorithm(parse_spec("newton")), objective, 300, 2)
    limited(monkeypatch, 2 * need)
    assert picked("newton", 2, width=400)
    limited(monkeypatch, 2 * need - 10)
    with pytest.raises(ValueError, match="newton needs"):
        picked("newton", 2, width=400)
    limited(monkeypatch, INF, need)
    assert picked("newton", 2, width=400)


def train(*words):
    return main.run(["train", *words, "--quiet"], single(), StopSignal())


def test_a_huge_index_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("f.svm").write_text("1 1:1\n-1 2147483646:1\n")
    limited(monkeypatch, 1e10)
    for ranks in (1, 2):
        spmd(ranks, lambda c: main.run(["train", "f.svm", "--quiet"], c, StopSignal()))
        assert capsys.readouterr().err == (
            "mpiopt: f.svm: a model of 2,147,483,646 features needs 137 GB for 8 vectors, and 10 GB are available; "
            "is the largest index right?\n"
        )


@pytest.mark.parametrize("error", [MemoryError(), MemoryError("Unable to allocate 3 TiB for\nan array")])
def test_an_allocation_that_fails_is_one_line(tmp_path, monkeypatch, capsys, error):
    monkeypatch.chdir(tmp_path)

    def fails(*_):
        raise error

    monkeypatch.setattr("mpiopt.training.train.run", fails)
    assert train("generate:n=50,d=3", "--out", "r.h5") == 2
    said = capsys.readouterr().err
    assert said.startswith("mpiopt: not enough memory: ")
    assert said.count("\n") == 1


def group(root, limit, used, names=("memory.max", "memory.current"), cached=("inactive_file", 0)):
    root.mkdir(parents=True, exist_ok=True)
    (root / names[0]).write_text(f"{limit}\n")
    (root / names[1]).write_text(f"{used}\n")
    (root / "memory.stat").write_text(f"anon 5\n{cached[0]} {cached[1]}\n")


@pytest.mark.parametrize(
    ("inner", "outer", "left"), [("max", 9000, 8100), (5000, "max", 4100), (5000, 4500, 3600), ("max", "max", INF)]
)
def test_limits_of_control_groups(tmp_path, monkeypatch, inner, outer, left):
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    monkeypatch.setattr(memory, "PROCESS", tmp_path)
    monkeypatch.setattr(memory, "_of_system", lambda: INF)
    (tmp_path / "cgroup").write_text("0::/job/step\n")
    group(tmp_path / "job/step", inner, 1000, cached=("inactive_file", 100))
    group(tmp_path / "job", outer, 1000, cached=("inactive_file", 100))
    assert memory.available().shared == left


def test_limits_of_control_groups_of_version_1(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    monkeypatch.setattr(memory, "PROCESS", tmp_path)
    monkeypatch.setattr(memory, "_of_system", lambda: 10000.0)
    (tmp_path / "cgroup").write_text("5:cpu:/x\n4:memory:/job\n")
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    group(tmp_path / "memory/job", 5000, 1000, names, ("total_inactive_file", 200))
    group(tmp_path / "memory", 9223372036854771712, 1000, names)
    assert memory.available().shared == 4200.0


def test_a_limit_of_the_process(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1 << 50, resource.RLIM_INFINITY))
    assert (1 << 49) < memory.available().own < (1 << 50)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1 << 20, resource.RLIM_INFINITY))
    assert memory.available().own == 0.0


def test_on_several_hosts_auto_is_told_the_measured_price_of_an_exchange(monkeypatch):
    monkeypatch.setattr(network_model, "link", lambda d, comm: (1e-2, 1e-7))
    assert picked(size=2)[0][0].size.latency == COSTS.latency
    names = threading.local()

    def main(comm):
        names.here = f"node{comm.rank}"
        return pick(parse_spec("auto"), posed(comm), 1e-6, comm)

    monkeypatch.setattr(memory_needs.platform, "node", lambda: getattr(names, "here", "node"))
    priced = [portfolio.size.latency for portfolio, _ in spmd(2, main)]
    assert priced[0] == priced[1] > 100 * COSTS.latency


@pytest.mark.parametrize("name", ["lbfgs", "newton-cg"])
def test_rows_without_a_column_need_no_matrix(name):
    assert needed_nbytes(make_algorithm(parse_spec(name)), posed(single(), width=0), 600, 1) > 0.0
