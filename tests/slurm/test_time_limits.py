"""Jobs that Slurm's clock stops. They last more than a minute, so they start before all other tests."""

from tests.slurm.conftest import certified


def starts(*options, template="train", pause):
    """Mark a test with the job that it wants to be started before all tests."""

    def mark(test):
        test.early = lambda site, folder: site.sbatch(folder, template, "job.toml", options=options, pause=pause)
        return test

    return mark


@starts("--nodes=2", "--ntasks-per-node=1", "--time=2", "--signal=USR1@100", pause=0.2)
def test_slurm_signals_before_the_limit_and_the_job_goes_on(site, early):
    folder, job = early
    told = site.ended(job)
    assert told["JobState"] == "COMPLETED"
    assert int(told["Restarts"]) >= 1
    certified(folder)
    assert "SIGUSR1" in (folder / "log").read_text()


@starts("--nodes=1", "--ntasks-per-node=2", "--time=1", "--signal=USR1@1", pause=0.2)
def test_a_run_sees_the_end_coming_by_itself(site, early):
    folder, job = early
    told = site.ended(job)
    assert told["JobState"] == "COMPLETED"
    assert int(told["Restarts"]) >= 1
    certified(folder)
    assert "the end of the job's time is near" in (folder / "log").read_text()
