"""The table of all acceptance runs: MPIOPT_ACCEPTANCE=FILE.md writes it."""

import os
from pathlib import Path

import pytest

HEAD = """# Acceptance on real data

`MPIOPT_ACCEPTANCE=docs/benchmarks/acceptance.md .venv/bin/python -m pytest -q tests/acceptance` writes this table.
Every run is `mpiopt train DATA --loss … --tol 1e-10` with `--algorithm saga` or `auto`, the flags of its case, and
default options otherwise (l2 = 1/N, no intercept), on 1 to 4 ranks. The reference is Newton's method of
`tests/acceptance/reference.py`. It shares no code with the package and proves F(w) - F* <= 1e-13 F. The difference is
relative, (F - F_reference) / F_reference, of the objective in the result file. Required: at most 1e-9, and at most
300 epochs.

| case | algorithm | ranks | epochs | rounds | difference | certificate |
|---|---|---|---|---|---|---|
"""


@pytest.fixture(scope="session")
def table():
    """Return a list of rows (case, algorithm, ranks, epochs, rounds, difference, certificate) to add to."""
    rows = []
    yield rows
    if "MPIOPT_ACCEPTANCE" in os.environ and rows:
        lines = [f"| {c} | {a} | {p} | {e:.1f} | {k} | {d:.1e} | {g:.1e} |\n" for c, a, p, e, k, d, g in rows]
        Path(os.environ["MPIOPT_ACCEPTANCE"]).write_text(HEAD + "".join(lines))
