"""`python -m benchmarks.slow_link`: wall seconds to a certified 1e-6 across hosts joined by a slow network.

Every run is `mpiopt train` on synthetic sparse rows with many columns, so that the exchange takes most of the time,
with one setting of --compress (or of the overlap). Settings are run in turn, so that the load of the machine affects
all of them alike; shown are medians. The same is done on an unshaped network, where compression should not pay.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mpiopt.results.result_file import read_result
from tools import slow_link
from tools.slow_link import Link

COMPRESSORS = ("none", "quantised", "rand-k", "auto")
PLAIN = "none"


@dataclass(frozen=True)
class SparseJob:
    """Sparse rows, and a penalty that is strong enough for a fit of few epochs."""

    n: int = 20_000
    d: int = 200_000
    nonzeros: int = 40
    l2: float = 1e-3
    tolerance: float = 1e-6

    def words(self, setting: str, out: Path) -> list[str]:
        """Return the arguments of `mpiopt`; a setting is "COMPRESSOR" or "COMPRESSOR + OPTION OF SAGA"."""
        compressor, _, option = setting.partition(" + ")
        data = f"generate:n={self.n},d={self.d},density={self.nonzeros / self.d:g},task=binary"
        words = ["train", data, "--l2", f"{self.l2:g}", "--tol", f"{self.tolerance:g}"]
        words += ["--algorithm", f"saga[{option}]" if option else "saga", "--out", str(out)]
        return words + (["--compress", compressor] if can_compress() else [])


@dataclass(frozen=True)
class LinkRun:
    """One fit; seconds without loading, and the seconds of phases as means over the ranks."""

    seconds: float
    compute: float
    communicate: float
    wait: float
    megabytes: float  # all ranks
    epochs: float
    rounds: int
    chosen: str  # compression that the program reports


def can_compress() -> bool:
    """Return whether this version has the flag."""
    done = subprocess.run(
        [sys.executable, "-m", "mpiopt", "train", "--help"], capture_output=True, text=True, check=False
    )
    return "--compress" in done.stdout


def fit(problem: SparseJob, setting: str, link: Link, ranks: int, seconds: float = 300.0) -> LinkRun:
    """Run one fit across the link.

    Raises
    ------
    RuntimeError
        If the fit did not reach the tolerance; with the last line of its errors.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run.h5"
        words = [sys.executable, "-m", "mpi4py", "-m", "mpiopt", *problem.words(setting, out)]
        line = slow_link.command(link, ranks, words)
        done = subprocess.run(
            line, capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise RuntimeError(
                f"{setting}: code {done.returncode}: {(done.stderr.strip().splitlines() or ['-'])[-1]}"
            )
        last = read_result(out).history[-1]
    reported = re.findall(r"^exchanges: ([^;]*)", done.stdout, re.MULTILINE)
    numbers = (float(last[f"seconds{part}"]) for part in ("", "_compute", "_communicate", "_wait"))
    return LinkRun(
        *numbers, last["bytes_sent"] / 1e6, float(last["epoch"]), int(last["round"]), reported[0] if reported else ""
    )


def compare(
    problem: SparseJob, settings: list[str], link: Link, ranks: int, repeats: int
) -> dict[str, LinkRun | str]:
    """Run all settings in turn, the first time without counting; return the median run or the error of each."""
    small = SparseJob(n=400, d=2000)
    found: dict[str, LinkRun | str] = {}
    runs: dict[str, list[LinkRun]] = {setting: [] for setting in settings}
    for repeat in range(repeats + 1):
        for setting in (s for s in settings if s not in found):
            try:
                run = fit(problem if repeat else small, setting, link, ranks)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                found[setting] = str(error)
                continue
            if repeat:
                runs[setting].append(run)
    return found | {s: median(r) for s, r in runs.items() if s not in found}


def median(runs: list[LinkRun]) -> LinkRun:
    """Return the run whose time is the (lower) median."""
    middle = statistics.median_low(run.seconds for run in runs)
    return next(run for run in runs if run.seconds == middle)


def table(title: str, found: dict[str, LinkRun | str]) -> list[str]:
    """Return the table in Markdown; ratios are against no compression."""
    lines = [f"### {title}", ""]
    lines += ["| setting | seconds | none / this | compute | communicate | wait | MB sent | epochs | rounds | |"]
    lines += ["|---|---|---|---|---|---|---|---|---|---|"]
    base = found.get(PLAIN)
    for setting, run in found.items():
        if isinstance(run, str):
            lines.append(f"| {setting} | – | | | | | | | | {run} |")
            continue
        ratio = f"{base.seconds / run.seconds:.2f}" if isinstance(base, LinkRun) else ""
        parts = f"{run.compute:.2f} | {run.communicate:.2f} | {run.wait:.2f} | {run.megabytes:.1f}"
        numbers = f"{run.seconds:.2f} | {ratio} | {parts} | {run.epochs:.3g} | {run.rounds}"
        lines.append(f"| {setting} | {numbers} | {run.chosen} |")
    return lines


def verdicts(slow: dict[str, LinkRun | str], fast: dict[str, LinkRun | str]) -> list[str]:
    """Return the verdicts: the best setting on the slow link, and what auto does with and without shaping."""
    lines = []
    seconds = {setting: run.seconds for setting, run in slow.items() if isinstance(run, LinkRun)}
    if len(seconds) > 1 and PLAIN in seconds:
        best = min(seconds, key=lambda setting: seconds[setting])
        lines.append(f"slow link: the best is {best}, {seconds[PLAIN] / seconds[best]:.2f} times as fast as none")
    if "auto" in seconds:
        share = seconds["auto"] / min(seconds.values())
        lines.append(
            f"slow link: auto takes {share:.2f} of the best: {'reached' if share <= 1.1 else 'MISSED'} (1.10)"
        )
    auto = fast.get("auto")
    if isinstance(auto, LinkRun):
        lines.append(f"not shaped: auto says: {auto.chosen or 'nothing'}")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.slow_link", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=100.0, help="Mbit/s")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--only", default="", help="settings, with commas: none, rand-k[share=0.01], none + exchange=overlap"
    )
    for field, default in vars(SparseJob()).items():
        parser.add_argument(f"--{field}", type=type(default), default=default)
    options = parser.parse_args()
    reason = slow_link.obstacle()
    if reason:
        raise SystemExit(f"slow_link: {reason}")
    problem = SparseJob(**{field: getattr(options, field) for field in vars(SparseJob())})
    settings = options.only.split(",") if options.only else [*COMPRESSORS, "none + exchange=overlap"]
    if not can_compress():
        settings = [s for s in settings if s.startswith(PLAIN)]
        print("this version has no --compress: only none\n")
    found = []
    for rate in (options.rate, 0.0):
        link = Link(options.hosts, rate)
        found.append(compare(problem, settings, link, options.ranks, options.repeats))
        shaped = f"{rate:g} Mbit/s" if rate else "not shaped"
        title = f"{options.ranks} ranks on {options.hosts} hosts, {shaped}: {problem}"
        print("\n".join([*table(title, found[-1]), ""]), flush=True)
    print("\n".join(verdicts(*found)))


if __name__ == "__main__":
    import benchmarks  # noqa: F401  sets the threads before anything else

    main()
