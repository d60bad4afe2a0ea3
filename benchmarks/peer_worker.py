"""A process that fits problems with the solvers of one library, as `benchmarks.peers` asks on its standard input.

A request is one line of JSON: [path of a problem, name of a solver, setting]. The answer is [seconds, F, error].
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import warnings
from pathlib import Path

import benchmarks  # first: it sets one thread
from benchmarks.model_classes import ModelProblem
from benchmarks.peer_solvers import FAMILIES, Solver


def main(library: str) -> None:
    """Answer requests until the input ends; what a library prints goes to standard error."""
    warnings.filterwarnings("ignore")  # fits are meant to reach their iteration limits
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    path, problem, known = "", None, {}
    for request in sys.stdin:
        asked, name, setting = json.loads(request)
        if asked != path:
            path, problem = asked, ModelProblem.load(Path(asked))
            known = {solver.name: solver for solver in FAMILIES[library](problem)}
        answers.write(json.dumps(fitted(known[name], problem, setting)) + "\n")
        answers.flush()


def fitted(solver: Solver, problem: ModelProblem, setting: float) -> tuple[float, float, str]:
    """Return the processor seconds of a fit, F at its model, and the error if there was one."""
    gc.collect()
    begin = time.process_time()
    try:
        w, b = solver.fit(problem, setting)
    except Exception as error:  # an error of another library must not end the table
        return time.process_time() - begin, float("inf"), f"{type(error).__name__}: {error}"[:80]
    return time.process_time() - begin, problem.value(w, b), ""


if __name__ == "__main__":
    if benchmarks.REMOVED:
        print(f"removed from the environment: {', '.join(benchmarks.REMOVED)}", file=sys.stderr)
    main(sys.argv[1])
