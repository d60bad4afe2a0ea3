"""Jobs that Slurm's clock stops, after a minute or so."""

from tests.slurm.conftest import certified, starts


def signalled(site, mktemp):
    """Start a job that Slurm signals 100 seconds before its end, which is at once or somewhat later."""
    folder = mktemp("signalled")
    options = ("--nodes=2", "--ntasks-per-node=1", "--time=2", "--signal=USR1@100")
    return folder, site.sbatch(folder, "train", "job.toml", options=options, pause=0.2)


def unwarned(site, mktemp):
    """Start a job that nobody tells of its end in time."""
    folder = mktemp("unwarned")
    options = ("--nodes=1", "--ntasks-per-node=2", "--time=1", "--signal=USR1@1")
    return folder, site.sbatch(folder, "train", "job.toml", options=options, pause=0.5)


@starts(signalled)
def test_slurm_signals_before_the_limit_and_the_job_goes_on(site, early):
    folder, job = early
    shown = site.ended(job)
    assert shown["JobState"] == "COMPLETED"
    assert int(shown["Restarts"]) >= 1
    certified(folder)
    assert "SIGUSR1" in (folder / "log").read_text()


@starts(unwarned)
def test_a_run_sees_the_end_coming_by_itself(site, early):
    folder, job = early
    shown = site.ended(job)
    assert shown["JobState"] == "COMPLETED"
    assert int(shown["Restarts"]) >= 1
    certified(folder)
    assert "the end of the job's time is near" in (folder / "log").read_text()
