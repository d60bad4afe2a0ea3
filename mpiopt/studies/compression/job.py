"""The job of the study: panels, each of which is one row of the table, or two rows if there are two memories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mpiopt.core.config.job import at_least
from mpiopt.studies.job_file import read_fields

COLUMNS = ("none", "quantised", "sparsified", "sketch", "rand-k", "participation")
MEMORIES = ("none", "difference")
WORDS = {
    "basis": ("diagonal", "rotated"),
    "step": ("omega", "horizon", "plain"),
    "shift": ("none", "covariate", "concept"),
    "gradient": ("batch", "whole"),
    "order": ("shuffled", "sorted-by-label"),
}

TEXT_LISTS = ("memories", "ahead", "behind")  # keys of a panel that hold lists of words


@dataclass(frozen=True)
class Panel:
    """One experiment with the six compressors; the rows are those of the file `data` or, without it, Gaussian.

    The step γ is 1/(2(ω + 1)R²) ("omega"), K^(−2/5) ("horizon") or 1/(2R²) ("plain"); R² is the mean of Tr H_i.
    """

    name: str = ""
    iterations: int = 100_000  # K
    runs: int = 5
    clients: int = 1
    batch: int = 1
    levels: int = 1  # s of the quantisation; the other compressors get the same ω
    step: str = "omega"
    gradient: str = "batch"
    memories: tuple[str, ...] = ("none",)
    features: int = 100
    decay: float = 4.0  # P: eigenvalues i^−P
    basis: str = "rotated"
    shift: str = "none"
    data: str = ""
    order: str = "shuffled"  # of the rows of `data` before they are dealt to the clients
    ahead: tuple[str, ...] = ()  # compressors claimed to be better than those in `behind`
    behind: tuple[str, ...] = ()
    authors: tuple[float, ...] = ()  # the authors' log10 excess risk, in the order of COLUMNS
    authors_memory: tuple[float, ...] = ()
    authors_iterations: int = 0  # K of the authors' figure

    def __post_init__(self) -> None:
        for field, least in (("iterations", 10), ("runs", 1), ("clients", 1), ("batch", 1), ("levels", 1)):
            at_least(field, getattr(self, field), least)
        at_least("features", self.features, 2)
        for field, words in WORDS.items():
            if getattr(self, field) not in words:
                raise ValueError(f"{field} must be one of {', '.join(words)}, not {getattr(self, field)!r}")
        if not self.memories or set(self.memories) - set(MEMORIES):
            raise ValueError(f"memories must be some of {', '.join(MEMORIES)}, not {list(self.memories)}")
        if not self.data and self.order != "shuffled":
            raise ValueError("order sorts the rows of a data file; set data or drop order")
        if {*self.ahead, *self.behind} - set(COLUMNS):
            raise ValueError(
                f"ahead and behind must be some of {', '.join(COLUMNS)}, not {[*self.ahead, *self.behind]}"
            )
        if self.gradient == "whole" and (self.shift == "covariate" or self.data):
            raise ValueError("whole gradients are for Gaussian clients without covariate shift; drop data and shift")
        for field in ("authors", "authors_memory"):
            if len(getattr(self, field)) not in (0, len(COLUMNS)):
                raise ValueError(
                    f"{field} must have {len(COLUMNS)} numbers ({', '.join(COLUMNS)}; nan where there is none)"
                )

    def variants(self) -> list[tuple[str, str]]:
        """Return (compressor, memory) of every cell; without compression there is no memory."""
        return [(c, m) for m in self.memories for c in COLUMNS if (c, m) != ("none", "difference")]

    def figure(self, method: str, memory: str) -> float:
        """Return the authors' log10 excess risk, or NaN."""
        row = self.authors if memory == "none" else self.authors_memory
        return row[COLUMNS.index(method)] if row else float("nan")


@dataclass(frozen=True)
class CompressionStudy:
    """All panels, and what they share."""

    seed: int = 0
    threads: int = 0  # of each rank; 0: its share of the cores
    out: str = "compression"  # path of the files without their suffix
    folder: str = "."  # where the data files are
    covariances: int = 0  # draws for the comparison of covariances with their formulas; 0: no comparison
    panels: tuple[Panel, ...] = ()

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0)
        at_least("threads", self.threads, 0)
        at_least("covariances", self.covariances, 0)
        if not self.panels:
            raise ValueError("a study of compression needs at least one [[panel]]")
        names = [p.name for p in self.panels]
        if "" in names or len(set(names)) < len(names):
            raise ValueError(f"each [[panel]] needs its own name; the names are {names}")


def build(tree: Mapping[str, Any]) -> CompressionStudy:
    """Make the study from a job's keys; ValueError for an unknown key or a value out of its range."""
    top = {key: value for key, value in tree.items() if key != "panel"}
    tables = tree.get("panel", ())
    panels = tuple(Panel(**read_fields(Panel, table, "a [[panel]]", text_lists=TEXT_LISTS)) for table in tables)
    return CompressionStudy(panels=panels, **read_fields(CompressionStudy, top, "the job", apart=("panels",)))
