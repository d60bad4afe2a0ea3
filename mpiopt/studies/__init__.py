"""`mpiopt study JOB.toml`: does an algorithm behave as its analysis says? Small runs, a table, verdicts.

The job file names its kind, `study = "saga-facts"` (also where it names none), "compression", "stepsize", "failure";
each kind is a package with a module `kind` that reads the job, runs this rank's part of it, and shows what was found.
"""
