"""Golden runs: small jobs over algorithms, exchanges, compressors, data and ranks whose outcome must not change.

    python -m tests.golden.runs --write FILE      # run all of them, store what came out
    python -m tests.golden.runs --compare FILE    # run all of them, compare bit for bit

A change that only moves or renames code leaves every bit as it was: write with the revision before it, compare with
the one after, on the same machine. Between machines the last bits differ (BLAS, vector units); `runs.json` therefore
holds rounded numbers, which `test_runs.py` compares.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DENSE = "generate:n=600,d=12,condition=1e3,task=binary"
SPARSE = "generate:n=600,d=60,density=0.1,task=binary"
CLASSES = "generate:n=400,d=8,task=multiclass,classes=3"
REAL = "generate:n=500,d=10,condition=1e2,task=regression"
COUNT = "generate:n=500,d=6,task=count"
BLOCKS = "generate:n=640,d=10,heterogeneity=1,blocks=8,task=binary"
SHORT = ("--coordinates", "file", "--max-epochs", "30", "--tol", "1e-9", "--checkpoint-every", "7rounds", "--quiet")
# name: (ranks, data and flags)
JOBS = {
    "auto-dense": (1, (DENSE,)),
    "auto-sparse-l1": (2, (SPARSE, "--l1", "1e-3", "--intercept")),
    "auto-softmax": (2, (CLASSES, "--intercept")),
    "saga-one-rank": (1, (DENSE, "--algorithm", "saga")),
    "saga-sync": (3, (DENSE, "--algorithm", "saga", "--shards", "sorted-by-label")),
    "saga-plain": (2, (DENSE, "--algorithm", "saga[preconditioner=none]")),
    "saga-diagonal": (2, (DENSE, "--algorithm", "saga[preconditioner=diagonal]")),
    "saga-variant-a": (2, (BLOCKS, "--algorithm", "saga[variant=A,preconditioner=none]", "--shards", "contiguous")),
    "saga-variant-c": (3, (BLOCKS, "--algorithm", "saga[variant=C,preconditioner=none]", "--shards", "contiguous")),
    "saga-variant-d": (2, (BLOCKS, "--algorithm", "saga[variant=D,preconditioner=none]")),
    "saga-uniform": (2, (DENSE, "--algorithm", "saga[sampling=uniform,preconditioner=none,refresh=0]")),
    "saga-overlap": (2, (DENSE, "--algorithm", "saga", "--exchange", "overlap")),
    "saga-line-search": (2, (SPARSE, "--algorithm", "saga[preconditioner=none]", "--step-size", "line-search")),
    "saga-theoretical": (2, (REAL, "--algorithm", "saga[preconditioner=none]", "--step-size", "theoretical")),
    "saga-global": (2, (REAL, "--algorithm", "saga[preconditioner=none]", "--step-size", "global")),
    "saga-sparse-l1": (2, (SPARSE, "--algorithm", "saga", "--l1", "1e-3")),
    "saga-sparse-lazy": (2, (SPARSE, "--algorithm", "saga[lazy=true,preconditioner=none]", "--l1", "1e-3")),
    "saga-softmax": (3, (CLASSES, "--algorithm", "saga", "--intercept")),
    "saga-squared-extrapolate": (2, (REAL, "--algorithm", "saga[extrapolate=3]")),
    "saga-quantised": (2, (DENSE, "--algorithm", "saga", "--compress", "quantised", "--downlink")),
    "saga-quantised-plain": (
        3,
        (BLOCKS, "--algorithm", "saga[preconditioner=none]", "--compress", "quantised[levels=127]"),
    ),
    "saga-top-k": (2, (SPARSE, "--algorithm", "saga", "--compress", "top-k", "--downlink")),
    "saga-rand-k": (2, (SPARSE, "--algorithm", "saga", "--compress", "rand-k", "--memory", "difference")),
    "saga-natural": (2, (REAL, "--algorithm", "saga", "--compress", "natural")),
    "saga-float16": (2, (CLASSES, "--algorithm", "saga", "--compress", "float16")),
    "lbfgs": (2, (DENSE, "--algorithm", "lbfgs", "--intercept")),
    "lbfgs-l1": (3, (SPARSE, "--algorithm", "lbfgs", "--l1", "1e-3")),
    "lbfgs-softmax": (1, (CLASSES, "--algorithm", "lbfgs")),
    "lbfgs-huber": (2, (REAL, "--algorithm", "lbfgs", "--loss", "huber", "--scale", "standard")),
    "newton": (2, (DENSE, "--algorithm", "newton", "--intercept")),
    "newton-l1": (2, (SPARSE, "--algorithm", "newton", "--l1", "1e-3")),
    "working-set-sparse": (2, (SPARSE, "--algorithm", "working-set", "--l1", "1e-3", "--intercept")),
    "working-set-softmax": (3, (CLASSES, "--algorithm", "working-set", "--l1", "1e-2", "--l2", "0")),
    "newton-poisson": (3, (COUNT, "--algorithm", "newton", "--intercept")),
    "newton-squared-hinge-float32": (2, (DENSE, "--algorithm", "newton", "--loss", "squared-hinge", "--float32")),
    "graph-saga": (3, (BLOCKS, "--algorithm", "graph-saga[topology=ring]", "--step-size", "0.05")),
    "dlas": (3, (REAL, "--algorithm", "dlas")),
    "gradient-tracking": (3, (REAL, "--algorithm", "gradient-tracking", "--step-size", "0.05")),
    "gt-saga": (2, (REAL, "--algorithm", "gt-saga", "--step-size", "0.01")),
    "push-saga": (3, (REAL, "--algorithm", "push-saga", "--step-size", "0.01")),
    "diana": (2, (DENSE, "--algorithm", "diana", "--compress", "quantised")),
    "ef21": (2, (DENSE, "--algorithm", "ef21", "--compress", "top-k")),
    "local-sgd": (2, (DENSE, "--algorithm", "local-sgd")),
    "compressed-sgd": (2, (REAL, "--algorithm", "compressed-sgd", "--compress", "quantised")),
}
BY_MPIRUN = {"mpi-saga": (2, JOBS["saga-sync"][1]), "mpi-lbfgs": (3, JOBS["lbfgs-l1"][1])}


def words_of(name, arguments, folder):
    """Return the words of the command `train` for a job that writes into `folder`."""
    return ["train", *arguments, *SHORT, "--out", str(Path(folder) / f"{name}.h5")]


def in_threads(name, ranks, arguments, folder):
    """Run a job on ranks that are threads; give the exit code."""
    from tests.golden.front import run_in_threads

    return run_in_threads(ranks, words_of(name, arguments, folder))


def by_mpirun(name, ranks, arguments, folder):
    """Run a job on ranks that are processes; give the exit code."""
    mpirun = Path(sys.executable).with_name("mpirun")
    line = [str(mpirun), "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]
    line += [sys.executable, "-m", "mpi4py", "-m", "mpiopt", *words_of(name, arguments, folder)]
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **root, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode if not done.returncode or done.returncode == 3 else done.stderr[-600:]


def content(name, folder):
    """Return what a run left behind: numbers for people, and a digest of every bit that no clock decides."""
    with h5py.File(Path(folder) / f"{name}.h5") as f:
        coef, intercept = f["model/coef"][()], f["model/intercept"][()]
        history, traffic = f["history"][()], f["traffic"][()]
    columns = {n: history[n] for n in history.dtype.names if "seconds" not in n}
    counts = {n: traffic[n] for n in traffic.dtype.names if "seconds" not in n}
    digest = hashlib.sha256(coef.tobytes() + intercept.tobytes())
    for part in (*columns.values(), *counts.values()):
        digest.update(np.ascontiguousarray(part).tobytes())
    saved = hashlib.sha256()
    for path in sorted((Path(folder) / f"{name}.ckpt").glob("*.h5")):
        with h5py.File(path) as f:
            f.visititems(lambda key, item: _add(saved, key, item))
    last = history[-1]
    return {
        "objective": float(last["objective"]),
        "epochs": float(last[1]),
        "rounds": int(last["round"]),
        "bytes": int(last["bytes_sent"]),
        "coef": float(np.linalg.norm(coef)),
        "model": digest.hexdigest(),
        "checkpoint": saved.hexdigest(),
    }


def _add(digest, key, item):
    """Add a dataset of a checkpoint to the digest; the head holds seconds, so only its fields' layout counts."""
    if not isinstance(item, h5py.Dataset):
        return
    if key == "head":
        item = json.dumps(json.loads(item[()].decode())["fields"])
        digest.update(item.encode())
    else:
        digest.update(key.encode() + np.ascontiguousarray(item[()]).tobytes())


def outcomes(names=()):
    """Run the jobs of these names, or all; give what each left behind."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for way, jobs in ((in_threads, JOBS), (by_mpirun, BY_MPIRUN)):
            for name, (ranks, arguments) in jobs.items():
                if names and name not in names:
                    continue
                with contextlib.redirect_stdout(io.StringIO()):
                    code = way(name, ranks, arguments, folder)
                if code not in (0, 3):
                    raise RuntimeError(f"{name} ended with {code}")
                found[name] = {"code": code, **content(name, folder)}
    return found


def main():
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write")
    parser.add_argument("--compare")
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    found = outcomes(asked.names)
    if asked.write:
        Path(asked.write).write_text(json.dumps(found, indent=1) + "\n")
    if asked.compare:
        before = json.loads(Path(asked.compare).read_text())
        other = [name for name in found if found[name] != before.get(name)]
        for name in other:
            was = before.get(name, {})
            print(
                f"{name}: " + ", ".join(f"{k} {was.get(k)} -> {v}" for k, v in found[name].items() if was.get(k) != v)
            )
        print(f"{len(found) - len(other)} of {len(found)} golden runs are equal")
        return 1 if other else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
