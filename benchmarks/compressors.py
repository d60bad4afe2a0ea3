"""Compressors beside memcpy: GB/s of input for encoding and decoding, and the kernels with goals.

Times are processor time of one thread, the least of some repeats, all measured in turn within one run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks.kernels import fastest
from mpiopt.compress.compressors.base import Compressor
from mpiopt.kernels import bitpack, hadamard, random_subsets, stochastic_rounding

# ns per number at d = 1e6, measured for single passes before this program existed. The goal of the rotation was
# chosen: twelve stages of 0.25 ns each.
GOALS = {
    "quantised[levels=127,block=0]": 0.9,
    "pack 4 bits": 0.8,
    "unpack 4 bits": 0.8,
    "sign": 0.32,
    "draw of 1 %": 0.02,
    "top-k[share=0.01]": 0.38,
    "rotation": 3.0,
}
CHOICES: list[tuple[str, dict[str, object]]] = [
    *((name, {}) for name in Compressor.known()),
    ("quantised", {"levels": 127, "block": 0}),
    ("quantised", {"levels": 1, "block": 32}),
    ("rand-k", {"share": 0.01}),
    ("top-k", {"share": 0.01}),
    ("sketch", {"share": 0.01}),
]


class CompressorFigure(NamedTuple):
    """One measurement, in ns per number of the vector."""

    what: str
    ns: float
    goal: float  # 0: none


def label(name: str, options: dict[str, object]) -> str:
    """Return the compressor as it is written on a command line."""
    return name + (f"[{','.join(f'{k}={v}' for k, v in options.items())}]" if options else "")


def of_compressors(d: int) -> dict[str, Callable[[], object]]:
    """Return encoding and decoding of a Gaussian vector by every compressor."""
    x = np.random.default_rng(0).standard_normal(d)
    found: dict[str, Callable[[], object]] = {"memcpy": x.copy}
    for name, options in CHOICES:
        compressor, text = Compressor.make(name, options), label(name, options)
        seed = next(s for s in range(1000) if compressor.encode(x, s).size)  # participation may send nothing
        data = compressor.encode(x, seed)
        found[f"{text} encode"] = lambda c=compressor, s=seed: c.encode(x, s)
        found[f"{text} decode"] = lambda c=compressor, w=data: c.decode(w, d)
    return found


def of_kernels(d: int) -> dict[str, Callable[[], object]]:
    """Return the kernels that have goals."""
    x = np.random.default_rng(0).standard_normal(d)
    symbols = np.random.default_rng(1).integers(0, 16, d).astype(np.uint8)
    data, levels, scale = bitpack.pack(symbols, 4), np.empty(d, np.uint8), np.array([8.0], np.float32)
    return {
        "pack 4 bits": lambda: bitpack.pack(symbols, 4),
        "unpack 4 bits": lambda: bitpack.unpack(data, d, 4),
        "round to 8 bits": lambda: stochastic_rounding.quantise(x, 1.0, 1.0, d, scale, 127, 1, levels),
        "rotation": lambda: hadamard.rotate(x, 1),
        "draw of 1 %": lambda: random_subsets.draw_subset(d // 100, d, 1),
    }


def figures(d: int, repeats: int) -> list[CompressorFigure]:
    """Measure everything; the goals are for encoding and for kernels."""
    calls = of_compressors(d) | of_kernels(d)
    ns = {what: 1e9 * seconds / d for what, seconds in fastest(calls, repeats).items()}
    return [CompressorFigure(what, t, GOALS.get(what.removesuffix(" encode"), 0.0)) for what, t in ns.items()]


def main() -> None:
    """Print ns per number, GB/s of input, and the ratio to memcpy."""
    for d in (10_000, 1_000_000):
        found = figures(d, 5)
        memcpy = found[0].ns
        print(f"\nd = {d:,}: memcpy {memcpy:.2f} ns a number, {8 / memcpy:.1f} GB/s")
        for what, ns, goal in found[1:]:
            wanted = f"   goal {goal:g} ns: {goal / ns:.2f}" if goal else ""
            print(f"  {what:<44} {ns:6.2f} ns {8 / ns:7.1f} GB/s {memcpy / ns:6.2f} of memcpy{wanted}")


if __name__ == "__main__":
    main()
