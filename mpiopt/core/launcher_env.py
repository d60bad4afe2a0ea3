"""What the launcher around this process says, from environment variables alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Launched(NamedTuple):
    """How many ranks a launcher started, as told by one environment variable."""

    variable: str
    launcher: str
    ranks: int


# In order of trust: an mpirun inside a Slurm job leaves Slurm's variables of the job, and of its own daemons, around.
_TOLD = {
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
    """Give what the nearest launcher says, or None where there is none."""
    for variable, launcher in _TOLD.items():
        if environment.get(variable, "").isdigit():
            by_srun = variable == "PMI_SIZE" and environment[variable] == environment.get("SLURM_STEP_NUM_TASKS")
            return Launched(variable, "srun" if by_srun else launcher, int(environment[variable]))
    return None


def tolerant(environment: Mapping[str, str]) -> bool:
    """Say whether the launcher lets a job live on without the ranks that die: Open MPI's `--with-ft ulfm`."""
    return environment.get("OMPI_MCA_mpi_ft_enable", "").lower() in ("1", "true")


def refuse_mismatch(environment: Mapping[str, str], size: int, library: str = "") -> None:
    """Refuse a world that is not what was started: several ranks, each alone, would all do the whole work.

    `size` is that of MPI's world, `library` what MPI says of itself. Every task of an srun must be in the world;
    other launchers may start worlds within worlds.

    Raises
    ------
    ValueError
        With one line that says what to try.
    """
    told = launched(environment)
    if told is None or told.ranks == size or (size > 1 and told.launcher != "srun") or told.ranks <= 1 == size:
        return
    raise ValueError(
        f"{told.launcher} counts {told.ranks} task{'s' * (told.ranks > 1)} ({told.variable}={told.ranks}), "
        f"but MPI's world has size {size}: {_advice(told, library)}"
    )


def _advice(told: Launched, library: str) -> str:
    if told.launcher == "Slurm":
        return "start it with srun or mpirun inside the job (or with srun -n 1 to run alone)"
    if told.launcher == "srun":
        flavour = "pmi2" if "MPICH" in library or "Intel" in library else "pmix"
        return f"try srun --mpi={flavour} (srun --mpi=list shows what there is), or mpirun inside the job"
    name = library.split(",")[0].strip() or "another MPI"
    return (
        f"the program uses {name}, which that launcher does not start; call the mpirun that belongs to it by its path"
    )


def open_mpi_settings(environment: Mapping[str, str], root: bool) -> dict[str, str]:
    """Give the variables that a program must add before it calls Open MPI's mpirun on this machine."""
    wanted = {"OMPI_MCA_mpi_yield_when_idle": "1"}
    if root:
        wanted |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return {name: value for name, value in wanted.items() if name not in environment}


def threads_per_rank(environment: Mapping[str, str], cores: int) -> int:
    """Give the threads that the numerical libraries will start in one rank: all `cores` where nothing is set."""
    told = [int(environment[name]) for name in THREAD_VARIABLES if environment.get(name, "").isdigit()]
    return max(told) if told else cores
