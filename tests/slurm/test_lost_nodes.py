"""A node is killed under two jobs: the one is started again, the other goes on with the nodes that are left."""

from tests.cases.processes import until
from tests.slurm.conftest import LAST, certified, starts

OFTEN = ("job.toml", "--checkpoint-every", "10rounds")


def killed(site, mktemp):
    """Kill a node under both jobs; give their folders and numbers."""
    train, elastic = mktemp("train"), mktemp("elastic")
    each = ("--exclude=", "--ntasks-per-node=1", "--time=10")
    site.run("scontrol", "update", "NodeName=n1,n2", "State=DRAIN", "Reason=test")  # so that it must take the last
    first = site.sbatch(train, "train", *OFTEN, options=(*each, "--nodes=2"), pause=0.1)
    until(lambda: site.shown(first)["JobState"] == "RUNNING", 30, lambda: site.run("squeue"), 0.2)
    site.run("scontrol", "update", "NodeName=n1,n2", "State=RESUME")
    where = ("-w", f"n1,n2,{LAST}", "--nodes=3")
    second = site.sbatch(elastic, "elastic", *OFTEN, options=(*each, *where), pause=0.1)
    for folder in (train, elastic):
        site.under_way(folder, rounds=20)
    site.cluster.kill(LAST)
    return {"train": (train, first), "elastic": (elastic, second)}


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
