"""`python -m benchmarks.sorted`: epochs and rounds of saga on ill-conditioned data, one rank and label-sorted ranks.

Every run is `mpiopt train DATA --algorithm saga --tol 1e-12` under mpirun; a round is one local epoch. The table
shows the first evaluation with F − F* <= 1e-6 (and 1e-9) of F(0) − F*; F* is the lower last objective of the two
runs.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.launching import mpirun
from mpiopt.results.result_file import read_result

ROOT = Path(os.environ.get("MPIOPT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
SETS: dict[str, tuple[str, list[str]]] = {
    "condition 1e4": ("generate:n=40000,d=50,condition=1e4,task=binary", ["--loss", "logistic"]),
    "condition 1e6": ("generate:n=40000,d=50,condition=1e6,task=binary", ["--loss", "logistic"]),
    "cadata": (str(ROOT / "cadata" / "cadata"), ["--loss", "squared", "--scale", "standard"]),
    "cpusmall": (str(ROOT / "cpusmall" / "cpusmall"), ["--loss", "squared", "--scale", "standard"]),
    "breast-cancer, unscaled": (str(ROOT / "breast_cancer" / "breast-cancer"), ["--loss", "logistic"]),
    "keggundirected, singular": (str(ROOT / "keggundirected" / "keggundirected.gz"), ["--loss", "squared"]),
}


def history(data: str, flags: list[str], ranks: int, out: Path) -> Any:
    """Return the history of one run."""
    words = ["-m", "mpiopt", "train", data, *flags, "--algorithm", "saga", "--tol", "1e-12", "--quiet", "--overwrite"]
    mpirun(ranks, *words, "--out", str(out), "--max-epochs", "150", "--shards", "sorted-by-label", codes=(0, 3))
    return read_result(str(out)).history


def reached(rows: Any, best: float, share: float) -> str:
    """Return epochs and rounds of the first row within `share` of the start's distance to `best`."""
    allowed = best + share * (rows["objective"][0] - best)
    within = rows[rows["objective"] <= allowed]
    return f"{within['epoch'][0]:.1f} / {within['round'][0]}" if len(within) else "-"


def main() -> None:
    """Print the table."""
    print("| data | 1 rank: to 1e-6 | to 1e-9 | 4 label-sorted ranks: to 1e-6 | to 1e-9 |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, (data, flags) in SETS.items():
            if not data.startswith("generate:") and not Path(data).exists():
                print(f"| {name} | no such file | | | |")
                continue
            runs = [history(data, flags, ranks, Path(folder) / f"{ranks}.h5") for ranks in (1, 4)]
            best = min(float(rows["objective"][-1]) for rows in runs)
            cells = [reached(rows, best, share) for rows in runs for share in (1e-6, 1e-9)]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
