"""The command `report`: a page about runs, and figures for papers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mpiopt.comm.base import Comm
from mpiopt.core.config.flags import parse
from mpiopt.core.files import mark_output, refuse_existing, write_whole
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.compare import MEASURES
from mpiopt.results.run_record import show_sound, with_history

PAGE = "report.html"
USAGE = (
    "report RUN.h5 … [--out report.html] [--figure FILE.pdf] [--rank-by seconds|bytes|rounds|epochs] "
    "[--summary FILE.csv] [--overwrite]"
)


def report(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Write the page, and a figure with --figure; return the exit code."""
    paths, settings = parse(
        words, {"out": True, "figure": True, "rank-by": True, "summary": True, "overwrite": False}
    )
    chosen = dict(settings)
    if not paths:
        raise ValueError(f"report needs runs: mpiopt {USAGE}")
    fields = {shown: name for name, shown in MEASURES.items()}
    by = chosen.get("rank-by", "seconds")
    if by not in fields:
        raise ValueError(f"--rank-by must be one of {', '.join(fields)}, not {by!r}")
    show_sound(comm, paths, with_history, lambda sound: f"written: {', '.join(write(sound, chosen, fields[by]))}")
    return 0


def write(paths: Sequence[str], chosen: dict[str, str], rank_by: str) -> list[str]:
    """Write the files and return their names; with --figure and without --out there is no page."""
    for out in [chosen[key] for key in ("figure", "out") if key in chosen] or [PAGE]:
        refuse_existing(out, "overwrite" in chosen, "report")
    done = []
    if "figure" in chosen:
        from mpiopt.results.html.report import AXES
        from mpiopt.results.plot import plot

        plot(paths, chosen["figure"], AXES)
        done.append(chosen["figure"])
    if "out" in chosen or not done:
        from mpiopt.results.html.report import page

        out = chosen.get("out", PAGE)
        write_whole(Path(out), page(paths, rank_by, chosen.get("summary", "")).text().encode())
        done.append(out)
    for name in done:
        mark_output(Path(name), "report")
    return done
