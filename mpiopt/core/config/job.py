"""A job: everything that decides what a run computes, from a TOML file and flags, as frozen dataclasses.

Keys of the file are those of the flags, with _ for -; each may stand at the top or in the table of its part
([data], [model], [stop]). `Job.text` writes the canonical form, which every output stores and every rank reads;
`mpiopt.core.config.job_file` reads it.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from mpiopt.core.config.registry import nearest
from mpiopt.core.config.spec import PluginSpec, read_value

CHECKPOINT_FORMS = ("auto", "parallel", "sharded", "background")


SCALES = ("none", "standard", "maxabs", "unit-rows")


ORDERS = ("shuffled", "contiguous", "sorted-by-label", "round-robin")


_CHOICES = {"scale": SCALES, "shards": ORDERS}


@dataclass(frozen=True)
class DataOptions:
    """What is done with a data set between its file and the shard."""

    format: str = "auto"  # a reader's name, or auto (suffix and content); `name:option=value` sets its options
    features: int | None = None  # fix d; more is refused
    intercept: bool = False
    scale: str = "none"  # none | standard | maxabs | unit-rows
    float32: bool = False
    shards: str = "shuffled"  # shuffled | contiguous | sorted-by-label | round-robin
    holdout: float = 0.0  # fraction of the rows kept for testing
    test: str = ""  # a test file, prepared with the training set's columns, classes and scaling

    def __post_init__(self) -> None:
        for key, choices in _CHOICES.items():
            value = getattr(self, key)
            if value not in choices:
                hint = nearest(str(value), choices)
                raise ValueError(f"{key} must be one of {', '.join(choices)}; not {value!r}{hint}")
        if not 0 <= self.holdout < 1:
            raise ValueError(f"holdout must be at least 0 and below 1, not {self.holdout!r}")
        if self.features is not None and self.features < 1:
            raise ValueError(f"features must be at least 1, not {self.features!r}")
        if self.holdout > 0 and self.test:
            raise ValueError("give a test file or a hold-out fraction, not both")


@dataclass(frozen=True)
class Model:
    """What is minimised: (1/N) Σ s_i loss_i + l1 ‖w‖₁ + (l2/2) ‖w‖²."""

    loss: PluginSpec = field(default_factory=PluginSpec)
    l1: float = 0.0
    l2: float | str = "1/N"

    def __post_init__(self) -> None:
        at_least("l1", self.l1, 0)
        if isinstance(self.l2, str) and self.l2 != "1/N":
            raise ValueError(f"l2 is a number >= 0 or 1/N, not {self.l2!r}")
        if not isinstance(self.l2, str):
            at_least("l2", self.l2, 0)

    def ridge(self, total: int) -> float:
        """Give l2 as a number, for `total` rows."""
        return 1.0 / max(total, 1) if isinstance(self.l2, str) else self.l2


@dataclass(frozen=True)
class Stopping:
    """When to end: at the certificate, or where a budget is spent."""

    tol: float = 1e-6
    max_epochs: float = 1000.0
    max_seconds: float = float("inf")

    def __post_init__(self) -> None:
        if not self.tol > 0:
            raise ValueError(f"tol must be greater than 0, not {self.tol}")
        at_least("max_epochs", self.max_epochs, 0)
        at_least("max_seconds", self.max_seconds, 0)


@dataclass(frozen=True)
class Job:
    """One training run."""

    path: str = ""
    data: DataOptions = field(default_factory=DataOptions)
    model: Model = field(default_factory=Model)
    stop: Stopping = field(default_factory=Stopping)
    algorithm: PluginSpec = field(default_factory=PluginSpec)
    compress: PluginSpec = field(default_factory=lambda: PluginSpec("none"))
    memory: str = "auto"
    downlink: bool = False
    seed: int = 0
    out: str = ""
    log: str = ""
    resume: str = ""
    checkpoint_every: str = "10min"
    recovery: PluginSpec = field(default_factory=lambda: PluginSpec("stateless"))
    spares: int = 0
    checkpoint_form: str = "auto"
    io_hints: str = ""
    quiet: bool = False

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0)
        at_least("spares", self.spares, 0)
        every(self.checkpoint_every)
        if self.checkpoint_form not in CHECKPOINT_FORMS:
            known = ", ".join(CHECKPOINT_FORMS)
            raise ValueError(f"checkpoint_form is one of {known}; not {self.checkpoint_form!r}")
        hints_of(self.io_hints)

    def text(self) -> str:
        """Give the job as TOML, every key written out; `read` gives an equal job back."""
        lines, tables = [], []
        for name, value in shallow(self).items():
            if dataclasses.is_dataclass(value) and not isinstance(value, PluginSpec):
                tables += ["", f"[{name}]", *(line(k, v) for k, v in shallow(value).items() if v is not None)]
            else:
                lines.append(line(name, value))
        return "\n".join([*lines, *tables, ""])

    def identity(self) -> str:
        """Give the text of what a checkpoint must share with the run that goes on from it.

        Not the budgets, the names of files, or what only decides how the run is shown and saved.
        """
        data = dataclasses.replace(self.data, test="", format="auto")
        names = ("model", "algorithm", "compress", "memory", "downlink", "seed")
        fixed: dict[str, Any] = {name: getattr(self, name) for name in names}
        return Job(data=data, **fixed).text()


def hints_of(text: str) -> dict[str, str]:
    """Read hints for MPI-IO, `striping_factor=8,cb_nodes=4`; ValueError if they are of another form."""
    pairs = [item.partition("=") for item in text.split(",") if item.strip()]
    if not all(key.strip() and value.strip() for key, _, value in pairs):
        raise ValueError(f"io_hints are like striping_factor=8,cb_nodes=4, not {text!r}")
    return {key.strip(): value.strip() for key, _, value in pairs}


def every(text: str) -> tuple[str, float]:
    """Read `10min`, `30s`, `2h` or `50rounds` as ("seconds", 600.0) or ("rounds", 50.0)."""
    for unit, (kind, factor) in {
        "rounds": ("rounds", 1.0),
        "round": ("rounds", 1.0),
        "min": ("seconds", 60.0),
        "s": ("seconds", 1.0),
        "h": ("seconds", 3600.0),
    }.items():
        number = read_value(text.removesuffix(unit).strip()) if text.endswith(unit) else None
        if isinstance(number, int | float) and number > 0:
            return kind, factor * number
    raise ValueError(f"checkpoint_every is like 10min, 30s, 2h or 50rounds, not {text!r}")


def at_least(name: str, value: float, least: float) -> None:
    """Refuse a value below `least`, or NaN."""
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, not {value}")


def shallow(part: Any) -> dict[str, Any]:
    """Give the fields of a dataclass by name."""
    return {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}


def line(key: str, value: object) -> str:
    """Write one key of TOML."""
    if isinstance(value, str | PluginSpec):
        return f"{key} = {json.dumps(str(value), ensure_ascii=False)}"
    return f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
