"""An array of jobs over a grid, and the table after it."""

import csv

from tests.cases.processes import until
from tests.slurm.conftest import JOB

SWEEP = """path = "generate:n=600,d=12,condition=1e2,task=binary"
out = "grid"

[sweep]
l2 = ["1/N", 1e-2]
compress = ["none", "quantised[levels=7]"]
"""


def test_an_array_trains_the_members_and_a_dependent_job_collects(site, tmp_path):
    (tmp_path / "sweep.toml").write_text(SWEEP)
    words = ("submit", "sweep.toml", "--tasks-per-node", "2", "--time", "10", "--at-once", "2", "--", "--exclude=n4")
    shown = site.mpiopt(*words, folder=tmp_path).splitlines()
    array, table = (line.split()[1].rstrip(":") for line in shown)
    assert site.ended(table)["JobState"] == "COMPLETED"
    with (tmp_path / "grid" / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["l2"], row["compress"][:4], row["state"]) for row in rows] == [
        (l2, compress, "certified") for l2 in ("1/N", "0.01") for compress in ("none", "quan")
    ]
    assert "4 of 4 certified" in (tmp_path / "grid" / "collect.out").read_text()
    before = [path.stat().st_mtime_ns for path in sorted((tmp_path / "grid").glob("*.h5"))]
    again = site.run("sbatch", "--parsable", "--array=1", "--wait", "grid/sweep.sbatch", folder=tmp_path)
    assert again.strip() != array
    assert "already certified" in (tmp_path / "grid" / "task-1.out").read_text()
    assert before == [path.stat().st_mtime_ns for path in sorted((tmp_path / "grid").glob("*.h5"))]


def test_a_member_of_an_array_is_requeued_alone(site, tmp_path):
    (tmp_path / "sweep.toml").write_text(JOB.replace("run.h5", "grid") + "[sweep]\nseed = [0, 1]\n")
    words = ("submit", "sweep.toml", "--tasks-per-node", "1", "--time", "10", "--", "--exclude=n4")
    array = site.mpiopt(*words, folder=tmp_path, pause=0.05).split()[1].rstrip(":")
    log = tmp_path / "grid" / "task-1.out"
    until(lambda: log.exists() and "round" in log.read_text(), 60, lambda: site.run("squeue"), 0.2)
    site.run("scancel", "-s", "USR1", f"{array}_1")  # it has the number of the array as its own
    members = [site.ended(f"{array}_{k}") for k in (0, 1)]
    assert [(member["JobState"], member["Restarts"]) for member in members] == [
        ("COMPLETED", "0"),
        ("COMPLETED", "1"),
    ]
