"""The table of a sweep: a line for each member, on the screen and as CSV."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from mpiopt.grid import Member, Sweep, result_of
from mpiopt.recorder import duration
from mpiopt.report import size
from mpiopt.show import columns

FOUND = ("state", "objective", "certificate", "epochs", "rounds", "seconds", "bytes")
STATES = {0: "certified", 3: "budget spent", 75: "cut off", 130: "stopped", 143: "stopped"}


def collect(whole: Sweep) -> int:
    """Print the table and write it; give 0 where all members are certified, else 3."""
    rows = [row(member) for member in whole.members]
    keys = list(dict.fromkeys(key for member in whole.members for key in member.chosen))
    names = [*keys, *FOUND]
    print(columns(names, [[shown(name, line.get(name, "")) for name in names] for line in rows]))
    path = whole.folder / "sweep.csv"
    whole.folder.mkdir(parents=True, exist_ok=True)
    write(path, names, rows)
    done = sum(line["state"] == "certified" for line in rows)
    print(f"{done} of {len(rows)} certified; written: {path}")
    return 0 if done == len(rows) else 3


def row(member: Member) -> dict[str, object]:
    """Give what is known of one member."""
    line: dict[str, object] = {**member.chosen, "state": "not there"}
    try:
        result = result_of(member.job)
    except ValueError as error:
        return line | {"state": f"unreadable: {error}"}
    if result is None:
        return line
    told, last = result.provenance, result.history[-1]
    certified = float(told["certificate"]) <= member.job.stop.tol
    state = (
        "certified" if certified and told["exit_status"] == 0 else STATES.get(told["exit_status"], "not certified")
    )
    line |= {"state": "not to this tol" if told["exit_status"] == 0 and not certified else state}
    line |= {"objective": float(last["objective"]), "certificate": float(last["certificate"])}
    line |= {"epochs": float(last["epoch"]), "rounds": int(last["round"])}
    return line | {"seconds": float(last["seconds"]), "bytes": int(last["bytes_sent"])}


def shown(name: str, value: object) -> str:
    """Give a value for the screen."""
    if value == "":
        return ""
    if name == "seconds" and isinstance(value, float):
        return duration(value)
    if name == "bytes" and isinstance(value, int):
        return size(value)
    forms = {"objective": ".10g", "certificate": ".1e", "epochs": ".4g"}
    return format(value, forms[name]) if name in forms else str(value)


def write(path: Path, names: list[str], rows: list[dict[str, object]]) -> None:
    """Put the CSV file in place."""
    partial = Path(f"{path}.partial")
    with partial.open("w", newline="") as file:
        table = csv.DictWriter(file, names, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    os.replace(partial, path)
