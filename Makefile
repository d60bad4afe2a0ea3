# make run | test | test-3 | test-slurm | other-mpis | check | dist | docs | torture | bench | bench-criteo |
# study-saga | clean; see docs/install.md.
# MPICC=… HDF5_DIR=… make … uses the MPI and the HDF5 of the machine.
PYTHON ?= .venv/bin/python
MPIEXEC ?= $(if $(wildcard .venv/bin/mpirun),.venv/bin/mpirun,mpirun)
OPEN_MPI = $(shell $(MPIEXEC) --version 2>/dev/null | grep -i 'open mpi\|prrte')
MPIFLAGS ?= $(if $(OPEN_MPI),--oversubscribe --bind-to none)
LIMIT = $(if $(OPEN_MPI),--timeout 600)
RANKS ?= 2
DATA ?= $(shell tools/example_data.sh)
RESULT ?= runs/example.h5
OVERWRITE = $(if $(filter file,$(origin RESULT)),--overwrite)
RUNS ?= 200
SEED ?= 0
TORTURE ?= runs/torture.json
PROBLEMS ?= 2000
FUZZ ?= runs/fuzz.md
DAMAGES ?= 100000
FLIPS ?= 10000
FLIPS_MPI ?= 200
LIVES ?= 10000
SEEDS ?= 10000
POWER ?= 1500
DEATHS ?= 100
JOBS ?= 2
# A long run goes on from its log when it is called again.
LONG = $(PYTHON) -m tests.resilience.$(1) --seed $(SEED) --jobs $(JOBS) \
	--log $(dir $(TORTURE))$(1)-$(SEED).log --out $(dir $(TORTURE))$(1).json
FLAGS ?= --loss softmax --scale maxabs --l2 1e-3 --intercept --algorithm "saga[extrapolate=5]"

ifndef MPICC
# Open MPI from PyPI on one machine: allow root and more ranks than cores; these transports start five times as fast.
export OMPI_ALLOW_RUN_AS_ROOT = 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1
export OMPI_MCA_pml = ob1
export OMPI_MCA_btl = self,sm
export OMPI_MCA_mpi_yield_when_idle = 1
endif
export OMP_NUM_THREADS ?= 1

.PHONY: setup run test debug-comm mpi-tests test-slurm other-mpis check dist torture bench bench-criteo docs clean

run: setup
	@mkdir -p $(dir $(RESULT))
	$(MPIEXEC) $(MPIFLAGS) -n $(RANKS) $(PYTHON) -m mpi4py -m mpiopt train $(DATA) $(FLAGS) --out $(RESULT) $(OVERWRITE)
	@$(PYTHON) -m mpiopt plot $(RESULT) --out $(RESULT:.h5=.png) $(OVERWRITE)
	@echo "result: $(RESULT)   picture: $(RESULT:.h5=.png)"

setup:
	@tools/setup.sh

# All tests: without MPI, with programs that the tests start under mpirun, and the MPI tests on 1 to 4 ranks. The last
# line fails if an MPI test was skipped on every number of ranks.
test: check
	$(PYTHON) -m pytest -q -n auto --dist worksteal tests/fuzz tests/golden
	$(PYTHON) -m pytest -q tests $(addprefix --ignore=tests/,unit laws fuzz golden slurm)
	@rm -rf .cache/ran
	@$(MAKE) --no-print-directory debug-comm
	@$(MAKE) --no-print-directory mpi-tests MPIOPT_RAN=$(CURDIR)/.cache/ran
	@$(PYTHON) tests/ran.py .cache/ran

# The communicators, the checkpoints, each algorithm and whole fits once more, with every call compared on all ranks.
debug-comm: export MPIOPT_DEBUG_COMM = 60
debug-comm:
	$(PYTHON) -m pytest -q -n auto --dist worksteal -k "not test_algorithms or (replicated_fields and logistic)" \
		$(addprefix tests/laws/test_,comm.py checkpoints.py algorithms.py)
	$(MPIEXEC) $(MPIFLAGS) $(LIMIT) -n 2 $(PYTHON) -m pytest -q --color=no -p no:cacheprovider --only-mpi \
		-k "not small_pieces and not many_fits" tests/mpi/test_comm.py tests/mpi/test_checkpoints.py tests/mpi/test_fit.py

mpi-tests:
	@for n in 1 2 3 4; do $(MAKE) --no-print-directory test-$$n || exit 1; done

test-%: setup
	$(MPIEXEC) $(MPIFLAGS) $(LIMIT) -n $* $(PYTHON) -m pytest -q --color=no -p no:cacheprovider --only-mpi tests/mpi

# The batch scripts on a real Slurm of four virtual nodes. It is installed if apt can do it, and ends with the tests. If
# it cannot be installed, the last line says so; MPIOPT_SLURM=required makes that a failure.
test-slurm: setup
	@tests/slurm/install.sh
	$(PYTHON) -m pytest -q --durations=5 tests/slurm

# A part of the MPI tests, and a run, on MPICH from PyPI and on the Open MPI of the machine (4 on Debian 12).
other-mpis: setup
	@tools/other_mpis.sh

# Source archive and wheel in dist/. The wheel is then tried in a new environment, without a compiler.
dist:
	@tools/dist.sh

check: setup
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest -q -n auto --dist worksteal tests/unit tests/laws

# Judge the certificates of PROBLEMS problems drawn from SEED on; the table goes to FUZZ. Damage files DAMAGES times and
# flip FLIPS bits in memory; let two lives of a job save in LIVES orders. Run SEEDS jobs with drawn faults, and resume
# from POWER states of a disk after a power cut; put faults in on purpose. Then kill ranks: DEATHS in one run, and RUNS
# runs for each recovery and algorithm. The counts go to TORTURE; a second call adds to them.
torture: setup
	@mkdir -p $(dir $(TORTURE)) $(dir $(FUZZ))
	$(call LONG,damage) --count $(DAMAGES)
	$(call LONG,flips) --count $(FLIPS)
	$(PYTHON) -m tests.resilience.flips_over_mpi --seed $(SEED) --count $(FLIPS_MPI) --out $(dir $(TORTURE))flips-mpi.json
	LIVES=$(LIVES) $(PYTHON) -m pytest -q tests/laws/test_two_lives.py
	$(call LONG,seeds) --count $(SEEDS)
	$(PYTHON) -m tests.resilience.power --seed $(SEED) --count $(POWER) --out $(dir $(TORTURE))power.json
	$(PYTHON) -m tests.resilience.planted
	MPIOPT_DEBUG_COMM=60 $(PYTHON) -m pytest -q -n 2 $(addprefix tests/laws/test_,algorithms.py certificates.py channel.py)
	$(PYTHON) -m tests.resilience.trains --seed $(SEED) --deaths $(DEATHS) --pause 0.3
	$(PYTHON) -m tests.fuzz.problems --seed $(SEED) --count $(PROBLEMS) --jobs 2 --log $(FUZZ:.md=.jsonl) --out $(FUZZ)
	$(PYTHON) -m tests.resilience.deaths --runs $(RUNS) --seed $(SEED) --out $(TORTURE)

# Run the jobs of a study, jobs/NAME*.toml, in minutes; with FULL=1 at full size. Pages, pictures and HDF5 go to runs/.
study-%: setup
	@test -n "$(call all_jobs,$*)" || { echo "there is no jobs/$*.toml or jobs/$*-….toml"; exit 2; }
	$(foreach job,$(if $(FULL),$(call full_jobs,$*),$(call small_jobs,$*)),$(PYTHON) -m mpiopt study $(job) &&) true

all_jobs = $(sort $(wildcard jobs/$1.toml jobs/$1-*.toml))
small_jobs = $(or $(filter %-small.toml,$(call all_jobs,$1)),$(filter-out %-full.toml,$(call all_jobs,$1)))
full_jobs = $(filter-out %-small.toml $(patsubst %-full.toml,%.toml,$(filter %-full.toml,$(call all_jobs,$1))),$(call all_jobs,$1))

bench: setup
	$(PYTHON) -m benchmarks.bench
	$(PYTHON) -m benchmarks.peers --install --out runs/peers.md
	$(PYTHON) -m benchmarks.path_peers --install --out runs/path-peers.md

# Made-up clicks with the shape of Criteo's: to 1e-4 and to a certified 1e-6, beside other libraries; in minutes.
bench-criteo: setup
	@mkdir -p runs
	$(PYTHON) -m benchmarks.criteo --install --out runs/criteo.md

# The site, in build/docs. It needs no MPI and no .venv: its pinned packages are in an environment of their own.
DOCS_ENVIRONMENT = .cache/docs-venv
docs: $(DOCS_ENVIRONMENT)/ready
	$(DOCS_ENVIRONMENT)/bin/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "open build/docs/index.html"

$(DOCS_ENVIRONMENT)/ready: requirements-docs.txt
	$(or $(PYTHON3),python3) -m venv --clear $(DOCS_ENVIRONMENT)
	$(DOCS_ENVIRONMENT)/bin/python -m pip install -q -r requirements-docs.txt
	@touch $@

clean:
	rm -rf build dist *.egg-info .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
