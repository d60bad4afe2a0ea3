"""The cluster user's walk of the tutorial: all its commands, one after the other, in an empty folder."""

import re
import sys
from pathlib import Path

from tests.documented import walk
from tests.slurm.conftest import certified


def test_the_cluster_users_walk_goes_to_its_end(site, tmp_path):
    path = f"PATH={Path(sys.executable).parent}:$PATH\n"
    shown = site.run("bash", "-e", "-c", path + walk("cluster-user"), folder=tmp_path, seconds=400)
    assert len(re.findall(r"^ +first +certified", shown, re.M)) == 2
    assert '#SBATCH --comment="a first walk"' in shown
    assert (tmp_path / "runs" / "first.out").read_text().count("mpiopt ended with 0") == 2
    assert "SLURM_JOB_NUM_NODES=2" in shown
    assert (tmp_path / "grid" / "sweep.sbatch").exists()
    assert certified(tmp_path / "runs", "first.h5").provenance["certificate"] <= 1e-10
