"""The warning of a fit that is not certified: on rank 0, at the line of the first caller outside the package."""

from __future__ import annotations

import sys
import warnings
from typing import Protocol

from mpiopt.comm.base import Comm

PACKAGE = __name__.partition(".")[0]


class Ended(Protocol):
    """What the warning reads of a fit."""

    @property
    def certified(self) -> bool: ...  # noqa: D102

    @property
    def certificate(self) -> float: ...  # noqa: D102

    @property
    def certificate_kind(self) -> str: ...  # noqa: D102

    @property
    def reason(self) -> str: ...  # noqa: D102


def warn_uncertified(found: Ended, tol: float, comm: Comm) -> None:
    """Warn on rank 0 if a fit is not certified; collective.

    Where the user has made warnings errors, all ranks raise: a rank that went on alone would wait for the others.
    """
    if found.certified:
        return
    from mpiopt.training.sklearn_base import ConvergenceWarning  # loads scikit-learn, which a certified fit needs not

    error = None
    if comm.rank == 0:
        try:
            warnings.warn(not_certified(found, tol), ConvergenceWarning, stacklevel=_callers_level())
        except ConvergenceWarning as raised:
            error = raised
    try:
        comm.agree(error)
    except RuntimeError:
        if error is None:
            raise
        raise error from None


def _callers_level() -> int:
    """Return the level of the first caller outside the package, as `warn_uncertified` gives it to `warnings.warn`."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
        frame, level = frame.f_back, level + 1
    return level


def not_certified(found: Ended, tol: float) -> str:
    """Return why a fit is not certified and what to do, in one line."""
    reached = f"{found.certificate_kind} {found.certificate:.2g}, tol {tol:g}"
    advice = ""  # where there is no optimum, the reason says what to do
    if "spent" in found.reason:
        advice = f"; raise {found.reason.partition(' ')[0]} or tol; if columns differ much in size, scale='standard'"
    elif "no progress" in found.reason:
        advice = "; raise tol, since rounding allows no better model, or scale='standard'"
    return f"the fit is not certified ({reached}): {found.reason}{advice}"
