"""Several algorithms for one run: the best guess begins, and another one goes on where it is behind.

A portfolio (C. Gomes, B. Selman, Algorithm portfolios, Artificial Intelligence 126 (2001)) bounds what a wrong guess
costs. Work is counted, not timed: epochs times the cost model's seconds of an epoch. So all ranks decide alike, and a
run with the same seed has the same bits.

After each exact evaluation that an algorithm makes, it is judged by the digits that its certificates gained. From
these follow the seconds that it still needs. Where another algorithm needs much less, that one goes on from the same
model: by its own gain if it has run before, else by the cost model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from mpiopt.algorithms import cost_model
from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.cost_model import Size
from mpiopt.core.history import ALL, Event, HistoryRow

EVENT = "algorithm"  # kind of the event that says which algorithm goes on


LINEAR = frozenset(("lbfgs", "saga"))  # whose gain in an epoch hardly changes; that of the others grows at the end
# The others are kinds of Newton's method, which no linear change of the columns alters: where all gains are small,
# the condition is bad, and one of them gets there in the end.


@dataclass(frozen=True)
class PortfolioTuning:
    """Constants of the judgement, found on half of the data sets (docs/benchmarks/auto.md)."""

    patience: float = 0.25  # of the seconds that the best other one is expected to take: before, nothing is judged
    superlinear: float = 1.5  # of its own expected seconds: before, the gain of such an algorithm says nothing
    linear: float = 0.75  # the same of the others, but with l1, where the expectation says little
    rounds: int = 5  # of such an algorithm: its start may cost much, and the first steps say nothing of the last
    long: float = 1.5  # times the expected epochs: fewer rounds than these say enough if they took longer
    first: int = 2  # rounds at least, however long they took: the first one alone says nothing of the convergence
    behind: float = 1.5  # times the seconds of the best other one: what the algorithm in use may still need
    again: float = 2.0  # factor on the patience, and on the expectation, for another time of the same algorithm
    largest: float = 1e6  # certificate from which digits are counted


TUNING = PortfolioTuning()


class Stint(NamedTuple):
    """What one algorithm did until another one went on, or until now."""

    name: str
    epochs: float
    expected: float  # epochs that the cost model expected
    rounds: int  # evaluations
    rate: float  # digits of the certificate that an epoch gained


@dataclass(frozen=True)
class Portfolio:
    """Algorithms for one run.

    Parameters
    ----------
    algorithms : tuple of Algorithm
        The first one begins.
    size : Size, optional
        Of the problem, for estimates; only None if there is one algorithm.
    """

    algorithms: tuple[Algorithm[Any], ...]
    size: Size | None = None

    @property
    def first(self) -> Algorithm[Any]:
        """The algorithm that begins."""
        return self.algorithms[0]

    def with_first(self, algorithm: Algorithm[Any], alone: bool = False) -> Portfolio:
        """Return the portfolio with another form of its first algorithm, which may run alone."""
        return replace(self, algorithms=(algorithm, *(() if alone else self.algorithms[1:])))

    def named(self, name: str) -> Algorithm[Any]:
        """Return an algorithm by its name; the first one if there is none of that name."""
        return next((algorithm for algorithm in self.algorithms if algorithm.name == name), self.first)

    def current(self, events: Sequence[Event]) -> Algorithm[Any]:
        """Return the algorithm that a run with these events has in use."""
        names = [name_in(event) for event in events if event.kind == EVENT]
        return self.named(names[-1]) if names else self.first

    def event(self, name: str, row: HistoryRow) -> Event:
        """Return the event that an algorithm goes on at an evaluation."""
        expected = self._expected_epochs(name, row.certificate)
        return Event(row.seconds, row.round, EVENT, ALL, f"{name}: {expected:.3g} epochs expected")

    def next(self, rows: Sequence[HistoryRow], events: Sequence[Event]) -> Algorithm[Any] | None:
        """Return the algorithm that should go on now, if another one should; the last row is of now.

        It is the one that `cost_model.USUAL` ranks would choose, so that the course does not depend on the number of
        ranks; but only where it is the faster one on these ranks, too.
        """
        if len(self.algorithms) == 1 or self.size is None:
            return None
        usual = replace(self, size=self.size._replace(ranks=cost_model.USUAL))
        other = usual._following(rows, events)
        if other is None:
            return None
        rest = self._rests(rows, events)
        last = self.stints(rows, events)[-1].name
        return self.named(other) if rest[other] < rest[last] else None

    def _following(self, rows: Sequence[HistoryRow], events: Sequence[Event]) -> str | None:
        """Return the name of the algorithm that should go on on `size.ranks` ranks; None for the one in use."""
        stints, certificate = self.stints(rows, events), _best(rows)
        last, rest = stints[-1], self._rests(rows, events)
        other = min((name for name in rest if name != last.name), key=rest.__getitem__)
        second = self._epoch_seconds(last.name, certificate)
        patience = TUNING.patience * rest[other]
        own = TUNING.superlinear if last.name not in LINEAR else TUNING.linear * self._size.smooth
        own *= cost_model.roughness(self._size) if last.name == "newton" else 1.0  # it ends at once, when it ends
        patience = max(patience, own * last.expected * second)
        patience *= TUNING.again ** sum(one.name == last.name for one in stints[:-1])
        early = last.rounds < TUNING.rounds and last.epochs < TUNING.long * last.expected
        early |= last.rounds < TUNING.first
        if last.name not in LINEAR and early:
            return None
        if last.epochs * second < patience or rest[last.name] <= TUNING.behind * rest[other]:
            return None
        return other

    def _rests(self, rows: Sequence[HistoryRow], events: Sequence[Event]) -> dict[str, float]:
        """Return the seconds that each algorithm needs from here."""
        stints, certificate = self.stints(rows, events), _best(rows)
        return {one.name: self._rest(one.name, certificate, stints) for one in self.algorithms}

    def stints(self, rows: Sequence[HistoryRow], events: Sequence[Event]) -> list[Stint]:
        """Return what the algorithms of a run did, in their order."""
        begun = [event for event in events if event.kind == EVENT]
        found = []
        for event, after in zip(begun, [*begun[1:], None], strict=True):
            last = rows[-1].round if after is None else after.round
            mine = [row for row in rows if event.round <= row.round <= last]
            found.append(self._stint(name_in(event), mine))
        return found

    def _stint(self, name: str, rows: Sequence[HistoryRow]) -> Stint:
        first, epochs = rows[0].certificate, rows[-1].epoch - rows[0].epoch
        high = max(row.certificate for row in rows[:2]) if self._size.smooth else first
        gained = self._digits(high) - self._digits(min(row.certificate for row in rows))
        expected, rate = self._expected_epochs(name, first), gained / epochs if epochs else 0.0
        return Stint(name, epochs, expected, len(rows) - 1, rate)

    def _digits(self, certificate: float) -> float:
        """Return the digits from a certificate to the tolerance."""
        return math.log10(self._finite(certificate) / self._size.tol)

    def _finite(self, certificate: float) -> float:
        """Return the certificate within the range where it says something."""
        return max(certificate, self._size.tol) if certificate < TUNING.largest else TUNING.largest

    def _rest(self, name: str, certificate: float, stints: Sequence[Stint]) -> float:
        """Return the seconds that an algorithm needs from here: as measured, or as the model expects."""
        mine = [one for one in stints if one.name == name]
        expected = cost_model.models()[name](self._size._replace(start=self._finite(certificate)))
        if not mine:
            return expected * self._delay(name, certificate, stints[-1])
        measured = math.inf
        if mine[-1].rate > 0.0:
            measured = self._digits(certificate) / mine[-1].rate * self._epoch_seconds(name, certificate)
        if name in LINEAR or name == stints[-1].name:
            return measured
        return min(measured, TUNING.again ** len(mine) * expected)

    def _delay(self, name: str, certificate: float, last: Stint) -> float:
        """Return the factor by which a method is expected to take longer, for what a like one has shown, at least 1.

        Where κ is worse than the model thinks, conjugate gradients without a matrix of curvature are slow by √κ. So
        would L-BFGS be, and SAGA by κ.
        """
        alike = last.name == "newton-cg" and name in LINEAR and self._size.smooth
        if not alike or cost_model.has_preconditioner(self._size) or not last.expected:
            return 1.0
        rest = self._digits(certificate) / last.rate if last.rate > 0.0 else math.inf
        return max(1.0, (last.epochs + rest) / last.expected)

    def _expected_epochs(self, name: str, certificate: float) -> float:
        return cost_model.epochs(name, self._size._replace(start=self._finite(certificate)))

    def _epoch_seconds(self, name: str, certificate: float) -> float:
        return cost_model.epoch_seconds(name, self._size._replace(start=self._finite(certificate)))

    @property
    def _size(self) -> Size:
        if self.size is None:
            raise RuntimeError("a portfolio of one algorithm has no estimates")
        return self.size


def _best(rows: Sequence[HistoryRow]) -> float:
    """Return the best certificate: F falls from row to row, but a bound by the gradient alone is loose."""
    return min(row.certificate for row in rows)


def name_in(event: Event) -> str:
    """Return the name of the algorithm in an event."""
    return event.text.partition(":")[0]


def course(rows: Sequence[HistoryRow], events: Sequence[Event]) -> str:
    """Return which algorithms a portfolio ran, with the epochs that each took and was expected to take; "" for none.

    Examples
    --------
    >>> from mpiopt.core.history import ALL, Event, HistoryRow
    >>> rows = [HistoryRow(k, 2.0 * k, 0.1 * k, 0, 0, 0, 0, 0, 1.0, 0.1, 1.0) for k in range(6)]
    >>> events = [Event(0.0, 0, "algorithm", ALL, "lbfgs: 13 epochs expected")]
    >>> course(rows, events)
    'lbfgs 10 epochs (13 expected)'
    """
    begun = [event for event in events if event.kind == EVENT]
    if not begun:
        return ""
    epoch_of = {row.round: row.epoch for row in rows}
    ends = [*(epoch_of[event.round] for event in begun[1:]), rows[-1].epoch]
    words = []
    for event, end in zip(begun, ends, strict=True):
        expected = event.text.partition(": ")[2].partition(" ")[0]
        words.append(f"{name_in(event)} {end - epoch_of[event.round]:.3g} epochs ({expected} expected)")
    return ", then ".join(words)
