#!/usr/bin/env bash
#SBATCH --job-name=musicgen
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=USR1@120
# One training as a SLURM job that goes back in the queue until it is done.
#   sbatch --nodes=4 recipes/slurm.sh experiment=pretrain_medium name=NAME data.path=CODES \
#     [key=value …]
# Submit it from the repository. CODES (of data_prep.tokenize) and runs/ are on a disk of all nodes.
# 120 s before its time is over, or when it is preempted, the run writes a checkpoint and
# requeues the job, which goes on from there. If one rank ends, the others do.
# Hardware: as many tasks as GPUs on each node; GPUs x data.batch_size x
#   trainer.accumulate_grad_batches is the batch of a step.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?run it with sbatch}"
exec srun --kill-on-bad-exit=1 python train.py trainer.num_nodes="$SLURM_NNODES" resume=auto "$@"
