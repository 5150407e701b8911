#!/bin/bash
# A run of Lightloom in one SLURM job: sbatch docs/slurm.sh /data/set --recipe paper --clips 150000   (see cluster.md)
# A job that ends too early loses nothing; submit it again.
#SBATCH --job-name=lightloom
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120

set -euo pipefail
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(openssl rand -hex 32)}
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN

# The driver has a Ray node of its own without cores, beside the first node's workers.
ray start --head --node-ip-address="$head" --port=6379 --num-cpus=0 --num-gpus=0 --disable-usage-stats
trap 'ray stop' EXIT
srun ray start --address="$head:6379" --num-cpus="$SLURM_CPUS_PER_TASK" --disable-usage-stats --block &

lightloom datagen run "$@" --ray-address "$head:6379" --budget-hours 23.5 &
run=$!
trap 'kill -TERM $run' TERM   # what is being encoded is kept
wait $run || wait $run
