#!/usr/bin/env bash
# Kill a run with SIGKILL, and continue it from its checkpoint: bash resume_after_kill.sh [folder]
# MPIRUN and PYTHON may name another launcher and another Python.
set -euo pipefail
: "${MPIRUN:=mpirun}" "${PYTHON:=python}"
cd "${1:-.}"
job="generate:n=200000,d=50,condition=1e4,task=binary --algorithm saga[preconditioner=none,local_steps=2000] --out run.h5"

$MPIRUN -n 2 $PYTHON -m mpiopt train $job --tol 1e-12 --checkpoint-every 1round &
run=$!
until ls run.ckpt/*.h5 >run.list 2>/dev/null; do sleep 0.1; done # wait for the first checkpoint
kill -KILL "$run"
wait "$run" || echo "killed; exit code $?"
sleep 1 # the ranks end when their mpirun is gone

$MPIRUN -n 2 $PYTHON -m mpiopt train $job --resume auto --tol 1e-6 --checkpoint-every 10min
