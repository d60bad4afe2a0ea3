"""Documented commands that test_docs_commands.py only reads: why, which test runs it (or what is nearest), and which.

A command that is in no document any more must go from here, and one that is new comes here or is run there.
"""

HERE = "tests/unit/test_docs_commands.py"
BENCHMARKS = [
    "compression",
    "coordinators",
    "coverage",
    "io",
    "large --gb 20 --folder DIR",
    "lost --runs 4",
    "plan",
    "scaling",
    "scaling --write docs/benchmarks",
]
BENCHMARKS += ["recovery --rows 1000000 --epochs 100 --repeats 7", "slow_link", "slow_ranks", "sorted", "step_sizes"]
BENCHMARKS += [
    "tightness",
    "tables",
    "large_table --folder DIR",
    "rounds",
    "links",
    "rounds > docs/benchmarks/rounds.md",
    "links > docs/benchmarks/links.md",
    "baselines > docs/benchmarks/baselines.md",
    "auto > docs/benchmarks/auto.md",
    "history",
    "kernels",
    "passes",
    "paths --sets judged",
    "shared_folds",
    "path_peers --install --out runs/path-peers.md",
    "peers --install --out docs/benchmarks/peers.md",
    "ranks --store FILE",
    "stream",
    "word_counts",
    "criteo --install --out docs/benchmarks/criteo.md",
    "plan_counts --store FILE",
]
ELSEWHERE = [
    (
        "a set of data that is not in the repository",
        "tests/unit/inference/test_command.py",
        [
            'mpirun -n 2 mpiopt train nmes1988/NMES1988.csv --target visits --loss "negative-binomial[profile=true]" '
            '--intercept --l2 0 --encode "onehot[drop=first]" --tol 1e-8 --out visits.h5',
            "mpiopt summary visits.h5",
        ],
    ),
    (
        "a study takes minutes to hours; its kind runs there on a small job",
        "tests/unit/studies/test_saga_facts.py",
        ["mpiopt study jobs/saga-facts.toml", "mpirun -n 2 mpiopt study jobs/saga-facts.toml"],
    ),
    (
        "the same",
        "tests/unit/studies/test_compression.py",
        [
            "mpiopt study jobs/compression-real.toml",
            "mpiopt study jobs/compression-synthetic.toml",
            "mpiopt study jobs/compression-synthetic-full.toml",
        ],
    ),
    (
        "the same",
        "tests/unit/studies/test_stepsize.py",
        ["mpiopt study jobs/stepsize.toml", "mpiopt study jobs/stepsize-graphs.toml"],
    ),
    (
        "the same",
        "tests/unit/studies/test_decentralised.py",
        ["mpiopt study jobs/stepsize-algorithms.toml", "mpiopt study jobs/stepsize-mushrooms.toml"],
    ),
    (
        "the same",
        "tests/unit/studies/test_failure.py",
        [
            "mpiopt study jobs/failure-small.toml",
            "mpiopt study jobs/failure.toml",
            "mpiopt study jobs/failure-processes.toml",
        ],
    ),
    (
        "the same; that make runs the right jobs is tested there",
        "tests/unit/studies/test_pages.py",
        ["make study-saga", "make study-stepsize", "make study-compression", "make study-failure"],
    ),
    (
        "ranks of it are killed",
        "tests/integration/test_serve.py",
        ["mpirun --with-ft ulfm -n 6 mpiopt serve jobs/failure-processes.toml --cell 8"],
    ),
    (
        "it starts mpirun",
        "tests/unit/test_docs_examples.py",
        ["python docs/examples/fit_in_python.py", "mpirun -n 2 python docs/examples/fit_in_python.py"],
    ),
    ("it starts MPI", "tests/mpi/test_doctor.py", ["mpiopt doctor", "mpirun -n 2 mpiopt doctor"]),
    ("it starts MPI", "tests/integration/test_ulfm.py", ["mpiopt doctor --ulfm"]),
    (
        "its plug-ins are not there until they are added",
        "tests/unit/test_docs_plugins.py",
        [
            "mpirun -n 2 mpiopt train generate:n=2000,d=50 --loss log-cosh --compress powers --downlink"
            " --out runs/try.h5",
            "python -m tests.golden.compressors",
            "python -m pytest -q tests/unit/objective/test_losses.py tests/laws/test_compressors.py"
            ' -k "cosh or powers or options"',
            "python -m mypy mpiopt/compress/compressors/powers.py mpiopt/objective/losses/log_cosh.py",
            ".venv/bin/python -m pytest -q tests/unit/objective/test_losses.py -k logistic",
        ],
    ),
    (
        "it starts mpirun; there without the set-up, which is what .ci/run begins with",
        "tests/integration/test_make.py",
        ["make run", "make clean", "MPICC=mpicc HDF5_DIR=/path/to/parallel/hdf5 make run"],
    ),
    (
        "it runs all tests",
        ".ci/run",
        ["make setup", "make test", "make test-3", "make check", "make test-slurm", "make docs"],
    ),
    (
        "minutes, as they install packages into environments of their own",
        ".ci/run",
        ["make dist", "make other-mpis", "pip install mpich"],
    ),
    (
        "it needs a container; that the image takes the wheel is read",
        "tests/unit/test_packaging.py",
        ["srun --mpi=pmix apptainer exec mpiopt.sif mpiopt train job.toml"],
    ),
    (
        "hours of killing ranks; the same on a few runs is there",
        "tests/resilience/test_deaths.py",
        [
            "make torture",
            "python -m tests.resilience.deaths",
            "python -m tests.resilience.deaths --runs 260 --seed 20 --out deaths.json",
        ],
    ),
    (
        "minutes of trials; a few are there",
        "tests/resilience/test_damage.py",
        [
            "python -m tests.resilience.damage --count 100000 --jobs 2 --log runs/damage.log",
            "python -m tests.resilience.damage --count 100000 --log runs/damage.log --counts --page docs/trust.md",
        ],
    ),
    (
        "the same",
        "tests/resilience/test_flips.py",
        [
            "python -m tests.resilience.flips --count 10000 --jobs 2 --log runs/flips.log",
            "python -m tests.resilience.flips_over_mpi --count 200 --seed 1000",
        ],
    ),
    (
        "the same",
        "tests/resilience/test_seeds.py",
        [
            "python -m tests.resilience.seeds --seed 20000 --count 10000 --jobs 2 --log runs/seeds.log",
            "python -m tests.resilience.seeds --show 2004",
        ],
    ),
    (
        "the same",
        "tests/resilience/test_power.py",
        ["python -m tests.resilience.power --count 1500"],
    ),
    (
        "the same",
        "tests/resilience/test_planted.py",
        ["python -m tests.resilience.planted"],
    ),
    (
        "a quarter of an hour or more; the same with one kill is there",
        "tests/resilience/test_deaths.py",
        [
            "python -m tests.resilience.trains --deaths 105 --every 1 --pause 0.3",
            "python -m tests.resilience.trains --table --seconds 120 --within 700",
        ],
    ),
    (
        "a part of `make test`; that calls are compared is a test",
        "tests/laws/test_debug_comm.py",
        [
            "make debug-comm",
            "MPIOPT_DEBUG_COMM=60 mpirun -n 4 python -m mpi4py -m mpiopt train DATA",
        ],
    ),
    (
        "it takes minutes to hours; 200 problems are a test",
        "tests/fuzz/test_problems.py",
        [
            "python -m tests.fuzz.problems --seed 70000 --count 10000 --out docs/benchmarks/fuzz.md",
            "python -m tests.fuzz.problems --only SEED",
        ],
    ),
    (
        "it takes an hour; 60 tables are a test",
        "tests/fuzz/test_tables.py",
        ["python -m tests.fuzz.tables --count 10000", "python -m tests.fuzz.tables --first SEED --count 1"],
    ),
    (
        "it is a test, with more kills than by default",
        "tests/resilience/test_kill.py",
        [
            "MPIOPT_KILLS=50 .venv/bin/python -m pytest -q -s tests/resilience/test_kill.py",
            "MPIOPT_KILLS=50 MPIOPT_KILL_SEED=1 pytest tests/resilience/test_kill.py",
        ],
    ),
    (
        "it is a test, minutes on real data",
        "tests/acceptance/test_real_data.py",
        [
            "MPIOPT_ACCEPTANCE=docs/benchmarks/acceptance.md .venv/bin/python -m pytest -q tests/acceptance",
            "python -m pytest -q tests/acceptance",
        ],
    ),
    ("it starts mpirun", "tests/slurm/test_without_slurm.py", ["RANKS=2 bash jobs/train.sbatch jobs/train.toml"]),
    ("it needs a run under way", "tests/unit/cluster/test_resize.py", ["mpiopt resize runs/first.h5 --ranks 8"]),
    (
        "it needs Slurm",
        "tests/slurm/test_jobs.py",
        [
            "python -m tests.slurm.cluster bash",
            "less runs/first.sbatch",
            "tail -f runs/first.out",
            "kill -USR1",
        ],
    ),
    (
        "no test runs it, as it measures for minutes, some of it as root; that program and flags are there is read",
        HERE,
        ["make bench", "make bench-criteo", *(f"python -m benchmarks.{name}" for name in BENCHMARKS)],
    ),
    (
        "no test runs it, as it asks a package server; that the extra is there is read",
        HERE,
        [
            "git clone https://github.com/mpiopt/mpiopt",
            "pip install mpiopt[analysis]",
            "pip install mpiopt[export]",
            "pip install mpiopt[mlflow]",
            "pip install mpiopt[tensorboard]",
            "pip install mpiopt[mpi]",
            "pip install mpiopt[mpi,tables,analysis,inference,export]",
            "pip install mpiopt[tables]",
            "pip install pre-commit",
        ],
    ),
    (
        "python -m tests.real_trackers, with the libraries; test_trackers.py, with stand-ins",
        HERE,
        [
            "mpiopt export runs/a.h5 board --to tensorboard",
            "mpiopt export runs/a.h5 tracked --to mlflow",
        ],
    ),
    (
        "no test runs it, as it needs Lustre",
        HERE,
        ["lfs setstripe -c 1 RUNFOLDER", "lfs setstripe -c 16 -S 4M DATAFOLDER"],
    ),
]
LISTED = {command: test for _, test, commands in ELSEWHERE for command in commands}
