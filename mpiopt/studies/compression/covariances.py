"""Compare E[C(x) C(x)ᵀ] of every compressor plug-in, after encoding and decoding, with its formula; x is Gaussian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.compress.compressors.base import Compressor
from mpiopt.core.config.spec import spec_of
from mpiopt.studies.compression.clients import root
from mpiopt.studies.report import aligned

FEATURES, SEED = 20, 23
PAPER = {"levels": 1, "norm": "l2", "block": 0}  # options of the quantisation that has a formula
OPTIONS = {"quantised": PAPER, "stabilised": PAPER}
ERRORS = 4.0  # standard errors of the measured matrix


@dataclass(frozen=True)
class Covariance:
    """The measured covariance of one compressor."""

    name: str
    error: float  # ‖measured − formula‖ / ‖formula‖, Frobenius; NaN if there is no formula
    expected: float  # its standard error
    variance: float  # E‖C(x) − x‖²/E‖x‖², measured
    omega: float

    @property
    def verdict(self) -> str:
        """Whether the measured matrix agrees with the formula."""
        if not self.error <= ERRORS * self.expected + 1e-6:  # messages are in float32
            return "no formula" if np.isnan(self.error) else "DIFFERS"
        return "agrees"


def measure(draws: int) -> list[Covariance]:
    """Compress `draws` vectors x ~ N(0, H), H with eigenvalues 1/i in a random basis, by every compressor."""
    half = root(FEATURES, 1.0, "rotated", SEED)
    x = np.random.default_rng(SEED).standard_normal((draws, FEATURES)) @ half
    family = [Compressor.make(name, OPTIONS.get(name)) for name in Compressor.known()]
    return [one(compressor, x, half.T @ half) for compressor in family]


def one(compressor: Compressor, x: np.ndarray, h: np.ndarray) -> Covariance:
    """Compress the rows of x, shape (n, d), of covariance h."""
    sent = np.array([compressor.decode(compressor.encode(v, k), len(v)) for k, v in enumerate(x)])
    second, formula = sent.T @ sent / len(x), compressor.second_moment(h)
    variance = float(((sent - x) ** 2).sum() / (x**2).sum())
    error = expected = float("nan")
    if formula is not None:
        error = float(np.linalg.norm(second - formula) / np.linalg.norm(formula))
        fourth = float(((sent**2).sum(axis=1) ** 2).mean()) - float((second**2).sum())
        expected = float(np.sqrt(fourth / len(x)) / np.linalg.norm(formula))
    return Covariance(str(spec_of(compressor)), error, expected, variance, compressor.variance(x.shape[1]))


def table(measured: list[Covariance], draws: int) -> str:
    """Return a line for each compressor."""
    head = ["compressor", "error of E[C Cᵀ]", "std err", "", "E‖C(x) − x‖²/E‖x‖²", "ω"]
    lines = [
        [c.name, f"{c.error:.3f}", f"{c.expected:.3f}", c.verdict, f"{c.variance:.3f}", f"{c.omega:.3f}"]
        for c in measured
    ]
    return f"Covariances, d = {FEATURES}, {draws} draws:\n\n{aligned([head, *lines])}"
