"""The gate on work: what each algorithm, and `auto`, spends on twenty small sets, on 2 ranks in threads.

    python -m tests.golden.counts                      # print a table
    python -m tests.golden.counts --write              # store the counts: no change may be worse by more than a tenth
    python -m tests.golden.counts --write --only NAME  # the same for one set

Counts are no seconds, so they are the same on a busy machine. They are taken at the first evaluation with
F − F* <= 1e-6 (F(start) − F*), and where the run is certified to 1e-9. F* is the least value of all runs on the set.
What the certifier does where a certificate stands still, to measure rounding, is left out.

* epochs: as the program counts them;
* passes: numbers of the rows that were visited, over all stored numbers, on rank 0;
* exchanges, bytes: of rank 0, by its channel;
* cost: modelled seconds of rank 0's work (`benchmarks.work`), without exchanges: on such small sets their latency
  would be all.
"""

import argparse
import json
import threading
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

from benchmarks.work import counted
from mpiopt.comm.threads import spmd
from mpiopt.objective import certificate
from mpiopt.training import evaluating
from mpiopt.training.fit import fit
from tests.cases.small_sets import small_sets

STORE = Path(__file__).with_name("counts.json")
ALGORITHMS = ("newton", "lbfgs", "newton-cg", "working-set", "saga", "auto")
COUNTS = ("epochs", "passes", "exchanges", "bytes", "cost")
LEVELS = ("1e-6", "1e-9")
NO_ROUNDING = replace(certificate.TUNING, patience=10**9)  # its Hessian would hide what an algorithm costs
EPOCHS = 200.0  # budget: a run that does not arrive counts as None
RANKS = 2


def suits(algorithm, made):
    """Return whether an algorithm takes the set, in a time that a test has."""
    l1 = made.model.get("l1", 0.0) > 0.0
    if algorithm == "newton":
        return made.x.shape[1] <= 400
    return algorithm != ("newton-cg" if l1 else "working-set")


def trace(algorithm, made):
    """Run; return the fit and the counts of rank 0 at each evaluation."""
    rows, stored = [], float(made.x.nnz if hasattr(made.x, "nnz") else made.x.size)
    n, record = made.x.shape[0], evaluating.record
    with counted() as work:

        def noted(now, step_size, timer, report, *more):
            record(now, step_size, timer, report, *more)
            if timer.channel.rank == 0:
                traffic = timer.channel.traffic
                passes = RANKS * work.numbers() / stored
                at = (now.epochs, passes, traffic.exchanges, traffic.bytes_sent, work.seconds())
                rows.append((now.exact.value, dict(zip(COUNTS, at, strict=True))))

        def main(comm):
            if comm.rank == 0:
                work.thread = threading.get_ident()
            mine = slice(comm.rank * n // RANKS, (comm.rank + 1) * n // RANKS)
            return fit(
                made.x[mine], made.y[mine], comm, algorithm=algorithm, tol=1e-9, max_epochs=EPOCHS, **made.model
            )

        with (
            mock.patch("mpiopt.training.loop.record", noted),
            mock.patch("mpiopt.training.evaluating.record", noted),
            mock.patch.object(certificate, "TUNING", NO_ROUNDING),
        ):
            fits = spmd(RANKS, main)
    return fits[0], rows


def counts_of(name):
    """Return the counts by algorithm and level; None for a level that was not reached."""
    made = small_sets()[name]()
    runs = {algorithm: trace(algorithm, made) for algorithm in ALGORITHMS if suits(algorithm, made)}
    best = min(fitted.objective for fitted, _ in runs.values())
    found = {}
    for algorithm, (fitted, rows) in runs.items():
        near = 1e-6 * (rows[0][0] - best)
        reached = next((at for value, at in rows if value - best <= near), None)
        found[algorithm] = {"1e-6": rounded(reached), "1e-9": rounded(rows[-1][1] if fitted.certified else None)}
    return found


def rounded(at):
    return at and {name: float(f"{value:.4g}") for name, value in at.items()}


def ratios(found):
    """Return, for each level, the cost of `auto` over that of the best algorithm; None where none arrives."""
    result = {}
    for level in LEVELS:
        costs = [at[level]["cost"] for name, at in found.items() if name != "auto" and at[level]]
        mine = found["auto"][level]
        result[level] = (mine["cost"] / min(costs) if mine else np.inf) if costs else None
    return result


def table(name, found):
    """Return a line for each algorithm and level."""
    lines = []
    for algorithm, levels in found.items():
        for level, at in levels.items():
            figures = "  ".join(f"{key} {at[key]:.4g}" for key in COUNTS) if at else "not reached"
            lines.append(f"{name:18} {algorithm:12} {level}  {figures}")
    return "\n".join(lines) + f"\n{name:18} auto / best: {ratios(found)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="store the counts")
    parser.add_argument("--only", action="append", choices=list(small_sets()), help="only these sets")
    arguments = parser.parse_args()
    stored = json.loads(STORE.read_text()) if STORE.exists() else {}
    for name in arguments.only or small_sets():
        found = counts_of(name)
        print(table(name, found), flush=True)
        stored[name] = found
    if arguments.write:
        STORE.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
