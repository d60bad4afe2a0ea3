"""The job of the study of paper 4: panels (one row of the table each, or two with memories), read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mpiopt.core.config.job import at_least
from mpiopt.studies.jobs import fields

COLUMNS = ("none", "quantised", "sparsified", "sketch", "rand-k", "participation")
MEMORIES = ("none", "difference")
WORDS = {
    "basis": ("diagonal", "rotated"),
    "step": ("omega", "horizon", "plain"),
    "shift": ("none", "covariate", "concept"),
    "gradient": ("batch", "whole"),
    "order": ("shuffled", "sorted-by-label"),
}

TEXTS = ("memories", "ahead", "behind")  # lists of words in a panel


@dataclass(frozen=True)
class Panel:
    """One experiment over the six compressors; `data` is a file of rows, else the clients' features are Gaussian.

    step: γ is 1/(2(ω + 1)R²) (omega), K^(−2/5) (horizon) or 1/(2R²) (plain), R² the mean of Tr H_i.
    """

    name: str = ""
    iterations: int = 100_000  # K
    runs: int = 5
    clients: int = 1
    batch: int = 1
    levels: int = 1  # s of the quantisation, to whose ω the others are matched
    step: str = "omega"
    gradient: str = "batch"
    memories: tuple[str, ...] = ("none",)
    features: int = 100
    decay: float = 4.0  # P: eigenvalues i^−P
    basis: str = "rotated"
    shift: str = "none"
    data: str = ""
    order: str = "shuffled"  # how the rows of `data` are cut to clients
    ahead: tuple[str, ...] = ()  # compressors that are claimed to do better than those `behind`
    behind: tuple[str, ...] = ()
    authors: tuple[float, ...] = ()  # their log10 excess risk, in the order of COLUMNS
    authors_memory: tuple[float, ...] = ()
    authors_iterations: int = 0  # K of their figure

    def __post_init__(self) -> None:
        for field, least in (("iterations", 10), ("runs", 1), ("clients", 1), ("batch", 1), ("levels", 1)):
            at_least(field, getattr(self, field), least)
        at_least("features", self.features, 2)
        for field, words in WORDS.items():
            if getattr(self, field) not in words:
                raise ValueError(f"{field} must be one of {', '.join(words)}, not {getattr(self, field)!r}")
        if not self.memories or set(self.memories) - set(MEMORIES):
            raise ValueError(f"memories are some of {', '.join(MEMORIES)}, not {list(self.memories)}")
        if not self.data and self.order != "shuffled":
            raise ValueError("order is for the rows of a data file")
        if {*self.ahead, *self.behind} - set(COLUMNS):
            raise ValueError(f"ahead and behind are some of {', '.join(COLUMNS)}")
        if self.gradient == "whole" and (self.shift == "covariate" or self.data):
            raise ValueError("whole gradients are for made-up clients that share their features' law")
        for field in ("authors", "authors_memory"):
            if len(getattr(self, field)) not in (0, len(COLUMNS)):
                raise ValueError(
                    f"{field} has {len(COLUMNS)} numbers ({', '.join(COLUMNS)}; nan where there is none)"
                )

    def lanes(self) -> list[tuple[str, str]]:
        """Give (compressor, memory) of every cell of the panel; without compression there is nothing to remember."""
        return [(c, m) for m in self.memories for c in COLUMNS if (c, m) != ("none", "difference")]

    def figure(self, lane: tuple[str, str]) -> float:
        """Give the authors' log10 excess risk, or NaN."""
        row = self.authors if lane[1] == "none" else self.authors_memory
        return row[COLUMNS.index(lane[0])] if row else float("nan")


@dataclass(frozen=True)
class CompressionStudy:
    """A study of compressed SGD."""

    seed: int = 0
    threads: int = 0  # on each rank; 0: its share of the cores
    out: str = "compression"  # .json and .png
    folder: str = "."  # of the files of rows
    covariances: int = 0  # draws with which every compressor's covariance is compared with its formula; 0: none
    panels: tuple[Panel, ...] = ()

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0)
        at_least("threads", self.threads, 0)
        at_least("covariances", self.covariances, 0)
        if not self.panels:
            raise ValueError("a study of compression needs at least one [[panel]]")
        names = [p.name for p in self.panels]
        if "" in names or len(set(names)) < len(names):
            raise ValueError(f"each [[panel]] needs a name of its own, not {names}")


def build(tree: Mapping[str, Any]) -> CompressionStudy:
    """Make the job from the keys of its file.

    Raises
    ------
    ValueError
        If a key is unknown or a value is out of its range.
    """
    top = {key: value for key, value in tree.items() if key != "panel"}
    panels = tuple(Panel(**fields(Panel, block, "a [[panel]]", texts=TEXTS)) for block in tree.get("panel", ()))
    return CompressionStudy(panels=panels, **fields(CompressionStudy, top, "the job", apart=("panels",)))
