"""Fit problems drawn from seeds, and judge every certificate against an independent reference in long double.

    python -m tests.fuzz.problems --seed 0 --count 1000 [--jobs 2] [--out FILE.md]
    python -m tests.fuzz.problems --only 17

A problem is a seed: --seed S --count N are the seeds S to S + N − 1. The first command prints a table in Markdown,
and each problem that did not end as it should, at once on stderr; the second prints one problem and all that is known
of it. The exit code is 1 if a certificate is wrong, or if a fit crashed or hung.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tests.fuzz import judge as verdicts
from tests.fuzz.draw import LOSSES, NEWER_LOSSES, PENALTIES, draw
from tests.fuzz.judge import GOOD, LIES, Judgement, judge

SHOWN = 40  # failing seeds of one kind that are listed
BAD = (*LIES, verdicts.CRASH, verdicts.TIMEOUT)
COLUMNS = {
    "right": (verdicts.RIGHT,),
    "wrong": (verdicts.WRONG, verdicts.LOOSE, verdicts.NONE_CERTIFIED, verdicts.MISSTATED, verdicts.DENIED),
    "not finite": (verdicts.NAN,),
    "not certified": (verdicts.OPEN,),
    "no optimum, said": (verdicts.SAID,),
    "no optimum, not said": (verdicts.UNSAID,),
    "error": (verdicts.ERROR,),
    "crash": (verdicts.CRASH,),
    "time-out": (verdicts.TIMEOUT,),
    "no reference": (verdicts.UNKNOWN,),
}


def judged(seed: int) -> Judgement:
    """Judge the problem of a seed, without its data, which need not go from one process to another."""
    return judge(draw(seed)).light()


def campaign(seeds: Iterable[int], jobs: int) -> list[Judgement]:
    """Judge the problems of all seeds."""
    seeds = list(seeds)
    if jobs == 1:
        return list(shown(map(judged, seeds), len(seeds)))
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        return list(shown(pool.imap(judged, seeds, chunksize=4), len(seeds)))


def shown(found: Iterable[Judgement], total: int) -> Iterable[Judgement]:
    """Pass judgements on; print those that are not good, with the share that is done."""
    for i, one in enumerate(found):
        if one.verdict not in GOOD:
            print(f"{i + 1} of {total}: {one.line()}", file=sys.stderr, flush=True)
        yield one


def row(name: str, found: list[Judgement]) -> str:
    """Return a row of a table."""
    counts = Counter(one.verdict for one in found)
    cells = [sum(counts[v] for v in kinds) for kinds in COLUMNS.values()]
    return f"| {name} | {len(found)} | " + " | ".join(f"{c or '–'}" for c in cells) + f" | {share(found)} |"


def share(found: list[Judgement]) -> str:
    """Return the share of problems with default options and an optimum that is certified and right."""
    mine = [one for one in found if one.exists is not False and one.problem.default]
    return f"{100 * sum(one.verdict == verdicts.RIGHT for one in mine) / len(mine):.1f} %" if mine else "–"


def table(what: str, groups: dict[str, list[Judgement]]) -> str:
    """Return a table with a row for each group that is not empty."""
    head = f"| {what} | problems | " + " | ".join(COLUMNS) + " | default certified |"
    return "\n".join([head, "|---" * (len(COLUMNS) + 3) + "|", *(row(k, v) for k, v in groups.items() if v)])


def page(command: str, found: list[Judgement]) -> str:
    """Return the page of the documents."""
    traits = sorted({t for one in found for t in one.problem.traits})
    by_trait = {t: [one for one in found if t in one.problem.traits] for t in traits}
    by_kind = {
        f"{loss}, {penalty}": [o for o in found if (o.problem.family, o.problem.penalty) == (loss, penalty)]
        for loss in LOSSES + NEWER_LOSSES
        for penalty in PENALTIES
    }
    algorithms = sorted({one.problem.algorithm for one in found})
    by_algorithm = {name: [one for one in found if one.problem.algorithm == name] for name in algorithms}
    return HEAD.format(command=command, count=len(found)) + "\n\n".join(
        [
            table("all", {"all": found}),
            "## By loss and penalty\n\n" + table("kind", by_kind),
            "## By algorithm\n\n" + table("algorithm", by_algorithm),
            "## By what is special about a problem\n\n" + table("trait", by_trait),
            "## Problems that did not end as they should\n\n" + failures(found),
        ]
    )


HEAD = """# Certificates under fuzz

`{command}` drew {count} problems and wrote this page.
A problem is a seed: a loss, a penalty, weights, dense or sparse rows of float32 or float64, units from 1e-9 to 1e9,
offsets to 1e12, outliers, collinear columns, fewer rows than columns, separable classes, counts with empty
categories, 1 to 3 ranks, an algorithm and a tolerance. The objective at the returned model is compared with an
optimum in long double by code that the package does not share (`tests/fuzz/reference.py`). "Right" means that
F(w) − F\\* is at most what the certificate claims, up to rounding (`tests/fuzz/judge.py` states how much).
"Default certified" is the share of the problems with an optimum, among those with default algorithm and tolerance,
that ended certified and right within 200 epochs. A problem without an optimum is to be refused in words.
`python -m tests.fuzz.problems --only SEED` shows one problem.

"""


def failures(found: list[Judgement]) -> str:
    """List what did not end as it should, by kind, the most frequent first."""
    kinds: dict[str, list[Judgement]] = {}
    for one in found:
        if one.verdict not in GOOD:
            kinds.setdefault(one.verdict, []).append(one)
    parts = []
    for verdict, those in sorted(kinds.items(), key=lambda item: -len(item[1])):
        lines = [f"* {one.line().removeprefix(verdict + ': ')}" for one in those[:SHOWN]]
        rest = [f"* and {len(those) - SHOWN} more"] if len(those) > SHOWN else []
        parts.append("\n".join([f"### {verdict}: {len(those)}", "", *lines, *rest]))
    return "\n\n".join(parts) or "None."


def show(seed: int) -> Judgement:
    """Print one problem and all that is known of it."""
    problem = draw(seed)
    print(problem.line())
    x = problem.x.toarray() if hasattr(problem.x, "toarray") else problem.x
    print(f"first rows of each rank: {problem.cuts}")
    print(f"columns: least {x.min(axis=0)}\n         largest {x.max(axis=0)}\n         deviation {x.std(axis=0)}")
    values, counts = np.unique(problem.y, return_counts=True)
    few = len(values) <= 10
    print("labels:", dict(zip(values, counts, strict=True)) if few else (values.min(), values.max(), problem.y.std()))
    found = judge(problem)
    for name, value in vars(found).items():
        if name not in ("problem", "more"):
            print(f"{name}: {value}")
    for name, value in found.more.items():
        print(f"{name}: {value}")
    return found


def main() -> int:
    """Run a campaign or one problem."""
    parser = argparse.ArgumentParser(prog="tests.fuzz.problems", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", type=int, help="the seed of one problem")
    parser.add_argument("--out", default="", help="a Markdown file to write; the terminal otherwise")
    asked = parser.parse_args()
    if asked.only is not None:
        return int(show(asked.only).verdict in BAD)
    found = campaign(range(asked.seed, asked.seed + asked.count), asked.jobs)
    command = f"python -m tests.fuzz.problems --seed {asked.seed} --count {asked.count}"
    text = page(command + (f" --out {asked.out}" if asked.out else ""), found)
    if asked.out:
        Path(asked.out).write_text(text + "\n")
    print(table("all", {"all": found}) if asked.out else text)
    return int(any(one.verdict in BAD for one in found))


if __name__ == "__main__":
    sys.exit(main())
