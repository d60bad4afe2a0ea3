#!/usr/bin/env bash
# Run a part of the MPI tests, and a run from its start to its end, on two more MPIs: MPICH from PyPI and the machine's
# own Open MPI (4 on Debian 12). They share the packages of .venv, but for h5py: its ordinary wheel loads no MPI.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD home=$PWD/.cache/other-mpis mpich=5.0.2
export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 PYTHONPATH=$root
export OMPI_MCA_mpi_yield_when_idle=1 MPIR_CVAR_POLLS_BEFORE_YIELD=1 # other work on the same cores goes on
unset OMPI_MCA_pml OMPI_MCA_btl                                      # for Open MPI 5 alone
say() { echo "other-mpis: $*"; }

h5py=$(grep '^h5py==' requirements.txt)
if [ ! -e "$home/ready-$mpich-$h5py" ]; then
    rm -rf "$home"
    .venv/bin/python -m venv "$home"
    "$home/bin/pip" install -q --no-deps "mpich==$mpich" "$h5py"
    site=$("$home/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    .venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/zz-shared.pth"
    touch "$home/ready-$mpich-$h5py"
fi

# $1: name, $2: its ABI for mpi4py, $3: the folder of its library, $4…: its mpirun
run() {
    local name=$1 abi=$2 library=$3 ends=$SECONDS folder
    shift 3
    export MPI4PY_MPIABI=$abi LD_LIBRARY_PATH=$library
    "$home/bin/python" -c 'from mpi4py import MPI; print("other-mpis:", MPI.Get_library_version().splitlines()[0][:60])'
    "$@" -n 2 "$home/bin/python" -m pytest -q --color=no -p no:cacheprovider --only-mpi \
        -k "not small_pieces and not many_fits" tests/mpi/test_comm.py tests/mpi/test_checkpoints.py tests/mpi/test_fit.py
    folder=$(mktemp -d)
    "$@" -n 2 "$home/bin/python" -m mpi4py -m mpiopt train generate:n=2000,d=10,task=binary --quiet --out "$folder/a.h5"
    "$home/bin/python" -m mpiopt inspect "$folder/a.h5" >"$folder/shown"
    grep -q '^ *status *certified' "$folder/shown" || { say "$name: not certified"; exit 1; }
    rm -rf "$folder"
    say "$name passed in $((SECONDS - ends)) s"
}

(run MPICH mpich "$home/lib" "$home/bin/mpirun")
libraries=(/usr/lib/*/openmpi/lib)
if [ -x /usr/bin/mpirun.openmpi ] && [ -e "${libraries[0]}/libmpi.so" ]; then
    (run "Open MPI" openmpi "$(dirname "$(realpath "${libraries[0]}/libmpi.so")")" \
        /usr/bin/mpirun.openmpi --oversubscribe --bind-to none)
elif [ "${MPIOPT_OTHER_MPIS:-}" = required ]; then
    say "no /usr/bin/mpirun.openmpi with its library: apt-get install openmpi-bin libopenmpi-dev"
    exit 1
else
    say "no /usr/bin/mpirun.openmpi here: Open MPI is not tried"
fi
