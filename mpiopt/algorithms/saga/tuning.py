"""The constants that tune distributed SAGA, each with its unit and its reason.

Values without another source were found by trial; docs/explanation/design.md reports the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SagaTuning:
    """Constants of rounds, of accepting a model, of the step search and of preconditioned steps."""

    # Rounds.
    short_round: float = 0.25  # local epochs: shorter rounds hardly save epochs (docs/studies/saga-facts.md, fact b)
    least_round: float = 1 / 64  # local epochs: a floor, so that failures do not shorten rounds without end
    round_cut: float = 0.5  # factor on the length of a round after which the ranks were too far apart
    compressed_round: float = 2.0  # epochs of a round for each part of a vector that a compressor lets through
    least_compressed_round: float = 1 / 16  # part of an uncompressed round: the floor for strong compressors
    refresh_epochs: float = 2.0  # epochs between two refreshes; a refresh costs one
    refresh_epochs_alone: float = 3.0  # the same for plain steps on one rank, where no table of another is stale
    due_slack: float = 1e-9  # epochs: rounding in a sum of rounds must not put off a refresh
    pieces: int = 8  # of a round by time or without a common clock; a rank polls clock and messages between them
    least_piece: float = 1e-12  # epochs: a piece of no length would never end the round
    overrun: float = 0.5  # of the last piece's time by which a timed round may end late
    refresh_patience: float = 0.5  # of the slowest rank's pass: seconds that rounds must take before a refresh

    # Accepting the model of a refresh.
    rounding: float = 1e-13  # relative rise of F that rounding may cause
    cut: float = 0.25  # factor on the way from the last good model to the new one, at each failed evaluation
    cuts: int = 2  # times that the way is cut; after that the last good model is kept
    far_out: float = 10.0  # times the last good F: compressed memories keep the rounding of such large gradients
    tables_far_out: float = 2.0  # times the last good F: asynchronous ranks fill their tables anew
    shortest_scale: float = 1e-9  # factor on the step: below, the run is taken to diverge at any step size
    wrong_gradient: float = 0.5  # part of the gradient map's norm by which a compressed gradient may be wrong
    extrapolations: tuple[float, ...] = (1e-2, 1e-5, 1e-8)  # regularisations tried; relative to ‖RᵀR‖

    # Averaging with compression: the part of the way to the compressed average that all ranks go.
    mix_cut: float = 0.5  # factor after a period in which F rose
    mix_growth: float = 1.25  # factor after a period in which F fell
    least_mix: float = 0.25  # of the part for which the theory of the compressor holds

    # The search for the longest step, without a full preconditioner.
    longest_first_scale: float = 8.0  # in wide sparse rows the first factor is √ranks, whose mean has less noise
    first_growth: float = 2.0  # first factor by which a longer step is tried
    least_growth: float = 1.2  # least such factor
    longest_wait: float = 16.0  # periods between two tries
    noise: float = 4.0  # growth of the squared gradient that shows steps that are too long
    shortened: tuple[float, ...] = (0.7, 0.5, 0.5, 0.25)  # factor on a step that is too long, by cuts of the way
    slow: float = 0.03  # part of the squared gradient left by a period: above, progress was slow

    # Smoothness constants.
    uneven: float = 1e3  # largest curvature of a column over the median: above, each column needs its own step

    # The line search on sampled blocks (Schmidt, Le Roux, Bach 2017, section 4.6, has one row for each step).
    searches: int = 16  # in a local epoch
    sampled_share: int = 8  # one in this many blocks is tried
    least_decrease: float = 1e-12  # of a block's loss: a smaller promised decrease is lost in rounding
    least_smoothness: float = 1e-200  # curvature: keeps 1/L finite
    largest_smoothness: float = 1e200  # curvature: keeps 1/L above zero

    # Preconditioned steps.
    newton_steps: float = 4.0  # q, local Newton steps in an epoch of blocks: e⁻⁸ of the distance in F is left
    largest_share: float = 0.25  # θ, weight of a rank's own mean in its model of the whole: noise grows with it
    least_block: int = 64  # rows of a block at least
    rows_per_column: int = 2  # rows of a block for each column, in proportion to the width² work of a step
    least_blocks: int = 16  # in an epoch; this comes before the two above
    quarter: float = 0.25  # factor on the step where the whole way had to be given up
    recovery: float = 2.0  # factor on a shortened step in a period that went well, up to the full step
    least_damping: float = 1 / 64  # of the bound of a row's curvature
    damping_change: float = 4.0  # factor on the damping: up where F rose, down where it fell
    slow_chord: float = 0.1  # the same of a chord step, which costs one epoch and not three
    hardly: float = 0.7  # part of the decrement left by a period: above, a preconditioner of many bytes is worth it
    helped: float = 0.8  # rate of progress over that before: below, the last preconditioner helped
    longest_rest: float = 64.0  # periods without a new preconditioner after one that did not help
    rejected_mix: float = 0.5  # of the largest mix: a way cut at such a mix asks for a new preconditioner
    tiny: float = 1e-300  # least squared gradient in a quotient: the gradient may become exactly zero

    # Asynchronous exchange.
    window: int = 2  # messages that a rank may be sent before it answers
    idle_seconds: float = 2e-4  # sleep of a rank that may not, or need not, work


TUNING = SagaTuning()
