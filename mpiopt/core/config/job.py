"""A job: everything that decides what a run computes, from a TOML file and flags, as frozen dataclasses.

The keys of the file are the names of the flags, with _ for -. Each may stand at the top or in its table ([data],
[model], [stop]). `Job.text` writes the canonical form, which every output stores and every rank reads;
`mpiopt.core.config.job_file` reads it. The text under each field is its help in `--help` and in the documentation.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, NamedTuple

from mpiopt.core.config.columns import ColumnOptions, split_names
from mpiopt.core.config.registry import nearest
from mpiopt.core.config.spec import PluginSpec
from mpiopt.core.durations import read_duration

# Keys that earlier versions did not have, and their defaults.
LATER = {
    **{"init": "", "verify": "auto", "nonnegative": False, "bounds": "", "stream": "", "l1_groups": ""},
    **{"ridge_matrix": "", "ridge_strength": 1.0},
}
GIVEN = "(array)"  # as a matrix: the caller of `fit` has it
NO_PENALTY = "bounds on coefficients need an l2 or an l1 above 0, for the certificate: set l2 to 1e-8"
VERIFY = ("auto", "always", "never")
CHECKPOINT_FORMS = ("auto", "parallel", "sharded", "background")
SCALES = ("none", "standard", "maxabs", "unit-rows")
COORDINATES = ("standardised", "file")
ORDERS = ("shuffled", "contiguous", "sorted-by-label", "round-robin")


@dataclass(frozen=True)
class DataOptions:
    """How the rows of a file become the rows of a fit.

    Each field is a key of the job file, in its table [data] or at the top, and a flag of `train`.

    Raises
    ------
    ValueError
        If a value is not allowed; the message lists the allowed ones.

    Examples
    --------
    >>> DataOptions(scale="standard", holdout=0.2).shards
    'shuffled'
    """

    format: str = "auto"
    """reader of the data file (mpiopt list datasets), options as csv:label=first; auto: by suffix and content"""
    features: int | None = None
    """number of features, a file with more is refused; default: as in the file"""
    intercept: bool = False
    """fit a constant, which is not penalised"""
    scale: str = "none"
    """scaling of the columns: none, standard, maxabs; or of the rows: unit-rows"""
    coordinates: str = "standardised"
    """columns in which algorithms work: standardised (centred, of size 1) or file; the model is in file units"""
    float32: bool = False
    """store the rows in float32 (sums stay float64)"""
    shards: str = "shuffled"
    """order in which the rows are divided among the ranks: shuffled, contiguous, sorted-by-label, round-robin"""
    holdout: float = 0.0
    """fraction of the rows that is held out for testing"""
    test: str = ""
    """test file, prepared with the columns, classes and scaling of the training data"""
    stream: str = ""
    """folder on a disk of each node where the rows lie while they are used, for rows larger than memory"""
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    """the columns of a table: target, weights, encodings, gaps"""

    def __post_init__(self) -> None:
        for key, choices in (("scale", SCALES), ("coordinates", COORDINATES), ("shards", ORDERS)):
            value = getattr(self, key)
            if value not in choices:
                hint = nearest(str(value), choices)
                raise ValueError(f"{key} must be one of {', '.join(choices)}; not {value!r}{hint}")
        if not 0 <= self.holdout < 1:
            raise ValueError(f"holdout must be at least 0 and below 1, not {self.holdout!r}")
        if self.features is not None and self.features < 1:
            raise ValueError(f"features must be at least 1, not {self.features!r}")
        if self.holdout > 0 and self.test:
            raise ValueError("set either test or holdout, not both")


@dataclass(frozen=True)
class Model:
    """The function that is minimised: (1/N) Σ s_i loss_i + l1 ‖w‖₁ + (l2/2) ‖w‖²."""

    loss: PluginSpec = field(default_factory=PluginSpec)
    """squared, logistic, softmax, huber[delta=1.0] …; auto: by the labels"""
    l1: float = 0.0
    """strength of the l1 penalty; a lasso needs l2 = 0, too"""
    l2: float | str = "1/N"
    """strength of the ridge penalty, a number or 1/N"""
    nonnegative: bool = False
    """keep all coefficients at 0 or above, but for the intercept"""
    bounds: str = ""
    """bounds of coefficients by column: age=0:,income=-1:1; one end may be missing, and * stands for any letters"""
    l1_groups: str = ""
    """group lasso, coefficients 0 together: columns (all features of a column of a table), or names as a+b,c*+d"""
    ridge_matrix: str = ""
    """file (.npy, .csv, text) of a matrix S, or splines: (strength/2) wᵀSw beside the ridge; splines: smooth ones"""
    ridge_strength: float = 1.0
    """strength of ridge_matrix"""

    def __post_init__(self) -> None:
        at_least("l1", self.l1, 0)
        if isinstance(self.l2, str) and self.l2 != "1/N":
            raise ValueError(f"l2 must be a number >= 0 or 1/N, not {self.l2!r}")
        if not isinstance(self.l2, str):
            at_least("l2", self.l2, 0)
        at_least("ridge_strength", self.ridge_strength, 0)
        if math.isinf(self.ridge_strength):
            raise ValueError("ridge_strength must be finite, not inf")
        if self.ridge_strength != 1.0 and not self.ridge_matrix:
            raise ValueError(
                "ridge_strength needs a ridge_matrix: its file, or splines; the strength of a ridge is l2"
            )
        if self.ridge_matrix and (self.l1 or self.l2 == 0.0 or self.l1_groups or self.bounded):
            lacks = "an l2 above 0: set l2 to 1e-8" if self.l2 == 0.0 else "a smooth penalty: no l1, groups or bounds"
            raise ValueError(f"ridge_matrix needs {lacks}")
        named_bounds(self.bounds)
        if self.bounded and self.l1_groups:
            raise ValueError("bounds on coefficients take no l1_groups; leave out one of both")
        if self.bounded and not (self.l1 or self.l2):
            raise ValueError(NO_PENALTY)

    @property
    def bounded(self) -> bool:
        """Whether coefficients have bounds."""
        return self.nonnegative or bool(self.bounds)

    def ridge(self, total: int) -> float:
        """Return l2 as a number, for `total` rows."""
        return 1.0 / max(total, 1) if isinstance(self.l2, str) else self.l2


def named_bounds(text: str) -> dict[str, tuple[float, float]]:
    """Read bounds such as `age=0:,income=-1:1`, by the pattern of the column.

    Examples
    --------
    >>> named_bounds("age=0:,income=-1:1")
    {'age': (0.0, inf), 'income': (-1.0, 1.0)}
    """
    found = {}
    for rule in split_names(text):
        name, _, ends = rule.rpartition("=")
        low, colon, high = ends.partition(":")
        try:
            pair = float(low or "-inf"), float(high or "inf")
        except ValueError:
            pair = (math.nan, math.nan)
        if name and colon and -math.inf < pair[1] < pair[0] < math.inf:
            raise ValueError(f"bounds: the least of {name}, {pair[0]:g}, is above the largest, {pair[1]:g}")
        if not (name and colon and pair[0] <= pair[1] and pair[0] < math.inf and pair[1] > -math.inf):
            raise ValueError(f"bounds must be like age=0:,income=-1:1 (least:largest), not {rule!r}")
        found[name.strip()] = pair
    return found


@dataclass(frozen=True)
class Stopping:
    """When a run ends: at its tolerance, or when a budget is spent."""

    tol: float = 1e-6
    """certified relative accuracy to reach"""
    max_epochs: float = 1000.0
    """budget of passes over the rows"""
    max_seconds: float = float("inf")
    """budget of seconds as the history counts them: without reading and compiling"""

    def __post_init__(self) -> None:
        if not isinstance(self.tol, Real):
            raise ValueError(f"tol must be a number, not {self.tol!r}")
        if not self.tol > 0:
            raise ValueError(f"tol must be greater than 0, not {self.tol}")
        at_least("max_epochs", self.max_epochs, 0)
        at_least("max_seconds", self.max_seconds, 0)


@dataclass(frozen=True)
class Job:
    """One training run.

    Each field is a key of the job file and a flag of `train`; `data`, `model` and `stop` are tables of keys.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    >>> from mpiopt.core.config.job_file import read
    >>> job = read('tol = 1e-8', [("loss", "huber[delta=0.5]")])
    >>> job.stop.tol, str(job.model.loss)
    (1e-08, 'huber[delta=0.5]')
    >>> read(job.text()) == job
    True
    """

    path: str = ""
    """data file, or a recipe for synthetic rows"""
    data: DataOptions = field(default_factory=DataOptions)
    """how the rows are read and divided"""
    model: Model = field(default_factory=Model)
    """what is minimised"""
    stop: Stopping = field(default_factory=Stopping)
    """when the run ends"""
    algorithm: PluginSpec = field(default_factory=PluginSpec)
    """saga, newton, newton-cg, lbfgs, working-set … (mpiopt list); options: saga[variant=B]; auto: by costs"""
    compress: PluginSpec = field(default_factory=lambda: PluginSpec("none"))
    """what exchanges send: none, quantised[levels=7], rand-k[share=0.1] …; auto: by measured speeds"""
    memory: str = "auto"
    """error compensation of compressed exchanges: none, difference, error-feedback; auto: by the algorithm"""
    downlink: bool = False
    """compress the results of sums as well, on the way back to the ranks"""
    seed: int = 0
    """seed of all randomness"""
    out: str = ""
    """result file; default: the name of the data file with .h5 (-fit.h5 if that is no result), in this folder"""
    overwrite: bool = False
    """write over files that are not of this job, where the result, the checkpoints and the log go"""
    init: str = ""
    """start from the model of this result file, with its coefficients by the names of columns"""
    log: str = ""
    """file to which each evaluation is written at once, as a line of JSON"""
    resume: str = ""
    """continue from the checkpoints of this result file; auto: if there are any"""
    checkpoint_every: str = "10min"
    """time or rounds between two checkpoints: 10min, 30s, 2h, 50rounds"""
    recovery: PluginSpec = field(default_factory=lambda: PluginSpec("stateless"))
    """recovery from lost ranks if MPI continues (ULFM): none, checkpoint, chain[every=R], stateless"""
    spares: int = 0
    """ranks that wait to replace lost ones"""
    checkpoint_form: str = "auto"
    """auto, parallel (one file), sharded (a file for each rank), background (sharded, during the computation)"""
    io_hints: str = ""
    """hints for MPI-IO: striping_factor=8,striping_unit=4194304,cb_nodes=4"""
    quiet: bool = False
    """print errors only"""
    verify: str = "auto"
    """evaluate a certified model once more: always, also as it is written; auto: where it costs a twentieth; never"""

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0)
        at_least("spares", self.spares, 0)
        parse_interval(self.checkpoint_every)
        if self.checkpoint_form not in CHECKPOINT_FORMS:
            known = ", ".join(CHECKPOINT_FORMS)
            raise ValueError(f"checkpoint_form must be one of {known}; not {self.checkpoint_form!r}")
        if self.verify not in VERIFY:
            raise ValueError(f"verify must be one of {', '.join(VERIFY)}; not {self.verify!r}")
        parse_io_hints(self.io_hints)

    def text(self) -> str:
        """Return the job as TOML with every key but unset ones of LATER; `job_file.read` returns an equal job."""
        return "\n".join([*_toml_table(self, ""), ""])

    def identity(self) -> str:
        """Return the text of what a checkpoint must share with the run that continues from it.

        Budgets, names of files, and what only decides how the run is shown and saved, are left out.
        """
        data = dataclasses.replace(self.data, test="", format="auto", stream="")
        names = ("model", "algorithm", "compress", "memory", "downlink", "seed")
        fixed: dict[str, Any] = {name: getattr(self, name) for name in names}
        return Job(data=data, **fixed).text()


class Interval(NamedTuple):
    """Time or rounds between two events."""

    unit: str  # "seconds" or "rounds"
    amount: float


def parse_interval(text: str) -> Interval:
    """Read an interval such as `10min`, `30s`, `2h03m` or `50rounds`."""
    try:
        rounds = re.fullmatch(r"\s*([\d.e+]+)\s*rounds?\s*", text)
        found = Interval("rounds", float(rounds[1])) if rounds else Interval("seconds", read_duration(text))
    except ValueError:
        found = Interval("rounds", 0.0)
    if found.amount > 0:
        return found
    raise ValueError(f"checkpoint_every must be like 10min, 30s, 2h or 50rounds, not {text!r}")


def parse_io_hints(text: str) -> dict[str, str]:
    """Read hints for MPI-IO such as `striping_factor=8,cb_nodes=4`."""
    pairs = [item.partition("=") for item in text.split(",") if item.strip()]
    if not all(key.strip() and value.strip() for key, _, value in pairs):
        raise ValueError(f"io_hints must be like striping_factor=8,cb_nodes=4, not {text!r}")
    return {key.strip(): value.strip() for key, _, value in pairs}


def at_least(name: str, value: float, least: float) -> None:
    """Raise ValueError if a value is below `least`, NaN, or no number."""
    if not isinstance(value, Real):
        raise ValueError(f"{name} must be a number, not {value!r}")
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, not {value}")


def _by_name(part: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, nested ones as they are."""
    return {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}


def _toml_table(part: Any, name: str) -> list[str]:
    """Return the lines of a dataclass: its keys, then the tables below it."""
    lines, tables = [], []
    for key, value in _by_name(part).items():
        if value == ColumnOptions() or LATER.get(key) == value:  # such a job has the text that earlier versions wrote
            continue
        if dataclasses.is_dataclass(value) and not isinstance(value, PluginSpec):
            path = f"{name}.{key}" if name else key
            tables += ["", f"[{path}]", *_toml_table(value, path)]
        elif value is not None:
            lines.append(_toml_line(key, value))
    return lines + tables


def _toml_line(key: str, value: object) -> str:
    if isinstance(value, tuple):
        return f"{key} = {json.dumps(value, ensure_ascii=False)}"
    if isinstance(value, str | PluginSpec):
        return f"{key} = {json.dumps(str(value), ensure_ascii=False)}"
    return f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
