"""Judge what `mpiopt.fit` says of a problem against the reference.

A model is right if F(w) − F* is at most what its certificate claims: tol · max(F(w) − floor, 1e-9 (F(0) − floor)), or
the certificate's own value where it is a duality gap, plus an allowance for rounding. F(w) is computed in long double
from the stored data and the returned numbers. The allowance is that of numbers in float64: a margin is known up to
ROUNDING · 2⁻⁵² (|b| + Σ_j |x_ij − centre_j| |w_j| + |y_i|), and near the optimum, where the slopes balance, such
errors add ½ Σ_i s_i curvature_i error_i² to F; and F itself is known up to ROUNDING · 2⁻⁵² |F|. The objective that a
fit states may differ from F(w) by what such errors change to first order.
"""

from __future__ import annotations

import re
import signal
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import mpiopt
from mpiopt.comm.threads import spmd
from tests.fuzz.beyond import is_beyond
from tests.fuzz.draw import Problem
from tests.fuzz.losses import LD, long_loss
from tests.fuzz.recession import has_optimum
from tests.fuzz.reference import Exact, Optimum, exact, long_rows, optimum, strength

warnings.filterwarnings("ignore", message="the fit is not certified")  # the judgement says so

EPOCHS = 200.0  # within which default options should certify
SECONDS = 60.0  # of a fit; more is a time-out
WAIT = 120.0  # seconds for all, after which a fit counts as hung
ROUNDING = 8  # units in the last place that one sum or product may lose
EPS = LD(2) ** -52
SOUND = LD(1e-3)  # of the claim: what the reference may be above the optimum
NO_OPTIMUM = re.compile(r"no optimum|no minimum|falls for ?ever|separa|unbounded|not attained", re.IGNORECASE)

RIGHT, WRONG, NAN = "certified, right", "certified, WRONG", "not finite"
LOOSE, NONE_CERTIFIED, MISSTATED = "bound too small", "certified, no optimum exists", "objective misstated"
OPEN, SAID, UNSAID = "not certified", "no optimum, said", "no optimum, not said"
BEYOND = "beyond float64"  # not certified, as no coefficients of float64 are within the tolerance; and said so
FAR_LINE = "far from 0 beside their spread"  # the line that is true of such a problem
DENIED, ERROR, CRASH, TIMEOUT, UNKNOWN = "says no optimum, WRONG", "error", "crash", "time-out", "no reference"
VERDICTS = (
    RIGHT,
    WRONG,
    NAN,
    LOOSE,
    NONE_CERTIFIED,
    MISSTATED,
    OPEN,
    SAID,
    UNSAID,
    DENIED,
    ERROR,
    CRASH,
    TIMEOUT,
    UNKNOWN,
    BEYOND,
)
LIES = (WRONG, NAN, LOOSE, NONE_CERTIFIED, MISSTATED, DENIED)
GOOD = (RIGHT, SAID, BEYOND)


@dataclass(frozen=True)
class Judgement:
    """What came of a problem."""

    problem: Problem
    verdict: str
    reason: str  # the last line of the fit, or its error
    exists: bool | None = None  # whether an optimum exists; None if that is not known
    certificate: float = np.nan
    kind: str = ""
    epochs: float = np.nan
    excess: float = np.nan  # (F(w) − F*) / scale
    allowance: float = np.nan  # for rounding, / scale
    left: float = np.nan  # of the reference, / scale
    more: dict[str, Any] = field(default_factory=dict)

    def light(self) -> Judgement:
        """Return the judgement without the data of its problem."""
        return replace(self, problem=replace(self.problem, x=None, y=np.empty(0), weight=None))

    def line(self) -> str:
        """Describe the judgement in one line."""
        found = f"{self.kind} {self.certificate:.1e}, excess {self.excess:.1e}, {self.epochs:.0f} epochs"
        return f"{self.verdict}: {self.problem.line()}: {found}: {self.reason}"


def judge(problem: Problem) -> Judgement:
    """Fit a problem and judge the result."""
    try:
        with alarm(WAIT):
            fit = run(problem)
    except (TimeoutError, threading.BrokenBarrierError):
        return Judgement(problem, TIMEOUT, f"no end within {WAIT:g} s")
    except ValueError as error:
        return judge_error(problem, error)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({place.filename.rpartition('/')[2]}:{place.lineno})"
        return Judgement(problem, CRASH, " ".join(text.split()))
    return judge_fit(problem, fit)


def run(problem: Problem, **options: Any) -> Any:
    """Fit on the problem's ranks, in threads, by default options; return the fit, RuntimeError if ranks differ."""
    keywords = {
        "loss": problem.loss,
        "l1": problem.l1,
        "l2": problem.l2,
        "intercept": problem.intercept,
        "algorithm": problem.algorithm,
        "tol": problem.tol,
        "max_epochs": EPOCHS,
        "max_seconds": SECONDS,
    } | options

    def main(comm: Any) -> Any:
        mine = slice(*problem.cuts[comm.rank : comm.rank + 2])
        weight = None if problem.weight is None else problem.weight[mine]
        return mpiopt.fit(problem.x[mine], problem.y[mine], comm, sample_weight=weight, **keywords)

    first, *others = spmd(problem.ranks, main, timeout=WAIT)
    if any(first.coef.tobytes() != other.coef.tobytes() or first.reason != other.reason for other in others):
        raise RuntimeError("the ranks return different models")
    return first


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise TimeoutError after so many seconds, if this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def judge_error(problem: Problem, error: Exception) -> Judgement:
    """Judge a refusal: it is right only where no optimum exists and it says so."""
    text = " ".join(str(error).split())
    exists = existence(exact(problem))
    if NO_OPTIMUM.search(text) and exists is not None:
        return Judgement(problem, DENIED if exists else SAID, text, exists)
    return Judgement(problem, ERROR, text, exists)


def existence(long: Exact) -> bool | None:
    """Return whether an optimum exists, None if that is not known."""
    try:
        return has_optimum(long)
    except ArithmeticError:
        return None


def judge_fit(problem: Problem, fit: Any) -> Judgement:
    """Judge the end of a fit."""
    found = {
        "reason": fit.reason,
        "certificate": fit.certificate,
        "kind": fit.certificate_kind,
        "epochs": fit.history[-1].epoch,
    }
    if not_finite(fit):
        return Judgement(problem, NAN, **found)
    long = exact(problem)
    exists = existence(long)
    found["exists"] = exists
    denied = not fit.certified and bool(NO_OPTIMUM.search(fit.reason))
    if exists is False:
        return Judgement(problem, NONE_CERTIFIED if fit.certified else SAID if denied else UNSAID, **found)
    if exists is None:
        return Judgement(problem, UNKNOWN, **found)
    if denied:
        return Judgement(problem, DENIED, **found)
    try:
        best = optimum(long)
    except ArithmeticError:
        return Judgement(problem, UNKNOWN, **found)
    return compare(problem, fit, long, best, found)


def not_finite(fit: Any) -> bool:
    """Return whether a fit states a number that is none; a certificate may be infinite where nothing is certified."""
    numbers = [fit.objective, *fit.coef.ravel(), *fit.intercept, fit.certificate if fit.certified else 0.0]
    return bool(np.isnan(fit.certificate) or not np.isfinite(numbers).all())


def compare(problem: Problem, fit: Any, long: Exact, best: Optimum, found: dict[str, Any]) -> Judgement:
    """Compare the objective of a fit with the optimum."""
    value, rounding, computed = evaluate(problem, fit)
    rounding = rounding + best.rounding
    scale = long.scale(best.value)
    excess = value - best.value
    claim = LD(problem.tol) * long.scale(value)
    stated = LD(fit.certificate) * long.scale(value) if fit.certificate_kind == "duality gap" else LD(np.inf)
    if scale > 0:
        found |= {"excess": float(excess / scale), "allowance": float(rounding / scale)}
        found["left"] = float(best.left / scale)
    found["more"] = {"F(w)": value, "F*": best.value, "F of the fit": fit.objective}
    if fit.certified and not abs(value - LD(fit.objective)) <= computed:
        return Judgement(problem, MISSTATED, **found)
    if fit.certified and not excess <= claim + rounding:
        return Judgement(problem, WRONG, **found)
    if excess > stated * (1 + LD(1e-9)) + rounding + computed:  # the bound is a difference from a computed F
        return Judgement(problem, LOOSE, **found)
    if not fit.certified:
        late = fit.reason.startswith("max_seconds")
        if FAR_LINE in fit.reason and is_beyond(problem, long, best):
            return Judgement(problem, BEYOND, **found)
        return Judgement(problem, TIMEOUT if late else OPEN, **found)
    return Judgement(problem, RIGHT if best.left + best.rounding <= SOUND * claim + rounding else UNKNOWN, **found)


def evaluate(problem: Problem, fit: Any) -> tuple[np.longdouble, np.longdouble, np.longdouble]:
    """Return F at the returned numbers in long double, what rounding may add to it, and may change a computed F."""
    x, s, used = long_rows(problem)
    s = s / s.sum()
    loss = long_loss(problem.loss, problem.y)
    y = loss.y[used]
    loss = replace(loss, y=y)
    w = np.asarray(fit.coef, LD)
    centre, intercept = centred_model(fit, x.shape[1])
    z = (x - centre) @ w.T + intercept
    size = np.abs(x - centre) @ np.abs(w).T + np.abs(intercept)
    if loss.family in ("squared", "huber", "quantile"):
        size = size + np.abs(y)[:, None]
    smooth = (s * loss.values(z)).sum()
    value = smooth + LD(problem.l1) * np.abs(w).sum() + strength(problem) * (w * w).sum() / 2
    error = (ROUNDING * EPS * size).max(axis=1)
    curvature = np.abs(loss.curvatures(z)).max(axis=(1, 2))
    curvature = {"huber": 1, "squared-hinge": 2, "quantile": 1 / (2 * loss.delta)}.get(
        loss.family, curvature
    )  # near a kink, too
    terms = (s * np.abs(loss.values(z))).sum() + value - smooth
    second = (s * curvature * error**2).sum() / 2 + ROUNDING * EPS * terms
    first = (s * np.abs(loss.slopes(z)).sum(axis=1) * error).sum()
    if loss.family == "softmax":  # a logarithm of a sum of 1 and small numbers
        first = first + ROUNDING * EPS
    return value, second, first + second


def centred_model(fit: Any, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the point from which columns are measured and the intercept there: 0, or what the fit states."""
    centre, there = getattr(fit, "centre", None), getattr(fit, "intercept_at_centre", None)
    if centre is None or there is None:
        return np.zeros(d, LD), np.asarray(fit.intercept, LD)
    return np.asarray(centre, LD), np.asarray(there, LD)
