"""The local work of distributed SAGA between two exchanges: what `Saga` asks of it, and how its kind is chosen."""

from __future__ import annotations

from mpiopt.algorithms import preconditioner as metric
from mpiopt.algorithms.saga.options import SagaOptions
from mpiopt.algorithms.saga.state import LocalSteps, SagaState
from mpiopt.compress.channel import Channel
from mpiopt.objective.objective import Objective

LARGEST_FULL = 2000  # columns; above, width² numbers cost more than they save


def plan(options: SagaOptions, state: SagaState, objective: Objective, channel: Channel) -> LocalSteps:
    """Choose the kind of local work; collective.

    The full metric where its width² numbers fit and the penalty is smooth (the prox in a full metric is no longer
    one of each coordinate); else blocks of 8 rows and one step for each column.
    """
    from mpiopt.algorithms.saga.plain_steps import PlainSteps
    from mpiopt.algorithms.saga.preconditioned_steps import PreconditionedSteps

    if full_metric(options, objective):
        return PreconditionedSteps.at(options, state, objective, channel)
    return PlainSteps.at(options, state, objective, channel, options.preconditioner)


def full_metric(options: SagaOptions, objective: Objective) -> bool:
    """Say whether the local steps are to be made in the full metric; rules by name are for steps without."""
    preconditioner, smooth = options.preconditioner, objective.penalty.strengths[0] == 0.0
    if preconditioner == "full" and not smooth:
        raise ValueError("preconditioner 'full' needs a smooth penalty; with l1 use 'diagonal' or 'none'")
    exact = objective.outputs == 1 or metric.is_coupled(objective)  # a metric of one class alone misleads the others
    named = isinstance(options.step_size, str) and options.rule is not None
    fits = smooth and exact and not named and objective.width <= LARGEST_FULL
    return preconditioner == "full" or (preconditioner == "auto" and fits)
