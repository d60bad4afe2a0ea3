"""A node is killed under two jobs at once: one is started again, the other goes on with the nodes that are left."""

import pytest

from tests.slurm.conftest import LAST, certified

OFTEN = ("job.toml", "--checkpoint-every", "10rounds")


@pytest.fixture(scope="module")
def killed(site, tmp_path_factory):
    """Kill a node under both jobs; give their folders and numbers."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("train", "elastic")}
    nodes = {"train": f"n3,{LAST}", "elastic": f"n1,n2,{LAST}"}
    jobs = {}
    for kind, folder in folders.items():
        where = ("-w", nodes[kind], f"--nodes={nodes[kind].count(',') + 1}", "--ntasks-per-node=1", "--time=10")
        jobs[kind] = site.sbatch(folder, kind, *OFTEN, options=where, pause=0.1)
    for folder in folders.values():
        site.under_way(folder, rounds=20)
    site.run("scontrol", "update", f"JobId={jobs['train']}", "ReqNodeList=")  # else it would wait for the dead node
    site.cluster.kill(LAST)
    yield {kind: (folders[kind], jobs[kind]) for kind in folders}
    site.cluster.start(LAST)


def test_the_job_is_started_again_from_its_last_checkpoint(site, killed):
    folder, job = killed["train"]
    told = site.ended(job)
    assert (told["JobState"], told["Restarts"]) == ("COMPLETED", "1")
    assert LAST not in certified(folder).provenance["hosts"]


def test_the_elastic_job_goes_on_with_the_nodes_that_are_left(site, killed):
    folder, job = killed["elastic"]
    told = site.ended(job)
    text = (folder / "log").read_text()
    assert (told["JobState"], told["Restarts"]) == ("COMPLETED", "0"), text
    result = certified(folder)
    assert (result.provenance["ranks"], result.provenance["hosts"]) == (2, "n1*1 n2*1")
    assert text.index("on 3 nodes: n[1-2,4]") < text.index("on 2 nodes: n[1-2]")
