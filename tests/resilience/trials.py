"""The command line of long trials: count the endings, print a table, write the counts to a file.

`--log FILE` notes each trial in a line as it ends. A run that was ended by a signal goes on from its log when it is
called again; `--counts` prints what the log has so far, also while the run goes on.
"""

import argparse
import collections
import json
import signal
import sys
from pathlib import Path

from mpiopt.results.provenance import git_revision
from tests.conftest import ROOT
from tests.resilience.children import made


def faults(tally, names):
    """Return how many trials ended in one of these ways."""
    return sum(counts[name] for counts in tally.values() for name in names)


def tally_of(harness, numbers, jobs=1, note=lambda *found: None):
    """Make the trials of these numbers; return how they ended, by kind; print each fault."""
    tally = collections.defaultdict(collections.Counter)
    with harness.prepared():
        for number, ending, shown in made(harness, iter(numbers), jobs):
            kind = harness.kind_of(number)
            tally[kind][ending] += 1
            note(number, kind, ending, shown)
            if ending in harness.faults:
                print(f"{ending}: trial {number}, {kind}: {shown}", flush=True)
    return tally


def logged(log):
    """Return the endings of the trials in a log, by number: {7: (kind, ending), …}."""
    lines = Path(log).read_text().splitlines() if log and Path(log).exists() else []
    return {number: (kind, ending) for number, kind, ending, _ in map(json.loads, lines) if number >= 0}


def main(harness):
    """Make the trials of the command line; return the exit code, 1 if there was a fault.

    Parameters
    ----------
    harness : Harness
        The kind of trials.
    """
    asked = arguments()
    wanted = range(asked.seed, asked.seed + asked.count)
    done = {number: found for number, found in logged(asked.log).items() if number in wanted}
    name = Path(sys.argv[0]).stem
    if not asked.counts:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        with open(asked.log or "/dev/null", "a", buffering=1) as log:
            log.write(json.dumps([-1, "revision", git_revision(ROOT), ""]) + "\n")

            def note(number, kind, ending, shown):
                done[number] = kind, ending
                log.write(json.dumps([number, kind, ending, shown]) + "\n")

            tally_of(harness, (number for number in wanted if number not in done), asked.jobs, note)
    tally = collections.defaultdict(collections.Counter)
    for kind, ending in done.values():
        tally[kind][ending] += 1
    code = told(tally, harness.faults, len(done), asked)
    if asked.page:
        write_page(Path(asked.page), name, table_of(tally), done, asked.log)
    return code


def arguments():
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--log", default="", help="notes each trial; the next call goes on from it")
    parser.add_argument("--counts", action="store_true", help="print the counts of the log, and make no trial")
    parser.add_argument("--page", default="", help="a page of Markdown whose table of these trials is replaced")
    parser.add_argument("--out", default="")
    return parser.parse_args()


def told(tally, names, count, asked):
    """Print the counts, write them to the file that was asked for, and return the exit code."""
    print(table_of(tally))
    found = faults(tally, names)
    print(f"{found} faults in {count} trials")
    if asked.out:
        Path(asked.out).write_text(json.dumps({"seed": asked.seed, "count": count, "endings": tally}, indent=1))
    return 1 if found else 0


def table_of(tally):
    """Return the counts as a table of Markdown: a row for each kind, a column for each ending."""
    endings = sorted({ending for counts in tally.values() for ending in counts})
    every = collections.Counter()
    for counts in tally.values():
        every.update(counts)
    lines = ["| | " + " | ".join(endings) + " |", "|---|" + "---|" * len(endings)]
    for kind, counts in [*sorted(tally.items()), ("all", every)]:
        lines.append(f"| {kind} | " + " | ".join(str(counts[ending]) for ending in endings) + " |")
    return "\n".join(lines)


def write_page(page, name, table, done, log):
    """Put the table, and what it counts, between the two marks of these trials in a page."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, rest = page.read_text().split(begin)
    revisions = ", ".join(f"`{text[:7]}`" for text in revisions_of(log))
    what = f"{len(done)} trials, seeds {min(done)} to {max(done)}, revision {revisions}:"
    page.write_text(f"{before}{begin}{what}\n\n{table}\n\n{end}{rest.split(end)[1]}")


def revisions_of(log):
    """Return the revisions of the runs that wrote a log, each once."""
    lines = map(json.loads, Path(log).read_text().splitlines())
    return list(dict.fromkeys(ending for number, _, ending, _ in lines if number < 0))


def main_of_tally(trials, names):
    """Make the trials of the command line with a function of a count and a seed; return the exit code."""
    asked = arguments()
    return told(trials(asked.count, asked.seed), names, asked.count, asked)
