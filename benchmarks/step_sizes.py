"""Does `mpiopt train` need a step size? Epochs of its default beside the best fixed step, on every data set.

python -m benchmarks.step_sizes [--only NAME,…] [--ranks 1,4] [--shards KIND] [--cap EPOCHS] [--out FILE.md]

An epoch is N row gradients; those of starts and refreshes are counted. The level is F − F* <= 1e-6 (F(0) − F*),
checked after each round by an exact evaluation that is not counted. λ = 1/N, no intercept, no scaling; logistic,
softmax or squared, by the labels. A grid of fixed steps goes up and down from the theoretical one by factors of 2; a
run is stopped when it is slower than the best one so far. Ranks are threads that take turns. Results that FILE.json
holds are not measured again.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import benchmarks  # noqa: F401  sets the threads before anything else
from benchmarks.data import Scale
from benchmarks.natural import SETS, RaceResult, objective_of, race, scale_of, there
from benchmarks.peer_epochs import sklearn_saga
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.comm.base import Comm
from mpiopt.comm.lockstep import LockstepWorld
from mpiopt.comm.threads import run_in
from mpiopt.compress.channel import Channel
from mpiopt.objective.objective import Objective

PROMISE = 1.5  # epochs by default / epochs of the best fixed step, at most
UP, DOWN = 14, 8  # numbers of factors of 2 in the grid
SLOWER = 2  # number of successive slower steps after which a direction of the grid is left
RULES = ("line-search", "global", "theoretical")
FORMS = ("none", "diagonal")  # preconditioners other than the full one
Row = dict[str, RaceResult]


def grid(
    first: float, algorithm: Saga, objective: Objective, channel: Channel, scale: Scale, cap: float
) -> RaceResult:
    """Return the best of the fixed steps first · 2^k; collective."""
    best = RaceResult(math.inf, math.inf)
    for way, ks in ((2.0, range(UP + 1)), (0.5, range(1, DOWN + 1))):
        slower = 0
        for k in ks:
            step = replace(algorithm, step_size=first * way**k)
            ran = race(step, objective, channel, scale, min(cap, best.epochs))
            better = (ran.epochs, ran.rest) < (best.epochs, best.rest)
            best, slower = (ran._replace(step=way**k), 0) if better else (best, slower + 1)
            if slower > SLOWER:
                break
    return best


def measure(name: str, shards: str, cap: float, forms: list[str], comm: Comm) -> Row:
    """Return the epochs with every step-size rule on one set; collective."""
    objective, channel = objective_of(name, shards, comm), Channel(comm, seed=1)
    scale = scale_of(name, objective, channel)
    found = {"auto": race(Saga(), objective, channel, scale, cap)}
    for form in forms:
        plain = Saga(preconditioner=form)
        found[form] = race(plain, objective, channel, scale, cap)
        for rule in RULES if form == "none" else RULES[:2]:
            found[f"{form} {rule}"] = race(replace(plain, step_size=rule), objective, channel, scale, cap)
        theory = replace(plain, step_size="theoretical").init(objective, channel)
        found[f"{form} fixed"] = grid(
            theory.steps.step_size(theory.control, theory.work), plain, objective, channel, scale, cap
        )
    if Saga().fully_preconditioned(objective):  # η = 1/8: half of its blocks make four Newton steps
        found["full fixed"] = grid(0.125, Saga(preconditioner="full"), objective, channel, scale, cap)
    if comm.size == 1:
        found["sklearn"] = sklearn_saga(objective, scale, cap)
    return found


def on_ranks(ranks: int, name: str, forms: list[str], cap: float, shards: str = "shuffled") -> Row:
    """Call `measure` on ranks in threads."""
    return run_in(LockstepWorld(ranks, 3600.0), partial(measure, name, shards, cap, forms))[0]


def fixed(row: Row) -> RaceResult:
    """Return the best of all fixed steps."""
    return min((ran for name, ran in row.items() if name.endswith("fixed")), key=lambda ran: (ran.epochs, ran.rest))


def ratio(mine: RaceResult, best: RaceResult) -> str:
    """Return the ratio of epochs, marked if it exceeds PROMISE; a dash if neither reached the level."""
    if math.isinf(mine.epochs):
        return "–" if math.isinf(best.epochs) else "MISSED"
    times = mine.epochs / best.epochs
    return f"{times:.2f}" + ("" if times <= PROMISE else " MISSED")


def cell(ran: RaceResult | None) -> str:
    """Return the epochs, or the suboptimality that was reached; for a grid also the step."""
    if ran is None:
        return ""
    step = "" if math.isnan(ran.step) else f" (×{ran.step:g})"
    return (f"{ran.epochs:.1f}" if math.isfinite(ran.epochs) else f"> {ran.rest:.0e}") + step


def default_table(rows: dict[tuple[str, int], Row], ranks: list[int]) -> list[str]:
    """Return the default beside fixed steps, theory and scikit-learn."""
    heads = ["fixed, full", "fixed, none", "fixed, diagonal", "theoretical", "auto/best"]
    names = ["set", *(f"{n} ranks: {h}" if n > 1 else h for n in ranks for h in ("**auto**", *heads)), "sklearn saga"]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for name in dict.fromkeys(name for name, _ in rows):
        cells = [name]
        for n in ranks:
            row = rows[name, n]
            fixed_ones = [cell(row.get(f"{form} fixed")) for form in ("full", *FORMS)]
            cells += [cell(row["auto"]), *fixed_ones, cell(row["none theoretical"]), ratio(row["auto"], fixed(row))]
        lines.append("| " + " | ".join([*cells, cell(rows[name, ranks[0]].get("sklearn"))]) + " |")
    return lines


def plain_table(rows: dict[tuple[str, int], Row], ranks: list[int]) -> list[str]:
    """Return the rules for steps without the full preconditioner."""
    heads = [
        f"{form}, {n}: {h}" for n in ranks for form in FORMS for h in ("auto", "fixed", *RULES[:2], "auto/fixed")
    ]
    lines = ["| set | " + " | ".join(heads) + " |", "|" + "---|" * (len(heads) + 1)]
    for name in dict.fromkeys(name for name, _ in rows):
        cells = [name]
        for n in ranks:
            row = rows[name, n]
            for form in FORMS:
                mine, best = row.get(form), row.get(f"{form} fixed")
                cells += [cell(mine), cell(best), *(cell(row.get(f"{form} {rule}")) for rule in RULES[:2])]
                cells.append(ratio(mine, best) if mine and best else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def text(rows: dict[tuple[str, int], Row], ranks: list[int]) -> str:
    """Return both tables."""
    kept = sum("MISSED" not in ratio(row["auto"], fixed(row)) for row in rows.values())
    return "\n".join(
        [
            f"Default: {kept} of {len(rows)} within {PROMISE} of the best fixed step.\n",
            *default_table(rows, ranks),
            "\nWithout the full preconditioner:\n",
            *plain_table(rows, ranks),
            "",
        ]
    )


def main() -> None:
    """Measure the chosen sets; the tables are written after each one, in case the run is interrupted."""
    options = arguments()
    ranks = [int(word) for word in options.ranks.split(",")]
    out = Path(options.out)
    rows = stored(out.with_suffix(".json"))
    for name in options.only.split(","):
        if not there(name):
            print(f"{name}: no such file, left out; set MPIOPT_DATA to the folder of the data sets")
            continue
        for n in ranks:
            if (name, n) not in rows:
                rows[name, n] = on_ranks(n, name, options.forms.split(","), options.cap, options.shards)
            cells = ", ".join(f"{key} {cell(ran)}" for key, ran in rows[name, n].items())
            print(f"{name}, {n} ranks: {cells}", flush=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text(rows, ranks))
        out.with_suffix(".json").write_text(json.dumps([[*key, row] for key, row in rows.items()], indent=1))
    print(text(rows, ranks))


def stored(path: Path) -> dict[tuple[str, int], Row]:
    """Return the results of an earlier run."""
    content = json.loads(path.read_text()) if path.exists() else []
    return {(name, n): {key: RaceResult(*ran) for key, ran in row.items()} for name, n, row in content}


def arguments() -> Any:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.step_sizes", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(SETS), help="sets, with commas")
    parser.add_argument("--ranks", default="1,4")
    parser.add_argument("--forms", default=",".join(FORMS), help="preconditioners other than the full one")
    parser.add_argument("--shards", default="shuffled")
    parser.add_argument("--cap", type=float, default=100.0, help="epochs after which a run is stopped")
    parser.add_argument("--out", default="runs/step-sizes.md", help="tables for docs/benchmarks/step-sizes.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
