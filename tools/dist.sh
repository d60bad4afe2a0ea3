#!/usr/bin/env bash
# Build the source archive, and the wheel from it, in dist/; install the wheel with [mpi] into a clean environment that
# may not compile, and walk with it: h5py is the ordinary wheel, Open MPI the one from PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD home=$PWD/.cache/dist python=${PYTHON3:-python3}
export PYTHONSAFEPATH=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
unset PYTHONPATH
say() { echo "dist: $*"; }

[ -x "$home/build/bin/python" ] || { "$python" -m venv "$home/build" && "$home/build/bin/pip" install -q build==1.3.0; }
rm -rf dist
"$home/build/bin/python" -m build --outdir dist . >"$home/build.log" 2>&1 || { cat "$home/build.log"; exit 1; }
sha256sum dist/*

rm -rf "$home/clean"
"$python" -m venv "$home/clean"
wheel=$(ls "$root"/dist/mpiopt-*.whl)
# Nothing that compiles is in the PATH, and pip may take wheels alone.
mkdir -p "$home/empty"
export PATH="$home/clean/bin:$home/empty"
"$home/clean/bin/pip" install -q --only-binary=:all: "$wheel[mpi]"
export PATH="$PATH:/usr/bin:/bin"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mpiopt doctor >doctor.txt || { cat doctor.txt; exit 1; }
mpirun --oversubscribe --bind-to none -n 2 mpiopt train generate:n=2000,d=10,task=binary --quiet --out a.h5
mpiopt inspect a.h5 >inspect.txt
grep '^status *certified' inspect.txt
python -c 'import h5py, mpiopt; assert not h5py.get_config().mpi; print(mpiopt.__file__)' | grep -q "$home/clean"
mpiopt convert generate:n=50,d=10,task=binary b.h5 >convert.txt
mpiopt predict a.h5 b.h5 --out labels.txt >predict.txt
[ "$(wc -l <labels.txt)" = 50 ]
say "passed in $SECONDS s"
