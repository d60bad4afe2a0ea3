"""The facts that a faithful dSAGA shows on these data, judged on the outcomes of a study.

They are those of our own reconstruction; the original's figures are not public (DESIGN.md).
"""

from __future__ import annotations

from collections.abc import Iterable

from mpiopt.study.saga_facts.cell import Outcome
from mpiopt.study.saga_facts.grid import SHARDS, Cell
from mpiopt.study.verdicts import Fact, Item

NEAR = 1.2  # epochs, in terms of SAGA's, that count as the same
FEW_MORE = 1.5
LARGE = ("n/4", "n", "4n")


class Outcomes:
    """The outcomes by cell; what was not run is None."""

    def __init__(self, found: Iterable[Outcome]) -> None:
        self.by_cell = {outcome.cell: outcome for outcome in found}
        self.ranks = sorted({cell.ranks for cell in self.by_cell} - {1})

    def at(self, shards: str, ranks: int, steps: str, method: str = "B") -> Outcome | None:
        """Give the outcome of a cell."""
        return self.by_cell.get(Cell(shards, ranks, steps, method))

    def saga(self) -> float | None:
        """Give the epochs of SAGA: one rank, a quarter of an epoch between two averages, which change nothing."""
        found = self.at("shuffled", 1, "n/4")
        return found.last.epochs if found and found.reached else None


def judge(found: Outcomes) -> list[Fact]:
    """Judge all facts."""
    facts = [
        Fact("a", "H <= 10 costs at most 20 % more epochs than SAGA, K <= 16", list(small_rounds(found))),
        Fact(
            "b", "H = n/4, iid: 100 to 1000 times fewer rounds than H = 1, at most 1.5 x epochs", list(rounds(found))
        ),
        Fact("c", "iid: H = n costs 2 to 4 x SAGA's epochs, H = 4n breaks", list(large_rounds(found))),
        Fact("d", "E stalls for H >= n/4: never reaches the tolerance", list(no_correction(found))),
        Fact("e1", "iid, H <= n/4: A, B, D need the same epochs within 20 %", list(alike(found))),
        Fact("e2", "H = n: B and D are better than A", list(fresh_is_better(found))),
        Fact("e3", "sorted shards: C does better than B", list(averaged(found))),
        Fact("e4", "C needs a step about K times as long as B", list(longer_steps(found))),
    ]
    cures = [
        ("refresh", "filling the table anew at w̄"),
        ("chosen", "the plain form as run"),
        ("metric", "the metric"),
    ]
    return facts + [
        Fact(f"f{i}", f"{what} reaches the tolerance where B does not", list(cured(found, method)))
        for i, (method, what) in enumerate(cures, 1)
    ]


def shown(o: Outcome) -> str:
    """Give epochs/rounds, or the gap where the tolerance was not reached."""
    return f"{o.last.epochs:.1f}/{o.last.rounds}" if o.reached else f"fails {o.last.gap:.0e}"


def effort(o: Outcome) -> tuple[bool, float]:
    """Give what is less for the better outcome."""
    return (False, o.last.epochs) if o.reached else (True, o.last.gap)


def small_rounds(found: Outcomes) -> Iterable[Item]:
    """Fact a."""
    saga = found.saga()
    for cell, o in found.by_cell.items():
        if saga and cell.method == "B" and o.visits <= 10 and 1 < cell.ranks <= 16:
            ratio = o.last.epochs / saga
            yield Item(o.reached and ratio <= NEAR, f"{cell.shards} K={cell.ranks} H={o.visits}: {ratio:.2f} x")


def rounds(found: Outcomes) -> Iterable[Item]:
    """Fact b; where H = 1 was not run, its rounds are those of SAGA's epochs, one for each of n rows."""
    saga = found.saga()
    for k in found.ranks:
        o, one = found.at("shuffled", k, "n/4"), found.at("shuffled", k, "1")
        if o and saga:
            every = one.last.rounds if one and one.reached else saga * 4 * o.visits
            fewer, more = every / o.last.rounds, o.last.epochs / saga
            holds = o.reached and 100 <= fewer <= 1000 and more <= FEW_MORE
            how = "" if one else " (rounds of H=1 not run: SAGA's epochs x n)"
            yield Item(holds, f"K={k} H={o.visits}: {fewer:.0f} x fewer, {more:.2f} x epochs{how}")


def large_rounds(found: Outcomes) -> Iterable[Item]:
    """Fact c."""
    saga = found.saga()
    for k in found.ranks:
        whole, four = found.at("shuffled", k, "n"), found.at("shuffled", k, "4n")
        if whole and saga:
            more = whole.last.epochs / saga
            yield Item(whole.reached and 2.0 <= more <= 4.0, f"K={k} H=n: {more:.2f} x")
        if four:
            yield Item(not four.reached, f"K={k} H=4n: {shown(four)}")


def no_correction(found: Outcomes) -> Iterable[Item]:
    """Fact d; the lowest gap that any step size ever saw."""
    for shards, k, steps, e in places(found, "E"):
        if steps in LARGE:
            yield Item(not e.reached, f"{shards} K={k} H={steps}: {e.lowest:.0e}")


def alike(found: Outcomes) -> Iterable[Item]:
    """Fact e1."""
    for k in found.ranks:
        for steps in ("1", "10", "n/4"):
            some = [found.at("shuffled", k, steps, v) for v in "ABD"]
            epochs = [o.last.epochs if o.reached else float("inf") for o in some if o]
            if len(epochs) == 3:
                ratio = max(epochs) / min(epochs)
                yield Item(ratio <= NEAR, f"K={k} H={steps}: {', '.join(f'{e:.1f}' for e in epochs)}")


def fresh_is_better(found: Outcomes) -> Iterable[Item]:
    """Fact e2."""
    for shards, k, steps, a in places(found, "A"):
        b, d = (found.at(shards, k, steps, v) for v in "BD")
        if steps == "n" and b and d:
            worse = max(effort(b), effort(d))
            yield Item(worse <= effort(a), f"{shards} K={k}: A {shown(a)}, B {shown(b)}, D {shown(d)}")


def averaged(found: Outcomes) -> Iterable[Item]:
    """Fact e3."""
    for shards, k, steps, c in places(found, "C"):
        b = found.at(shards, k, steps)
        if shards == SHARDS[1] and b and (b.reached or c.reached or steps != "4n"):
            yield Item(effort(c) <= effort(b), f"K={k} H={steps}: C {shown(c)}, B {shown(b)}")


def longer_steps(found: Outcomes) -> Iterable[Item]:
    """Fact e4, where both reach the tolerance."""
    for shards, k, steps, c in places(found, "C"):
        b = found.at(shards, k, steps)
        if b and b.reached and c.reached:
            ratio = c.multiple / b.multiple
            yield Item(k / 2 <= ratio <= 2 * k, f"{shards} K={k} H={steps}: {ratio:g} x")


def cured(found: Outcomes, method: str) -> Iterable[Item]:
    """Facts f."""
    for shards, k, steps, o in places(found, method):
        b = found.at(shards, k, steps)
        if b and not b.reached:
            yield Item(o.reached, f"{shards} K={k} H={steps}: {shown(o)}, R² {o.rate.r2:.2f} (B {shown(b)})")


def places(found: Outcomes, method: str) -> Iterable[tuple[str, int, str, Outcome]]:
    """Give the cells of a method on several ranks."""
    for cell, outcome in found.by_cell.items():
        if cell.method == method and cell.ranks > 1:
            yield cell.shards, cell.ranks, cell.local_steps, outcome
