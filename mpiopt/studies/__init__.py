"""Studies: does an algorithm behave as its analysis says? Many small runs, tables, verdicts.

A study is a package of four modules: `job` (what its job file may say), `simulation` (how a cell is run), `claims`
(what is judged) and `report` (tables, picture, page). `mpiopt study JOB.toml` runs the study that the job file names.
"""
