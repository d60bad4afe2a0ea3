"""Paths of 100 points beside those of other libraries, each as accurate at every point, in processor seconds.

python -m benchmarks.path_peers [--sets NAME,…|tuned|judged] [--points 100] [--install] [--out FILE]

l1 without an intercept, on the sets of benchmarks.paths. A library takes the loosest of its tolerances at which F is
within 1e-6 (relative) of the optimum at all points; mpiopt takes its default, which certifies that. Libraries run one
after the other in processes of their own, on one thread; kernels are compiled before. The best of three runs counts.
MPIOPT_DATA names the folder of the real sets; what is not installed is left out, or installed by --install into an
environment of its own. The file of --out is written after each set; sets that it has already are not raced again, so
that a run that was cut goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

LIBRARIES = ("mpiopt", "adelie", "celer", "skglm", "scikit-learn")
ACCURACY = 1e-6
LADDER = tuple(10.0**-k for k in range(2, 13))
LONGEST = 20.0  # seconds of a path after which a library is left out
HANGING = 120.0  # seconds on the wall after which a library's process is ended, its compiling included
RUNS = 3
HEAD = """# Paths beside other libraries

`python -m benchmarks.path_peers --install --out runs/path-peers.md` writes this table: 100 points of an l1
path without an intercept, F within 1e-6 of the optimum at every point, processor seconds of one thread, the best of
three runs, kernels compiled before. The last column has the path beside its last point alone, both by mpiopt. A dash:
the library has no such path, or is not as accurate in 20 seconds a path and two minutes for all its tolerances.

"""

Path_ = Callable[[Any, Any, str, Any, float], Any]


def value(x: Any, y: Any, loss: str, w: Any, strength: float) -> float:
    """Return F at a model."""
    z = x @ w
    each = 0.5 * (z - y) ** 2 if loss == "squared" else np.logaddexp(0.0, -(2.0 * y - 1.0) * z)
    return float(each.mean() + strength * np.abs(w).sum())


def by_mpiopt(x: Any, y: Any, loss: str, strengths: Any, tol: float) -> Any:
    """Follow the path by mpiopt."""
    import mpiopt

    options = mpiopt.PathOptions(points=len(strengths), min_ratio=strengths[-1] / strengths[0])
    return mpiopt.path(x, y, loss=loss, intercept=False, options=options, tol=tol).coef[:, 0]


def by_adelie(x: Any, y: Any, loss: str, strengths: Any, tol: float) -> Any:
    """Follow the path by adelie."""
    import adelie

    matrix = adelie.matrix.sparse(sparse.csc_matrix(x)) if sparse.issparse(x) else np.asfortranarray(x)
    glm = adelie.glm.gaussian(y) if loss == "squared" else adelie.glm.binomial(y)
    options = {"early_exit": False, "progress_bar": False, "intercept": False, "n_threads": 1}
    tolerances = {"tol": tol} if loss == "squared" else {"tol": tol, "irls_tol": tol}
    return adelie.grpnet(matrix, glm, lmda_path=strengths, **options, **tolerances).betas.toarray()


def by_celer(x: Any, y: Any, loss: str, strengths: Any, tol: float) -> Any:
    """Follow the path by celer."""
    import celer

    x = sparse.csc_matrix(x) if sparse.issparse(x) else np.asfortranarray(x)
    name, factor = ("lasso", 1.0) if loss == "squared" else ("logreg", len(y))
    label = y if loss == "squared" else 2.0 * y - 1.0
    found = celer.celer_path(x, label, pb=name, alphas=factor * strengths, tol=tol, max_iter=1000)
    return found[1].T


def by_skglm(x: Any, y: Any, loss: str, strengths: Any, tol: float) -> Any:
    """Follow the path by skglm, each point from the one before."""
    from skglm import datafits, penalties, solvers

    x = sparse.csc_matrix(x) if sparse.issparse(x) else np.asfortranarray(x)
    label = y if loss == "squared" else 2.0 * y - 1.0
    datafit = datafits.Quadratic() if loss == "squared" else datafits.Logistic()
    kind = solvers.AndersonCD if loss == "squared" else solvers.ProxNewton
    solver = kind(tol=tol, fit_intercept=False, max_iter=1000)
    w, found = np.zeros(x.shape[1]), []
    for strength in strengths:
        w = solver.solve(x, label, datafit, penalties.L1(strength), w_init=w.copy(), Xw_init=x @ w)[0]
        found.append(w)
    return np.array(found)


def by_sklearn(x: Any, y: Any, loss: str, strengths: Any, tol: float) -> Any:
    """Follow the path by scikit-learn: lasso_path, or SAGA from the point before."""
    from sklearn.linear_model import LogisticRegression, lasso_path

    if loss == "squared":
        return lasso_path(x, y, alphas=strengths, tol=tol, max_iter=100_000)[1].T
    model = LogisticRegression(
        l1_ratio=1.0, solver="saga", fit_intercept=False, tol=tol, max_iter=1000, warm_start=True
    )
    found = []
    for strength in strengths:
        model.set_params(C=1.0 / (strength * len(y))).fit(x, y)
        found.append(model.coef_[0].copy())
    return np.array(found)


PATHS: dict[str, Path_] = {
    "mpiopt": by_mpiopt,
    "adelie": by_adelie,
    "celer": by_celer,
    "skglm": by_skglm,
    "scikit-learn": by_sklearn,
}


def work(library: str, place: str) -> None:
    """Race one library on a stored problem; print what it took as JSON."""
    warnings.simplefilter("ignore")
    with np.load(place, allow_pickle=False) as file:
        x = sparse.csr_matrix((file["data"], file["indices"], file["indptr"])) if "data" in file else file["x"]
        y, loss, strengths, best = file["y"], str(file["loss"]), file["strengths"], file["best"]
    x = x if not sparse.issparse(x) else sparse.csr_matrix(x, shape=(len(y), x.shape[1]))
    follow = PATHS[library]
    follow(x, y, loss, strengths[:2], 1e-4)  # compiles
    for tol in (1e-6,) if library == "mpiopt" else LADDER:
        spent = []
        for _ in range(RUNS):
            began = time.process_time()
            found = follow(x, y, loss, strengths, tol)
            spent.append(time.process_time() - began)
            if spent[-1] > LONGEST / RUNS:
                break
        reached = [value(x, y, loss, w, s) for w, s in zip(found, strengths, strict=True)]
        if max((np.array(reached) - best) / best) <= ACCURACY:
            print(json.dumps({"seconds": min(spent), "tol": tol, "runs": spent}))
            return
        if min(spent) > LONGEST:
            break
    print(json.dumps({"seconds": None}))


def race(library: str, place: str) -> float | None:
    """Return the processor seconds of a library, None if it has none."""
    from benchmarks.peers import interpreter

    words = [str(interpreter(library)), __file__, "--work", library, place]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    try:
        done = subprocess.run(words, env=variables, capture_output=True, text=True, timeout=HANGING)
        return json.loads(done.stdout.strip().splitlines()[-1])["seconds"]
    except (OSError, subprocess.TimeoutExpired, IndexError, json.JSONDecodeError):
        return None


def row(name: str, points: int) -> str:
    """Race all libraries on a set; return the row of the table."""
    import mpiopt
    from benchmarks.paths import coin, read_set

    one = read_set(name)
    options = mpiopt.PathOptions(points=points, min_ratio=one.min_ratio)
    sharp = mpiopt.path(one.x, one.y, loss=one.loss, intercept=False, options=options, tol=1e-9)
    best = [value(one.x, one.y, one.loss, point.model.coef[0], point.strength) for point in sharp.points]
    last, spent = sharp.points[-1], []
    for _ in range(RUNS):
        began = time.process_time()
        mpiopt.fit(one.x, one.y, loss=one.loss, l1=last.l1, l2=0.0, intercept=False, algorithm="working-set")
        spent.append(time.process_time() - began)
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "problem.npz")
        if sparse.issparse(one.x):
            rows = {"data": one.x.data, "indices": one.x.indices, "indptr": one.x.indptr}
        else:
            rows = {"x": one.x}
        np.savez(place, y=one.y, loss=one.loss, strengths=sharp.strengths, best=best, **rows)
        seconds = {library: race(library, place) for library in LIBRARIES}
    mine = seconds["mpiopt"]
    cells = ["–" if seconds[library] is None else f"{seconds[library]:.3g}" for library in LIBRARIES]
    others = [taken for library, taken in seconds.items() if library != "mpiopt" and taken is not None]
    ahead = "–" if mine is None or not others else f"{min(others) / mine:.2g}"
    ratio = "–" if mine is None else f"{mine / min(spent):.1f}"
    size = " × ".join(map(str, one.x.shape))
    return f"| {name} | {coin(name)} | {size} | {one.loss} | {' | '.join(cells)} | {ahead} | {ratio} |"


def rows_of(place: Path) -> dict[str, str]:
    """Return the rows of a table that was written before, by the name of the set."""
    lines = place.read_text().splitlines() if place.exists() else []
    found = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    return {name: line for name, line in found.items() if name != "set"}


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", nargs=2)
    parser.add_argument("--sets", default="")
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    if options.work:
        work(*options.work)
        return
    from benchmarks.paths import SETS, coin
    from benchmarks.peers import install

    if options.install:
        for library in LIBRARIES[1:]:
            install(library)
    chosen = {
        "": list(SETS),
        **{half: [s for s in SETS if (coin(s) == "heads") == (half == "tuned")] for half in ("tuned", "judged")},
    }
    heads = ["set", "coin", "rows × columns", "loss", *LIBRARIES, "best other / mpiopt", "path / last alone"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    kept = rows_of(Path(options.out)) if options.out else {}
    print("\n".join(lines), flush=True)
    for name in chosen.get(options.sets) or options.sets.split(","):
        lines.append(kept.get(name) or row(name, options.points))
        print(lines[-1], flush=True)
        if options.out:
            Path(options.out).parent.mkdir(parents=True, exist_ok=True)
            Path(options.out).write_text(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
