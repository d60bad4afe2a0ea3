import pytest

from mpiopt.core.launcher_env import launched, open_mpi_settings, refuse_mismatch, threads_per_rank

OPEN, MPICH = "Open MPI v5.0.11", "MPICH Version: 5.0.2"


@pytest.mark.parametrize(
    ("environment", "size", "library", "says"),
    [
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "4"}, 1, OPEN, "srun --mpi=pmix"),
        ({"SLURM_STEP_NUM_TASKS": "4"}, 1, MPICH, "srun --mpi=pmi2"),
        ({"SLURM_STEP_NUM_TASKS": "4"}, 2, OPEN, "srun counts 4 tasks .*size 2: try srun --mpi=pmix"),
        ({"SLURM_STEP_NUM_TASKS": "1"}, 2, OPEN, "srun counts 1 task .*size 2"),
        ({"PMI_SIZE": "4", "SLURM_STEP_NUM_TASKS": "4"}, 1, OPEN, "srun counts 4 tasks .*try srun --mpi=pmix"),
        ({"SLURM_NTASKS": "8"}, 1, OPEN, "SLURM_NTASKS=8.*size 1: start it with srun"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, 1, MPICH, "Open MPI's mpirun counts 2 tasks.*uses MPICH"),
        ({"PMI_SIZE": "3"}, 1, OPEN, "uses Open MPI v5"),
    ],
)
def test_a_mismatch_is_refused_in_one_line(environment, size, library, says):
    with pytest.raises(ValueError, match=says) as caught:
        refuse_mismatch(environment, size, library)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "size"),
    [
        ({}, 1),
        ({}, 4),
        ({"SLURM_STEP_NUM_TASKS": "4"}, 4),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "4"}, 1),  # srun -n 1 in a larger job
        ({"OMPI_COMM_WORLD_SIZE": "1", "SLURM_NTASKS": "4"}, 1),  # mpirun -n 1 in a larger job
        ({"OMPI_COMM_WORLD_SIZE": "4", "SLURM_STEP_NUM_TASKS": "2"}, 4),  # the step of mpirun's daemons
        ({"SLURM_NTASKS": "8"}, 2),  # a launcher that says nothing of itself
        ({"OMPI_COMM_WORLD_SIZE": "4"}, 1 + 1),  # a world spawned by another
        ({"SLURM_NTASKS": "garbage"}, 1),
    ],
)
def test_what_fits_is_let_through(environment, size):
    refuse_mismatch(environment, size)


def test_the_nearest_launcher_is_believed():
    assert launched({"SLURM_NTASKS": "8", "OMPI_COMM_WORLD_SIZE": "2"}).ranks == 2
    assert launched({}) is None


def test_settings_keep_what_is_set():
    assert open_mpi_settings({"OMPI_MCA_mpi_yield_when_idle": "0"}, root=False) == {}
    assert "OMPI_ALLOW_RUN_AS_ROOT" in open_mpi_settings({}, root=True)


def test_threads_are_all_cores_unless_told():
    assert threads_per_rank({}, 8) == 8
    assert threads_per_rank({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "2"}, 8) == 2
