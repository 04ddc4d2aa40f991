#!/usr/bin/env bash
# One run on all nodes of a Slurm job, for example
#   sbatch --nodes 4 --gpus-per-node 8 launch/slurm.sh python recipes/cifar.py --depth 28 --width 10 --workdir RUN
# RUN must be on a disk that all nodes share. Slurm's SIGTERM before the end saves the state, and the
# same command goes on with it.
#SBATCH --ntasks-per-node=1
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -euo pipefail
if [ "$#" -eq 0 ]; then
  echo "slurm.sh needs the command to run, such as: python recipes/cifar.py --workdir RUN" >&2
  exit 2
fi
PORT="${PORT:-12345}"
workers=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/.*/\"&:$PORT\"/" | paste -sd,)
export workers
# shellcheck disable=SC2016  # each task has its own number
exec srun bash -c '
  export TF_CONFIG="{\"cluster\": {\"worker\": [$workers]},
    \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
  exec "$@"' task "$@"
