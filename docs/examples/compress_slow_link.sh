#!/usr/bin/env bash
# Send fewer bytes to the same certificate: bash compress_slow_link.sh [folder]
# MPIRUN and PYTHON may name another launcher and another Python.
set -euo pipefail
: "${MPIRUN:=mpirun}" "${PYTHON:=python}"
cd "${1:-.}"
job="generate:n=5000,d=100,condition=1e3,task=binary --shards sorted-by-label --algorithm saga --tol 1e-8 --quiet"

$MPIRUN -n 2 $PYTHON -m mpiopt train $job --out plain.h5
$MPIRUN -n 2 $PYTHON -m mpiopt train $job --out 4bits.h5 --compress quantised --downlink
$PYTHON -m mpiopt compare plain.h5 4bits.h5
