"""The command `summary`: the summary of a result file from the rows that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import check_writable, print_on_root, run_on_root
from mpiopt.compress.channel import Channel
from mpiopt.core.config.columns import split_names
from mpiopt.core.config.flags import parse
from mpiopt.core.config.job import Job, Model
from mpiopt.core.config.job_file import read
from mpiopt.core.config.spec import parse_spec
from mpiopt.core.files import mark_output, refuse_existing, refuse_onto, write_whole
from mpiopt.data.dataset import Dataset, prepare
from mpiopt.data.schema import Schema
from mpiopt.data.tables.column import EXPOSURE, OFFSET, WEIGHT, from_tree
from mpiopt.data.tables.source import class_names as classes_of_table
from mpiopt.inference.chosen import chosen_errors
from mpiopt.inference.clusters import Clusters, coded
from mpiopt.inference.goodness import HypothesisTest, Rates, likelihood_ratio
from mpiopt.inference.summary import InferenceOptions, Summary, refuse_no_optimum, summarise
from mpiopt.inference.units import ColumnUnits
from mpiopt.objective.objective import Objective
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.model import class_names
from mpiopt.results.result_file import Result, read_result
from mpiopt.training.coefficient_bounds import refuse_summary, with_bounds
from mpiopt.training.label_origin import posed_data
from mpiopt.training.problem import link_of, target_of
from mpiopt.training.ridge_matrix import curvature_of_matrix
from mpiopt.training.row_numbers import lines_of, numbers_in_file, refuse_length

FLAGS = dict.fromkeys(
    ("data", "covariance", "clusters", "weights", "information", "level", "wald", "against", "out", "only"), True
)
SUFFIXES = (".txt", ".csv", ".tex")


def summary(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Print the summary of a result; write it to --out; return the exit code."""
    positional, settings = parse(words, {**FLAGS, "overwrite": False})
    chosen = dict(settings)
    if len(positional) not in (1, 2):
        raise ValueError("summary needs a result: mpiopt summary MODEL.h5 [DATA] [flags]")
    if len(positional) == 2:  # as `predict` has it
        if "data" in chosen:
            raise ValueError(f"the training file is given twice: {positional[1]} and --data {chosen['data']}")
        chosen["data"] = positional[1]
    options, out = _options(chosen), chosen.get("out", "")
    if out and Path(out).suffix not in SUFFIXES:
        raise ValueError(f"--out {out}: the suffix must be one of {', '.join(SUFFIXES)}")
    with comm.agree_on_errors():
        refuse_onto(out, positional[0])
        refuse_onto(chosen.get("clusters", ""), positional[0])
        result = read_result(positional[0])
        smaller = read_result(chosen["against"]) if "against" in chosen else None
    if out:
        run_on_root(comm, lambda: refuse_existing(out, "overwrite" in chosen, "summary"))
        check_writable(out, comm)
    if "only" in chosen:
        return _only(result, positional[0], chosen, options, comm)
    found = summary_of_result(result, positional[0], chosen, options, comm)
    lines = [found.text()]
    if "wald" in chosen:
        test = found.wald(split_names(chosen["wald"]))
        lines.append(f"Wald test of {chosen['wald']}: {_words(test)}")
    if smaller is not None:
        other = summary_of_result(smaller, chosen["against"], chosen, options, comm)
        test = likelihood_ratio(found.goodness, other.goodness)
        lines.append(f"Likelihood ratio against {chosen['against']}: {_words(test)}")
    print_on_root(comm, "\n".join(lines))
    if out:
        run_on_root(comm, lambda: _write(out, content(found, Path(out).suffix)))
        print_on_root(comm, f"written: {out}")
    return 0


def _only(result: Result, path: str, chosen: dict[str, str], options: InferenceOptions, comm: Comm) -> int:
    """Print the errors of the coefficients of --only; collective."""
    other = next((flag for flag in ("wald", "against", "out", "clusters", "information") if flag in chosen), "")
    if other:
        raise ValueError(f"--only prints errors of single coefficients, and takes no --{other}")
    posed = pose_again(result, path, chosen, comm)
    kind = "model" if options.covariance == "auto" else options.covariance
    found = chosen_errors(
        posed.objective,
        posed.w,
        posed.units,
        Channel(comm, 0),
        split_names(chosen["only"]),
        posed.names,
        kind,
        options.level,
        rates_of(result.schema),
        posed.matrix,
    )
    print_on_root(comm, found.text())
    return 0


class PosedAgain(NamedTuple):
    """The problem of a result, from the rows of its training file."""

    job: Job
    data: Dataset
    objective: Objective
    units: ColumnUnits
    w: NDArray[np.float64]  # the model in the columns of the objective
    names: Sequence[str] | None
    matrix: NDArray[np.float64] | None  # second derivatives of the ridge with a matrix


def pose_again(result: Result, path: str, chosen: dict[str, str], comm: Comm) -> PosedAgain:
    """Read the rows of the training file again, and pose the problem; collective.

    Raises
    ------
    ValueError
        On all ranks: the file has other rows than the model was trained on, or there is no summary of this model.
    """
    try:
        refuse_no_optimum(result.ending)
        job, schema = read(result.job), result.schema
        refuse_summary(job.model)
    except ValueError as fault:
        raise ValueError(f"{path}: {fault}") from None
    data = prepare(
        chosen.get("data", job.path), target_of(job.model), job.data, job.seed, comm, link=link_of(job.model)
    )
    known = str(result.provenance["data_checksum"])
    if data.checksum != known:
        raise ValueError(f"{data.source}: is not what {path} was trained on: checksum {data.checksum}, not {known}")
    model = Model(parse_spec(str(result.provenance["loss"])), job.model.l1, job.model.l2)
    data, objective = posed_data(job, model, data, comm)
    units = ColumnUnits.of_dataset(data)
    w = units.to_training(result.model, objective.width)
    names = data.names if schema is None or schema.names is None else schema.names
    objective = with_bounds(objective, job.model, units.size, names)
    matrix = curvature_of_matrix(objective, job.model, names, None, comm)
    return PosedAgain(job, data, objective, units, w, names, matrix)


def summary_of_result(
    result: Result, path: str, chosen: dict[str, str], options: InferenceOptions, comm: Comm
) -> Summary:
    """Return the summary of a result, from the rows of its training file; collective.

    Raises
    ------
    ValueError
        On all ranks: the file has other rows than the model was trained on, or there is no summary of this model.
    """
    job, data, objective, units, w, names, matrix = pose_again(result, path, chosen, comm)
    schema = result.schema
    words = classes_of_table(schema)
    classes = data.classes if words is None else words
    clusters = _clusters(chosen["clusters"], job, data, comm) if "clusters" in chosen else None
    return summarise(
        objective,
        w,
        units,
        Channel(comm, 0),
        options,
        names=names,
        classes=[] if classes is None else [str(label) for label in class_names(classes)],
        clusters=clusters,
        ending=result.ending,
        rates=rates_of(schema),
        matrix=matrix,
    )


def rates_of(schema: Schema | None) -> Rates | None:
    """Return how the targets of a table are weighted if they are rates; None if they are not."""
    link, _, power = ("", "", "") if schema is None or not schema.table else str(schema.table["link"]).partition(":")
    if schema is None or link != "log":
        return None
    roles = {column.role for column in from_tree(schema.table["columns"])}
    if not roles & {EXPOSURE, OFFSET}:
        return None
    return Rates(weighted=float(power or 1.0) != 0.0, alone=WEIGHT not in roles)


def _options(chosen: dict[str, str]) -> InferenceOptions:
    """Return the options of a command line."""
    text = {key: chosen[key] for key in ("covariance", "weights", "information") if key in chosen}
    try:
        level = float(chosen.get("level", "0.95"))
    except ValueError:
        raise ValueError(f"--level must be a number between 0 and 1, not {chosen['level']!r}") from None
    return InferenceOptions(**text, level=level)


def _clusters(path: str, job: Job, data: Dataset, comm: Comm) -> Clusters:
    """Return the clusters of this rank's rows from a file with one label a line, in the order of the data file."""
    numbers = numbers_in_file(job, data.shard, "clusters")
    with comm.agree_on_errors():
        labels = lines_of(path, "clusters")
    refuse_length(path, labels, data.shard.total)
    return coded(labels[numbers], comm)


def _words(test: HypothesisTest) -> str:
    return f"chi2 {test.statistic:.6g}, {test.df:g} df, p {test.p_value:.4g}"


def content(found: Summary, suffix: str) -> str:
    """Return a summary in the form of a file's suffix."""
    if suffix == ".txt":
        return found.text() + "\n"
    return found.csv() if suffix == ".csv" else found.latex()


def _write(out: str, content: str) -> None:
    write_whole(Path(out), content.encode())
    mark_output(Path(out), "summary")
