"""What the launcher of this process says in environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Launched(NamedTuple):
    """How many ranks a launcher started, according to one environment variable."""

    variable: str
    launcher: str
    ranks: int


# In order of trust: in a Slurm job, mpirun's ranks also see Slurm's variables, of the job and of mpirun's daemons.
_RANKS = {
    "OMPI_COMM_WORLD_SIZE": "Open MPI's mpirun",
    "PMI_SIZE": "MPICH's or Intel's mpiexec",
    "MV2_COMM_WORLD_SIZE": "MVAPICH's mpirun",
    "PALS_NRANKS": "PALS's mpiexec",
    "SLURM_STEP_NUM_TASKS": "srun",
    "SLURM_NTASKS": "Slurm",
}
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def launched(environment: Mapping[str, str]) -> Launched | None:
    """Return what the nearest launcher says, or None if there is none."""
    for variable, launcher in _RANKS.items():
        if environment.get(variable, "").isdigit():
            by_srun = variable == "PMI_SIZE" and environment[variable] == environment.get("SLURM_STEP_NUM_TASKS")
            return Launched(variable, "srun" if by_srun else launcher, int(environment[variable]))
    return None


def tolerant(environment: Mapping[str, str]) -> bool:
    """Return whether a job continues without the ranks that die: Open MPI's `--with-ft ulfm`."""
    return environment.get("OMPI_MCA_mpi_ft_enable", "").lower() in ("1", "true")


def refuse_mismatch(environment: Mapping[str, str], size: int, library: str = "") -> None:
    """Raise ValueError if MPI's world and the launcher differ in the number of ranks: each would do the whole work.

    `size` is the size of MPI's world, `library` MPI's description of itself. Every task of an srun must be in the
    world; other launchers may start worlds within worlds. The message says what to try.
    """
    found = launched(environment)
    if found is None or found.ranks == size or (size > 1 and found.launcher != "srun") or found.ranks <= 1 == size:
        return
    raise ValueError(
        f"{found.launcher} counts {found.ranks} task{'s' * (found.ranks > 1)} ({found.variable}={found.ranks}), "
        f"but MPI's world has size {size}: {_advice(found, library)}"
    )


def _advice(found: Launched, library: str) -> str:
    if found.launcher == "Slurm":
        return "start it with srun or mpirun inside the job (or with srun -n 1 to run alone)"
    if found.launcher == "srun":
        flavour = "pmi2" if "MPICH" in library or "Intel" in library else "pmix"
        return f"try srun --mpi={flavour} (srun --mpi=list shows what there is), or mpirun inside the job"
    name = library.split(",")[0].strip() or "another MPI"
    return (
        f"the program uses {name}, which that launcher does not start; call the mpirun that belongs to it by its path"
    )


def open_mpi_settings(environment: Mapping[str, str], root: bool) -> dict[str, str]:
    """Return the variables that a program must set before it calls Open MPI's mpirun on this machine."""
    wanted = {"OMPI_MCA_mpi_yield_when_idle": "1"}
    if root:
        wanted |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return {name: value for name, value in wanted.items() if name not in environment}


def threads_per_rank(environment: Mapping[str, str], cores: int) -> int:
    """Return how many threads the numerical libraries start in a rank: as many as `cores` if no variable is set."""
    limits = [int(environment[name]) for name in THREAD_VARIABLES if environment.get(name, "").isdigit()]
    return max(limits) if limits else cores
