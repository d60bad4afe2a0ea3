#!/usr/bin/env bash
# Build the source archive, and the wheel from it, in dist/; install the wheel with [mpi] into a clean environment, where
# pip may take wheels alone and so compiles nothing: h5py is the ordinary wheel, Open MPI the one from PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD home=$PWD/.cache/dist python=${PYTHON3:-python3}
export PYTHONSAFEPATH=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
unset PYTHONPATH OMPI_MCA_pml OMPI_MCA_btl
say() { echo "dist: $*"; }

[ -x "$home/build/bin/python" ] || { "$python" -m venv "$home/build" && "$home/build/bin/pip" install -q build==1.6.1; }
rm -rf dist
"$home/build/bin/python" -m build --outdir dist . >"$home/build.log" 2>&1 || { cat "$home/build.log"; exit 1; }
sha256sum dist/*

# The administrator's walk of the tutorial, in folders of this checkout; then what a user does, far from it.
walk=$(sed -n '/^```bash/,/^```$/p' docs/tutorial/administrator.md | grep -v -e '^```' -e '^export PREFIX=')
export PREFIX=$home/clean MODULES=$home/modules PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
rm -rf "$PREFIX" "$MODULES" "$home/walk"
mkdir -p "$home/walk"
cp -r dist packaging "$home/walk"
cd "$home/walk"
bash -e -c "$walk" >walk.txt 2>&1 || { cat walk.txt; exit 1; }
grep '^ *status *certified' walk.txt
grep -q "^set root $PREFIX" "$MODULES/mpiopt/0.1.0"
export PATH="$PREFIX/bin:$PATH"
python -c 'import h5py, mpiopt; assert not h5py.get_config().mpi; print(mpiopt.__file__)' | grep -q "$PREFIX"
mpiopt convert generate:n=50,d=10,task=binary b.h5 >convert.txt
mpiopt predict smoke.h5 b.h5 --out labels.txt >predict.txt
[ "$(wc -l <labels.txt)" = 50 ]
say "passed in $SECONDS s"
