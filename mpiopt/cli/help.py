"""What --help says: each command in a line, its words and flags, one to three examples; no line beyond 80 columns."""

from __future__ import annotations

import importlib
import re
import textwrap
from collections.abc import Sequence

from mpiopt import __version__
from mpiopt.core.config.commands import COMMANDS

WIDTH = 80
# How commands are called whose module has no USAGE of its own.
CALLS = {
    "train": "train DATA [job.toml] [flags]",
    "predict": "predict MODEL.h5 DATA [--out FILE] [--kind label|probability|margin] [--format NAME] [--quiet]",
    "inspect": "inspect FILE.h5 …",
    "compare": "compare A.h5 B.h5 …",
    "plot": "plot RUN.h5 … [--out FILE.png]",
    "list": "list [family …] | list topologies --ranks P [--plot FILE.png]",
    "convert": "convert IN OUT.h5 [--format NAME] [--features D] [--form auto|dense|csr] [--float32]",
    "study": "study JOB.toml",
    "status": "status [FOLDER]",
    "doctor": "doctor",
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
        "mpiopt list compressors",
        "mpiopt list losses penalties",
        "mpiopt list topologies --ranks 8 --plot graphs.png",
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
    """Give the help: of one command where it was asked for, of all else."""
    asked = next((word for word in words if word in COMMANDS), "")
    return (of_one(asked) if asked else of_all()) + "\n\n" + examples(asked)


def of_all() -> str:
    """Give a line or two for each command."""
    commands = "\n".join(folded(f"  {name:<9} {what}") for name, (_, _, what) in COMMANDS.items())
    title = f"mpiopt {__version__}: fit convex models over MPI, to a certified optimum"
    return f"{title}\n\n{commands}\n\nmpiopt COMMAND --help says more; mpiopt list shows losses and algorithms"


def of_one(name: str) -> str:
    """Give what a command does, how it is called, and its flags."""
    module, _, what = COMMANDS[name]
    if name in CALLS:
        told = CALLS[name]
    else:
        told = generated() if name == "generate" else str(importlib.import_module(module).USAGE)
    if "\n" not in told:
        told = f"  mpiopt {told.removeprefix('mpiopt ')}"
    whole = re.sub(r"\n {8,}", " ", told)  # lines that were folded by hand
    shown = "\n".join(folded(line) for line in whole.splitlines())
    text = f"{what.rpartition(': ')[0] or what}\n\n{shown}"
    if name != "train":
        return text
    from mpiopt.core.config.job_file import described_flags

    return f"{text}\n\n{described_flags()}"


def generated() -> str:
    """Give the flags of `generate` with their defaults."""
    from mpiopt.data.formats.synthetic import Generated

    flags = " ".join(f"[--{f.name} {f.default}]" for f in Generated.options().values())
    return f"generate OUT.h5 {flags} [--form auto|dense|csr] [--float32]"


def examples(name: str) -> str:
    """Give the examples of a command."""
    return "\n".join([f"example{'s' * (len(EXAMPLES[name]) > 1)}:", *(f"  {line}" for line in EXAMPLES[name])])


def folded(line: str) -> str:
    """Fold a line at WIDTH, never within brackets; what follows is indented as the text after a flag, or by 6."""
    column = re.match(r"(\s*--.*?\s{2,}|  \w+\s{2,})", line)
    kept = re.sub(r"\[[^]]*\]", lambda group: group[0].replace(" ", "\xa0"), line)
    indent = " " * (len(column[0]) if column else 6)
    lines = textwrap.wrap(kept, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\xa0", " ")
