"""Training: Lightning modules, losses, callbacks, checkpoints."""
