#!/bin/bash
# sbatch stages/clusters/slurm.sh, in the project's folder: Ray starts on all nodes, the pipeline on the first.
#SBATCH --nodes=4 --ntasks-per-node=1 --exclusive
source .venv/bin/activate
export RAY_USAGE_STATS_ENABLED=0 RAY_USAGE_STATS_REPORT_URL=none RAY_AUTH_MODE=token
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(getent ahostsv4 "$first" | awk '{print $1; exit}')
srun ray symmetric-run --address "$address:6379" --min-nodes "$SLURM_NNODES" --resources='{"machine": 1}' -- \
  make reproduce ENGINE=ray RAY_ADDRESS=auto
