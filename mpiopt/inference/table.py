"""A summary as text of at most 80 columns in the form of statsmodels, as CSV, as LaTeX, and as a pandas frame."""

from __future__ import annotations

import csv as csv_format
import io
import math
import re
import textwrap
from typing import Any

from mpiopt.inference.estimates import Estimates

WIDTH = 78  # characters of a line
DECIMAL = re.compile(r"\d+\.\d+(?:e[+-]?\d+)?")
NAME_WIDTH = 20  # of a parameter's name; longer ones are shortened
LATEX_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    c: "\\" + c for c in "&%$#_{}"
}


def text(found: Estimates) -> str:
    """Return the table of a found."""
    title = f"{found.family or found.loss} regression"
    bar, thin = "=" * WIDTH, "-" * WIDTH
    parts = [title.center(WIDTH).rstrip(), *textwrap.wrap(found.warning, WIDTH)]
    parts += [bar, *_facts(found), bar, _head(found), thin, *_rows(found), bar]
    parts += [line for note in found.notes for line in textwrap.wrap(note, WIDTH)]
    return "\n".join(parts)


def csv(found: Estimates) -> str:
    """Return the coefficients as CSV; numbers keep all their digits."""
    out = io.StringIO()
    heads, rows = _columns(found)
    csv_format.writer(out, lineterminator="\n").writerows([["name", *heads], *rows])
    return out.getvalue()


def latex(found: Estimates) -> str:
    """Return the coefficients as a LaTeX tabular."""
    mark = "t" if math.isfinite(found.df) else "z"
    low, high = _ends(found)
    head = ["", "coef", "std err", f"${mark}$", f"$P>|{mark}|$", f"[{low}", f"{high}]"]
    lines = [r"\begin{tabular}{lrrrrrr}", r"\hline", " & ".join(head) + r" \\", r"\hline"]
    for name, numbers in zip(found.names, _cells(found), strict=True):
        escaped = "".join(LATEX_SPECIAL.get(c, c) for c in name)
        lines.append(" & ".join([escaped, *numbers]) + r" \\")
    warning = [f"% {found.warning}"] if found.warning else []
    return "\n".join([*warning, *lines, r"\hline", r"\end{tabular}", ""])


def frame(found: Estimates) -> Any:
    """Return the coefficients as a pandas frame, indexed by name."""
    import pandas as pd

    heads, rows = _columns(found)
    return pd.DataFrame([row[1:] for row in rows], columns=heads, index=[row[0] for row in rows])


def _columns(found: Estimates) -> tuple[list[str], list[list[Any]]]:
    heads = ["coef", "std_err", "statistic", "p_value", "lower", "upper", "variance_inflation"]
    numbers = [found.coef, found.standard_errors, found.statistic, found.p_values]
    columns = [*numbers, *found.intervals.T, found.inflation]
    rows = [[name, *map(float, row)] for name, *row in zip(found.names, *columns, strict=True)]
    return heads, rows


def _facts(found: Estimates) -> list[str]:
    """Return the measures of fit, two in a line."""
    fit = found.goodness
    left = [("Loss", _rounded(found.loss)), ("Penalty", _rounded(found.penalty)), ("Link", found.link or "none")]
    left += [("Covariance", found.covariance_kind), ("Dispersion", _number(fit.dispersion))]
    left += [
        ("Log likelihood", _number(fit.log_likelihood)),
        ("Null log likelihood", _number(fit.null_log_likelihood)),
    ]
    explained = "R squared" if found.family == "Gaussian" else "Deviance explained"
    left += [(explained, f"{fit.explained:.4f}")]
    right = [("Observations", _number(fit.observations)), ("Model df", _number(fit.model_df))]
    right += [("Residual df", _number(fit.residual_df)), ("Deviance", _number(fit.deviance))]
    right += [("Null deviance", _number(fit.null_deviance)), ("Pearson chi2", _number(fit.pearson))]
    right += [("AIC", _number(fit.aic)), ("BIC", _number(fit.bic))]
    return [line for a, b in zip(left, right, strict=True) for line in _side_by_side(a, b)]


def _side_by_side(left: tuple[str, str], right: tuple[str, str]) -> list[str]:
    """Return two facts in a line, or in two if the left one is too long for its half."""
    half = WIDTH // 2 - 1
    if len(left[0]) + len(left[1]) + 2 <= half:
        return [f"{_fact(*left, half)}  {_fact(*right, half)}"]
    return [_fact(*left, WIDTH), f"{'':{half}}  {_fact(*right, half)}"]


def _fact(name: str, value: str, width: int) -> str:
    return f"{name + ':':<{width - len(value)}}{value}"


def _rounded(spec: str) -> str:
    """Return the text of a plug-in with its numbers in six digits."""
    return DECIMAL.sub(lambda found: f"{float(found[0]):.6g}", spec)


def _head(found: Estimates) -> str:
    mark = "t" if math.isfinite(found.df) else "z"
    low, high = _ends(found)
    heads = ["coef", "std err", mark, f"P>|{mark}|", f"[{low}", f"{high}]"]
    return _line("", heads)


def _rows(found: Estimates) -> list[str]:
    return [_line(name, row) for name, row in zip(found.names, _cells(found), strict=True)]


def _line(name: str, cells: list[str]) -> str:
    short = name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 1] + "…"
    widths = (11, 10, 9, 8, 10, 10)
    return f"{short:<{NAME_WIDTH}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _cells(found: Estimates) -> list[list[str]]:
    numbers = zip(found.coef, found.standard_errors, found.statistic, found.p_values, *found.intervals.T, strict=True)
    return [[_short(c), _short(s), f"{z:.3f}", f"{p:.3f}", _short(a), _short(b)] for c, s, z, p, a, b in numbers]


def _ends(found: Estimates) -> tuple[str, str]:
    """Return the shares of the two ends of the interval, as 0.025 and 0.975."""
    tail = 0.5 - 0.5 * found.level
    return f"{tail:.4g}", f"{1.0 - tail:.4g}"


def _short(value: float) -> str:
    """Return a number in at most 9 characters."""
    plain = f"{value:.4f}"
    return plain if len(plain) <= 9 and (abs(value) >= 1e-3 or value == 0.0) else f"{value:.2e}"


def _number(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.6g}" if abs(value) < 1e6 else f"{value:.8g}"
