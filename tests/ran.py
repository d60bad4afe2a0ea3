"""Fail where an MPI test ran on no number of ranks: `python tests/ran.py FOLDER`, the MPIOPT_RAN of the runs."""

import json
import sys
from pathlib import Path


def never_ran(runs):
    """Return the tests that were skipped in every run, with the reason; tests that lack real data do not count."""
    ran = {test for run in runs for test in run["ran"] + run["wanting"]}
    skipped = {test: why for run in runs for test, why in run["skipped"].items()}
    return {test: why for test, why in sorted(skipped.items()) if test not in ran}


def main(folder):
    runs = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]
    ran = {test for run in runs for test in run["ran"]}
    wanting = {test for run in runs for test in run["wanting"]}
    missed = never_ran(runs)
    for test, why in missed.items():
        print(f"NEVER RAN: {test}: {why}")
    counts = f"{len(ran)} ran, {len(wanting)} lacked data, {len(missed)} never ran"
    print(f"MPI tests over {len(runs)} numbers of ranks: {counts}")
    return 1 if missed or not ran else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
