"""Fit problems drawn from seeds, and judge every certificate against an independent reference in long double.

    python -m tests.fuzz.problems --seed 0 --count 1000 [--default] [--jobs 2] [--log FILE.jsonl] [--out FILE.md]
    python -m tests.fuzz.problems --only 17

A problem is a seed: --seed S --count N are the seeds S to S + N − 1. The first command prints a table in Markdown,
and each problem that did not end as it should, at once on stderr; the second prints one problem and all that is known
of it. --default judges only the problems with default algorithm and tolerance. Judgements are added to the --log as
they come: the same command, log and sources go on where it stopped, and Ctrl-C still writes the page of what was
found. A problem that hangs or ends its process is one row of the table. The exit code is 1 if a certificate is wrong,
or if a fit crashed or hung.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import judge as verdicts
from tests.fuzz.draw import LOSSES, NEWER_LOSSES, PENALTIES, draw
from tests.fuzz.judge import GOOD, LIES, Judgement, judge
from tests.fuzz.workers import in_processes

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
    "beyond float64": (verdicts.BEYOND,),
}


NUMBERS = ("exists", "certificate", "kind", "epochs", "excess", "allowance", "left")  # of a judgement, in a log


def campaign(seeds: Iterable[int], jobs: int, log: str = "") -> list[Judgement]:
    """Judge the problems of all seeds that the log does not have; after Ctrl-C return what there is."""
    wanted = list(seeds)
    found = {one.problem.seed: one for one in logged(log, set(wanted))}
    missing = [seed for seed in wanted if seed not in found]
    for one in found.values():
        tell(one, log)
    if log and Path(log).is_file() and not Path(log).read_text().endswith("\n"):
        with Path(log).open("a") as file:  # the last line was cut
            file.write("\n")
    try:
        for one in in_processes(missing, jobs):
            found[one.problem.seed] = one
            tell(one, f"{len(found)} of {len(wanted)}")
            if log:
                with Path(log).open("a") as file:
                    file.write(json.dumps(as_line(one)) + "\n")
    except KeyboardInterrupt:
        print(f"stopped: {len(found)} of {len(wanted)} problems are judged", file=sys.stderr)
    return [found[seed] for seed in wanted if seed in found]


def tell(one: Judgement, where: str) -> None:
    """Print a judgement that is not good."""
    if one.verdict not in GOOD:
        print(f"{where}: {one.line()}", file=sys.stderr, flush=True)


def as_line(one: Judgement) -> dict[str, Any]:
    """Return a judgement as a line of a log: the problem is its seed."""
    known = {name: getattr(one, name) for name in NUMBERS}
    return {"code": code(), "seed": one.problem.seed, "verdict": one.verdict, "reason": one.reason, **known}


@cache
def code() -> str:
    """Return a sum of the sources of the package and of the fuzzer: judgements of other sources say nothing."""
    root, found = Path(__file__).parents[2], hashlib.sha256()
    for path in sorted([*(root / "mpiopt").rglob("*.py"), *(root / "tests" / "fuzz").glob("*.py")]):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def logged(log: str, wanted: set[int]) -> list[Judgement]:
    """Return the judgements of a log that these sources have made; a line that was cut counts as none."""
    if not (log and Path(log).is_file()):
        return []
    found = []
    for text in Path(log).read_text().splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if line["seed"] in wanted and line["code"] == code():
            known = {name: line[name] for name in NUMBERS}
            found.append(Judgement(draw(line["seed"]), line["verdict"], line["reason"], **known).light())
    return found


def row(name: str, found: list[Judgement]) -> str:
    """Return a row of a table."""
    counts = Counter(one.verdict for one in found)
    cells = [sum(counts[v] for v in kinds) for kinds in COLUMNS.values()]
    return f"| {name} | {len(found)} | " + " | ".join(f"{c or '–'}" for c in cells) + f" | {share(found)} |"


def share(found: list[Judgement]) -> str:
    """Return the share of problems with default options and an optimum that is certified and right."""
    counted = [one for one in found if one.exists is not False and one.verdict != verdicts.BEYOND]
    mine = [one for one in counted if one.problem.default]
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
    numbers = [one.problem.seed for one in found] or [0]
    seeds = f"{min(numbers)} to {max(numbers)}"
    return HEAD.format(command=command, count=len(found), revision=revision(), seeds=seeds) + "\n\n".join(
        [
            table("all", {"all": found}),
            "## By loss and penalty\n\n" + table("kind", by_kind),
            "## By algorithm\n\n" + table("algorithm", by_algorithm),
            "## By what is special about a problem\n\n" + table("trait", by_trait),
            "## Problems that did not end as they should\n\n" + failures(found),
        ]
    )


HEAD = """# Certificates under fuzz

`{command}` drew {count} problems and wrote this page, at revision `{revision}`, of the seeds {seeds}.
A problem is a seed: a loss, a penalty, weights, dense or sparse rows of float32 or float64, units from 1e-9 to 1e9,
offsets to 1e12, outliers, collinear columns, fewer rows than columns, separable classes, counts with empty
categories, 1 to 3 ranks, an algorithm and a tolerance. The objective at the returned model is compared with an
optimum in long double by code that the package does not share (`tests/fuzz/reference.py`).
`python -m tests.fuzz.problems --only SEED` shows one problem. With `--log FILE` a run goes on where it stopped.

* right: certified, and F(w) − F\\* is at most what the certificate claims, up to rounding (`tests/fuzz/judge.py`
  states how much).
* wrong: certified though F(w) − F\\* is larger or no optimum exists, a bound below F(w) − F\\*, an objective that is
  not F(w), or "no optimum" said where there is one. Not finite: a certified number is none.
* not certified: the run ended within its budget of 200 epochs, and says so.
* no optimum, said or not said: the loss falls for ever, and the last line says so or does not.
* error, crash, time-out: refused though an optimum exists; a traceback; no end within 60 seconds.
* no reference: the optimum in long double is not known well enough to judge.
* beyond float64: not certified; no intercept, columns far from 0, whose last bits move all margins; the line says so;
  and no coefficients of float64 that a search around the optimum tried are within the tolerance
  (`tests/fuzz/beyond.py`). The search tries few roundings, so it may call a problem so that is not.
* default certified: of the problems with default algorithm and tolerance that have an optimum, without those beyond
  float64, the share that ended certified and right within 200 epochs.

"""


def revision() -> str:
    """Return the revision of the sources, "unknown" outside a clone; "+" stands for changes since."""
    try:
        words = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
        done = subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


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
    parser.add_argument("--default", action="store_true", help="only default algorithm and tolerance")
    parser.add_argument("--log", default="", help="a file of judgements to add to, and to go on from")
    parser.add_argument("--only", type=int, help="the seed of one problem")
    parser.add_argument("--out", default="", help="a Markdown file to write; the terminal otherwise")
    asked = parser.parse_args()
    if asked.only is not None:
        return int(show(asked.only).verdict in BAD)
    seeds = [s for s in range(asked.seed, asked.seed + asked.count) if not asked.default or draw(s).default]
    found = campaign(seeds, asked.jobs, asked.log)
    command = f"python -m tests.fuzz.problems --seed {asked.seed} --count {asked.count}"
    command += " --default" if asked.default else ""
    text = page(command + (f" --out {asked.out}" if asked.out else ""), found)
    if asked.out:
        Path(asked.out).write_text(text + "\n")
    print(table("all", {"all": found}) if asked.out else text)
    return int(any(one.verdict in BAD for one in found))


if __name__ == "__main__":
    sys.exit(main())
