"""The text of --help: what a command does, its flags, and examples; no line is longer than 80 columns."""

from __future__ import annotations

import importlib
import re
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from mpiopt import __version__
from mpiopt.core.config.commands import COMMANDS

WIDTH = 80  # columns of a terminal
EXIT_CODES_TOPIC = "exit-codes"


class ExitCode(NamedTuple):
    """One exit code of a run."""

    code: int
    meaning: str
    what_to_do: str = ""


EXIT_CODES = (
    ExitCode(0, "certified: the tolerance was reached"),
    ExitCode(1, "internal error, with its traceback", "report it"),
    ExitCode(2, "invalid input, in one line", "correct it"),
    ExitCode(
        3,
        "a budget was spent, or `mpiopt halt` came, before the tolerance; the result was written",
        "continue with --resume auto",
    ),
    ExitCode(75, "checkpoint saved after SIGUSR1 or near the end of the job's time", "start the same command again"),
    ExitCode(76, "ranks were lost", "start again from the checkpoint"),
    ExitCode(130, "Ctrl-C; checkpoint saved", "continue with --resume auto"),
    ExitCode(143, "SIGTERM; checkpoint saved", "continue with --resume auto"),
)
# The call of commands whose module has no USAGE of its own.
CALLS = {
    "train": "train DATA [job.toml] [flags]",
    "predict": "predict MODEL.h5 DATA [--out FILE] [--kind label|probability|margin] [--format NAME] [--quiet]",
    "inspect": "inspect FILE.h5 …",
    "compare": "compare A.h5 B.h5 …",
    "plot": "plot RUN.h5 … [--out FILE.png]",
    "list": "list [FAMILY …] | list --tuning | list topologies [NAME …] --ranks P [--plot FILE.png]",
    "convert": "convert IN OUT.h5 [--format NAME] [--features D] [--form auto|dense|csr] [--float32]",
    "study": "study JOB.toml",
    "status": "status [FOLDER]",
    "doctor": "doctor",
}
LOG_LEVEL = {"log-level LEVEL": "least serious messages to print: debug, info (default), warning, error"}
FORM = {
    "form FORM": "of the written rows: dense, csr; auto: dense if at least a quarter of the entries are nonzero",
    "float32": "write the rows in float32 instead of float64",
}
# The flags of each command, apart from those of `train` and `plan`, which describe their own.
FLAGS = {
    "predict": {
        "out FILE": "write one prediction a line",
        "kind KIND": "label (default), probability of each class, or margin",
        "format NAME": "of the data file; default: by suffix and content",
        "quiet": "print errors only",
    },
    "report": {
        "out FILE": "the page (default report.html)",
        "figure FILE": "draw the convergence as an image; without --out no page is written",
        "rank-by COST": "order the runs by seconds (default), bytes, rounds or epochs",
    },
    "export": {
        "to KIND": "csv, parquet, sklearn or onnx; default: by the suffix of OUT",
        "table NAME": "for csv and parquet: history (default), traffic, time or events",
    },
    "plot": {"out FILE": "the picture; its suffix sets the format (default: the first run's name and .png)"},
    "list": {
        "tuning": "the constants of each algorithm, with unit and reason",
        "ranks P": "diameter, degrees and spectral gap of the topologies on P ranks",
        "plot FILE": "draw these topologies",
    },
    "convert": {
        "format NAME": "of the input; default: by suffix and content",
        "features D": "number of columns, if the file shows fewer",
        **FORM,
    },
    "generate": {
        "n N": "rows",
        "d D": "columns",
        "condition K": "condition number of the rows' second moment",
        "density R": "fraction of nonzeros; below 1 the rows are sparse",
        "heterogeneity H": "length of the shift of each of --blocks groups of rows",
        "blocks B": "groups of rows with a shift of their own",
        "noise S": "standard deviation of the noise on the labels",
        "task TASK": "regression, binary, multiclass or count",
        "classes C": "of a multiclass task",
        "seed S": "of the generator of random numbers",
        **FORM,
    },
    "launch": {
        "n P": "number of ranks; to change it later, write another one into RESULT.ranks",
        "spares S": "ranks that wait to replace lost ones",
        "hosts LIST": "hosts with the ranks that each takes, as a:4,b:4; default: this host",
        "max-restarts N": "restarts after lost ranks (default 10)",
        "ulfm MODE": "continue without a restart if MPI can (User Level Failure Mitigation): auto, on, off",
    },
    "sweep": {
        "task I": "train only member I, counted from 0",
        "count": "print the number of members",
        "collect": "print the table of results and write it as sweep.csv",
    },
    "submit": {
        "nodes N": "nodes of the job (default 1)",
        "tasks-per-node N": "ranks on each node (default 1)",
        "time LIMIT": "time limit in Slurm's form (default 1:00:00)",
        "partition NAME": "partition of the cluster",
        "account NAME": "account to charge",
        "name NAME": "of the job; default: that of the result",
        "launcher NAME": "srun (default) or mpirun",
        "mpi TYPE": "of srun: pmix for Open MPI (default), pmi2 for MPICH",
        "template FILE": "your own template instead of ours",
        "at-once N": "members of a sweep that may run at the same time; 0: any number",
        "max-restarts N": "requeues of the job (default 20)",
        "elastic": "after the loss of a node, continue on the nodes that are left",
        "dry-run": "write the script without submitting it",
        "overwrite": "replace an existing script that differs",
    },
    "halt": {
        "after-checkpoint": "end after the next checkpoint, not at once",
        "at TIME": "end at this time of day or date",
        "cancel": "withdraw the request",
    },
    "serve": {"cell N": "number of the cell, counted from 0", "out FILE": "write the outcome as JSON"},
}
EXAMPLES = {
    "": (
        "mpirun -n 4 mpiopt train a9a --tol 1e-8",
        "mpirun -n 4 mpiopt train cadata --loss huber --scale standard --intercept",
        "mpirun -n 4 mpiopt train job.toml --max-seconds 600 --resume auto",
        "mpiopt inspect a9a.h5",
    ),
    "train": (
        "mpirun -n 4 mpiopt train a9a --tol 1e-8",
        "mpirun -n 4 mpiopt train cadata --loss huber[delta=0.5] --scale standard",
        "mpirun -n 4 mpiopt train job.toml --compress auto --resume auto",
    ),
    "predict": (
        "mpiopt predict a9a.h5 new --out labels.txt",
        "mpirun -n 4 mpiopt predict a9a.h5 new --kind probability --out p.txt",
    ),
    "inspect": ("mpiopt inspect a9a.h5", "mpiopt inspect runs/a.h5 runs/b.h5"),
    "compare": ("mpiopt compare runs/a.h5 runs/b.h5",),
    "report": (
        "mpiopt report runs/a.h5 runs/b.h5 --out report.html",
        "mpiopt report runs/a.h5 runs/b.h5 --figure convergence.pdf --rank-by bytes",
    ),
    "export": (
        "mpiopt export runs/a.h5 model.pkl",
        "mpiopt export runs/a.h5 time.csv --table time",
    ),
    "plot": ("mpiopt plot runs/a.h5 runs/b.h5 --out both.png",),
    "list": (
        "mpiopt list losses penalties",
        "mpiopt list topologies --ranks 8 --plot graphs.png",
        "mpiopt list --tuning",
    ),
    "convert": (
        "mpirun -n 4 mpiopt convert rcv1.svm.gz rcv1.h5",
        "mpiopt convert table.csv table.h5 --format csv:label=first --float32",
    ),
    "generate": (
        "mpiopt generate made.h5 --n 2e4 --d 50 --condition 1e4 --task binary",
        "mpiopt generate text.h5 --n 1e4 --d 1000 --density 0.01 --task multiclass",
    ),
    "launch": (
        "mpiopt launch -n 4 --spares 1 -- train a9a --recovery stateless",
        "mpiopt launch -n 8 --hosts node1:4,node2:4 -- train job.toml",
    ),
    "plan": (
        "mpiopt plan a9a --ranks 64 --link 100Gbit/s,2us",
        "mpiopt plan a9a --simulate 8",
        "mpiopt plan --failures 1/day --save-seconds 30",
    ),
    "study": ("mpiopt study jobs/failure-small.toml", "mpirun -n 2 mpiopt study jobs/saga-facts.toml"),
    "sweep": (
        "mpirun -n 2 mpiopt sweep sweep.toml",
        "mpirun -n 2 mpiopt sweep sweep.toml --task 3",
        "mpiopt sweep sweep.toml --collect",
    ),
    "submit": (
        "mpiopt submit job.toml --nodes 4 --tasks-per-node 32 --time 4:00:00",
        "mpiopt submit sweep.toml --tasks-per-node 2 --time 30 --at-once 10 --dry-run",
    ),
    "status": ("mpiopt status runs",),
    "halt": ("mpiopt halt runs/first.h5", "mpiopt halt runs/first.h5 --at 18:00"),
    "serve": ("mpirun --with-ft ulfm -n 6 mpiopt serve jobs/failure-processes.toml --cell 8",),
    "doctor": ("mpiopt doctor", "mpirun -n 2 mpiopt doctor"),
}


def usage(words: Sequence[str]) -> str:
    """Return the help on the command or topic that is named first, else on all commands."""
    if EXIT_CODES_TOPIC in words:
        return exit_codes()
    name = next((word for word in words if word in COMMANDS), "")
    return (describe(name) if name else overview()) + "\n\n" + examples(name)


def overview() -> str:
    """Return one or two lines for each command."""
    commands = "\n".join(folded(f"  {name:<9} {c.summary}: {c.call}") for name, c in COMMANDS.items())
    return "\n\n".join(
        [
            f"mpiopt {__version__}: fit convex models over MPI, to a certified optimum",
            commands,
            "mpiopt COMMAND --help explains a command; mpiopt list shows losses, penalties\n"
            f"and algorithms; mpiopt help {EXIT_CODES_TOPIC} explains exit codes",
        ]
    )


def describe(name: str) -> str:
    """Return what a command does, how it is called, and its flags."""
    call = _call(name)
    if "\n" not in call:
        call = f"  mpiopt {call.removeprefix('mpiopt ')}"
    call = re.sub(r"\n {8,}", " ", call)  # joins lines that were folded by hand
    parts = [COMMANDS[name].summary, "\n".join(folded(line) for line in call.splitlines())]
    if name == "train":
        from mpiopt.core.config.job_file import described_flags

        parts.append(described_flags())
    elif name in FLAGS:
        parts.append(_flag_lines(FLAGS[name]))
    parts.append(_flag_lines(LOG_LEVEL))
    return "\n\n".join(parts)


def _call(name: str) -> str:
    if name == "generate":
        return generate_call()
    return CALLS[name] if name in CALLS else str(importlib.import_module(COMMANDS[name].module).USAGE)


def generate_call() -> str:
    """Return the call of `generate`, with the default of each flag."""
    from mpiopt.data.formats.synthetic import Generated

    flags = " ".join(f"[--{f.name} {f.default}]" for f in Generated.options().values())
    return f"generate OUT.h5 {flags} [--form auto|dense|csr] [--float32]"


def _flag_lines(flags: dict[str, str]) -> str:
    dashes = {flag: "-" if flag == "n P" else "--" for flag in flags}
    return "\n".join(folded(f"  {dashes[flag] + flag:<19} {text}") for flag, text in flags.items())


def exit_codes() -> str:
    """Return the table of exit codes."""
    lines = ["exit codes; all ranks of a run end with the same one", ""]
    for code, meaning, what_to_do in EXIT_CODES:
        text = f"  {code:>3}  {meaning}{f': {what_to_do}' if what_to_do else ''}"
        lines += textwrap.wrap(text, WIDTH, subsequent_indent=" " * 7, break_on_hyphens=False)
    return "\n".join([*lines, "", "a killed rank ends with a code of the system or of MPI, such as 137"])


def examples(name: str) -> str:
    """Return the examples of a command."""
    return "\n".join([f"example{'s' * (len(EXAMPLES[name]) > 1)}:", *(f"  {line}" for line in EXAMPLES[name])])


def folded(line: str) -> str:
    """Fold a line at 80 columns, never inside brackets; the rest is aligned with the text after a flag's name."""
    column = re.match(r"(\s*--?\S.*?\s{2,}|  \w+\s{2,})", line)
    kept = re.sub(r"\[[^]]*\]", lambda group: group[0].replace(" ", "\xa0"), line)
    indent = " " * (len(column[0]) if column else 6)
    lines = textwrap.wrap(kept, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\xa0", " ")
