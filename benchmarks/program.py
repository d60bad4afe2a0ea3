"""Reading text, start-up and memory of the program."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.launching import mpirun


def write_text(path: Path, n: int, nonzeros: int, d: int) -> int:
    """Write synthetic rows in LIBSVM's format and return the number of bytes."""
    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(1, d - nonzeros, (n, nonzeros)), axis=1) + np.arange(nonzeros)
    values = rng.random((n, nonzeros))
    with path.open("w") as out:
        for j, v in zip(columns, values, strict=True):
            pairs = " ".join(f"{a}:{b:.6g}" for a, b in zip(j, v, strict=True))
            out.write(f"{1 if v[0] > 0.5 else -1} {pairs}\n")
    return path.stat().st_size


def parsing(part: float) -> dict[str, float]:
    """Return MB per processor second of parsing alone, and of everything from the file to the shard."""
    from mpiopt.comm.threads import single
    from mpiopt.core.config.job import DataOptions
    from mpiopt.data.dataset import prepare
    from mpiopt.data.formats.base import find_reader

    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.svm"
        nbytes = write_text(path, max(500, int(part * 60_000)), 70, 30_000)
        parse, whole = [], []
        for _ in range(3):
            begin = time.process_time()
            for _piece in find_reader(str(path)).open(str(path), single()).pieces():
                pass
            parse.append(time.process_time() - begin)
            begin = time.process_time()
            prepare(str(path), "binary", DataOptions(), 0, single())
            whole.append(time.process_time() - begin)
    return {"parse": 1e-6 * nbytes / min(parse), "file to shard": 1e-6 * nbytes / min(whole)}


def first_round() -> float:
    """Return the least wall seconds of a run of one epoch on 2 ranks, with warm caches."""
    with TemporaryDirectory() as folder:
        path, out = Path(folder) / "rows.svm", Path(folder) / "rows.h5"
        write_text(path, 2000, 20, 100)
        words = ["-m", "mpiopt", "train", str(path), "--out", str(out), "--max-epochs", "1", "--algorithm", "saga"]
        took = []
        for _ in range(4):
            begin = time.perf_counter()
            mpirun(2, *words, codes=(0, 3))
            took.append(time.perf_counter() - begin)
    return min(took)


MEMORY = """
import benchmarks, sys
import numpy as np
from benchmarks.data import load
from mpiopt.training.fit import fit
def peak(): return 1024 * int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
small = load("syn_c10", 0.01)
fit(small.x, small.y, intercept=False, tol=1e-6)
rng = np.random.default_rng(0)
n, d = int(sys.argv[1]), 100
x = np.empty((n, d)); x[:] = rng.standard_normal(d)
for i in range(0, n, 1000): x[i:i + 1000] = rng.standard_normal((len(x[i:i + 1000]), d))
y = np.where(x[:, 0] + rng.standard_normal(n) > 0, 1.0, -1.0)
before = peak()
fit(x, y, intercept=False, tol=1e-6)
needed = 8 * n * 104 + 8 * n + 8 * 8 * 104
print("FIGURE", (peak() - before) / needed)
"""


def memory(part: float) -> float:
    """Return the growth of the peak memory in a fit of dense rows / (rows + table + 8 vectors), in a new process.

    The rows of the shard, a padded copy, are counted; the caller's array is not.
    """
    rows = str(max(20_000, int(part * 400_000)))
    done = subprocess.run([sys.executable, "-c", MEMORY, rows], capture_output=True, text=True, check=True)
    return float(re.findall(r"FIGURE (\S+)", done.stdout)[0])
