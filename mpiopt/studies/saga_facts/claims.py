"""The facts that a faithful distributed SAGA shows on these data, judged on the outcomes.

They are those of our own reconstruction; the original's figures are not public.
"""

from __future__ import annotations

from collections.abc import Iterable

from mpiopt.studies.saga_facts.job import SHARDS
from mpiopt.studies.saga_facts.simulation import Outcomes, SagaOutcome
from mpiopt.studies.verdicts import Comparison, Fact, judged

NEAR = 1.2  # times SAGA's epochs that count as the same
FEW_MORE = 1.5  # times SAGA's epochs that count as few more
LARGE = ("n/4", "n", "4n")


def small_rounds(outcomes: Outcomes) -> Iterable[Comparison]:
    """Fact a."""
    saga = outcomes.saga()
    for cell, o in outcomes.by_cell.items():
        if saga and cell.method == "B" and o.visits <= 10 and 1 < cell.ranks <= 16:
            ratio = o.last.epochs / saga
            yield Comparison(o.reached and ratio <= NEAR, f"{cell.shards} K={cell.ranks} H={o.visits}: {ratio:.2f} x")


def rounds(outcomes: Outcomes) -> Iterable[Comparison]:
    """Fact b; if H = 1 was not run, its rounds are taken as SAGA's epochs times n."""
    saga = outcomes.saga()
    for k in outcomes.ranks:
        o, one = outcomes.at("shuffled", k, "n/4"), outcomes.at("shuffled", k, "1")
        if o and saga:
            every = one.last.rounds if one and one.reached else saga * 4 * o.visits
            fewer, more = every / o.last.rounds, o.last.epochs / saga
            holds = o.reached and 100 <= fewer <= 1000 and more <= FEW_MORE
            how = "" if one else " (rounds of H=1 not run: SAGA's epochs x n)"
            yield Comparison(holds, f"K={k} H={o.visits}: {fewer:.0f} x fewer, {more:.2f} x epochs{how}")


def large_rounds(outcomes: Outcomes) -> Iterable[Comparison]:
    """Fact c."""
    saga = outcomes.saga()
    for k in outcomes.ranks:
        one_epoch, four_epochs = outcomes.at("shuffled", k, "n"), outcomes.at("shuffled", k, "4n")
        if one_epoch and saga:
            more = one_epoch.last.epochs / saga
            yield Comparison(one_epoch.reached and 2.0 <= more <= 4.0, f"K={k} H=n: {more:.2f} x")
        if four_epochs:
            yield Comparison(not four_epochs.reached, f"K={k} H=4n: {four_epochs.ending}")


def no_correction(outcomes: Outcomes) -> Iterable[Comparison]:
    """Fact d, judged on the lowest gap of any step size."""
    for shards, k, steps, e in places(outcomes, "E"):
        if steps in LARGE:
            yield Comparison(not e.reached, f"{shards} K={k} H={steps}: {e.lowest:.0e}")


def alike(outcomes: Outcomes) -> Iterable[Comparison]:
    """Fact e1."""
    for k in outcomes.ranks:
        for steps in ("1", "10", "n/4"):
            some = [outcomes.at("shuffled", k, steps, v) for v in "ABD"]
            epochs = [o.last.epochs if o.reached else float("inf") for o in some if o]
            if len(epochs) == 3:
                ratio = max(epochs) / min(epochs)
                yield Comparison(ratio <= NEAR, f"K={k} H={steps}: {', '.join(f'{e:.1f}' for e in epochs)}")


def fresh_is_better(outcomes: Outcomes) -> Iterable[Comparison]:
    """Fact e2."""
    for shards, k, steps, a in places(outcomes, "A"):
        b, d = (outcomes.at(shards, k, steps, v) for v in "BD")
        if steps == "n" and b and d:
            worse = max(b.effort, d.effort)
            yield Comparison(worse <= a.effort, f"{shards} K={k}: A {a.ending}, B {b.ending}, D {d.ending}")


def averaged(outcomes: Outcomes) -> Iterable[Comparison]:
    """Fact e3."""
    for shards, k, steps, c in places(outcomes, "C"):
        b = outcomes.at(shards, k, steps)
        if shards == SHARDS[1] and b and (b.reached or c.reached or steps != "4n"):
            yield Comparison(c.effort <= b.effort, f"K={k} H={steps}: C {c.ending}, B {b.ending}")


def longer_steps(outcomes: Outcomes) -> Iterable[Comparison]:
    """Fact e4, where both reach the tolerance."""
    for shards, k, steps, c in places(outcomes, "C"):
        b = outcomes.at(shards, k, steps)
        if b and b.reached and c.reached:
            ratio = c.multiple / b.multiple
            yield Comparison(k / 2 <= ratio <= 2 * k, f"{shards} K={k} H={steps}: {ratio:g} x")


def cured(outcomes: Outcomes, method: str) -> Iterable[Comparison]:
    """Facts f."""
    for shards, k, steps, o in places(outcomes, method):
        b = outcomes.at(shards, k, steps)
        if b and not b.reached:
            yield Comparison(o.reached, f"{shards} K={k} H={steps}: {o.ending}, R² {o.rate.r2:.2f} (B {b.ending})")


def places(outcomes: Outcomes, method: str) -> Iterable[tuple[str, int, str, SagaOutcome]]:
    """Yield the shards, ranks, H and outcome of a method on several ranks."""
    for cell, outcome in outcomes.by_cell.items():
        if cell.method == method and cell.ranks > 1:
            yield cell.shards, cell.ranks, cell.local_steps, outcome


OURS = "our reconstruction: of the paper only the abstract and the introduction were available"
PROGRAM = "ours, of this program"


def judge(outcomes: Outcomes) -> list[Fact]:
    """Judge all facts."""
    return judged(
        ("a", "H <= 10 costs at most 20 % more epochs than SAGA, K <= 16", OURS, small_rounds(outcomes)),
        (
            "b",
            "H = n/4, iid: 100 to 1000 times fewer rounds than H = 1, at most 1.5 x epochs",
            OURS,
            rounds(outcomes),
        ),
        ("c", "iid: H = n costs 2 to 4 x SAGA's epochs, H = 4n breaks", OURS, large_rounds(outcomes)),
        ("d", "E stalls for H >= n/4: never reaches the tolerance", OURS, no_correction(outcomes)),
        ("e1", "iid, H <= n/4: A, B, D need the same epochs within 20 %", OURS, alike(outcomes)),
        ("e2", "H = n: B and D are better than A", OURS, fresh_is_better(outcomes)),
        ("e3", "sorted shards: C does better than B", OURS, averaged(outcomes)),
        ("e4", "C needs a step about K times as long as B", OURS, longer_steps(outcomes)),
        (
            "f1",
            "computing the table anew at w̄ reaches the tolerance where B does not",
            PROGRAM,
            cured(outcomes, "refresh"),
        ),
        ("f2", "the plain form as run reaches the tolerance where B does not", PROGRAM, cured(outcomes, "chosen")),
        ("f3", "the preconditioner reaches the tolerance where B does not", PROGRAM, cured(outcomes, "metric")),
    )
