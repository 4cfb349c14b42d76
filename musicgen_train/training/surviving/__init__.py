"""What keeps a run from being lost: checkpoints, preemption, guards."""
