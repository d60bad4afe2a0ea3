"""Where the time of the ranks went, and whether one slow rank held up the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpiopt.results.html.charts import Bars, Chart, short
from mpiopt.results.run_record import RunRecord, Table

MOST_RUNS = 6  # runs whose ranks have a bar each; with more runs, each run has one bar, the mean over its ranks
SLOW = 1.25  # a rank is called slow if its work takes this many times that of the median rank
PHASES = ("load", "compile", "compute", "compress", "communicate", "wait", "evaluate", "checkpoint", "other")


def chart(records: Sequence[RunRecord], names: Sequence[str]) -> Chart | None:
    """Return a chart with a bar for each rank, or for each of many runs; None if no file has the times."""
    labels: list[str] = []
    rows: list[list[float]] = []
    for record, name in zip(records, names, strict=True):
        if record.time is not None and len(records) <= MOST_RUNS:
            lead = f"{name}, " if len(records) > 1 else ""
            labels += [f"{lead}rank {k}" for k in range(len(record.time))]
            rows += np.stack([_phase(record.time, p) for p in PHASES], axis=1).tolist()
        elif record.time is not None:
            labels.append(name)
            rows.append([float(_phase(record.time, p).mean()) for p in PHASES])
    if not rows:
        return None
    columns = np.array(rows).T
    parts = [
        Bars(p, labels, short(c.tolist()), i if p != "other" else -1)
        for i, (p, c) in enumerate(zip(PHASES, columns, strict=True))
        if c.any()
    ]
    return Chart("seconds of each rank since the last start", "seconds", "", parts)


def _phase(time: Table, name: str) -> NDArray[np.float64]:
    """Return the seconds of each rank in a phase; 0 for one that earlier versions did not count."""
    return np.asarray(time[name] if name in (time.dtype.names or ()) else np.zeros(len(time)))


def stragglers(time: Table) -> str:
    """Return a sentence that says whether one rank held up the others."""
    work = time["compute"] + time["compress"] + time["evaluate"]
    middle, slowest = float(np.median(work)), int(np.argmax(work))
    waited = 100.0 * float(time["wait"].sum() / max(time["total"].sum(), 1e-300))
    waiting = f"waiting took {waited:.0f} % of the ranks' time"
    if len(time) > 1 and work[slowest] > SLOW * middle > 0.0:
        return f"rank {slowest} worked {work[slowest] / middle:.2g} times as long as the middle rank; {waiting}"
    return f"no rank worked {SLOW:g} times as long as the middle one; {waiting}"
