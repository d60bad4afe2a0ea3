#!/usr/bin/env bash
# Train on a file, look at the result, predict: bash fit_from_file.sh [folder]
# MPIRUN and PYTHON may name another launcher and another Python.
set -euo pipefail
: "${MPIRUN:=mpirun}" "${PYTHON:=python}"
cd "${1:-.}"

$PYTHON -m mpiopt generate rows.h5 --n 2000 --d 10 --task binary --overwrite
$MPIRUN -n 2 $PYTHON -m mpiopt train rows.h5 --holdout 0.2 --tol 1e-8 --out model.h5
$PYTHON -m mpiopt inspect model.h5
$PYTHON -m mpiopt predict model.h5 rows.h5 --out labels.txt
head -n 3 labels.txt
