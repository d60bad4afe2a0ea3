"""The study of compression: its kernel, its predictions against published numbers, its job, its files."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from mpiopt.cli.main import run as run_command
from mpiopt.comm import threads
from mpiopt.compress.compressors.base import Compressor
from mpiopt.kernels import averaged_sgd
from mpiopt.kernels import compressors as kernels
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies.command import read
from mpiopt.studies.compression import clients, covariances
from mpiopt.studies.compression.claims import orderings
from mpiopt.studies.compression.job import COLUMNS, Panel
from mpiopt.studies.compression.methods import Method, Moments, matched
from mpiopt.studies.compression.outcome import CompressionOutcome
from mpiopt.studies.compression.prediction import additive, predict
from mpiopt.studies.compression.simulation import gamma_of, outcomes_of, simulate

JOBS = Path(__file__).resolve().parents[3] / "jobs"
NO_DRAWS = averaged_sgd.SketchDraws(np.empty((0, 0, 0)), np.empty((0, 0)))


def compressed(method, x, count, rng):
    """Draw C(x) `count` times."""
    d, h = len(x), method.option
    found, none = np.empty((count, d)), np.empty(0)
    iterate = averaged_sgd.SgdIterate(none, none, none, np.zeros(1, np.int64), kernels.scratch(method.kind, h, d))
    parts = rng.beta(0.5 * h, 0.5 * (d - h), (count, 1)) if method.name == "sketch" else np.zeros((count, 1))
    draws = averaged_sgd.SketchDraws(rng.standard_normal((count, 1, d)), parts)
    for k in range(count):
        averaged_sgd.compress(x, averaged_sgd.SgdMethod(method.kind, h, 0.0, 0.0, 0), iterate, draws, k, 0, found[k])
    return found


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("name", COLUMNS)
def test_compressors_have_the_moments_that_the_predictions_use(name, levels):
    rng = np.random.default_rng(0)
    method = {m.name: m for m in matched(12, levels)}[name]
    x = rng.standard_normal(12) * np.linspace(0.2, 2, 12)
    found = compressed(method, x, 40000, rng)
    second = method.moment(Moments(np.outer(x, x), x[None, :]))
    error = np.sqrt(np.diag(second) / len(found))
    assert (np.abs(found.mean(axis=0) - x) <= 5 * error + 1e-12).all()
    np.testing.assert_allclose(found.T @ found / len(found), second, atol=0.06 * np.abs(second).max())
    assert ((found - x) ** 2).sum(axis=1).mean() <= 1.05 * method.omega * (x @ x) + 1e-12


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("quantised", covariances.PAPER),
        ("sparsified", {"share": 0.25}),
        ("sketch", {"share": 0.25}),
        ("rand-k", {"share": 0.25}),
        ("participation", {"share": 0.25}),
    ],
)
def test_the_formulas_are_those_of_the_compressors(name, options):
    """The study's moments, written for any client, against the family's, for Gaussian vectors."""
    half = clients.root(12, 1.0, "rotated", 3)
    h, x = half.T @ half, np.random.default_rng(0).standard_normal((200000, 12)) @ half
    method = Method(name, 12, {"quantised": 1.0, "sketch": 3.0, "rand-k": 3.0}.get(name, 0.25), 0.0)
    want = Compressor.make(name, options).second_moment(h)
    np.testing.assert_allclose(method.moment(Moments(h, x)), want, atol=0.01 * np.abs(want).max())


def test_the_covariances_of_the_family_are_measured(monkeypatch):
    found = {c.name.partition("[")[0]: c for c in covariances.measure(1500)}
    assert found.keys() == Compressor.known().keys()
    assert {c.verdict for c in found.values()} == {"agrees", "no formula"}
    monkeypatch.setattr(type(Compressor.make("rand-k")), "second_moment", lambda self, m: 1.5 * m)
    assert {c.name[:6]: c.verdict for c in covariances.measure(1500)}["rand-k"] == "DIFFERS"


def test_the_sketch_is_a_random_projector():
    rng = np.random.default_rng(1)
    d, h = 9, 3
    x = rng.standard_normal(d)
    method = dataclasses.replace(matched(d, 1)[3], option=float(h))
    ours = compressed(method, x, 4000, rng)
    bases = np.linalg.qr(rng.standard_normal((4000, d, h)))[0]
    theirs = d / h * np.einsum("kah,kbh,b->ka", bases, bases, x)
    for law in (lambda v: v @ x, lambda v: (v**2).sum(axis=1), lambda v: v[:, 0] ** 4):
        a, b = np.sort(law(ours)), np.sort(law(theirs))
        np.testing.assert_allclose(a[200:-200:100], b[200:-200:100], rtol=0.2, atol=0.05 * np.abs(b).max())


def test_rand_k_draws_without_replacement():
    method = {m.name: m for m in matched(20, 1)}["rand-k"]
    found = compressed(method, np.ones(20), 2000, np.random.default_rng(0))
    assert (np.count_nonzero(found, axis=1) == method.option).all()


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_the_kernel_without_compression_is_averaged_sgd(rate):
    rng = np.random.default_rng(2)
    x, w_true = rng.standard_normal((50, 3, 2, 5)), rng.standard_normal(5)
    y = x @ w_true + rng.standard_normal((50, 3, 2))
    w, mean = np.zeros(5), np.zeros(5)
    method = averaged_sgd.SgdMethod(kernels.NONE, 1.0, 0.1, rate, 0)
    iterate = averaged_sgd.SgdIterate(w, mean, np.zeros((3, 5)), np.zeros(1, np.int64), np.empty(0))
    averaged_sgd.stream_steps(x, y, method, iterate, NO_DRAWS)
    v, total = np.zeros(5), np.zeros(5)
    for k in range(50):
        v = v - 0.1 * np.einsum("ib,ibd->d", x[k] @ v - y[k], x[k]) / 6
        total += v
    np.testing.assert_allclose(w, v, atol=1e-12)
    np.testing.assert_allclose(mean, total / 50, atol=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_the_kernel_of_whole_gradients(rate):
    rng = np.random.default_rng(3)
    h, truths = np.diag(np.linspace(0.1, 1, 4)), rng.standard_normal((3, 4))
    w, mean = np.zeros(4), np.zeros(4)
    method = averaged_sgd.SgdMethod(kernels.NONE, 1.0, 0.5, rate, 0)
    iterate = averaged_sgd.SgdIterate(w, mean, np.zeros((3, 4)), np.zeros(1, np.int64), np.empty(0))
    averaged_sgd.whole_gradient_steps(400, h, truths @ h, method, iterate, NO_DRAWS)
    np.testing.assert_allclose(w, truths.mean(axis=0), atol=1e-6)


def test_a_memory_takes_the_noise_away():
    """Whole gradients of unlike clients: without memory the compression goes on to disturb, with it it dies out."""
    panel = Panel(
        name="p", iterations=4000, clients=3, features=6, decay=0.5, shift="concept", gradient="whole", step="plain",
        memories=("none", "difference"),
    )  # fmt: skip
    source = clients.make(panel, 0)
    for iterate in simulate(panel, source, 0, 0):
        off = np.abs(iterate.w - source.best).max()
        assert (off < 1e-6) == (iterate.memory == "difference" or iterate.method.name == "none"), (
            iterate.method,
            off,
        )


# The notes' table of Tr(C H⁻¹), d = 100, σ = 1, and their closed predictions for K = 1e7
TRACES = {
    (1, "diagonal"): (100, 1207, 1100, 2733, 1111, 1100),
    (1, "rotated"): (100, 1926, 2691, 2733, 2736, 1100),
    (4, "diagonal"): (100, 2.36e5, 1100, 2.22e8, 1111, 1100),
    (4, "rotated"): (100, 1.56e8, 2.23e8, 2.22e8, 2.28e8, 1100),
}
LIMITS = {
    (4, "diagonal", "omega"): (-5.45, -3.86, -4.66, -2.03, -4.66, -4.66),
    (4, "rotated", "omega"): (-5.44, -2.18, -2.03, -2.03, -2.03, -4.69),
    (4, "rotated", "horizon"): (-3.96, -3.66, -3.58, -3.57, -3.58, -3.95),
    (1, "rotated", "omega"): (-5.30, -4.02, -3.87, -3.86, -3.86, -4.26),
}


@pytest.mark.parametrize("place", TRACES)
def test_the_traces_are_those_of_the_notes(place):
    source = clients.make(Panel(name="p", decay=float(place[0]), basis=place[1]), 0)
    found = [
        np.trace(np.linalg.solve(source.hessian, additive(source, m, "none", 0).sum(axis=0))) for m in matched(100, 1)
    ]
    np.testing.assert_allclose(found, TRACES[place], rtol=0.04)


def closed_form(source, method, gamma, steps):
    """Sum the closed form as geometric series."""
    curve, axes = np.linalg.eigh(source.hessian)
    c = np.einsum("aj,iab,bj->j", axes, additive(source, method, "none", 0), axes)
    e = gamma * curve
    rho = np.exp(steps * np.log1p(-e))
    r = 1 - e
    squares = steps - 2 * r * (1 - rho) / e + r**2 * (1 - rho**2) / (e * (1 + r))
    start = (source.best @ axes) ** 2 * (r * (1 - rho) / (steps * e)) ** 2
    return float(0.5 * (curve * (c * squares / (steps * curve) ** 2 + start)).sum())


@pytest.mark.parametrize("place", LIMITS)
def test_the_closed_predictions_are_those_of_the_notes(place):
    decay, basis, step = place
    panel = Panel(name="p", decay=float(decay), basis=basis, step=step, iterations=10**7)
    source = clients.make(panel, 0)
    found = [
        math.log10(closed_form(source, m, gamma_of(panel, source, m), panel.iterations)) for m in matched(100, 1)
    ]
    np.testing.assert_allclose(found, LIMITS[place], atol=0.015)


def test_the_recursion_gives_the_closed_form():
    panel = Panel(name="p", decay=2.0, features=20, iterations=3000)
    source = clients.make(panel, 0)
    for method in matched(20, 1):
        gamma = gamma_of(panel, source, method)
        found = predict(source, method, "none", gamma, [100, 3000], 0).closed
        want = [closed_form(source, method, gamma, k) for k in (100, 3000)]
        np.testing.assert_allclose(found, want, rtol=1e-9)


@pytest.mark.parametrize(
    "change",
    [
        {"decay": 1.0},
        {"decay": 3.0, "basis": "diagonal"},
        {"clients": 3, "shift": "covariate", "iterations": 500},
        {"clients": 3, "shift": "concept", "batch": 4, "iterations": 500, "memories": ("none", "difference")},
        {
            "clients": 3,
            "shift": "concept",
            "gradient": "whole",
            "iterations": 2000,
            "memories": ("none", "difference"),
        },
    ],
)
def test_what_is_measured_is_what_is_predicted(change):
    panel = Panel(**{"name": "p", "features": 20, "decay": 1.0, "runs": 12, "iterations": 2000} | change)
    source = clients.make(panel, 0)
    runs = [[iterate.curve for iterate in simulate(panel, source, 1, r)] for r in range(panel.runs)]
    for cell in outcomes_of(panel, source, runs, 0):
        assert cell.agrees, (cell.method, cell.memory, cell.measured, cell.predicted, cell.low, cell.high)


def cell(panel, method, measured, predicted, memory="none"):
    e = [10.0**predicted]
    return CompressionOutcome(
        panel, method, memory, 0.1, 1.0, [panel.iterations], [[10.0**measured]] * panel.runs, e, e, 0.2
    )


def test_verdicts_and_orderings_are_by_the_numbers():
    figures = {"authors": (-3.0, -2.0, -1.0, -1.0, -1.1, -2.5), "authors_iterations": 10}
    panel = Panel(name="p", iterations=10, runs=4, ahead=("quantised",), behind=("sketch",), **figures)
    good, bad = cell(panel, "none", -3.1, -3.0), cell(panel, "quantised", -2.3, -2.0)
    draws = np.random.default_rng(0).chisquare(200, 400000) / 200  # 4 runs with a spread of 0.2: m = 200
    want = np.log10(np.quantile(draws, (0.00135, 0.99865)) * (0.95, 1.05))
    np.testing.assert_allclose((good.low, good.high), want, atol=0.005)
    assert good.verdict == "agrees, authors' too"
    assert bad.verdict == "DIFFERS, authors' too"
    far = cell(panel, "sketch", -2.45, -2.4)
    assert far.verdict == "agrees, authors' DIFFERS"
    held = {(p.better.method, p.worse.method, p.source): p.holds for p in orderings([good, bad, far])}
    assert held == {
        ("none", "quantised", "predicted"): True,
        ("none", "quantised", "authors"): True,
        ("none", "sketch", "predicted"): True,
        ("none", "sketch", "authors"): True,
        ("sketch", "quantised", "predicted"): True,
        ("quantised", "sketch", "claimed"): False,
    }


def test_the_jobs_of_the_repository_are_read():
    for path in JOBS.glob("compression-*.toml"):
        assert read(path).job.panels, path
    short, full = (read(JOBS / f"compression-synthetic{part}.toml").job.panels for part in ("", "-full"))
    assert [p.iterations for p in full] == [p.authors_iterations for p in full]
    same = {"iterations": 10}
    assert [repr(dataclasses.replace(p, **same)) for p in short] == [
        repr(dataclasses.replace(p, **same)) for p in full
    ]


TINY = """
study = "compression"
out = "{out}"
folder = "{folder}"
[[panel]]
name = "made up"
iterations = 60
runs = 2
features = 4
clients = 2
memories = ["none", "difference"]
[[panel]]
name = "real"
data = "rows.svm"
iterations = 60
runs = 2
clients = 2
order = "sorted-by-label"
[[panel]]
name = "absent"
data = "no-such-file"
"""


def job_of(folder, name):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3))
    lines = [f"{r @ [1, 2, 3]:.5f} " + " ".join(f"{j + 1}:{v:.5f}" for j, v in enumerate(r)) for r in x]
    (folder / "rows.svm").write_text("\n".join(lines) + "\n")
    path = folder / f"{name}.toml"
    path.write_text(TINY.format(out=(folder / name).as_posix(), folder=folder.as_posix()))
    return ["study", str(path)]


def test_the_command_gives_the_same_on_any_number_of_ranks(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    trees = []
    for size in (1, 3):
        words = job_of(tmp_path, f"on{size}")
        codes = threads.spmd(size, lambda comm, words=words: run_command(words, comm, StopSignal()))
        assert codes == [0] * size
        trees.append(json.loads((tmp_path / f"on{size}.json").read_text()))
        shown = capsys.readouterr().out
        assert "absent: skipped" in shown
        assert "the excess risk is the predicted one" in shown
        assert (tmp_path / f"on{size}.png").stat().st_size > 1000
    one, three = (tree["cells"] for tree in trees)
    assert len(one) == 17
    for a, b in zip(one, three, strict=True):  # sums in compiled loops are in any order
        assert (a["panel"], a["method"], a["memory"]) == (b["panel"], b["method"], b["memory"])
        np.testing.assert_allclose(a["curves"], b["curves"], rtol=1e-9)


def test_rows_have_the_optimum_and_the_moments_that_are_claimed(tmp_path):
    job_of(tmp_path, "rows")
    source = clients.read(
        Panel(name="p", data="rows.svm", clients=2, order="sorted-by-label", batch=2), str(tmp_path)
    )
    assert source.x.shape == (2, 20, 3)
    assert source.y[0].max() <= source.y[1].min()
    np.testing.assert_allclose(source.gradients().sum(axis=0), 0, atol=1e-10)
    x, y = source.draw(20000, np.random.default_rng(0))
    w = source.best + 0.1
    g = np.einsum("kib,kibd->kid", x @ w - y, x) / 2
    np.testing.assert_allclose(g.mean(axis=(0, 1)), source.hessian @ (w - source.best), atol=0.02)
