"""The state in which a run begins: at the best constants, at a given model, or at the newest checkpoint."""

from __future__ import annotations

from typing import Any

from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.portfolio import EVENT, Portfolio
from mpiopt.algorithms.second_order import row_space
from mpiopt.core import history
from mpiopt.core.history import ALL, Event
from mpiopt.core.state import layouts
from mpiopt.objective.certificate import Certifier
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.judgement import Certificate
from mpiopt.objective.lower_bound import Progress
from mpiopt.objective.objective import Model, Objective
from mpiopt.resilience.checkpoint.base import FIELDS, LoadedState, Meta
from mpiopt.resilience.consistency import content_sum
from mpiopt.training.evaluating import is_finite, judge
from mpiopt.training.run_state import RunPlan, RunState, RunTimer, Spent


def begin(plan: RunPlan, objective: Objective, portfolio: Portfolio, timer: RunTimer) -> RunState:
    """Start at the best constants without features, or where the newest checkpoint was made; collective."""
    channel = timer.channel
    with timer.phase("evaluate"):
        certifier = Certifier.begin(objective, plan.stop.tol, channel)
    objective, start = certifier.objective, certifier.start
    rows_sum = content_sum(objective.shard)  # before the start in the space of the rows, which may be all of the run
    if plan.resume and plan.store is not None:
        algorithm = portfolio.first

        def blank(meta: Meta) -> object:
            nonlocal algorithm
            algorithm = algorithm_of(meta, portfolio, objective, channel.size)
            return algorithm.blank(objective, channel.size)

        loaded = plan.store.load(blank, objective.shard, str(plan.meta["job"]))
        if loaded is not None:
            state: Any = loaded.state
            algorithm.rebuild(state, objective, channel)
            exact = evaluate_exact(objective, state.w, channel)
            seen = certifier.glance(state.w, exact)
            now = RunState(state, certifier, exact, seen, algorithm=algorithm, rows_sum=rows_sum)
            return resumed(now, loaded, timer)
    algorithm, origin = portfolio.first, objective.origin()
    if objective.bounds is not None:  # a certificate is for a model within them
        origin = objective.bounds.nearest(origin)
        with timer.phase("evaluate"):
            start = evaluate_exact(objective, origin, channel)
    seen = certifier.glance(origin, start)
    now = RunState(None, certifier, start, seen, algorithm=algorithm, rows_sum=rows_sum)
    judge(now, origin, timer)
    begins = origin
    if plan.row_space and now.judgement is not None and not now.judgement.ending:
        with timer.phase("compute"):
            objective, spent = row_space.with_start(objective, channel)
        now.epochs += spent
    if objective.initial is not None and now.judgement is not None and not now.judgement.ending:
        begins = try_initial(now, objective, timer)
    if now.judgement is not None and now.judgement.ending:
        now.state = algorithm.blank(objective, channel.size)
        now.state.w[...] = begins
    else:
        now.state = algorithm.init(objective, channel)
    return now


def algorithm_of(meta: Meta, portfolio: Portfolio, objective: Objective, size: int) -> Algorithm[Any]:
    """Return the algorithm that was in use when the state was saved.

    Checkpoints of earlier versions do not tell; then it is the first one whose state has the saved fields.
    """
    events = history.events_from_text(str(meta.get("events", "[]")))
    saved = str(meta.get(FIELDS, "")).split()
    if saved and not any(event.kind == EVENT for event in events):
        for algorithm in portfolio.algorithms:
            if list(layouts(algorithm.blank(objective, size))) == saved:
                return algorithm
    return portfolio.current(events)


def try_initial(now: RunState, objective: Objective, timer: RunTimer) -> Model:
    """Judge the model that the run was given, which may be good enough already; return it; collective."""
    w = objective.beginning()
    with timer.phase("evaluate"):
        exact = evaluate_exact(objective, w, timer.channel)
    now.epochs += 1.0
    if is_finite(exact) and exact.value <= now.exact.value:
        now.exact = exact
        judge(now, w, timer)
    return w


def resumed(now: RunState, loaded: LoadedState, timer: RunTimer) -> RunState:
    """Return the state with round, history, events, costs and what the certifier knew as they were saved."""
    now.round, now.epochs = loaded.k, float(loaded.meta["epochs"])
    now.rows = history.rows_from_text(str(loaded.meta["history"]))
    now.certifier.progress[:] = progress_from_text(str(loaded.meta.get("certifier", "")), now)
    if now.last.round == now.round:
        now.certificate = Certificate(now.certificate.kind, now.last.certificate)
    now.spent_before = Spent.before(float(loaded.meta["seconds"]), now.last)
    now.events = history.events_from_text(str(loaded.meta.get("events", "[]")))
    now.run_id = str(loaded.meta.get("run_id", ""))
    text = f"went on from round {loaded.k}, {timer.channel.size} ranks"
    now.events.append(Event(now.spent_before.seconds, loaded.k, "resumed", ALL, text))
    timer.saved_round = loaded.k
    return now


def progress_from_text(text: str, now: RunState) -> Progress:
    """Return what the certifier had learned; where nothing is saved, the best certificate of the history."""
    progress = now.certifier.progress
    if text:
        known = [float(word) for word in text.split()]  # earlier versions knew less
        progress[: len(known)] = known
        return progress
    for row in now.rows:
        progress.best = min(progress.best, row.certificate)
    return progress
