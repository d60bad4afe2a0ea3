"""`mpiopt export RUN.h5 --trace`: the phases of each rank as a timeline in Chrome's trace event format.

https://ui.perfetto.dev and chrome://tracing open it (Trace Event Format, Google, 2016). A rank is a thread. The run
knows how long each phase took from one evaluation to the next, not in which order its parts came: within that
interval each phase is one block, in a fixed order, and time that no phase has counted is left empty at the end.
"""

from __future__ import annotations

import json
import math
from typing import Any

from mpiopt.core.history import ALL, SAMPLED
from mpiopt.results.run_record import RunRecord

MICRO = 1e6  # the format counts microseconds
JOB = 0  # the one process of the trace


def as_trace(record: RunRecord, table: str) -> bytes:
    """Return the trace as JSON; `table` is not used.

    Raises
    ------
    ValueError
        One line: the run has not ended, or an earlier version wrote it.
    """
    if record.phases is None:
        why = "an earlier version wrote it" if record.finished else "the run has not ended"
        raise ValueError(f"{record.path}: there are no phases in it: {why}")
    events = [*_names(record), *_blocks(record), *_instants(record), *_counters(record)]
    about = {
        "run": str(record.path),
        "version": str(record.provenance.get("mpiopt", "")),
        "note": "within an interval, phases are drawn in a fixed order; only their lengths are measured",
    }
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": about}, allow_nan=False).encode()


def _names(record: RunRecord) -> list[dict[str, Any]]:
    """Return the names of the process and of its threads, in the order of the ranks."""
    found = [_meta("process_name", 0, {"name": f"mpiopt {record.path.name}"})]
    for rank in sorted(set(_phases(record)["rank"].tolist())):
        found += [
            _meta("thread_name", rank, {"name": f"rank {rank}"}),
            _meta("thread_sort_index", rank, {"sort_index": rank}),
        ]
    return found


def _meta(kind: str, rank: int, args: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": JOB, "tid": rank, "ts": 0, "args": args}


def _phases(record: RunRecord) -> Any:
    return record.phases


def _blocks(record: RunRecord) -> list[dict[str, Any]]:
    """Return a block for each rank, interval and phase that took time."""
    found, ends = [], dict[int, float]()
    for row in _phases(record):
        rank, last = int(row["rank"]), float(row["seconds"])
        spent = {name: max(0.0, float(row[name])) for name in SAMPLED}
        begin = ends.get(rank, max(0.0, last - sum(spent.values())))
        scale = min(
            1.0, max(0.0, last - begin) / max(sum(spent.values()), 1e-300)
        )  # clocks round: no block sticks out
        for name, seconds in spent.items():
            if seconds > 0.0:
                found.append(
                    {
                        "ph": "X",
                        "name": name,
                        "cat": "phase",
                        "pid": JOB,
                        "tid": rank,
                        "ts": begin * MICRO,
                        "dur": seconds * scale * MICRO,
                        "args": {"until round": int(row["round"]), "seconds": seconds},
                    }
                )
                begin += seconds * scale
        ends[rank] = last
    return found


def _instants(record: RunRecord) -> list[dict[str, Any]]:
    """Return the events of the run: those of a rank on its thread, those of all ranks over the whole process."""
    return [
        {
            "ph": "i",
            "name": event.kind,
            "cat": "event",
            "pid": JOB,
            "tid": 0 if event.rank == ALL else event.rank,
            "ts": max(0.0, event.seconds) * MICRO,
            "s": "p" if event.rank == ALL else "t",
            "args": {"round": event.round, "text": event.text},
        }
        for event in record.events
    ]


def _counters(record: RunRecord) -> list[dict[str, Any]]:
    """Return the digits of the certificate (its negative logarithm to base 10) as a curve."""
    return [
        {
            "ph": "C",
            "name": "digits of the certificate",
            "pid": JOB,
            "tid": 0,
            "ts": float(row["seconds"]) * MICRO,
            "args": {"digits": -math.log10(row["certificate"])},
        }
        for row in record.history
        if 0.0 < row["certificate"] < math.inf
    ]
