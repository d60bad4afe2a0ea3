"""The full preconditioner of distributed SAGA: the curvature of the whole objective, and each rank's part in it.

At a model w_P let S_k = (1/n_k) Σ_{S_k} s_i loss_i'' x_i x_iᵀ be the curvature of rank k's mean, S = Σ (n_k/N) S_k
that of the whole, and R the ridge. All ranks take steps P⁻¹ v with P = S + R. While rank k works alone, the gradient
of the others would be stale. With P and its own S_k the rank knows how that gradient changes to first order,
(S − θ S_k)(w − w̄), for any distribution of the rows. docs/explanation/design.md has the analysis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.compress.symmetric_sum import curvature_sum, symmetric_sum
from mpiopt.compress.whitening import Whitened
from mpiopt.objective.curvature import across_classes, refuse_infinite, used_columns
from mpiopt.objective.objective import Objective
from mpiopt.objective.row_hessians import RowHessians

Matrix = NDArray[np.float64]
Model = NDArray[np.float64]  # (outputs, width)

LARGEST_WIDTH = 2000  # columns of a preconditioner: with more, its width² numbers cost more than they save
LARGEST_COUPLED = 2600  # outputs · columns of one preconditioner for all outputs together: as above
STABLE_SHARE = 0.9  # of the θ at which S − θ S_k + R becomes singular: the power iteration is a little too low
FIRST_JITTER = 1e-14  # of the diagonal: the first ε that is tried; about the rounding of a sum of curvatures
JITTER_GROWTH = 100.0  # factor on ε where the factorisation fails
POWER_ITERATIONS = 30  # enough for some per cent
LARGEST_STRETCH = (
    3.0  # of a column of a part: with 9 times its curvature in all rows the part's correlations are chance
)
RARE = 0.03  # of the median column's curvature: a column that has less in a part of the rows may have more in all
FREE = (
    1e4  # times the median column's diagonal of P⁻¹: such a column is not held by the part's rows, but by the ridge
)


@dataclass(frozen=True, eq=False)
class Preconditioner:
    """What one rank needs for preconditioned steps; m = width, or outputs · width where the outputs are coupled."""

    inverse: Matrix  # (m, m) P⁻¹, the same on all ranks; zero at padding
    others: Matrix  # (m, m) S − θ S_k, the curvature that this rank models
    share: float  # θ, the weight of this rank's own mean in its model of the whole
    coordinates: Whitened | None  # where differences are compressed; None where nothing is

    def solve(self, gradient: Model) -> Model:
        """Return P⁻¹ g."""
        g = gradient.reshape(-1, len(self.inverse))
        return np.asarray(g @ self.inverse).reshape(gradient.shape)

    def decrement(self, gradient: Model) -> float:
        """Return gᵀP⁻¹g, twice what a Newton step would gain."""
        g = gradient.reshape(-1, len(self.inverse))
        return float((g * (g @ self.inverse)).sum())


def build(objective: Objective, w: Model, channel: Channel, largest_share: float, damping: float) -> Preconditioner:
    """Make the preconditioner at `w`: one pass over the rows and one exchange of m² numbers; collective.

    θ = min(largest_share, 0.9/λ_max(P⁻¹ S_k)), so that S − θ S_k + R stays positive definite: a rank whose rows have
    more curvature than the whole takes its own mean with less weight.

    Parameters
    ----------
    objective : Objective
        Rows, loss and penalty of this rank.
    w : (outputs, width) array
        Where the curvature is taken.
    channel : Channel
        The ranks; where it compresses, the coordinates for compressed differences are made as well.
    largest_share : float
        The largest θ.
    damping : float
        Least curvature of a row, as a part of its bound (where there is none, of the largest curvature here). It is
        for losses such as Huber's, whose curvature may be greater a little further on.
    """
    columns = used_columns(objective)
    own, whole, root = _curvature(objective, w, channel, damping)
    inverse = np.asarray(root.inverse.T @ root.inverse)
    own *= objective.shard.total / max(1, len(objective.shard))
    share = min(largest_share, STABLE_SHARE / max(STABLE_SHARE, largest_ratio(inverse, own)))
    own *= -share
    own += whole
    inverse, own = (_padded(m, columns, objective.width) for m in (inverse, own))
    whitened = Whitened(root.lower, root.inverse, columns, objective.width) if channel.compresses else None
    return Preconditioner(inverse, own, share, whitened)


class InverseCurvature(NamedTuple):
    """P⁻¹ of an objective, or of a part of its rows."""

    inverse: Matrix  # (blocks, m, m)
    diagonal: Matrix  # (blocks, columns) of P, without padding
    of_inverse: Matrix  # the same of P⁻¹

    def lacks_a_column(self, channel: Channel) -> bool:
        """Return whether a column is 0 or constant in these rows: rare, and its weight nearly free; collective."""
        held = self.diagonal > 0.0
        if not held.any():
            return False
        rare = held & (self.diagonal < RARE * np.median(self.diagonal[held]))
        if not rare.any():
            return False
        free = float(self.of_inverse[rare].max()) > FREE * float(np.median(self.of_inverse[held]))
        return bool(channel.of_root(float(free))[0])  # inverses may differ in their last bits


def inverse_curvature(objective: Objective, w: Model, channel: Channel) -> InverseCurvature:
    """Return P⁻¹ with one block for all outputs together, or one for each, and the diagonal of P; collective.

    One by one the outputs have the curvature s_i p_c (1 − p_c) x_i x_iᵀ, the blocks on the diagonal.
    """
    columns = used_columns(objective)
    if objective.outputs == 1 or is_coupled(objective):
        found = _curvature(objective, w, channel, 0.0)
        root, whole = found.root.inverse, found.whole[None]
        inverse = _padded(root.T @ root, columns, objective.width)[None]
    else:
        whole = np.stack([symmetric_sum(block, channel) for block in _block_curvatures(objective, w)])
        inverse = np.stack([_inverse_of_block(block, objective) for block in whole])
    ridge = np.tile(objective.ridge[:columns], whole.shape[1] // columns)
    diagonal = whole.diagonal(axis1=1, axis2=2) + ridge
    free = inverse.diagonal(axis1=1, axis2=2).reshape(-1, objective.width)[:, :columns]
    return InverseCurvature(inverse, diagonal, free.reshape(diagonal.shape))


def corrected_inverse(part: Objective, w: Model, diagonal: Model, channel: Channel) -> Matrix:
    """Do as `inverse_curvature` for some of the rows, with the diagonal of all rows; collective.

    The curvature S of the part becomes E S E with a diagonal E, so that it has the given diagonal: it keeps the
    correlations of the columns. A column that the part hardly has is not taken for one without curvature, nor for one
    that is a multiple of the intercept's.

    Parameters
    ----------
    part : Objective
        The objective on a part of each rank's rows.
    w : ndarray, shape (outputs, width)
        Where the curvature is taken.
    diagonal : ndarray, shape (outputs, width)
        The diagonal of the curvature over all rows, without the ridge; a 0 is taken for the largest.
    channel : Channel
        The ranks.
    """
    columns = used_columns(part)
    coupled = is_coupled(part)
    own = across_classes(part, w)[None] if coupled else np.stack(_block_curvatures(part, w))
    wanted, inverses = positive(diagonal)[:, :columns].reshape(len(own), -1), []
    for block, column in zip(own, wanted, strict=True):
        s = symmetric_sum(block, channel)
        found = s.diagonal()
        e = np.sqrt(np.divide(column, found, out=np.zeros_like(column), where=found > 0.0))
        e = np.minimum(e, LARGEST_STRETCH)
        s = s * e * e[:, None]
        s[np.diag_indices_from(s)] = column
        inverses.append(_inverse_of_block(s + _common_part(s, columns) if coupled else s, part))
    return np.stack(inverses)


def positive(diagonal: Model) -> Model:
    """Return the diagonal with its largest entry, or 1, where it is 0: there a short step is safe.

    A column has no curvature where it is empty, and where the loss is linear on all its rows.
    """
    largest = float(diagonal.max(initial=0.0))
    return np.where(diagonal > 0.0, diagonal, largest if largest > 0.0 else 1.0)


def _block_curvatures(objective: Objective, w: Model) -> list[Matrix]:
    """Return this rank's curvature of each output by itself, without padding."""
    columns, hessians = used_columns(objective), RowHessians.at(objective, objective.predict(w))
    return [objective.weighted_gram(c)[:columns, :columns] for c in hessians.output_curvatures()]


def _inverse_of_block(block: Matrix, objective: Objective) -> Matrix:
    """Return the inverse of a curvature with the ridge added, padded."""
    columns = used_columns(objective)
    ridge = np.diag(np.tile(objective.ridge[:columns], len(block) // columns))
    root = root_of(block + ridge).inverse
    return _padded(root.T @ root, columns, objective.width)


def times(inverse: Matrix, g: Model) -> Model:
    """Return P⁻¹ g. P⁻¹ is a diagonal, one block for all outputs together, or one block for each output.

    With one block each, the part that all outputs have in common is left out: softmax ignores it, and the ridge keeps
    it at 0.
    """
    if inverse.ndim == 2:
        return inverse * g
    if len(inverse) == 1:
        return np.asarray(inverse[0] @ g.reshape(-1)).reshape(g.shape)
    p = np.einsum("cij,cj->ci", inverse, g - g.mean(axis=0))
    return np.asarray(p - p.mean(axis=0))


def is_coupled(objective: Objective) -> bool:
    """Return whether there is one preconditioner for all outputs together; else the outputs share one of width²."""
    return objective.outputs > 1 and objective.outputs * used_columns(objective) <= LARGEST_COUPLED


class Root(NamedTuple):
    """P = L Lᵀ, nearly; both factors are zero where a column has no curvature."""

    lower: Matrix  # L
    inverse: Matrix  # L⁻¹


class _Curvature(NamedTuple):
    """Sums of curvature at a model, without padding."""

    own: Matrix  # this rank's part of S
    whole: Matrix  # S
    root: Root  # of P


def _curvature(objective: Objective, w: Model, channel: Channel, damping: float) -> _Curvature:
    """Sum the curvature over the ranks and factor P; collective."""
    coupled, columns = is_coupled(objective), used_columns(objective)
    if coupled:
        own = across_classes(objective, w)
    else:
        c = _row_curvatures(objective, w, channel, damping)
        own = objective.weighted_gram(c)[:columns, :columns].copy()
    ridge = np.diag(np.tile(objective.ridge[:columns], len(own) // columns))
    whole = curvature_sum(own, ridge, channel)
    common = _common_part(whole, columns) if coupled else 0.0
    return _Curvature(own, whole, root_of(whole + ridge + common))


def _row_curvatures(objective: Objective, w: Model, channel: Channel, damping: float) -> NDArray[np.float64]:
    """Return s_i loss_i'' of each row, at least the part `damping` of its bound; collective without a bound.

    With one output it is the curvature of a parabola above the loss, so that steps are not too long where rows have
    no curvature (Huber's loss).
    """
    z, y = objective.predict(w), objective.shard.label
    of_row = objective.loss.mean_curvature if objective.loss.knee is None else objective.loss.majorant
    c = objective.shard.weight * of_row(z, y)
    if damping == 0.0:
        return c
    bound = objective.loss.curvature_bound
    if bound is None:
        bound = float(channel.max(c.max(initial=0.0))[0])
    return np.maximum(c, damping * bound * objective.shard.weight)


def _common_part(whole: Matrix, columns: int) -> Matrix:
    """Return (1 1ᵀ/C) ⊗ (the mean diagonal block): curvature for the direction that softmax ignores.

    A move that all classes share changes no probability; without this term rounding would grow in that direction.
    """
    classes = len(whole) // columns
    mean = sum(whole[i : i + columns, i : i + columns] for i in range(0, len(whole), columns)) / classes
    return np.kron(np.full((classes, classes), 1.0 / classes), mean)


def _padded(matrix: Matrix, columns: int, width: int) -> Matrix:
    """Return the matrix with blocks of `width` columns instead of `columns`, filled with zeros."""
    blocks = len(matrix) // columns
    out = np.zeros((blocks, width, blocks, width))
    out[:, :columns, :, :columns] = matrix.reshape(blocks, columns, blocks, columns)
    return out.reshape(blocks * width, blocks * width)


def root_of(p: Matrix) -> Root:
    """Factor P + ε diag P with the smallest ε = 1e-14, 1e-12 … that allows it.

    P is scaled to a unit diagonal first, so the result does not depend on the units of the columns. A column without
    any curvature gets zeros, so that it never moves.

    Raises
    ------
    ValueError
        If P is not finite.
    """
    refuse_infinite(p)
    size = np.sqrt(np.maximum(p.diagonal(), 0.0))
    scale = np.zeros_like(size)
    np.divide(1.0, size, out=scale, where=size > 0.0)
    unit = p * scale * scale[:, None]
    unit[np.diag_indices_from(unit)] = 1.0
    jitter = FIRST_JITTER
    while True:
        try:
            lower = np.linalg.cholesky(unit + jitter * np.eye(len(unit)))
            return Root(np.asarray(lower * size[:, None]), np.asarray(np.linalg.inv(lower) * scale))
        except np.linalg.LinAlgError:
            jitter *= JITTER_GROWTH


def largest_ratio(inverse: Matrix, own: Matrix) -> float:
    """Estimate λ_max(P⁻¹ S_k) by power iterations: from below, in practice by at most some per cent."""
    v = np.random.default_rng(0).standard_normal(len(own))
    ratio = 0.0
    for _ in range(POWER_ITERATIONS):
        v = inverse @ (own @ v)
        ratio = float(np.linalg.norm(v))
        if ratio == 0.0 or not np.isfinite(ratio):
            break
        v /= ratio
    return ratio
