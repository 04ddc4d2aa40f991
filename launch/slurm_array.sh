#!/usr/bin/env bash
# The runs of the paper's tables as a Slurm array, each task its part of them, for example
#   sbatch --array 0-7 --gpus 1 launch/slurm_array.sh table4 --rows 28-10,16-8 --workdir /shared/reproduction
# Python takes this shell's place, so the signal must go to the shell (B:).
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
set -euo pipefail
part="$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN + 1))/$SLURM_ARRAY_TASK_COUNT"
exec python recipes/reproduce.py "$@" --part "$part"
