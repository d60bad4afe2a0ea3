"""`python -m benchmarks.plan_counts --store FILE`, then `--write FILE.md`: what plans say of epochs and bytes.

Each real set is written to an HDF5 file and planned with `mpiopt plan`, then trained on ranks in threads of one
process to 1e-8, with l2 = 1/N and an intercept. Epochs and bytes are counts, the same on a busy machine. Ratios are
predicted / counted; a cell is right within 20 %. On one rank nothing is sent.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

from benchmarks.auto import LOSS, MORE, read
from benchmarks.tightness import SETS
from mpiopt.cli.main import run
from mpiopt.cluster.planning import plan_args
from mpiopt.cluster.planning.planner import Planner
from mpiopt.comm.threads import single, spmd
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.run_record import with_history

WITHIN = 0.2  # relative error of a right prediction
NUMBERS = 1e6  # of a set at most: every k-th row of a larger one


def write(path: Path, file: str, target: str) -> bool:
    """Write a set as an HDF5 file; return whether it is there."""
    data = read(file, target, NUMBERS)
    if data is None:
        return False
    with h5py.File(path, "w") as out:
        out["y"] = data.y
        if hasattr(data.x, "indptr"):
            out.attrs["shape"] = data.x.shape
            out["indptr"], out["indices"], out["data"] = data.x.indptr, data.x.indices, data.x.data
        else:
            out["X"] = data.x
    return True


def cell(path: Path, loss: str, algorithm: str, ranks: int) -> list[float]:
    """Return epochs and bytes, predicted and counted."""
    flags = ["--loss", loss, "--intercept", "--algorithm", algorithm, "--tol", "1e-8"]
    planner = Planner.of(plan_args.read([str(path), "--ranks", str(ranks), *flags]), single())
    found = planner.predict(ranks)
    out = path.with_name("run.h5")
    words = ["train", str(path), *flags, "--out", str(out), "--overwrite", "--quiet"]
    spmd(ranks, lambda comm: run(words, comm, StopSignal()))
    last = with_history(out).history[-1]
    return [found.epochs, float(last["epoch"]), found.sent_all, float(last["bytes_sent"])]


def page(store: Path) -> str:
    """Return the tables."""
    cells = [json.loads(line) for line in store.read_text().splitlines()]
    lines = [
        "| algorithm | ranks | sets | epochs within 20 % | median | worst | bytes within 20 % | median | worst |"
    ]
    lines.append("|---|" + "---|" * 8)
    for algorithm, ranks in sorted({(one[2], one[3]) for one in cells}):
        mine = [one[4] for one in cells if (one[2], one[3]) == (algorithm, ranks)]
        words = []
        for predicted, counted in ((0, 1), (2, 3)):
            ratios = [one[predicted] / one[counted] for one in mine if one[counted]]
            right = sum(abs(ratio - 1.0) <= WITHIN for ratio in ratios)
            worst = max(ratios, key=lambda ratio: abs(np.log(ratio)), default=np.nan)
            middle = statistics.median(ratios) if ratios else np.nan
            words.append(f"{right} of {len(ratios)} | {middle:.2f} | {worst:.2f}" if ratios else "– | – | –")
        lines.append(f"| {algorithm} | {ranks} | {len(mine)} | {' | '.join(words)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Plan, run and store; or print the tables of what is stored."""
    parser = argparse.ArgumentParser(prog="benchmarks.plan_counts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--store", type=Path, required=True, help="JSON lines, one for each cell; cells there are kept"
    )
    parser.add_argument("--write", type=Path, help="only write the tables of what is stored")
    parser.add_argument("--algorithms", default="auto,saga,lbfgs")
    parser.add_argument("--ranks", default="1,2,4,8")
    options = parser.parse_args()
    if options.write:
        options.write.write_text(page(options.store))
        return
    known = (
        {tuple(json.loads(line)[:4]) for line in options.store.read_text().splitlines()}
        if options.store.exists()
        else set()
    )
    for target in SETS:
        for file in [*SETS[target], *MORE.get(target, [])]:
            name = file.partition("/")[0]
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "rows.h5"
                if not write(path, file, target):
                    continue
                for algorithm in options.algorithms.split(","):
                    for ranks in map(int, options.ranks.split(",")):
                        if (name, target, algorithm, ranks) in known:
                            continue
                        try:
                            found = cell(path, LOSS[target], algorithm, ranks)
                        except Exception as error:
                            print(name, algorithm, ranks, error, file=sys.stderr, flush=True)
                            continue
                        with options.store.open("a") as out:
                            out.write(json.dumps([name, target, algorithm, ranks, found]) + "\n")


if __name__ == "__main__":
    main()
