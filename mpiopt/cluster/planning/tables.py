"""The tables of `mpiopt plan`, 80 columns wide; each figure is marked as measured, given, modelled or estimated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mpiopt.cluster.planning import disk, probe, space
from mpiopt.cluster.planning.failures import Failures, seconds_between
from mpiopt.cluster.planning.model import RunPrediction, fastest, largest_efficient
from mpiopt.core.config.spec import spec_of
from mpiopt.core.durations import duration
from mpiopt.data.shard import CsrRows
from mpiopt.results.summary import size

if TYPE_CHECKING:
    from mpiopt.cluster.planning.planner import Planner

WIDTH, MARK = 80, 10  # columns of the terminal and of the mark at the end of a line
LEAST_EFFICIENCY = 0.5  # with a lower one, more ranks are not recommended


def plan_tables(planner: Planner, predictions: list[RunPrediction], program: float) -> str:
    """Return all tables for the ranks of the job, and for more and fewer; collective."""
    requested = next(o for o in predictions if o.case.ranks == planner.request.ranks)
    spaces = {o.case.ranks: _space(planner, o, program) for o in predictions}
    parts = [
        _head(planner, requested),
        _memory(planner, requested, spaces[requested.case.ranks]),
        _time(planner, requested),
        _choice(planner, requested),
        _checkpoints(planner, requested),
        _ranks(predictions, spaces, requested),
    ]
    return "\n".join(line for part in parts for line in part)


def line(name: str, value: str, mark: str = "") -> str:
    """Return a line: name, value, and the mark."""
    return f"  {name:<22} {value:<{WIDTH - MARK - 26}} {mark:>{MARK}}".rstrip()


def _head(planner: Planner, requested: RunPrediction) -> list[str]:
    rows, case, job = planner.rows, requested.case, planner.request.job
    shard = rows.data.shard
    kind = "sparse" if isinstance(shard.rows, CsrRows) else "dense"
    shape = f"{rows.rows} rows x {shard.features}, {kind} {shard.rows.values.dtype}"
    objective, (algorithm, _) = planner.objective(case.ranks), planner.algorithm(case.ranks)
    l1, l2 = objective.penalty.strengths
    how = "given" if job.algorithm.name != "auto" else "modelled"
    need = f"{case.needed:.4g} needed for local steps: {'enough' if case.rows >= case.needed else 'TOO FEW'}"
    return [
        f"plan: {Path(job.path).name if len(job.path) > 50 else job.path} on {case.ranks} ranks",
        line("data", shape, rows.source),
        line("model", f"{objective.loss.name} loss, l1 {l1:.4g}, l2 {l2:.4g}", "given"),
        line("algorithm", algorithm.name, how),
        line("rows of a rank", f"{case.rows}; {need if case.needed else 'no local steps'}", "modelled"),
        line("link", planner.link.describe(), planner.link.source),
    ]


def _space(planner: Planner, o: RunPrediction, program: float) -> space.Space:
    ranks = o.case.ranks
    return space.of_rank(planner.rows, planner.request.job.data, planner.memory_needs(ranks), program, ranks)


def _memory(planner: Planner, requested: RunPrediction, s: space.Space) -> list[str]:
    together = planner.request.ranks_per_node
    node = [line(f"a node of {together} ranks", size(together * s.peak), "modelled")] if together > 1 else []
    return [
        "memory of a rank",
        line("rows", size(s.rows), "measured" if len(planner.rows.data.shard) >= planner.rows.rows else "modelled"),
        line("labels, weights, order", size(s.labels), "modelled"),
        line("algorithm", f"{size(s.work)}: table, model, buffers", "measured"),
        line("while reading", f"{size(s.loading)} beside the rows", "modelled"),
        line("while saving", size(s.saving), "modelled"),
        line("the program", size(s.program), "measured"),
        line("peak", size(s.peak), "modelled"),
        *node,
    ]


def _time(planner: Planner, o: RunPrediction) -> list[str]:
    compute = "measured" if planner.measure(o.case.ranks).rows == o.case.rows else "modelled"
    seconds = [
        ("compute", o.compute, compute),
        ("communicate", o.communicate, "modelled"),
        ("wait", o.wait, "modelled"),
    ]
    tol, reading = planner.request.job.stop.tol, planner.reading(o.case.ranks)
    return [
        "an epoch",
        *(
            line(name, f"{value:.3g} s  {100 * value / max(o.epoch, 1e-300):3.0f} %", mark)
            for name, value, mark in seconds
        ),
        line("rounds", f"{o.rounds / max(o.epochs, 1e-300):.3g}", "measured"),
        line("sent by a rank", size(o.sent), "modelled"),
        f"to the tolerance {tol:g}",
        line("epochs, rounds", f"{o.epochs:.3g}, {o.rounds:.0f}", "modelled"),
        line("seconds", f"{o.seconds:.3g} ({duration(o.seconds)})", "modelled"),
        line("before it, reading", f"{reading:.3g} ({duration(reading)})", "modelled"),
        line("sent by all ranks", size(o.sent_all), "modelled"),
    ]


def _choice(planner: Planner, requested: RunPrediction) -> list[str]:
    if requested.case.ranks == 1:
        return []
    candidate, stretch, better = planner.best(requested.case.ranks)
    if candidate is None and stretch == 1.0:
        return [line("best exchange", "exact sums, rounds as chosen", "modelled")]
    named = "exact sums" if candidate is None or candidate.compressor is None else f"{spec_of(candidate.compressor)}"
    both = " --downlink" if candidate is not None and candidate.downlink else ""
    longer = f", rounds {stretch:g} times as long" if stretch != 1.0 else ""
    return [
        line("best exchange", f"{named}{both}{longer}", "modelled"),
        line("  seconds with it", f"{better.seconds:.3g}, {size(better.sent_all)} sent", "modelled"),
    ]


def _checkpoints(planner: Planner, requested: RunPrediction) -> list[str]:
    request, ranks = planner.request, requested.case.ranks
    algorithm = planner.algorithm(ranks)[0]
    nbytes = space.checkpoint(probe.state_bytes(planner.objective(ranks), algorithm, ranks), planner.rows, ranks)
    here = Path(request.job.out).absolute().parent
    measured = request.disk == "measured"
    rate = disk.measure(here if here.is_dir() else Path()) if measured else disk.read(request.disk)
    save = nbytes / rate
    lines = [
        "a checkpoint",
        line("size", size(nbytes), "modelled"),
        line("disk", f"{size(rate)}/s", "measured" if measured else "given"),
        line("seconds to save", f"{save:.3g}", "modelled"),
    ]
    if not request.failures:
        return [*lines, line("best interval", "give --failures RATE, as 1/day")]
    failures = Failures(seconds_between(request.failures), save, restart=0.0)
    every = failures.interval
    return [
        *lines,
        line("failures", f"every {duration(failures.between)}", "given"),
        line("best interval", f"{duration(every)}  (--checkpoint-every {max(1, round(every))}s)", "modelled"),
        line("lost by both", f"{100 * failures.lost_part(every):.2g} % of the time", "modelled"),
    ]


def _ranks(predictions: list[RunPrediction], spaces: dict[int, space.Space], requested: RunPrediction) -> list[str]:
    first = predictions[0]
    lines = ["more and fewer ranks (modelled)"]
    lines.append(
        f"  {'ranks':>7} {'rows each':>10} {'peak':>8} {'s/epoch':>9} "
        f"{'wait+comm':>9} {'epochs':>7} {'seconds':>9} {'effic.':>6}"
    )
    for o in predictions:
        share = 100 * (o.communicate + o.wait) / max(o.epoch, 1e-300)
        gain = 100 * first.seconds * first.case.ranks / (o.seconds * o.case.ranks)
        here = "*" if o is requested else " "
        lines.append(
            f" {here}{o.case.ranks:>7} {o.case.rows:>10} {size(spaces[o.case.ranks].peak):>8} {o.epoch:9.3g} "
            f"{share:7.0f} % {o.epochs:7.3g} {o.seconds:9.3g} {gain:4.0f} %"
        )
    best, fast = largest_efficient(predictions, LEAST_EFFICIENCY), fastest(predictions)
    if best is predictions[-1]:
        lines.append(f"{best.case.ranks} ranks still pay (efficiency of {100 * LEAST_EFFICIENCY:.0f} % or more)")
    else:
        lines.append(
            f"more ranks than {best.case.ranks} stop paying (efficiency below {100 * LEAST_EFFICIENCY:.0f} %); "
            f"{fast.case.ranks} are the fastest"
        )
    return lines
