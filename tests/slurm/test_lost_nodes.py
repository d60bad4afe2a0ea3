"""A node is killed under three jobs: one is started again, the others go on with the nodes that are left.

One of these, under `mpiopt launch`, has lost a rank on another node before, and recovered in place with a spare.
"""

import os
import signal

from mpiopt.core.processes import marked
from tests.cases.processes import until
from tests.slurm.conftest import LAST, certified, starts

OFTEN = ("job.toml", "--checkpoint-every", "10rounds")


def killed(site, mktemp):
    """Kill a node under all jobs; give their folders and numbers."""
    train, elastic, launch = mktemp("train"), mktemp("elastic"), mktemp("launch")
    each = ("--exclude=", "--ntasks-per-node=1", "--time=10")
    site.run("scontrol", "update", "NodeName=n1,n2", "State=DRAIN", "Reason=test")  # so that it must take the last
    first = site.sbatch(train, "train", *OFTEN, options=(*each, "--nodes=2"), pause=0.1)
    until(lambda: site.shown(first)["JobState"] == "RUNNING", 30, lambda: site.run("squeue"), 0.2)
    site.run("scontrol", "update", "NodeName=n1,n2", "State=RESUME")
    where = ("-w", f"n1,n2,{LAST}", "--nodes=3")
    second = site.sbatch(elastic, "elastic", *OFTEN, options=(*each, *where), pause=0.1)
    spare = (*each, *where, "--export=ALL,SPARES=1")
    third = site.sbatch(launch, "launch", *OFTEN, "--recovery", "chain", options=spare, pause=0.2)
    site.under_way(launch, rounds=10)
    [rank] = {*marked(f"SLURM_JOB_ID={third}", but=0)} & {*marked("OMPI_COMM_WORLD_RANK=1", but=0)}
    os.kill(rank, signal.SIGKILL)
    until(
        lambda: "going on from round" in (launch / "log").read_text(), 60, lambda: (launch / "log").read_text(), 0.2
    )
    for folder in (train, elastic):
        site.under_way(folder, rounds=20)
    site.cluster.kill(LAST)
    return {"train": (train, first), "elastic": (elastic, second), "launch": (launch, third)}


@starts(killed)
def test_the_job_is_started_again_from_its_last_checkpoint(site, early):
    folder, job = early["train"]
    shown = site.ended(job)
    assert (shown["JobState"], shown["Restarts"]) == ("COMPLETED", "1")
    assert f"{LAST}*" not in certified(folder).provenance["hosts"]
    assert "restart 0 on n[3-4]" in (folder / "log").read_text()


@starts(killed)
def test_the_elastic_job_goes_on_with_the_nodes_that_are_left(site, early):
    folder, job = early["elastic"]
    shown = site.ended(job)
    text = (folder / "log").read_text()
    assert (shown["JobState"], shown["Restarts"]) == ("COMPLETED", "0"), text
    result = certified(folder)
    assert (result.provenance["ranks"], result.provenance["hosts"]) == (2, "n1*1 n2*1")
    assert text.index("on 3 nodes: n[1-2,4]") < text.index("on 2 nodes: n[1-2]")


@starts(killed)
def test_under_launch_a_rank_is_recovered_in_place_and_the_job_keeps_its_nodes_when_one_is_lost(site, early):
    folder, job = early["launch"]
    shown = site.ended(job)
    text = (folder / "log").read_text(errors="replace")
    assert (shown["JobState"], shown["Restarts"]) == ("COMPLETED", "0"), text
    assert certified(folder).provenance["hosts"] == "n1*1 n2*1"
    recovered, restarted = text.index("going on from round"), text.index("started again, restart 1: 2 ranks")
    assert text.index("lost ranks: 1, in round") < recovered < restarted
