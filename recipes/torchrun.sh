#!/usr/bin/env bash
# One training on several nodes, started by hand: run this on each of them, with the same keys.
#   MASTER_ADDR=10.0.0.1 N_NODES=2 NODE_RANK=0 bash recipes/torchrun.sh experiment=pretrain_medium \
#     name=NAME data.path=CODES [key=value …]
# CODES (of data_prep.tokenize) and runs/ are on a disk that all nodes share. A training that was
# interrupted goes on: run it again on all nodes. If one rank or node ends, the others do.
#   MASTER_ADDR  an address of node 0 that all others reach, and MASTER_PORT (29500) there
#   N_NODES      how many nodes; NODE_RANK: which one this is, from 0
#   PROCESSES    gpu (one for each GPU)   processes of a node
# Where a node has several networks: NCCL_SOCKET_IFNAME, and GLOO_SOCKET_IFNAME without GPUs.
# Hardware: any number of equal nodes; GPUs x data.batch_size x trainer.accumulate_grad_batches is
#   the batch of a step.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${MASTER_ADDR:?is the address of node 0}" "${N_NODES:?is the number of nodes}"
: "${NODE_RANK:?is the number of this node, from 0}"
exec torchrun --nnodes "$N_NODES" --node_rank "$NODE_RANK" --nproc_per_node "${PROCESSES:-gpu}" \
  --master_addr "$MASTER_ADDR" --master_port "${MASTER_PORT:-29500}" \
  train.py trainer.num_nodes="$N_NODES" resume=auto "$@"
