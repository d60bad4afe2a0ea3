"""The command line of long trials: count the endings, print a table, write the counts to a file."""

import argparse
import json
from pathlib import Path


def faults(tally, names):
    """Return how many trials ended in one of these ways."""
    return sum(counts[name] for counts in tally.values() for name in names)


def main(trials, names):
    """Make the trials of the command line; return the exit code, 1 if there was a fault.

    Parameters
    ----------
    trials : callable
        Takes a count and a seed; returns a counter of the endings for each kind of trial.
    names : sequence of str
        The endings that are faults.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="")
    asked = parser.parse_args()
    tally = trials(asked.count, asked.seed)
    for kind, counts in tally.items():
        print(f"{kind:<26}", ", ".join(f"{ending}: {n}" for ending, n in sorted(counts.items())))
    found = faults(tally, names)
    print(f"{found} faults in {asked.count} trials")
    if asked.out:
        Path(asked.out).write_text(json.dumps({"seed": asked.seed, "count": asked.count, "endings": tally}, indent=1))
    return 1 if found else 0
